/* SPDX-License-Identifier: Apache-2.0 */
/*
 * __man [DATE [COMMAND]]: the manual page, mdoc, from the tables that --help is made from; or one
 * command's part of it, which is what shale asks shale-build for its own.
 */
#include <errno.h>
#include <string.h>

#include "priv.h"

extern const struct command cmd_man;

/* What roff would take for its own: a leading dot or quote, backslashes, hyphens of options. */
static void put_text(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	for (; *s; s++) {
		if (*s == '\\')
			fputs("\\e", stdout);
		else if (*s == '-')
			fputs("\\-", stdout);
		else
			putchar(*s == '\n' ? ' ' : *s);
	}
}

/* Words as arguments of a macro: none of them may be one itself. */
static void put_args(const char *s)
{
	auto_strv struct strv words = { 0 };

	strv_split(&words, s, ' ');
	for (size_t i = 0; i < words.n; i++) {
		if (!*words.v[i])
			continue;
		fputs(" \\&", stdout);
		put_text(words.v[i]);
	}
}

static void put_options(const struct opt *opts)
{
	bool any = false;

	for (const struct opt *o = opts; o && o->name; o++) {
		if (!o->help)
			continue;
		if (!any)
			puts(".Bl -tag -width Ds");
		any = true;
		fputs(".It", stdout);
		if (o->letter)
			printf(" Fl %c ,", o->letter);
		fputs(" Fl \\-", stdout);
		put_text(o->name);
		if (o->value) {
			fputs(" Ar", stdout);
			put_args(o->value);
		}
		putchar('\n');
		put_text(o->help);
		putchar('\n');
	}
	if (any)
		puts(".El");
}

static void put_aliases(const struct command *cmd, const struct alias *shown)
{
	const char *lead = ".Pp\nAlso:\n";

	for (const struct alias *a = cli_aliases; a->command; a++) {
		if (a == shown || !str_eq(a->command, cmd->name))
			continue;
		fputs(lead, stdout);
		printf(".Ql shale %s%s%s", a->group ? a->group : "", a->group ? " " : "", a->name);
		lead = " ,\n";
	}
	if (*lead == ' ')
		puts(" .");
}

static void put_command(const struct command *cmd)
{
	const struct alias *spelling = help_spelling(cmd);

	printf(".Ss shale %s%s%s\n", spelling ? spelling->group : "", spelling ? " " : "",
	       spelling ? spelling->name : cmd->name);
	printf(".Nm shale %s%s%s", spelling ? spelling->group : "", spelling ? " " : "",
	       spelling ? spelling->name : cmd->name);
	if (cmd->opts)
		fputs("\n.Op Ar options", stdout);
	if (*cmd->args) {
		fputs("\n.Ar", stdout);
		put_args(cmd->args);
	}
	puts("\n.Pp");
	put_text(cmd->summary);
	puts(".");
	put_options(cmd->opts);
	put_aliases(cmd, spelling);
}

static void put_head(const char *date)
{
	printf(".\\\" Made by shale __man from its tables.\n.Dd %s\n.Dt SHALE 1\n.Os\n.Sh NAME\n.Nm shale\n"
	       ".Nd build container images and run containers, without a daemon\n.Sh SYNOPSIS\n.Nm shale\n"
	       ".Op Ar options\n.Ar command\n.Op Ar arguments\n.Sh DESCRIPTION\n"
	       "Commands have Docker's names and flags, also in their grouped spellings.\n"
	       "Options before the command:\n",
	       date);
	put_options(cli_globals);
	puts(".Sh COMMANDS");
}

static void put_settings(void)
{
	puts(".Sh ENVIRONMENT\n.Bl -tag -width Ds");
	for (int i = 0; i < SETTING_COUNT; i++) {
		if (!setting_env((enum setting)i))
			continue;
		printf(".It Ev %s\n", setting_env((enum setting)i));
		put_text(setting_help((enum setting)i));
		putchar('\n');
	}
	puts(".It Ev SHALE_CONF\nthe file of settings\n.El\n.Sh FILES\n.Bl -tag -width Ds\n"
	     ".It Pa /etc/shale/shale.conf\nSettings, as section.name:\n.Bl -tag -width Ds");
	for (int i = 0; i < SETTING_COUNT; i++) {
		printf(".It Cm %s\n", setting_name((enum setting)i));
		put_text(setting_help((enum setting)i));
		putchar('\n');
	}
	puts(".El\n.It Pa /var/lib/shale\nthe store\n.El");
}

static int put_heavy(struct cli *c, const char *date, const char *name, struct err *err)
{
	static const int fds[3] = { -1, 1, 2 };
	auto_strv struct strv words = { 0 };
	int code = 0, rc;

	strv_add(&words, "__man");
	strv_add(&words, date);
	strv_add(&words, name);
	rc = cli_spawn_heavy(c, &words, fds, &code, err);
	return rc >= 0 && code ? err_set(err, EIO, "no manual of %s", name) : rc;
}

static int put_page(struct cli *c, const char *date, struct err *err)
{
	int rc = 0;

	put_head(date);
	for (const struct command *const *p = c->commands; rc >= 0 && *p; p++) {
		if ((*p)->flags & CMD_HIDDEN && !help_spelling(*p))
			continue;
		if ((*p)->flags & CMD_HEAVY)
			rc = put_heavy(c, date, (*p)->name, err);
		else
			put_command(*p);
	}
	put_settings();
	puts(".Sh EXIT STATUS\n0 when it was done, 1 when it was not, 2 for bad usage.\n"
	     "run, create, start and exec give the program's status, and 125, 126 or 127 as Docker does.");
	return rc;
}

static int man_main(struct cli *c, void *args, int argc, char **argv)
{
	const char *date = argc ? argv[0] : "$Mdocdate$";
	struct err err = { 0 };

	(void)args;
	if (argc < 2)
		return put_page(c, date, &err) < 0 ? cli_fail(c, &err) : cli_done(c);
	for (const struct command *const *p = c->commands; *p; p++)
		if (str_eq((*p)->name, argv[1])) {
			put_command(*p);
			return cli_done(c);
		}
	err_set(&err, ENOENT, "no command %s", argv[1]);
	return cli_fail(c, &err);
}

const struct command cmd_man = {
	.name = "__man",
	.args = "[DATE [COMMAND]]",
	.summary = "The manual page",
	.main = man_main,
	.max_args = 2,
	.flags = CMD_HIDDEN | CMD_ANYONE,
};
