/* SPDX-License-Identifier: Apache-2.0 */
#include "tests.h"

#include <errno.h>
#include <string.h>

#include "../../../runner/cli/priv.h"

static const struct command *find(const struct command *const *commands, const char *name)
{
	while (*commands && strcmp((*commands)->name, name) != 0)
		commands++;
	return *commands;
}

/* A row of shale and the command of shale-build say the same. */
static void test_heavy_rows(void **state)
{
	size_t n = 0;

	(void)state;
	for (const struct command *const *p = cli_commands; *p; p++) {
		const struct command *heavy;

		if (!((*p)->flags & CMD_HEAVY))
			continue;
		heavy = find(cli_commands_heavy, (*p)->name);
		assert_non_null(heavy);
		assert_string_equal(heavy->summary, (*p)->summary);
		assert_int_equal(heavy->flags & CMD_HIDDEN, (*p)->flags & CMD_HIDDEN);
		n++;
	}
	assert_true(n >= 4);
}

static void check_table(const struct command *const *commands)
{
	for (; *commands; commands++) {
		const struct command *cmd = *commands;

		assert_true(cmd->max_args < 0 || cmd->min_args <= cmd->max_args);
		assert_true(cmd->main || cmd->flags & CMD_HEAVY);
		for (const struct opt *o = cmd->opts; o && o->name; o++) {
			assert_true(o->offset < cmd->args_size);
			assert_int_equal(o->type == OPT_BOOL || o->type == OPT_TRUE,
					 o->value == NULL);
			for (const struct opt *other = cmd->opts; other != o; other++) {
				assert_string_not_equal(other->name, o->name);
				assert_true(!o->letter || other->letter != o->letter);
			}
		}
	}
}

static void test_tables(void **state)
{
	(void)state;
	check_table(cli_commands);
	check_table(cli_commands_heavy);
}

static void test_aliases(void **state)
{
	(void)state;
	for (const struct alias *a = cli_aliases; a->command; a++)
		if (!find(cli_commands, a->command))
			fail_msg("%s %s: no command %s", a->group, a->name, a->command);
}

static const char *resolve(const char *line, int *ret_words)
{
	static struct err err;
	struct command_found found;
	struct strv words = { 0 };
	int rc;

	strv_split(&words, line, ' ');
	rc = cli_resolve(cli_commands, strv_args(&words), &found, &err);
	strv_free(&words);
	*ret_words = found.n_words;
	return rc < 0 ? err.msg : found.command ? found.command->name : "";
}

static void test_resolve(void **state)
{
	static const struct {
		const char *line, *want;
		int words;
	} cases[] = {
		{ "images -q", "images", 1 },
		{ "image ls -q", "images", 2 },
		{ "image rm x", "rmi", 2 },
		{ "container ls", "ps", 2 },
		{ "builder prune -f", "builder-prune", 2 },
		{ "buildx build .", "build", 2 },
		{ "system info", "info", 2 },
		{ "image --help", "", 1 },
		{ "image", "", 1 },
		{ "", "", 0 },
	};
	int words;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_string_equal(resolve(cases[i].line, &words), cases[i].want);
		assert_int_equal(words, cases[i].words);
	}
	assert_non_null(strstr(resolve("imagse", &words), "did you mean images?"));
	assert_non_null(strstr(resolve("rnu", &words), "did you mean run?"));
	assert_null(strstr(resolve("swarm", &words), "did you mean"));
	assert_non_null(strstr(resolve("image prnue", &words), "did you mean prune?"));
}

int run_command_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heavy_rows),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_resolve),
	};

	return cmocka_run_group_tests_name("commands", tests, NULL, NULL);
}
