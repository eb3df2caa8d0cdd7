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

/* What is not known here the shell completes as files. */
static void offer_value(struct cli *c, const struct opt *o, const char *last)
{
	static const struct {
		const char *value;
		void (*complete)(struct cli *c, const char *prefix);
	} known[] = {
		{ "NETWORK", complete_networks },
		{ "CONTAINER[:ro]", complete_containers },
		{ "[NAME|HOST:]PATH[:OPTIONS]", complete_volumes },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq(known[i].value, o->value))
			known[i].complete(c, last);
}

/* words: those before last, of the command. */
static void offer_words(struct cli *c, const struct command *cmd, char *const *words,
			const char *last)
{
	struct opt_parse p = { .opts = cmd->opts, .stop_at_arg = cmd->flags & CMD_STOP_AT_ARG };
	int n = 0;
	const struct opt *o = opt_awaits(&p, words, &n);

	if (o)
		offer_value(c, o, last);
	else if (*last == '-' && !(n && p.stop_at_arg))
		offer_options(cmd->opts, last);
	else if (cmd->complete && !(n && p.stop_at_arg) && (cmd->max_args < 0 || n < cmd->max_args))
		cmd->complete(c, last);
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
	offer_words(c, found.command, argv + found.n_words, last);
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
