/* SPDX-License-Identifier: Apache-2.0 */
/* The build checks: which rule finds what on which line; what skips them; what --call prints. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../runner/build/check.h"
#include "tests.h"

struct world {
	struct dockerfile *d;
	struct plan *p;
	struct ignore *ignore;
	struct check_report report;
};

static void world_free(struct world *w)
{
	check_report_free(&w->report);
	plan_free(w->p);
	dockerfile_free(w->d);
	ignore_free(w->ignore);
}

static int make(struct world *w, const char *text, struct err *err)
{
	struct plan_opts o = { .look_only = true };
	int rc = dockerfile_parse("Dockerfile", text, strlen(text), &w->d, err);

	return rc < 0 ? rc : plan_make(w->d, &o, &w->p, err);
}

/* "Rule:LINE:COLUMN …" */
static char *found(const struct check_report *r)
{
	auto_str struct str b = { 0 };

	for (size_t i = 0; i < r->n; i++)
		str_addf(&b, "%s%s:%d:%d", i ? " " : "", r->v[i].rule, r->v[i].line,
			 r->v[i].column);
	return str_take(&b);
}

static void expect(const char *text, const struct check_opts *opts, const char *want)
{
	cleanup(world_free) struct world w = { 0 };
	struct check_opts o = opts ? *opts : (struct check_opts){ .all_stages = true };
	auto_free char *got = NULL;
	struct err err = { 0 };

	o.file_name = "Dockerfile";
	if (make(&w, text, &err) < 0 || check_run(w.d, w.p, &o, &w.report, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	got = found(&w.report);
	if (strcmp(got, want) != 0)
		fail_msg("%s: want %s, got %s", text, want, got);
}

static void rules_find(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "FROM a\nRUN x\n", "" },
		{ "FROM a AS Base\n", "StageNameCasing:1:11" },
		{ "FROM a as base\n", "FromAsCasing:1:8" },
		{ "from a as base\n", "" },
		{ "From a As base\n", "ConsistentInstructionCasing:1:1" },
		{ "from a AS base\n", "FromAsCasing:1:8" },
		{ "FROM a\nRUN x \\\n\n  y\n", "NoEmptyContinuation:3:1" },
		{ "FROM a\nRUN x \\\n# c\n  y\n", "" },
		{ "FROM a\nrun x\nRUN y\n", "ConsistentInstructionCasing:2:1" },
		{ "from a\nrun x\nRun y\nrun z\n", "ConsistentInstructionCasing:3:1" },
		{ "FROM a AS x\nFROM b AS x\n", "DuplicateStageName:2:11" },
		{ "FROM a AS scratch\n", "ReservedStageName:1:11" },
		{ "FROM a AS context\n", "ReservedStageName:1:11" },
		{ "FROM a\nCMD x y\n", "JSONArgsRecommended:2:1" },
		{ "FROM a\nENTRYPOINT x y\n", "JSONArgsRecommended:2:1" },
		{ "FROM a\nCMD [\"x\"]\nENTRYPOINT [\"y\"]\n", "" },
		/* who sets a SHELL wants one */
		{ "FROM a\nSHELL [\"/bin/bash\"]\nCMD x\n", "" },
		{ "FROM a AS b\nSHELL [\"/bin/bash\"]\nFROM b\nCMD x\n", "" },
		{ "FROM a\nMAINTAINER x\n", "MaintainerDeprecated:2:1" },
		{ "FROM a\nCMD [\"x\"]\nCMD [\"y\"]\n", "MultipleInstructionsDisallowed:2:1" },
		{ "FROM a\nENTRYPOINT [\"x\"]\nENTRYPOINT [\"y\"]\n",
		  "MultipleInstructionsDisallowed:2:1" },
		{ "FROM a\nHEALTHCHECK NONE\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n",
		  "MultipleInstructionsDisallowed:2:1 MultipleInstructionsDisallowed:3:1" },
		{ "FROM a\nCMD [\"x\"]\nFROM b\nCMD [\"x\"]\n", "" },
		{ "FROM a\nENV x y\nLABEL z w\n",
		  "LegacyKeyValueFormat:2:1 LegacyKeyValueFormat:3:1" },
		{ "FROM a\nRUN ['x']\n", "ExecFormInvalid:2:5" },
		{ "FROM a\nRUN [ -f x ]\n", "" },
		{ "FROM a\nCOPY [a, b]\n", "ExecFormInvalid:2:6" },
		{ "FROM a\nONBUILD RUN ['x']\n", "ExecFormInvalid:2:13" },
		/* FROM */
		{ "FROM a:${x}1\n", "UndefinedArgInFrom:1:10" },
		{ "ARG x=2\nFROM a:$x\n", "" },
		{ "ARG x\nFROM a:b$x\n", "" },
		{ "ARG x\nFROM a:$x\n", "InvalidDefaultArgInFrom:2:6" },
		{ "ARG y=$x\nARG x=1\nFROM a:${y:-2}\n", "" },
		{ "FROM --platform=$NOPE$TARGETPLATFORM a\n", "UndefinedArgInFrom:1:18" },
		{ "FROM --platform=$TARGETPLATFORM a\n", "RedundantTargetPlatform:1:17" },
		{ "FROM --platform=${TARGETPLATFORM} a\n", "RedundantTargetPlatform:1:17" },
		{ "FROM --platform=$BUILDPLATFORM a\n", "" },
		{ "FROM --platform=linux/$TARGETARCH a\n", "" },
		{ "FROM --platform=linux/arm64 a\n", "FromPlatformFlagConstDisallowed:1:17" },
		{ "FROM --platform=linux/arm64 a AS build_arm64\n", "" },
		{ "FROM --platform=linux/arm64 a AS linux-x\n", "" },
		{ "FROM --platform=arm64 a AS amd64\n", "FromPlatformFlagConstDisallowed:1:17" },
		/* variables: the image is not here and may have any */
		{ "FROM a\nENV x=$y\n", "" },
		{ "FROM a\nARG version=1\nENV x=$verison\n", "UndefinedVar:3:7" },
		{ "FROM a\nENV x=$GOPATH\n", "" },
		{ "FROM scratch\nENV x=$y\n", "UndefinedVar:2:7" },
		{ "FROM scratch\nCOPY ${y} /\nUSER $y\n", "UndefinedVar:2:8 UndefinedVar:3:6" },
		{ "FROM scratch\nENV x=$y$y\n", "UndefinedVar:2:7" },
		{ "FROM scratch\nENV x=$PATH:/y\n", "" },
		{ "FROM scratch\nENV x=${y:-1}${y-1}${z:+2}\n", "" },
		{ "FROM scratch\nARG y\nENV x=$y\n", "" },
		{ "FROM scratch\nENV y=1 x=$y\n", "UndefinedVar:2:11" },
		{ "FROM scratch\nENV y=1\nENV x=$y\nRUN $nope\nCMD [\"$no\"]\n", "" },
		{ "FROM scratch\nENV x='$y' z=\\$y\n", "" },
		{ "FROM scratch AS b\nENV y=1\nFROM b\nENV x=$y\n", "" },
		{ "ARG y=1\nFROM scratch\nENV x=$y\n", "UndefinedVar:3:7" },
		{ "FROM scratch\nENV x=$TARGETARCH\n", "UndefinedVar:2:7" },
		{ "FROM scratch\nARG TARGETARCH\nENV x=$TARGETARCH\n", "" },
		{ "FROM scratch\nCOPY <<E <<'F' /\n$y\nE\n$z\nF\n", "UndefinedVar:2:1" },
		/* paths and ports */
		{ "FROM a\nWORKDIR x\nWORKDIR y\n", "WorkdirRelativePath:2:9" },
		{ "FROM a\nWORKDIR /x\nWORKDIR y\n", "" },
		{ "FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR y\n", "" },
		{ "FROM a\nENV d=/x\nWORKDIR $d\n", "" },
		{ "FROM a\nEXPOSE 80/tcp 81/UDP\n", "ExposeProtoCasing:2:15" },
		{ "FROM a\nEXPOSE 80:80 1.2.3.4:80:80\n",
		  "ExposeInvalidFormat:2:8 ExposeInvalidFormat:2:14" },
		{ "FROM a\nARG npm_token\nENV PUBLIC_KEY=1 api_KEY=2 monkey=3\n",
		  "SecretsUsedInArgOrEnv:2:5 SecretsUsedInArgOrEnv:3:18" },
		{ "FROM a\nENV DB_PASSWORD_FILE=/x TOKEN_VERSION=1 AUTH=x\n",
		  "SecretsUsedInArgOrEnv:2:41" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(rows[i].text, NULL, rows[i].want);
}

static void rules_are_skipped(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "# check=skip=StageNameCasing\nFROM a AS B\nCMD x\n", "JSONArgsRecommended:3:1" },
		{ "# check=skip=StageNameCasing, JSONArgsRecommended\nFROM a AS B\nCMD x\n", "" },
		{ "# check=skip=all;error=true\nFROM a AS B\nCMD x\n", "" },
		{ "# check=skip=stagenamecasing\nFROM a AS B\n", "StageNameCasing:2:11" },
		/* above one instruction */
		{ "FROM a\n# check=skip=JSONArgsRecommended wanted\nCMD x\nENTRYPOINT y\n",
		  "JSONArgsRecommended:4:1" },
		{ "FROM a\n#  Check = skip=all\n# more\nCMD x\n", "" },
		{ "FROM a\n# check=skip=all\n\nCMD x\n", "JSONArgsRecommended:4:1" },
		{ "FROM a\n# check=skip=MaintainerDeprecated\n# check=skip=all\nCMD x\n",
		  "JSONArgsRecommended:4:1" },
		{ "FROM a\n# check=skip\nCMD x\n", "JSONArgsRecommended:3:1" },
		/* experimental */
		{ "FROM a\n# what\nARG x\n", "" },
		{ "# check=experimental=all\nFROM a\n# what\nARG x\n# x is it\nARG x\n# no\n\nARG x\n",
		  "InvalidDefinitionDescription:4:1" },
		{ "# check=experimental=InvalidDefinitionDescription\nFROM a\n# no\nFROM b AS c\n",
		  "InvalidDefinitionDescription:4:1" },
		{ "FROM a\n# check=experimental=all\n# what\nARG x\n",
		  "InvalidDefinitionDescription:4:1" },
	};
	auto_strv struct strv args = { 0 };
	struct check_opts o = { .all_stages = true, .build_args = &args };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect(rows[i].text, NULL, rows[i].want);
	strv_add(&args, "BUILDKIT_DOCKERFILE_CHECK=skip=MaintainerDeprecated");
	expect("# check=skip=JSONArgsRecommended\nFROM a\nCMD x\nMAINTAINER y\n", &o,
	       "JSONArgsRecommended:3:1");
}

