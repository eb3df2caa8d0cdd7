/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of all modules, and how an older one becomes the newest. */
#ifndef SHALE_BASE_SCHEMA_H
#define SHALE_BASE_SCHEMA_H

#include <stddef.h>

#define SCHEMA_VERSION 7

/* schema_step[n] makes version n + 1 out of version n; 0 is an empty file. */
extern const char *const schema_step[SCHEMA_VERSION];

/*
 * After a crash of the machine (DESIGN.md, a layer, 5): what is not durable and of another boot (?1
 * is this one) goes, with all that rests on it, and a tag falls back to its last durable image. In
 * this order; `counts` names the field of struct db_lost that the number of rows is added to.
 */
struct schema_settle {
	const char *sql;
	size_t counts; /* offset, or SIZE_MAX */
};
extern const struct schema_settle schema_settle[];

#endif
