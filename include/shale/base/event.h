/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event: what happens, a line of JSON each as docker events has it, appended to the store's file
 * events by whoever does it. It is told, not relied on: a full disk loses lines.
 */
#ifndef SHALE_BASE_EVENT_H
#define SHALE_BASE_EVENT_H

#include <jansson.h>

#include <shale/base/str.h>

#define EVENT_FILE "events"
#define EVENT_OLD  "events.1" /* what came before it */

/* One line more; attributes stay the caller's. */
void event_add(struct str *to, const char *type, const char *id, const char *action,
	       json_t *attributes);
/* All of it in one write, whoever writes beside us. */
void event_append(int root_fd, const struct str *lines);
/* Both, and takes attributes. */
void event_tell(int root_fd, const char *type, const char *id, const char *action,
		json_t *attributes);

#endif