static void options_are_read(void **state)
{
	static const char *const bad[] = { "skip", "skp=A", "error=maybe", "skip=A;nope" };
	static const char *const errors[] = { "error=true", "skip=A;error=1",
					      "error = T ;skip=all" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		cleanup(check_config_free) struct check_config c = { 0 };
		struct err err = { 0 };

		assert_int_equal(check_config_parse(bad[i], &c, &err), -EINVAL);
		assert_int_equal(err.code, EINVAL);
	}
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		cleanup(check_config_free) struct check_config c = { 0 };
		struct err err = { 0 };

		assert_int_equal(check_config_parse(errors[i], &c, &err), 0);
		assert_true(c.error);
	}
}

/* Images that are here, the ignore file, the target. */
static void surroundings_count(void **state)
{
	auto_strv struct strv env = { 0 };
	struct check_base base = { .env = &env, .os = "linux", .arch = "s390x", .has_shell = true };
	struct check_opts o = { .bases = &base, .all_stages = true };
	struct ignore *g = NULL;
	struct err err = { 0 };

	(void)state;
	strv_add(&env, "JAVA_HOME=/j");
	expect("FROM a\nENV x=$JAVA_HOME y=$nope\nCMD x\n", &o,
	       "InvalidBaseImagePlatform:1:6 UndefinedVar:2:20");
	expect("FROM --platform=linux/s390x a AS s390x\n", &o, "");
	o = (struct check_opts){ .all_stages = false };
	expect("FROM a\nCMD x\nFROM b\nCMD y\n", &o, "JSONArgsRecommended:4:1");
	assert_int_equal(ignore_parse("*.o\nsrc/gen\n", 12, &g, &err), 0);
	o = (struct check_opts){ .ignore = g, .all_stages = true };
	expect("FROM a\nCOPY x.o ./src/gen/a src /\nCOPY --from=b x.o /\nCOPY . /\n", &o,
	       "CopyIgnoredFile:2:6 CopyIgnoredFile:2:10");
	expect("FROM a\nENV f=y.o\nADD http://x/y.o $f /\nCOPY <<x.o /\nx.o\n", &o,
	       "CopyIgnoredFile:3:18");
	ignore_free(g);
	g = NULL;
	assert_int_equal(ignore_parse("*.o\n!x.o\n", 9, &g, &err), 0);
	o.ignore = g;
	expect("FROM a\nCOPY y.o /\n", &o, "");
	ignore_free(g);
}

