/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Golden files: tests/data/dockerfile/NAME.Dockerfile becomes NAME.plan. SHALE_GOLDEN=write makes
 * them anew. The program runs at the top of the tree.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/build.h>

#include "../../../runner/build/priv.h"
#include "tests.h"

#define DATA "tests/data/dockerfile"

static int make(const char *text, const struct plan_opts *o, struct dockerfile **d,
		struct plan **ret, struct err *err)
{
	int rc = dockerfile_parse("Dockerfile", text, strlen(text), d, err);

	return rc < 0 ? rc : plan_make(*d, o, ret, err);
}

static void golden_files_agree(void **state)
{
	/* name of the Dockerfile, of the plan, --target, --build-arg */
	static const struct {
		const char *file, *plan, *target, *arg;
	} rows[] = {
		{ "simple", "simple", NULL, NULL },
		{ "all", "all", NULL, NULL },
		{ "stages", "stages", NULL, NULL },
		{ "stages", "stages-target", "Test", NULL },
		{ "stages", "stages-index", "1", NULL },
		{ "stages", "stages-args", NULL, "VERSION=3.20" },
		{ "heredoc", "heredoc", NULL, NULL },
		{ "continuation", "continuation", NULL, NULL },
		{ "windows", "windows", NULL, NULL },
		{ "onbuild", "onbuild", NULL, NULL },
	};
	const char *write = getenv("SHALE_GOLDEN");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_free char *in = mem_fmt(DATA "/%s.Dockerfile", rows[i].file);
		auto_free char *out = mem_fmt(DATA "/%s.plan", rows[i].plan);
		auto_free char *text = NULL, *want = NULL, *got = NULL;
		auto_dockerfile struct dockerfile *d = NULL;
		auto_plan struct plan *p = NULL;
		auto_strv struct strv args = { 0 };
		struct plan_opts o = { .target = rows[i].target, .build_args = &args };
		struct err err = { 0 };

		if (rows[i].arg)
			strv_add(&args, rows[i].arg);
		if (fd_read_file(AT_FDCWD, in, DF_BYTES_MAX, &text, NULL, &err) < 0 ||
		    make(text, &o, &d, &p, &err) < 0)
			fail_msg("%s: %s", in, err.msg);
		got = plan_text(p);
		if (write)
			assert_int_equal(fd_write_file(AT_FDCWD, out, got, strlen(got), 0644, &err),
					 0);
		if (fd_read_file(AT_FDCWD, out, DF_BYTES_MAX, &want, NULL, &err) < 0)
			fail_msg("%s", err.msg);
		if (strcmp(got, want) != 0)
			fail_msg("%s: got\n%s", out, got);
	}
}

static const char with_contexts[] = "FROM alpine:3 AS one\nRUN a\n"
				    "FROM docker.io/library/alpine AS Two\nRUN b\n"
				    "FROM one\nCOPY --from=later x /\nRUN --mount=from=Two c\n"
				    "FROM scratch AS later\n";

/* The plan as text without its instructions. */
static char *stages_of(const char *const *names, size_t n)
{
	auto_dockerfile struct dockerfile *d = NULL;
	auto_plan struct plan *p = NULL;
	auto_strv struct strv contexts = { 0 };
	auto_str struct str b = { 0 };
	auto_free char *text = NULL;
	struct plan_opts o = { .target = "2", .contexts = &contexts };
	struct err err = { 0 };

	for (size_t i = 0; i < n; i++)
		strv_add(&contexts, names[i]);
	if (make(with_contexts, &o, &d, &p, &err) < 0 || !p)
		fail_msg("%s", err.msg);
	else
		text = plan_text(p);
	for (const char *line = text; line && *line; line = strchr(line, '\n') + 1)
		if (*line != ' ')
			str_addn(&b, line, strcspn(line, "\n") + 1);
	return str_take(&b);
}

static void contexts_replace_images(void **state)
{
	static const char *const names[] = { "alpine", "later" };
	auto_free char *got = stages_of(names, ARRAY_LEN(names));

	(void)state;
	/* A tag makes another name. */
	assert_string_equal(got, "stage 0 one from image alpine:3\n"
				 "stage 1 two from context alpine\n"
				 "stage 2 from stage 0 target\n"
				 "stage 3 later from context later skipped\n");
}

