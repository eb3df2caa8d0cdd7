/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include <shale/container.h>
#include <shale/network.h>

#include "priv.h"

extern const struct command cmd_port;

/* "80", "80/tcp": is it what was asked for? */
static bool is_asked(const char *want, const char *port, const char *protocol)
{
	auto_free char *whole = mem_fmt("%s/%s", port, protocol);

	return !want || str_eq(want, whole) || (str_eq(want, port) && str_eq(protocol, "tcp"));
}

static size_t print_mapping(const json_t *m, const char *want)
{
	const char *protocol = json_get_str(m, "protocol");
	int inner = (int)json_get_int(m, "container_port", 0), n = (int)json_get_int(m, "range", 1);
	size_t shown = 0;

	for (int i = 0; i < n; i++) {
		auto_free char *port = mem_fmt("%d", inner + i);
		auto_free char *outer = network_port_text(m, i);

		if (!is_asked(want, port, protocol))
			continue;
		shown++;
		if (!want)
			printf("%s/%s -> ", port, protocol);
		puts(outer);
	}
	return shown;
}

static int port_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container struct container *ct = NULL;
	auto_json json_t *state = NULL;
	struct err err = { 0 };
	size_t i, shown = 0;
	json_t *m;
	int rc = cli_open(c, &err);

	(void)args;
	if (rc >= 0)
		rc = container_find(&c->rt, argv[0], &ct, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	if (ct->state == CONTAINER_RUNNING)
		state = network_state(ct->id);
	json_array_foreach(json_object_get(state, "ports"), i, m) shown +=
		print_mapping(m, argc > 1 ? argv[1] : NULL);
	if (argc > 1 && !shown) {
		err_set(&err, ENOENT, "no public port '%s' published for %s", argv[1], ct->name);
		return cli_fail(c, &err);
	}
	return cli_done(c);
}

const struct command cmd_port = {
	.name = "port",
	.args = "CONTAINER [PORT[/PROTOCOL]]",
	.summary = "Show the published ports of a container",
	.main = port_main,
	.min_args = 1,
	.max_args = 2,
	.complete = complete_containers,
};
