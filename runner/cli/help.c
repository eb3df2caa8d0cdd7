/* SPDX-License-Identifier: Apache-2.0 */
/* help: the screens of --help, made from the tables. */
#include "priv.h"

#include <string.h>

static size_t name_width(const struct command *const *commands)
{
	size_t width = 0;

	for (; *commands; commands++)
		if (!((*commands)->flags & CMD_HIDDEN) && strlen((*commands)->name) > width)
			width = strlen((*commands)->name);
	return width;
}

static const struct command *find(const struct command *const *commands, const char *name)
{
	while (*commands && !str_eq((*commands)->name, name))
		commands++;
	return *commands;
}

/* Other names of the same stand beside it: "rm, remove". */
static void add_name(struct strv *names, const char *name, bool is_other)
{
	auto_free char *first = is_other ? names->v[--names->n] : NULL;

	if (is_other)
		strv_addf(names, "%s, %s", first, name);
	else
		strv_add(names, name);
}

static void help_group(const struct command *const *commands, const char *group)
{
	auto_strv struct strv names = { 0 }, summaries = { 0 };
	const struct command *last = NULL;
	size_t width = 0;

	for (const struct alias *a = cli_aliases; a->command; a++) {
		const struct command *cmd = find(commands, a->command);

		if (!str_eq(a->group, group) || !cmd)
			continue;
		add_name(&names, a->name, cmd == last);
		if (cmd != last)
			strv_add(&summaries, cmd->summary);
		last = cmd;
	}
	for (size_t i = 0; i < names.n; i++)
		if (strlen(names.v[i]) > width)
			width = strlen(names.v[i]);
	printf("Usage: shale %s COMMAND\n\n", group);
	for (size_t i = 0; i < names.n; i++)
		printf("  %-*s  %s\n", (int)width, names.v[i], summaries.v[i]);
}

/* "image prune" for those that are spelled in a group only. */
const struct alias *help_spelling(const struct command *cmd)
{
	const struct alias *a = cli_aliases;

	if (!(cmd->flags & CMD_HIDDEN))
		return NULL;
	while (a->command && !str_eq(a->command, cmd->name))
		a++;
	return a->command ? a : NULL;
}

char *help_name(const struct command *cmd)
{
	const struct alias *a = help_spelling(cmd);

	return a ? mem_fmt("%s %s", a->group, a->name) : mem_str(cmd->name);
}

/* "  image  inspect, prune": a group's rows stand together. */
static void help_only_grouped(const struct command *const *commands)
{
	const char *group = NULL;

	for (const struct alias *a = cli_aliases; a->command; a++) {
		const struct command *cmd = find(commands, a->command);

		if (!cmd || !(cmd->flags & CMD_HIDDEN) || help_spelling(cmd) != a)
			continue;
		if (str_eq(group, a->group))
			printf(", %s", a->name);
		else
			printf("%s  %-10s %s", group ? "\n" : "", a->group, a->name);
		group = a->group;
	}
	putchar('\n');
}

void help_all(const struct command *const *commands, const char *group)
{
	const struct command *const *all = commands;
	auto_str struct str options = { 0 };
	size_t width = name_width(commands);

	if (group) {
		help_group(commands, group);
		return;
	}
	printf("Usage: shale [OPTIONS] COMMAND [ARGUMENTS]\n\n"
	       "Builds container images and runs containers, without a daemon.\n\n");
	for (; *commands; commands++)
		if (!((*commands)->flags & CMD_HIDDEN))
			printf("  %-*s  %s\n", (int)width, (*commands)->name, (*commands)->summary);
	opt_help(cli_globals, &options);
	printf("\n%s\nDocker's grouped spellings work too, and some exist only so:\n",
	       str_get(&options));
	help_only_grouped(all);
	printf("\nshale COMMAND --help tells more of one.\n");
}

static void help_aliases(const struct command *cmd, const struct alias *shown)
{
	const char *lead = "\nAlso: ";

	for (const struct alias *a = cli_aliases; a->command; a++) {
		if (a == shown || !str_eq(a->command, cmd->name))
			continue;
		printf("%sshale %s%s%s", lead, a->group ? a->group : "", a->group ? " " : "",
		       a->name);
		lead = ", ";
	}
	if (*lead == ',')
		putchar('\n');
}

void help_command(const struct command *cmd)
{
	auto_free char *name = help_name(cmd);
	auto_str struct str options = { 0 };

	opt_help(cmd->opts, &options);
	printf("Usage: shale %s%s%s%s\n\n%s\n", name, options.len ? " [OPTIONS]" : "",
	       *cmd->args ? " " : "", cmd->args, cmd->summary);
	if (options.len)
		printf("\n%s", str_get(&options));
	help_aliases(cmd, help_spelling(cmd));
}
