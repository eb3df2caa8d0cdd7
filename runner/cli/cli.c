/* SPDX-License-Identifier: Apache-2.0 */
/* cli: global options, which command is meant, and what a command's end looks like. */
#include "priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/network.h>
#include <shale/snap.h>

#define HEAVY_PROGRAM "shale-build"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SHALE = 125 };

struct globals {
	const char *root, *driver;
	bool debug, version;
};

#define OFF(field) offsetof(struct globals, field)
const struct opt cli_globals[] = {
	{ 0, "root", OPT_STR, OFF(root), "DIR", "the store (SHALE_ROOT, else /var/lib/shale)" },
	{ 0, "driver", OPT_STR, OFF(driver), "DRIVER",
	  "overlay, fuse-overlayfs or copy (SHALE_DRIVER, else overlay)" },
	{ 'D', "debug", OPT_BOOL, OFF(debug), NULL, "say more about failures" },
	{ 'v', "version", OPT_BOOL, OFF(version), NULL, "print the version" },
	{ 0 },
};
#undef OFF

static int print_failure(const struct cli *c, const struct err *err, int code)
{
	fflush(stdout);
	/* A registry, an archive or an image may have put words into it. */
	fputs("shale: ", stderr);
	out_clean(stderr, err->msg, false);
	putc('\n', stderr);
	if (c->debug)
		fprintf(stderr, "shale: code %d (%s)\n", err->code, strerrorname_np(err->code));
	return c->command && c->command->flags & CMD_EXIT_125 ? EXIT_SHALE : code;
}

int cli_fail(struct cli *c, const struct err *err)
{
	return print_failure(c, err, EXIT_FAILED);
}

int cli_usage(struct cli *c, const struct err *err)
{
	int code = print_failure(c, err, EXIT_USAGE);

	if (c->command) {
		auto_free char *name = help_name(c->command);

		fprintf(stderr, "shale: see shale %s --help\n", name);
	}
	return code;
}

int cli_done(struct cli *c)
{
	struct err err = { 0 };

	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	err_sys(&err, "standard output");
	return cli_fail(c, &err);
}

bool cli_confirm(const char *question)
{
	char answer[16] = "";

	fprintf(stderr, "%s\nAre you sure you want to continue? [y/N] ", question);
	if (!fgets(answer, sizeof(answer), stdin))
		fputc('\n', stderr);
	return answer[0] == 'y' || answer[0] == 'Y';
}

/* Said once, by the first command of a boot. */
static void tell_lost(const struct db_lost *lost)
{
	if (!lost->images && !lost->containers && !lost->steps)
		return;
	fprintf(stderr,
		"shale: the machine went down before all was on the disk: dropped %d images, %d containers and "
		"%d build steps\n",
		lost->images, lost->containers, lost->steps);
	if (lost->tags_back || lost->tags_gone)
		fprintf(stderr,
			"shale: %d tags name the image before again, %d are gone; build again what is missing\n",
			lost->tags_back, lost->tags_gone);
}

static void use_reserve(const char *root)
{
	auto_fd int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		gc_reserve(fd, true);
}

static void use_networks(struct cli *c)
{
	const char *network = c->settings.v[SETTING_NETWORK_DEFAULT].value;
	auto_strv struct strv words = { 0 };

	if (str_eq(network, "auto"))
		network = network_missing() ? "host" : NETWORK_DEFAULT;
	c->rt.network = network;
	strv_split(&words, c->settings.v[SETTING_NETWORK_DNS].value, ' ');
	for (size_t i = 0; i < words.n; i++)
		if (*words.v[i])
			strv_add(&c->rt.dns, words.v[i]);
	network_tidy();
}

int cli_open(struct cli *c, struct err *err)
{
	int rc;

	if (c->opened)
		return 0;
	/* Before the database is opened: SQLite's shared index needs room as well. */
	if (c->command && c->command->flags & CMD_FREES)
		use_reserve(c->root);
	rc = runtime_open(&c->rt, c->root, err);
	if (rc < 0)
		return rc;
	c->opened = true;
	tell_lost(db_lost(c->rt.db));
	c->rt.driver = c->driver;
	snap_use(c->rt.snap, c->driver);
	use_networks(c);
	return settings_parse_limit(c->settings.v[SETTING_MAX_LAYER].value, c->rt.root_fd,
				    &c->rt.max_layer_bytes, err);
}

