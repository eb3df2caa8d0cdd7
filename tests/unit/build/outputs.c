/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <shale/build.h>

#include "tests.h"

static void parse(const char *text, struct build_output *ret)
{
	struct err err = { 0 };
	int rc = build_output_parse(text, ret, &err);

	assert_string_equal(err.msg, "");
	assert_int_equal(rc, 0);
}

static void test_kinds(void **state)
{
	static const struct {
		const char *text;
		enum build_output_kind kind;
		const char *dest;
		bool push;
	} cases[] = {
		{ "out", BUILD_OUT_LOCAL, "out", false },
		{ "-", BUILD_OUT_TAR, "-", false },
		{ "type=local,dest=a b", BUILD_OUT_LOCAL, "a b", false },
		{ "dest=x=y,type=tar", BUILD_OUT_TAR, "x=y", false },
		{ "type=tar", BUILD_OUT_TAR, "-", false },
		{ "type=oci,oci-mediatypes=true", BUILD_OUT_OCI, "-", false },
		{ "type=oci,dest=-", BUILD_OUT_OCI, "-", false },
		{ "type=docker", BUILD_OUT_DOCKER, NULL, false },
		{ "type=image,push=true", BUILD_OUT_IMAGE, NULL, true },
		{ "type=image,push=false", BUILD_OUT_IMAGE, NULL, false },
		{ "type=registry", BUILD_OUT_IMAGE, NULL, true },
		{ "type=cacheonly", BUILD_OUT_NOTHING, NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct build_output o = { 0 };

		parse(cases[i].text, &o);
		assert_int_equal(o.kind, cases[i].kind);
		assert_true(str_eq(o.dest, cases[i].dest));
		assert_int_equal(o.push, cases[i].push);
		build_output_free(&o);
	}
}

static void test_keys(void **state)
{
	struct build_output o = { 0 };

	(void)state;
	parse("type=image,\"name=a:1,b\",compression=uncompressed,annotation.k=v=w,"
	      "annotation-manifest.k2=,oci-mediatypes=true,force-compression=true,"
	      "rewrite-timestamp=true",
	      &o);
	assert_int_equal(o.names.n, 2);
	assert_string_equal(o.names.v[1], "b");
	assert_string_equal(o.codec, "none");
	assert_string_equal(strv_env_get(&o.annotations, "k"), "v=w");
	assert_string_equal(strv_env_get(&o.annotations, "k2"), "");
	assert_false(o.docker_types);
	build_output_free(&o);
	parse("type=oci,dest=d,tar=false,compression=zstd,compression-level=19", &o);
	assert_true(o.is_dir);
	assert_int_equal(o.level, 19);
	build_output_free(&o);
}

static void test_wrong(void **state)
{
	static const char *const cases[] = {
		"",
		"type=",
		"type=Local,dest=x",
		"type=local",
		"type=local,dest=",
		"type=oci,dest=-,tar=false",
		"type=image,dest=x",
		"type=local,dest=x,name=y",
		"type=image,push=yes",
		"type=image,push",
		"type=image,push-by-digest=true",
		"type=oci,oci-mediatypes=false,dest=x",
		"type=oci,tar=false",
		"type=local,dest=x,platform-split=2",
		"type=image,store=false",
		"type=docker,annotation.k=v",
		"type=image,force-compression=false",
		"type=image,rewrite-timestamp=false",
		"type=image,compression=gzip,compression-level=x",
		"type=image,oci-mediatypes=false,compression=zstd",
		"type=image,\"name=a",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct build_output o = { 0 };
		struct err err = { 0 };

		assert_int_equal(build_output_parse(cases[i], &o, &err), -EINVAL);
		assert_true(str_starts(err.msg, "--output "));
		assert_null(o.dest);
	}
}

static void test_annotations(void **state)
{
	struct build_output l = { 0 };
	struct err err = { 0 };

	(void)state;
	assert_int_equal(build_annotation_parse("a.b=c:d", &l, &err), 0);
	assert_int_equal(build_annotation_parse("manifest:e=f", &l, &err), 0);
	assert_string_equal(strv_env_get(&l.annotations, "a.b"), "c:d");
	assert_string_equal(strv_env_get(&l.annotations, "e"), "f");
	assert_int_equal(build_annotation_parse("index:e=g", &l, &err), 0);
	assert_int_equal(build_annotation_parse("index,manifest:b:o=th", &l, &err), 0);
	assert_string_equal(strv_env_get(&l.index_annotations, "e"), "g");
	assert_string_equal(strv_env_get(&l.index_annotations, "b:o"), "th");
	assert_string_equal(strv_env_get(&l.annotations, "b:o"), "th");
	assert_int_equal(build_annotation_parse("manifest-descriptor:e=f", &l, &err), -ENOTSUP);
	assert_int_equal(build_annotation_parse("manifest[linux/amd64]:e=f", &l, &err), -ENOTSUP);
	assert_int_equal(build_annotation_parse("e", &l, &err), -EINVAL);
	assert_int_equal(build_annotation_parse("manifest:=f", &l, &err), -EINVAL);
	assert_int_equal(l.annotations.n, 3);
	build_output_free(&l);
}

int test_outputs(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_annotations),
	};

	return cmocka_run_group_tests_name("outputs", tests, NULL, NULL);
}
