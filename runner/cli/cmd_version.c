/* SPDX-License-Identifier: Apache-2.0 */
#include "priv.h"

#include <sys/utsname.h>

struct version_args {
	const char *format;
};

static const struct opt version_opts[] = {
	{ 'f', "format", OPT_STR, offsetof(struct version_args, format), "FORMAT",
	  "json, or a Go template" },
	{ 0 },
};

static int version_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct version_args *a = args;
	auto_json json_t *v = json_object();
	struct err err = { 0 };
	struct utsname host;

	(void)argc;
	(void)argv;
	if (!a->format) {
		printf("shale %s\n", shale_version);
		return cli_done(c);
	}
	out_row_set(v, "Version", shale_version);
	if (uname(&host) == 0) {
		out_row_set(v, "Os", "linux");
		out_row_set(v, "Arch", host.machine);
		out_row_set(v, "KernelVersion", host.release);
	}
	/* Scripts ask docker for {{.Server.Version}}: there is no server, but there is an answer.
	 */
	json_object_set_new(v, "Client", json_deep_copy(v));
	json_object_set_new(v, "Server", json_deep_copy(json_object_get(v, "Client")));
	if (out_value(a->format, v, &err) < 0)
		return cli_usage(c, &err);
	return cli_done(c);
}

const struct command cmd_version = {
	.name = "version",
	.args = "",
	.summary = "Print the version",
	.opts = version_opts,
	.args_size = sizeof(struct version_args),
	.main = version_main,
	.flags = CMD_ANYONE,
};