int cli_limit_layers(struct cli *c, const char *text, struct err *err)
{
	if (!text)
		return 0;
	if (settings_parse_limit(text, c->rt.root_fd, &c->rt.max_layer_bytes, err) < 0)
		return err_ctx(err, "--max-layer-size");
	return 0;
}

static void heavy_args(const struct cli *c, struct strv *argv)
{
	strv_add(argv, HEAVY_PROGRAM);
	strv_addf(argv, "--root=%s", c->root);
	if (c->debug)
		strv_add(argv, "--debug");
}

int cli_exec_heavy(struct cli *c, const char *name, struct err *err)
{
	auto_strv struct strv argv = { 0 };
	auto_free char *path = NULL;
	int rc = proc_find_own(HEAVY_PROGRAM, &path, err);

	if (rc < 0)
		return rc;
	heavy_args(c, &argv);
	strv_add(&argv, name);
	for (char **w = c->words; *w; w++)
		strv_add(&argv, *w);
	fflush(stdout);
	execv(path, strv_args(&argv));
	return err_sys(err, "run %s", path);
}

int cli_spawn_heavy(struct cli *c, const struct strv *words, const int fds[3], int *ret_code,
		    struct err *err)
{
	auto_strv struct strv argv = { 0 };
	auto_free char *path = NULL;
	pid_t pid;
	int rc = proc_find_own(HEAVY_PROGRAM, &path, err);

	if (rc < 0)
		return rc;
	heavy_args(c, &argv);
	for (size_t i = 0; i < words->n; i++)
		strv_add(&argv, words->v[i]);
	fflush(stdout);
	pid = proc_spawn(path, strv_args(&argv), fds, err);
	return pid < 0 ? (int)pid : proc_wait(pid, ret_code, err);
}

/* --- which command -------------------------------------------------------------------------------
 */

static const struct command *find_command(const struct command *const *commands, const char *name)
{
	for (; *commands; commands++)
		if (str_eq((*commands)->name, name))
			return *commands;
	return NULL;
}

static bool is_group(const char *name)
{
	for (const struct alias *a = cli_aliases; a->command; a++)
		if (a->group && str_eq(a->group, name))
			return true;
	return false;
}

static const char *find_alias(const char *group, const char *name)
{
	for (const struct alias *a = cli_aliases; a->command; a++)
		if (str_eq(a->group, group) && str_eq(a->name, name))
			return a->command;
	return NULL;
}

static int unknown(const struct command *const *commands, const char *group, const char *name,
		   struct err *err)
{
	auto_strv struct strv names = { 0 };
	const char *near;

	for (; !group && *commands; commands++)
		if (!((*commands)->flags & CMD_HIDDEN))
			strv_add(&names, (*commands)->name);
	for (const struct alias *a = cli_aliases; a->command; a++)
		if (str_eq(a->group, group))
			strv_add(&names, a->name);
	near = str_nearest(name, (const char *const *)strv_args(&names));
	err_set(err, EINVAL, "unknown command: %s%s%s", group ? group : "", group ? " " : "", name);
	return near ? err_hint(err, "did you mean %s?", near) : -EINVAL;
}

int cli_resolve(const struct command *const *commands, char **words, struct command_found *ret,
		struct err *err)
{
	const char *group = words[0] && is_group(words[0]) ? words[0] : NULL;
	const char *name = words[group ? 1 : 0];
	const char *command;

	*ret = (struct command_found){ .group = group, .n_words = group ? 2 : 1 };
	if (!name || (group && (str_eq(name, "--help") || str_eq(name, "-h")))) {
		ret->n_words = group ? 1 : 0;
		return 0;
	}
	command = find_alias(group, name);
	if (!command && !group)
		command = name;
	if (command)
		ret->command = find_command(commands, command);
	return ret->command ? 0 : unknown(commands, group, name, err);
}

/* --- running it
 * ------------------------------------------------------------------------------------ */

static int check_count(const struct command *cmd, int n, struct err *err)
{
	auto_free char *name = NULL;

	if (n >= cmd->min_args && (cmd->max_args < 0 || n <= cmd->max_args))
		return 0;
	name = help_name(cmd);
	if (n < cmd->min_args)
		return err_set(err, EINVAL, "%s needs %s", name, cmd->args);
	return err_set(err, EINVAL,
		       cmd->max_args ? "%s takes no more than: %s" : "%s takes no arguments%s",
		       name, cmd->max_args ? cmd->args : "");
}

