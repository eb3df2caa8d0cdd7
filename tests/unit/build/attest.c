/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../runner/build/attest.h"
#include "tests.h"

static void test_words(void **state)
{
	static const struct {
		const char *type, *text;
		enum build_provenance_mode mode;
		bool sbom;
		int rc;
	} cases[] = {
		{ "provenance", "true", BUILD_PROVENANCE_MAX, false, 0 },
		{ "provenance", "false", BUILD_PROVENANCE_NONE, false, 0 },
		{ "provenance", "mode=min", BUILD_PROVENANCE_MIN, false, 0 },
		{ "provenance", "mode=max,version=v1", BUILD_PROVENANCE_MAX, false, 0 },
		{ "provenance", "version=v0.2", 0, false, -EINVAL },
		{ "provenance", "mode=", 0, false, -EINVAL },
		{ "sbom", "1", BUILD_PROVENANCE_NONE, true, 0 },
		{ "sbom", "0", BUILD_PROVENANCE_NONE, false, 0 },
		{ "sbom", "generator=x", 0, false, -EINVAL },
		{ NULL, "type=sbom", BUILD_PROVENANCE_NONE, true, 0 },
		{ NULL, "type=sbom,disabled=true", BUILD_PROVENANCE_NONE, false, 0 },
		{ NULL, "type=provenance,mode=min", BUILD_PROVENANCE_MIN, false, 0 },
		{ NULL, "type=provenance", BUILD_PROVENANCE_MAX, false, 0 },
		{ NULL, "mode=min", 0, false, -EINVAL },
		{ NULL, "", 0, false, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct build_attest a = { 0 };
		struct err err = { 0 };

		assert_int_equal(build_attest_parse(cases[i].type, cases[i].text, &a, &err),
				 cases[i].rc);
		if (cases[i].rc < 0)
			continue;
		assert_int_equal(a.provenance, cases[i].mode);
		assert_int_equal(a.sbom, cases[i].sbom);
	}
}

static struct provenance example(const struct strv *args, const struct strv *secrets,
				 const struct strv *materials)
{
	static const struct strv none;

	return (struct provenance){ .here = "linux/amd64",
				    .target = "t",
				    .file_name = "Dockerfile",
				    .dockerfile = "ADD https://u:pw@h/f /\n",
				    .plan = "a https://u:pw@h/f\nb\n",
				    .tool = "1",
				    .build_args = args,
				    .labels = &none,
				    .secrets = secrets,
				    .ssh = &none,
				    .materials = materials };
}

static void test_provenance(void **state)
{
	auto_strv struct strv args = { 0 }, secrets = { 0 }, materials = { 0 };
	auto_free char *text = NULL, *more = NULL;
	struct provenance p;
	auto_json json_t *min = NULL, *max = NULL;

	(void)state;
	strv_add(&args, "URL=https://u:pw@h/");
	strv_add(&secrets, "token");
	material_add(&materials, "https://u:pw@h/z", "sha256:12");
	material_add(&materials, "https://h/z", "sha256:12");
	material_add(&materials, "https://h/a.git#v1", "0123456789012345678901234567890123456789");
	p = example(&args, &secrets, &materials);
	min = provenance_make(&p);
	text = json_text(min);
	assert_string_equal(
		text,
		"{\"buildDefinition\":{\"buildType\":\"urn:shale:dockerfile:1\","
		"\"externalParameters\":{\"configSource\":{\"path\":\"Dockerfile\"},\"request\":{"
		"\"frontend\":\"dockerfile.v0\",\"args\":{\"target\":\"t\"},\"locals\":[{\"name\":"
		"\"context\"},{\"name\":\"dockerfile\"}]}},\"internalParameters\":{"
		"\"builderPlatform\":\"linux/amd64\"},\"resolvedDependencies\":[{\"uri\":\"https://h/"
		"a.git#v1\",\"digest\":{\"sha1\":\"0123456789012345678901234567890123456789\"}},{"
		"\"uri\":\"https://h/z\",\"digest\":{\"sha256\":\"12\"}}]},\"runDetails\":{"
		"\"builder\":{\"id\":\"urn:shale:builder\",\"version\":{\"shale\":\"1\"}},"
		"\"metadata\":{\"startedOn\":\"1970-01-01T00:00:00Z\",\"finishedOn\":\"1970-01-"
		"01T00:00:00Z\",\"buildkit_reproducible\":false,\"buildkit_completeness\":{"
		"\"request\":false,\"resolvedDependencies\":false},\"buildkit_metadata\":{}}}}");
	p.is_max = true;
	max = provenance_make(&p);
	more = json_text(max);
	assert_non_null(strstr(more, "\"build-arg:URL\":\"https://h/\""));
	assert_non_null(strstr(more, "\"secrets\":[{\"id\":\"token\"}]"));
	assert_non_null(strstr(more, "\"plan\":[\"a https://h/f\",\"b\"]"));
	/* "ADD https://h/f /\n" */
	assert_non_null(strstr(more, "\"data\":\"QUREIGh0dHBzOi8vaC9mIC8K\""));
	assert_null(strstr(more, "pw"));
}

int test_attest(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_provenance),
	};

	return cmocka_run_group_tests_name("attest", tests, NULL, NULL);
}
