/* SPDX-License-Identifier: Apache-2.0 */
/* network connect and disconnect: a container's place in one network more or less. */
#include <errno.h>

#include <shale/container.h>
#include <shale/network.h>

#include "priv.h"

extern const struct command cmd_network_connect, cmd_network_disconnect;

struct connect_args {
	const char *ip, *ip6, *mac;
	struct strv aliases;
	bool force;
};

static const struct opt connect_opts[] = {
	{ 0, "alias", OPT_STRV, offsetof(struct connect_args, aliases), "NAME",
	  "another name of the container there" },
	{ 0, "ip", OPT_STR, offsetof(struct connect_args, ip), "ADDRESS", "its address there" },
	{ 0, "ip6", OPT_STR, offsetof(struct connect_args, ip6), "ADDRESS",
	  "its IPv6 address there" },
	{ 0, "mac-address", OPT_STR, offsetof(struct connect_args, mac), "MAC",
	  "its hardware address there" },
	{ 0 },
};
static const struct opt disconnect_opts[] = {
	{ 'f', "force", OPT_BOOL, offsetof(struct connect_args, force), NULL, "taken for granted" },
	{ 0 },
};

static int connect_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct connect_args *a = args;
	auto_container struct container *ct = NULL;
	auto_network_join struct network_join j = { .network = mem_str(argv[0]),
						    .ip = mem_str(a->ip),
						    .ip6 = mem_str(a->ip6),
						    .mac = mem_str(a->mac) };
	auto_free char *join = NULL;
	struct err err = { 0 };
	int rc;

	(void)argc;
	strv_copy(&j.aliases, &a->aliases);
	join = network_join_text(&j);
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_find(&c->rt, argv[1], &ct, &err);
	if (rc >= 0)
		rc = container_connect(ct, join, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

static int disconnect_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container struct container *ct = NULL;
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	(void)args;
	(void)argc;
	if (rc >= 0)
		rc = container_find(&c->rt, argv[1], &ct, &err);
	if (rc >= 0)
		rc = container_disconnect(ct, argv[0], &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

static void complete_places(struct cli *c, const char *prefix)
{
	complete_networks(c, prefix);
	complete_containers(c, prefix);
}

const struct command cmd_network_connect = {
	.name = "network-connect",
	.args = "NETWORK CONTAINER",
	.summary = "Give a container a place in a network",
	.opts = connect_opts,
	.args_size = sizeof(struct connect_args),
	.main = connect_main,
	.min_args = 2,
	.max_args = 2,
	.flags = CMD_HIDDEN,
	.complete = complete_places,
};

const struct command cmd_network_disconnect = {
	.name = "network-disconnect",
	.args = "NETWORK CONTAINER",
	.summary = "Take a container out of a network",
	.opts = disconnect_opts,
	.args_size = sizeof(struct connect_args),
	.main = disconnect_main,
	.min_args = 2,
	.max_args = 2,
	.flags = CMD_HIDDEN,
	.complete = complete_places,
};