static int check_root(const struct command *cmd, struct err *err)
{
	auto_free char *name = NULL;

	if (geteuid() == 0 || cmd->flags & CMD_ANYONE)
		return 0;
	name = help_name(cmd);
	return err_set(err, EPERM, "%s must be run as root (try sudo)", name);
}

static int run_parsed(struct cli *c, void *args, int argc, char **argv)
{
	const struct command *cmd = c->command;
	struct opt_parse p = { cmd->opts, args, cmd->flags & CMD_STOP_AT_ARG, false };
	struct err err = { 0 };
	int rc;

	rc = opt_parse(&p, &argc, argv, &err);
	if (p.help) {
		help_command(cmd);
		return cli_done(c);
	}
	if (rc >= 0)
		rc = check_count(cmd, argc, &err);
	if (rc < 0)
		return cli_usage(c, &err);
	if (check_root(cmd, &err) < 0)
		return cli_fail(c, &err);
	return cmd->main(c, args, argc, argv);
}

static int run_command(struct cli *c, int argc, char **argv)
{
	const struct command *cmd = c->command;
	auto_free char **words = mem_dup(argv, (size_t)(argc + 1) * sizeof(*argv));
	auto_free void *args = mem_alloc(cmd->args_size + 1);
	struct err err = { 0 };
	int code;

	c->words = words; /* opt_parse moves argv's */
	if (cmd->flags & CMD_HEAVY) {
		cli_exec_heavy(c, cmd->name, &err);
		return cli_fail(c, &err);
	}
	if (cmd->defaults)
		memcpy(args, cmd->defaults, cmd->args_size);
	code = run_parsed(c, args, argc, argv);
	opt_free(cmd->opts, args);
	if (c->opened)
		runtime_close(&c->rt);
	return code;
}

static int run_words(struct cli *c, const struct globals *g, int argc, char **argv)
{
	struct command_found found;
	struct err err = { 0 };
	char version[] = "version";
	char *just_version[] = { version, NULL };
	char option[] = "--help";
	char *asked[] = { option, NULL };
	int help;

	if (g->version) {
		argc = 1;
		argv = just_version;
	}
	/* "help X" is "X --help", also for X in a group and for shale-build's. */
	help = argc > 0 && str_eq(argv[0], "help");
	if (cli_resolve(c->commands, argv + help, &found, &err) < 0)
		return cli_usage(c, &err);
	if (help && found.command) {
		c->command = found.command;
		return run_command(c, 1, asked);
	}
	if (!found.command) {
		help_all(c->commands, found.group);
		return cli_done(c);
	}
	c->command = found.command;
	return run_command(c, argc - found.n_words, argv + found.n_words);
}

/* --driver goes to those that we start, the monitor and shale-build, in the environment. */
static int take_settings(struct cli *c, const struct globals *g, struct err *err)
{
	struct settings *s = &c->settings;
	int rc = settings_load(s, err);

	if (rc < 0)
		return rc;
	if (g->root)
		settings_set(s, SETTING_ROOT, g->root, "--root");
	if (g->driver) {
		settings_set(s, SETTING_DRIVER, g->driver, "--driver");
		setenv("SHALE_DRIVER", g->driver, 1);
	}
	c->root = s->v[SETTING_ROOT].value;
	return snap_driver_find(s->v[SETTING_DRIVER].value, &c->driver, err);
}

/* Where blocks are smaller than pages, a write to SQLite's mapped index may find no room (SIGBUS).
 */
static void on_bus(int sig)
{
	static const char text[] =
		"shale: no room for the database: the store's file system is full (shale prune, rm "
		"and rmi make room)\n";
	ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)sig, (void)ignored;
	_exit(EXIT_FAILED);
}

int cli_main(const struct command *const *commands, int argc, char **argv)
{
	struct cli c = { .commands = commands, .rt.root_fd = -1 };
	struct globals g = { 0 };
	struct opt_parse p = { cli_globals, &g, true, false };
	struct err err = { 0 };
	int code;

	signal(SIGBUS, on_bus);
	if (argc > 0) {
		argc--;
		argv++;
	}
	if (opt_parse(&p, &argc, argv, &err) < 0)
		return cli_usage(&c, &err);
	if (take_settings(&c, &g, &err) < 0)
		return g.driver ? cli_usage(&c, &err) : cli_fail(&c, &err);
	c.debug = g.debug;
	if (p.help) {
		help_all(commands, NULL);
		return cli_done(&c);
	}
	code = run_words(&c, &g, argc, argv);
	settings_free(&c.settings);
	return code;
}