static void messages_are_docker_s(void **state)
{
	cleanup(world_free) struct world w = { 0 };
	struct check_opts o = { .file_name = "Dockerfile", .all_stages = true };
	auto_free char *text = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(
		make(&w,
		     "# check=error=true\n"
		     "ARG version=1\nFROM a:$vresion AS Tool\nENV key value\nCMD [\"x\"]\ncmd x\n"
		     "ARG PATHS\nCOPY $PATHH /\n",
		     &err),
		0);
	assert_int_equal(check_run(w.d, w.p, &o, &w.report, &err), 0);
	assert_true(w.report.is_error);
	text = call_check(&w.report, "Dockerfile", false);
	assert_string_equal(
		text,
		"WARNING: StageNameCasing: Stage name 'Tool' should be lowercase (line 3)\n"
		"  3 | FROM a:$vresion AS Tool\n    |                    ^~~~\n\n"
		"WARNING: UndefinedArgInFrom: FROM argument 'vresion' is not declared (did you mean version?) (line 3)\n"
		"  3 | FROM a:$vresion AS Tool\n    |         ^~~~~~~\n\n"
		"WARNING: InvalidDefaultArgInFrom: Default value for ARG a:$vresion results in empty or invalid base image name (line 3)\n"
		"  3 | FROM a:$vresion AS Tool\n    |      ^~~~~~~~~~\n\n"
		"WARNING: LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format (line 4)\n"
		"  4 | ENV key value\n    | ^~~\n\n"
		"WARNING: SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"key\") (line 4)\n"
		"  4 | ENV key value\n    |     ^~~\n\n"
		"WARNING: MultipleInstructionsDisallowed: Multiple cmd instructions should not be used in the same stage because only the last one will be used (line 5)\n"
		"  5 | CMD [\"x\"]\n    | ^~~\n\n"
		"WARNING: ConsistentInstructionCasing: Command 'cmd' should match the case of the command majority (uppercase) (line 6)\n"
		"  6 | cmd x\n    | ^~~\n\n"
		"WARNING: JSONArgsRecommended: JSON arguments recommended for cmd to prevent unintended behavior related to OS signals (line 6)\n"
		"  6 | cmd x\n    | ^~~\n\n"
		"WARNING: UndefinedVar: Usage of undefined variable '$PATHH' (did you mean $PATHS?) (line 8)\n"
		"  8 | COPY $PATHH /\n    |      ^~~~~~\n\n"
		"Check complete, 9 warnings have been found in Dockerfile.\n");
}

