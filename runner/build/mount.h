/* SPDX-License-Identifier: Apache-2.0 */
/* What RUN --mount says. Pure: text in, data out. */
#ifndef SHALE_BUILD_MOUNT_H
#define SHALE_BUILD_MOUNT_H

#include "priv.h"

enum mount_type { MOUNT_BIND, MOUNT_CACHE, MOUNT_TMPFS, MOUNT_SECRET, MOUNT_SSH, MOUNT_TYPES };
enum mount_sharing { SHARING_SHARED, SHARING_PRIVATE, SHARING_LOCKED };

struct run_mount {
	enum mount_type type;
	enum mount_sharing sharing;
	/* NULL when not given. id of a cache: its target then; of a secret: source, or what target
	 * ends in; of ssh: "default". target of a secret without env and of ssh: where BuildKit has
	 * it. */
	char *from, *source, *target, *id, *env;
	bool read_only, required;
	uint64_t size_bytes; /* 0: no limit of its own */
	uint32_t mode, uid, gid;
	bool has_mode;
};

void run_mount_free(struct run_mount *m);
#define auto_run_mount cleanup(run_mount_free)
/*
 * The value of --mount. vars NULL: before there are variables; what has some is looked at later,
 * and defaults are not filled in. -EINVAL with a message that names the key.
 */
int mount_parse(const char *text, const struct vars *vars, struct run_mount *ret, struct err *err);
/* As keys and explanations have it: all that is not a default, in one order. */
void mount_text(const struct run_mount *m, struct str *ret);
/* Fields of a CSV line: commas inside quotes do not split, "" is a quote. -EINVAL. */
int csv_split(const char *text, struct strv *ret, struct err *err);
/* --allow: -EINVAL for one that does not exist. */
int allow_check(const struct strv *allow, struct err *err);
/* May the instruction have what it asks for? network: of the whole build; NULL: the host's. -EPERM.
 */
int allow_inst(const struct strv *allow, const char *network, const struct df_inst *i,
	       struct err *err);
/* Go's ParseBool: 1, t, true, 0, f, false in the cases that it knows. -EINVAL. */
int bool_parse(const char *text, bool *ret);
bool bool_is_true(const char *text); /* NULL and what is no word of these is not */

#endif
