/* SPDX-License-Identifier: Apache-2.0 */
/* complete: what the completion scripts ask: "shale __complete WORD... LAST" prints candidates for
 * LAST, one a line. */
#include "priv.h"

#include <string.h>

static void offer(const char *prefix, const char *candidate)
{
	if (str_starts(candidate, prefix))
		puts(candidate);
}

static void offer_options(const struct opt *opts, const char *last)
{
	for (const struct opt *o = opts; o && o->name; o++) {
		auto_free char *word = mem_fmt("--%s", o->name);

		if (o->help)
			offer(last, word);
	}
	offer(last, "--help");
}

static void offer_names(const struct cli *c, const char *group, const char *last)
{
	const char *shown = "";

	if (!group)
		for (const struct command *const *p = c->commands; *p; p++)
			if (!((*p)->flags & CMD_HIDDEN))
				offer(last, (*p)->name);
	for (const struct alias *a = cli_aliases; a->command; a++) {
		const char *word = a->group && !group ? a->group : a->name;

		/* A group's rows stand together. */
		if (group ? !str_eq(a->group, group) : str_eq(word, shown))
			continue;
		offer(last, word);
		shown = word;
	}
}

static void skip_globals(int *argc, char ***argv)
{
	while (*argc > 1 && (*argv)[0][0] == '-') {
		int n = str_eq((*argv)[0], "--root") && *argc > 2 ? 2 : 1;

		*argc -= n;
		*argv += n;
	}
}

static int complete_main(struct cli *c, void *args, int argc, char **argv)
{
	struct command_found found;
	struct err err = { 0 };
	const char *last;

	(void)args;
	skip_globals(&argc, &argv);
	if (argc == 0)
		return 0;
	last = argv[argc - 1];
	argv[argc - 1] = NULL;
	if (cli_resolve(c->commands, argv, &found, &err) < 0)
		return 0;
	if (!found.command) {
		if (*last == '-' && !found.group)
			offer_options(cli_globals, last);
		else
			offer_names(c, found.group, last);
		return cli_done(c);
	}
	if (found.command->flags & CMD_HEAVY)
		return cli_exec_heavy(c, "__complete", &err) < 0 ? cli_fail(c, &err) : 0;
	if (*last == '-')
		offer_options(found.command->opts, last);
	else if (found.command->complete)
		found.command->complete(c, last);
	return cli_done(c);
}

const struct command cmd_complete = {
	.name = "__complete",
	.args = "WORD...",
	.summary = "Candidates for the shell's completion",
	.main = complete_main,
	.max_args = -1,
	.flags = CMD_HIDDEN | CMD_ANYONE | CMD_STOP_AT_ARG,
};