static const char called[] = "# TAG what to take\nARG TAG=3\nARG unused\n"
			     "# base has the tools\nFROM alpine:$TAG AS base\nARG MODE=fast\n"
			     "RUN --mount=type=secret,target=/run/npm x\n"
			     "FROM scratch AS other\nARG HIDDEN\n"
			     "FROM base\n# LEVEL how much\nARG LEVEL\nARG TAG\n"
			     "RUN --mount=type=secret,id=pip,required --mount=type=ssh x\n";

static void calls_print(void **state)
{
	cleanup(world_free) struct world w = { 0 };
	auto_free char *outline = NULL, *targets = NULL, *json = NULL, *list = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(make(&w, called, &err), 0);
	outline = call_outline(w.d, w.p, false);
	assert_string_equal(outline, "TARGET:      (default)\n\n"
				     "BUILD ARG  VALUE  DESCRIPTION\n"
				     "TAG        3      what to take\n"
				     "MODE       fast\n"
				     "LEVEL             how much\n\n"
				     "SECRET  REQUIRED\nnpm\npip     true\n\n"
				     "SSH      REQUIRED\ndefault\n");
	targets = call_targets(w.d, w.p, false);
	assert_string_equal(targets, "TARGET            DESCRIPTION\n"
				     "base              has the tools\nother\n2 (default)\n");
	json = call_outline(w.d, w.p, true);
	assert_non_null(
		strstr(json, "\"name\": \"TAG\",\n            \"description\": \"what to take\""));
	assert_non_null(strstr(json, "\"required\": true"));
	list = call_targets(w.d, w.p, true);
	assert_non_null(strstr(list, "\"base\": \"alpine:$TAG\""));
	assert_non_null(strstr(list, "\"default\": true"));
}

int test_check(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_find),
		cmocka_unit_test(rules_are_skipped),
		cmocka_unit_test(options_are_read),
		cmocka_unit_test(surroundings_count),
		cmocka_unit_test(messages_are_docker_s),
		cmocka_unit_test(calls_print),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