static void contexts_replace_stages(void **state)
{
	static const char *const names[] = { "later", "two", "one" };
	auto_free char *got = stages_of(names, ARRAY_LEN(names));

	(void)state;
	assert_string_equal(got, "stage 0 one from context one\n"
				 "stage 1 two from context two skipped\n"
				 "stage 2 from stage 0 target\n"
				 "stage 3 later from context later skipped\n");
}

static void names_of_contexts_are_those_of_images(void **state)
{
	static const char *const rows[][2] = {
		{ "busybox", "busybox" },
		{ "BusyBox:latest", "busybox" },
		{ "docker.io/library/busybox", "busybox" },
		{ "busybox:1", "busybox:1" },
		{ "host:5000/a/b:latest", "host:5000/a/b" },
		{ "a b", NULL },
		{ "", NULL },
		{ "../x", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_free char *got = plan_context_name(rows[i][0]);

		assert_true(str_eq(got, rows[i][1]));
	}
}

static void bad_plans_are_refused(void **state)
{
	static const struct {
		const char *text, *target, *want;
		int rc;
	} rows[] = {
		{ "ARG a\n", NULL, "Dockerfile: no FROM", -EINVAL },
		{ "FROM $x\n", NULL, "Dockerfile:1:6: FROM $x: the base is empty", -EINVAL },
		{ "ARG x\nFROM $x\n", NULL, "Dockerfile:2:6: FROM $x: the base is empty", -EINVAL },
		{ "FROM ${x\n", NULL, "Dockerfile:1:6: expand ${x: missing }", -EINVAL },
		{ "FROM ${x:?wanted}\n", NULL, "x: wanted", -EINVAL },
		{ "ARG x=${\nFROM a\n", NULL, "Dockerfile:1:7: expand", -EINVAL },
		{ "FROM --platform=$x a\n", NULL, "--platform=$x is empty", -EINVAL },
		/* stages */
		{ "FROM b AS a\nFROM a AS b\n", NULL,
		  "Dockerfile:1:6: FROM b: a cyclic or later stage (line 2)", -EINVAL },
		{ "FROM x\nCOPY --from=0 a b\n", NULL,
		  "Dockerfile:2:13: --from=0: no earlier stage", -EINVAL },
		{ "FROM x\nCOPY --from=7 a b\n", NULL, "--from=7: no earlier stage", -EINVAL },
		{ "FROM x AS s\nCOPY --from=S a b\n", NULL,
		  "--from=S: a cyclic or later stage (line 1)", -EINVAL },
		{ "FROM x AS s\nCOPY --from=t a b\nFROM s AS t\n", NULL, "--from=t: a cyclic",
		  -EINVAL },
		{ "FROM x AS build\n", "biuld", "no stage biuld (did you mean build?)", -ENOENT },
		{ "FROM x AS build\n", "1", "no stage 1", -ENOENT },
		/* not executed */
		{ "FROM x\nRUN --mount=type=cach,target=/a b\n", NULL,
		  "Dockerfile:2:13: RUN --mount=type=cach,target=/a: type=cach: want bind, cache",
		  -EINVAL },
		{ "FROM x\nRUN --mount=from=7,target=/a b\n", NULL, "--from=7: no earlier stage",
		  -EINVAL },
		{ "FROM x AS s\nRUN --mount=from=S,target=/a b\n", NULL,
		  "--from=S: a cyclic or later stage (line 1)", -EINVAL },
		/* rights */
		{ "FROM x\nRUN --security=insecure a\n", NULL,
		  "RUN --security=insecure needs --allow security.insecure", -EPERM },
		{ "FROM x\nRUN --device=/dev/../dev/fuse a\n", NULL,
		  "needs --allow device=/dev/fuse", -EPERM },
		{ "FROM x\nRUN --device=vendor.com/gpu=all a\n", NULL,
		  "needs --allow device=vendor.com/gpu=all", -EPERM },
		{ "FROM x\nRUN --device=vendor.com/=all a\n", NULL, "nor a CDI name", -EINVAL },
		{ "FROM x\nRUN --device=/dev/../etc/shadow a\n", NULL,
		  "neither a device of the host", -EINVAL },
		{ "FROM x\nRUN --device=name=/dev/x,requird a\n", NULL, "want NAME[,required]",
		  -EINVAL },
		{ "FROM x AS a\nONBUILD RUN --mount=x y\nFROM a\n", NULL,
		  "Dockerfile:2:21: RUN --mount=x: unknown key x", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct plan_opts o = { .target = rows[i].target };
		auto_dockerfile struct dockerfile *d = NULL;
		struct plan *p = NULL;
		struct err err = { 0 };
		int rc = make(rows[i].text, &o, &d, &p, &err);

		if (rc != rows[i].rc || !strstr(err.msg, rows[i].want))
			fail_msg("%s: want %s, got %d %s", rows[i].text, rows[i].want, rc, err.msg);
		assert_null(p);
	}
}

/* Triggers of a stage count for the stages that start from it. */
static void triggers_need_stages(void **state)
{
	struct plan_opts o = { 0 };
	auto_dockerfile struct dockerfile *d = NULL;
	auto_plan struct plan *p = NULL;
	struct err err = { 0 };

	(void)state;
	if (make("FROM x AS tools\nFROM x AS more\nFROM x AS unused\nFROM y AS base\n"
		 "ONBUILD COPY --from=tools a b\n"
		 "ONBUILD RUN --mount=from=more,target=/t c\nFROM base\n",
		 &o, &d, &p, &err) < 0)
		fail_msg("%s", err.msg);
	if (!p)
		return;
	assert_true(p->stages[0].needed);
	assert_true(p->stages[1].needed);
	assert_false(p->stages[2].needed);
}

/* These must pass: what nobody executes may say what it likes. */
static void good_plans_pass(void **state)
{
	static const struct {
		const char *text, *target;
	} rows[] = {
		{ "FROM alpine AS alpine\n", NULL },
		{ "FROM x AS a\nRUN --mount=x y\nFROM z\n", NULL },
		{ "FROM x AS a\nFROM --platform=plan9/mips z\n", "a" },
		{ "FROM x\nONBUILD RUN --mount=x y\n", NULL },
		{ "FROM x\nCOPY --from=nginx:1 a b\nCOPY --link=false a b\n", NULL },
		{ "FROM x\nRUN --network=host --security=sandbox a\n", NULL },
		{ "FROM x\nCOPY https://x/y /z\n", NULL },
		{ "FROM --platform=$BUILDPLATFORM x\n", NULL },
		{ "FROM --platform=linux/$TARGETARCH$TARGETVARIANT x\n", NULL },
		{ "FROM a AS scratch\nFROM scratch\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct plan_opts o = { .target = rows[i].target };
		auto_dockerfile struct dockerfile *d = NULL;
		auto_plan struct plan *p = NULL;
		struct err err = { 0 };

		if (make(rows[i].text, &o, &d, &p, &err) < 0)
			fail_msg("%s: %s", rows[i].text, err.msg);
	}
}

static void stages_are_found(void **state)
{
	struct plan_opts o = { 0 };
	auto_dockerfile struct dockerfile *d = NULL;
	auto_plan struct plan *p = NULL;
	struct err err = { 0 };

	(void)state;
	if (make("FROM x AS A\nFROM y AS b\nFROM z AS a\n", &o, &d, &p, &err) < 0 || !p) {
		fail_msg("%s", err.msg);
		return;
	}
	assert_int_equal(plan_stage_find(p, "a", 3), 2);
	assert_int_equal(plan_stage_find(p, "A", 2), 0);
	assert_int_equal(plan_stage_find(p, "1", 2), 1);
	assert_int_equal(plan_stage_find(p, "1", 1), -ENOENT);
	assert_int_equal(plan_stage_find(p, "b", 1), -ENOENT);
	assert_int_equal(plan_stage_find(p, "", 3), -ENOENT);
	assert_int_equal(plan_stage_find(p, "0", 0), -ENOENT);
	assert_int_equal(plan_stage_find(p, "3", 99), -ENOENT);
	assert_int_equal(p->target, 2);
	assert_true(p->stages[2].needed);
	assert_false(p->stages[0].needed);
}

static void global_args_are_chained(void **state)
{
	static const struct {
		const char *text, *given, *want;
	} rows[] = {
		{ "ARG a=1\nFROM x$a\n", NULL, "x1" },
		{ "ARG a=1\nFROM x$a\n", "a=2", "x2" },
		{ "ARG a=1\nARG b=$a-$a\nFROM x$b\n", NULL, "x1-1" },
		{ "ARG a=1\nARG b=$a\nFROM x$b\n", "a=2", "x2" },
		{ "ARG a=1 b=${a}2\nFROM x$b\n", NULL, "x12" },
		{ "ARG a\nFROM x$a\n", "a=2", "x2" },
		{ "ARG a\nFROM x${a:-d}\n", NULL, "xd" },
		{ "FROM x${a:-d}\n", "a=2", "xd" },
		{ "ARG a=\"q r\"\nFROM x${a%%?r}\n", NULL, "xq" },
		{ "ARG a=1\nARG a=2\nFROM x$a\n", NULL, "x2" },
		{ "ARG TARGETOS\nFROM x$TARGETOS\n", NULL, "xlinux" },
		{ "ARG TARGETOS=a\nFROM x$TARGETOS\n", NULL, "xa" },
		{ "FROM x-$TARGETSTAGE\n", NULL, "x-default" },
		{ "FROM 'a'\"b\"\n", NULL, "ab" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_strv struct strv args = { 0 };
		struct plan_opts o = { .build_args = &args };
		auto_dockerfile struct dockerfile *d = NULL;
		auto_plan struct plan *p = NULL;
		struct err err = { 0 };

		if (rows[i].given)
			strv_add(&args, rows[i].given);
		if (make(rows[i].text, &o, &d, &p, &err) < 0 || !p)
			fail_msg("%s: %s", rows[i].text, err.msg);
		else
			assert_string_equal(p->stages[0].base_ref, rows[i].want);
	}
}

/* Each argument doubles the one before it: the sum is bounded, not only each value. */
static void global_args_cannot_explode(void **state)
{
	struct plan_opts o = { 0 };
	auto_dockerfile struct dockerfile *d = NULL;
	auto_str struct str text = { 0 };
	struct plan *p = NULL;
	struct err err = { 0 };

	(void)state;
	str_add(&text, "ARG a0=0123456789abcdef\n");
	for (int i = 0; i < 16; i++)
		str_addf(&text, "ARG a%d=$a%d$a%d\n", i + 1, i, i);
	for (int i = 0; i < 1000; i++)
		str_addf(&text, "ARG b%d=$a16\n", i);
	str_add(&text, "FROM x\n");
	assert_int_equal(make(text.s, &o, &d, &p, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "arguments before the first FROM"));
	assert_null(p);
}

static void many_stages_are_fast_enough(void **state)
{
	struct plan_opts o = { 0 };
	auto_dockerfile struct dockerfile *d = NULL;
	auto_plan struct plan *p = NULL;
	auto_str struct str text = { 0 };
	struct err err = { 0 };

	(void)state;
	str_add(&text, "FROM x AS s0\n");
	for (int i = 1; i < 5000; i++)
		str_addf(&text, "FROM s%d AS s%d\n", i - 1, i);
	if (make(text.s, &o, &d, &p, &err) < 0 || !p)
		fail_msg("%s", err.msg);
	else
		assert_true(p->stages[0].needed);
}

int test_plan(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_files_agree),
		cmocka_unit_test(contexts_replace_images),
		cmocka_unit_test(contexts_replace_stages),
		cmocka_unit_test(names_of_contexts_are_those_of_images),
		cmocka_unit_test(bad_plans_are_refused),
		cmocka_unit_test(good_plans_pass),
		cmocka_unit_test(triggers_need_stages),
		cmocka_unit_test(stages_are_found),
		cmocka_unit_test(global_args_are_chained),
		cmocka_unit_test(global_args_cannot_explode),
		cmocka_unit_test(many_stages_are_fast_enough),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
