/* SPDX-License-Identifier: Apache-2.0 */
/* complete_networks: names of networks, volumes and cache mounts, for completion. */
#include "priv.h"

#include <shale/container.h>
#include <shale/network.h>
#include <shale/store.h>

static void offer(const char *name, const char *prefix)
{
	if (str_starts(name, prefix))
		puts(name);
}

static int offer_network(const struct network *n, void *arg, struct err *err)
{
	const char *const *prefix = arg;

	(void)err;
	if (!str_eq(n->name, NETWORK_DEFAULT))
		offer(n->name, *prefix);
	return 0;
}

void complete_networks(struct cli *c, const char *prefix)
{
	static const char *const built_in[] = { NETWORK_DEFAULT, "host", "none" };
	struct err ignored;

	for (size_t i = 0; i < ARRAY_LEN(built_in); i++)
		offer(built_in[i], prefix);
	if (cli_open(c, &ignored) >= 0)
		network_walk(&c->rt, offer_network, &prefix, &ignored);
}

static int offer_volume(const struct container_volume_info *v, void *arg, struct err *err)
{
	const char *const *prefix = arg;

	(void)err;
	offer(v->name, *prefix);
	return 0;
}

void complete_volumes(struct cli *c, const char *prefix)
{
	struct err ignored;

	if (cli_open(c, &ignored) >= 0)
		container_volume_walk(&c->rt, offer_volume, &prefix, &ignored);
}

static int offer_cache(const struct cache_info *info, void *arg, struct err *err)
{
	const char *const *prefix = arg;

	(void)err;
	offer(info->id, *prefix);
	return 0;
}

void complete_caches(struct cli *c, const char *prefix)
{
	struct err ignored;

	if (cli_open(c, &ignored) >= 0)
		store_cache_walk(c->rt.store, offer_cache, &prefix, &ignored);
}
