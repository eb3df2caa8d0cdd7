/* SPDX-License-Identifier: Apache-2.0 */
/* The network of RUNs. One namespace for all steps of a build that are in a bridge network: made
 * when the first of them runs, and gone with the build. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/network.h>

#include "run.h"

static bool is_bridge(const char *network)
{
	return !str_eq(network, "host") && !str_eq(network, "none");
}

int build_net_choose(struct build *b, bool look_only, struct err *err)
{
	const char *name = b->o->network;
	auto_network struct network *n = NULL;

	if (!name || !*name || str_eq(name, "default"))
		name = b->rt->network ? b->rt->network : "host";
	b->network = name;
	if (!is_bridge(name) || look_only)
		return 0;
	if (!network_name_valid(name))
		return err_set(err, EINVAL, "network %.80s is not none, host or a network's name",
			       name);
	/* The default one is made when it is needed. */
	return str_eq(name, NETWORK_DEFAULT) ? 0 : network_find(b->rt, name, &n, err);
}

void run_net_choose(struct run *r, const struct df_inst *i)
{
	const struct df_flag *f = inst_flag(i, "network");
	const char *name = f && f->value && !str_eq(f->value, "default") ? f->value : r->b->network;

	r->net_name = name;
	r->net = str_eq(name, "none")   ? SANDBOX_NET_NONE
		 : str_eq(name, "host") ? SANDBOX_NET_HOST
					: SANDBOX_NET_FD;
}

static int make(struct build *b, struct err *err)
{
	auto_strv struct strv joins = { 0 };
	struct network_use u = { .id = b->net.id, .name = "build", .joins = &joins };
	int fd = -1, rc;

	memcpy(b->net.id, NETWORK_BUILD, strlen(NETWORK_BUILD));
	proc_random_hex(b->net.id + strlen(NETWORK_BUILD), NETWORK_ID_LEN - strlen(NETWORK_BUILD));
	strv_addf(&joins, "name=%s", b->network);
	if (b->rt->dns.n)
		u.dns = &b->rt->dns;
	rc = network_setup(b->rt, &u, NULL, &fd, err);
	if (rc < 0)
		return err_ctx(err, "network %s", b->network);
	b->net.fd = fd;
	b->net.is_made = true;
	return 0;
}

void build_net_close(struct build *b)
{
	struct err ignored = { 0 };

	if (!b->net.is_made)
		return;
	network_leave(b->net.id, b->net.fd, &ignored);
	fd_close(&b->net.fd);
	b->net.is_made = false;
}

/* As BuildKit's: its own name leads to itself. */
static void fill_hosts(struct run *r, const char *gateway)
{
	auto_str struct str text = { 0 };

	network_hosts_text(&text);
	str_addf(&text, "127.0.0.1\t%s\n", run_host_name(r));
	if (r->b->o->hosts)
		network_hosts_add(&text, r->b->o->hosts, gateway);
	mem_cleanup(&r->hosts);
	r->hosts = str_take(&text);
	run_mount_fill(r, r->hosts_mount, r->hosts);
}

static void fill_resolv(struct run *r, const char *server)
{
	auto_strv struct strv own = { 0 };
	auto_str struct str text = { 0 };

	if (server)
		strv_add(&own, server);
	network_resolv_text(&(struct network_resolv){ .own = &own, .servers = &r->b->rt->dns },
			    &text);
	mem_cleanup(&r->resolv);
	r->resolv = mem_str(str_get(&text));
	run_mount_fill(r, r->resolv_mount, r->resolv);
}

int run_net_open(struct run *r, struct err *err)
{
	auto_json json_t *state = NULL;
	const json_t *join;
	const char *gateway;
	int rc = 0;

	if (r->net != SANDBOX_NET_FD)
		return 0;
	if (!r->b->net.is_made)
		rc = make(r->b, err);
	if (rc < 0)
		return rc;
	state = network_state(r->b->net.id);
	join = json_array_get(json_object_get(state, "joins"), 0);
	gateway = json_get_str(join, "gateway");
	fill_hosts(r, gateway);
	fill_resolv(r, json_get_bool(join, "dns") ? gateway : NULL);
	return 0;
}
