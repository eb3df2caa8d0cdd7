/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others wrote: tests/data/dockerfiles.txt, and in dockerfiles.plan for each its plan and what
 * the checks find, or why it is refused. SHALE_GOLDEN=write makes that file anew.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>

#include "../../../runner/build/check.h"
#include "tests.h"

#define TEXTS "tests/data/dockerfiles.txt"
#define PLANS "tests/data/dockerfiles.plan"

enum { BYTES_MAX = 4 << 20 };

static void add_checks(struct str *b, const struct dockerfile *d, const struct plan *p)
{
	cleanup(check_report_free) struct check_report report = { 0 };
	struct check_opts o = { .file_name = "Dockerfile", .all_stages = true };
	struct err err = { 0 };

	if (check_run(d, p, &o, &report, &err) < 0)
		str_addf(b, "check: %s\n", err.msg);
	for (size_t i = 0; i < report.n; i++)
		str_addf(b, "check %d:%d %s: %s\n", report.v[i].line, report.v[i].column,
			 report.v[i].rule, report.v[i].text);
}

/* Accepted? */
static bool add_plan(struct str *b, const char *text, size_t len)
{
	auto_dockerfile struct dockerfile *d = NULL;
	auto_plan struct plan *p = NULL;
	auto_strv struct strv args = { 0 };
	struct plan_opts o = { .look_only = true, .build_args = &args };
	auto_free char *plan = NULL;
	struct err err = { 0 };

	/* What many of them are given by the scripts that build them. */
	strv_add(&args, "BASE=given/base");
	strv_add(&args, "BASEIMAGE=given/baseimage");
	if (dockerfile_parse("Dockerfile", text, len, &d, &err) < 0 ||
	    plan_make(d, &o, &p, &err) < 0) {
		str_addf(b, "refused %s\n", err.msg);
		return false;
	}
	plan = plan_text(p);
	str_add(b, plan);
	add_checks(b, d, p);
	return true;
}

/* "==== PACKAGE PATH\n" and the text up to the next one. */
static const char *next(const char *s, const char **ret_title, size_t *ret_len)
{
	const char *head = str_starts(s, "==== ") ? s : strstr(s, "\n==== "), *end;

	if (!head)
		return NULL;
	head += *head == '\n';
	*ret_title = head;
	s = head + strcspn(head, "\n") + 1;
	end = str_starts(s, "==== ") ? s : strstr(s, "\n==== ");
	*ret_len = !end ? strlen(s) : (size_t)(end - s) + (*end == '\n');
	return s;
}

static void first_difference(const char *got, const char *want)
{
	size_t n = 0, line = 0;

	while (got[n] && got[n] == want[n]) {
		n++;
		if (got[n - 1] == '\n')
			line = n;
	}
	fail_msg(PLANS ": got %.*s, want %.*s", (int)strcspn(got + line, "\n"), got + line,
		 (int)strcspn(want + line, "\n"), want + line);
}

static void corpus_agrees(void **state)
{
	auto_free char *texts = NULL, *want = NULL;
	auto_str struct str got = { 0 };
	const char *s, *title;
	struct err err = { 0 };
	size_t len, accepted = 0;

	(void)state;
	/* Plans name the platform. */
	if (strcmp(plan_builtin_arg("TARGETARCH", NULL, NULL), "amd64") != 0)
		skip();
	assert_int_equal(fd_read_file(AT_FDCWD, TEXTS, BYTES_MAX, &texts, NULL, &err), 0);
	for (s = texts; (s = next(s, &title, &len)); s += len) {
		str_addn(&got, title, strcspn(title, "\n") + 1);
		accepted += add_plan(&got, s, len);
	}
	assert_true(accepted >= 300);
	if (getenv("SHALE_GOLDEN"))
		assert_int_equal(fd_write_file(AT_FDCWD, PLANS, str_get(&got), got.len, 0644, &err),
				 0);
	assert_int_equal(fd_read_file(AT_FDCWD, PLANS, BYTES_MAX, &want, NULL, &err), 0);
	if (strcmp(str_get(&got), want) != 0)
		first_difference(str_get(&got), want);
}

int test_corpus(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(corpus_agrees),
	};

	return cmocka_run_group_tests_name("corpus", tests, NULL, NULL);
}
