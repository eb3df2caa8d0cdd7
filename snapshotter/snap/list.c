/* SPDX-License-Identifier: Apache-2.0 */
/* containerd's mount list. A file of its own: mount lists bring libmount, which the program that
 * starts containers does without. */
#include <shale/snap.h>

#include "priv.h"

/* mount(2) splits at ':' and ',' unless they are escaped. */
static void add_path(struct str *to, const char *root, const char *name)
{
	for (const char *p = root; *p; p++) {
		if (*p == ':' || *p == ',' || *p == '\\')
			str_addc(to, '\\');
		str_addc(to, *p);
	}
	str_addf(to, "/%s", name);
}

static void add_overlay(struct mount_list *ret, const char *root, const struct snap_plan *p)
{
	struct mount_entry *m = mount_list_add(ret, "overlay", "overlay", "");
	auto_str struct str lower = { 0 }, dir = { 0 };

	for (const struct snap_option *o = snap_options; o->key; o++)
		strv_addf(&m->options, "%s=%s", o->key, o->value);
	if (p->upper) {
		str_add(&dir, "workdir=");
		add_path(&dir, root, SNAP_NAME(p->upper, "work"));
		strv_add_take(&m->options, str_take(&dir));
		str_add(&dir, "upperdir=");
		add_path(&dir, root, SNAP_NAME(p->upper, "fs"));
		strv_add_take(&m->options, str_take(&dir));
	} else {
		strv_add(&m->options, "ro");
	}
	str_add(&lower, "lowerdir=");
	for (size_t i = 0; i < p->n_lower; i++) {
		if (i)
			str_addc(&lower, ':');
		add_path(&lower, root, SNAP_LOWER(p, i));
	}
	strv_add_take(&m->options, str_take(&lower));
}

int snap_mounts(struct snap *s, int64_t id, struct mount_list *ret, struct err *err)
{
	auto_snap_chain struct snap_chain c = { 0 };
	struct snap_plan p = { 0 };
	int rc;

	rc = snap_plan_load(s, id, 0, &c, &p, err);
	if (rc < 0)
		return rc;
	if (p.kind == SNAP_PLAN_OVERLAY) {
		auto_free char *root = snap_root(s);

		add_overlay(ret, root, &p);
	} else {
		auto_free char *path = snap_path(s, p.upper);
		struct mount_entry *m = mount_list_add(ret, "bind", path, "");

		strv_add(&m->options, p.rdonly ? "ro" : "rw");
		strv_add(&m->options, "rbind");
	}
	return 0;
}
