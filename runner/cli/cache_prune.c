/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/store.h>

#include "priv.h"

struct pruning {
	struct cli *c;
	int64_t before_s;
	bool plan;
	struct strv *names;
	uint64_t bytes;
};

static int prune_one(const struct cache_info *info, void *arg, struct err *err)
{
	struct pruning *p = arg;
	struct err gone = { 0 };
	uint64_t bytes = 0;
	int rc = 0;

	if (info->in_use || (p->before_s && info->used_s >= p->before_s))
		return 0;
	store_cache_usage(p->c->rt.store, info->name, &bytes, &gone);
	if (!p->plan)
		rc = store_cache_remove(p->c->rt.store, info->name, err);
	if (rc == -EBUSY) { /* a step has taken it meanwhile */
		err_clear(err);
		return 0;
	}
	strv_add(p->names, info->name);
	p->bytes += bytes;
	return rc;
}

int cache_mounts_prune(struct cli *c, int64_t before_s, bool plan, struct strv *ret,
		       uint64_t *ret_bytes, struct err *err)
{
	struct pruning p = { c, before_s, plan, ret, 0 };
	int rc = store_cache_walk(c->rt.store, prune_one, &p, err);

	if (rc >= 0 && !plan)
		rc = store_cache_sweep(c->rt.store, err);
	if (rc >= 0 && !plan)
		rc = snap_sweep(c->rt.snap, err);
	*ret_bytes += p.bytes;
	return rc < 0 ? rc : 0;
}
