/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of all modules, and how an older one becomes the newest. */
#ifndef SHALE_BASE_SCHEMA_H
#define SHALE_BASE_SCHEMA_H

enum { SCHEMA_VERSION = 1 };

/* schema_step[n] makes version n + 1 out of version n; 0 is an empty file. */
extern const char *const schema_step[SCHEMA_VERSION];

#endif
