/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd is told of a container. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../../runner/oci/priv.h"

static void test_limits(void **state)
{
	static const struct {
		const char *file, *value, *want;
	} cases[] = {
		{ "memory.max", "67108864", "[[\"MemoryMax\",\"t\",67108864]]" },
		{ "memory.swap.max", "max", "[[\"MemorySwapMax\",\"t\",-1]]" },
		{ "memory.limit_in_bytes", "-1", "[[\"MemoryLimit\",\"t\",-1]]" },
		{ "pids.max", "44", "[[\"TasksMax\",\"t\",44]]" },
		{ "cpu.weight", "20", "[[\"CPUWeight\",\"t\",20]]" },
		{ "cpuset.cpus", "0-2,9", "[[\"AllowedCPUs\",\"ay\",[7,2]]]" },
		{ "cpuset.mems", "0", "[[\"AllowedMemoryNodes\",\"ay\",[1]]]" },
		{ "cpuset.cpus", "3-1", "[]" },
		{ "cpuset.cpus", "0-8192", "[]" },
		{ "cpuset.cpus", "x", "[]" },
		{ "cpu.max", "25000 50000",
		  "[[\"CPUQuotaPeriodUSec\",\"t\",50000],[\"CPUQuotaPerSecUSec\",\"t\",500000]]" },
		{ "cpu.max", "33333 100000",
		  "[[\"CPUQuotaPeriodUSec\",\"t\",100000],[\"CPUQuotaPerSecUSec\",\"t\",340000]]" },
		{ "cpu.max", "max 100000",
		  "[[\"CPUQuotaPeriodUSec\",\"t\",100000],[\"CPUQuotaPerSecUSec\",\"t\",-1]]" },
		{ "cpu.cfs_quota_us", "10000",
		  "[[\"CPUQuotaPeriodUSec\",\"t\",100000],[\"CPUQuotaPerSecUSec\",\"t\",100000]]" },
		{ "hugetlb.2MB.max", "4194304", "[]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sandbox_cgroup_write w = { .file = cases[i].file, .value = cases[i].value };
		auto_json json_t *to = json_array();
		auto_free char *text = NULL;

		oci_scope_limits(to, &w, 1);
		text = json_text(to);
		assert_string_equal(cases[i].want, text);
	}
}

static int properties(const char *annotation, json_t *to)
{
	struct oci_config c = { .slice = mem_str("a.slice") };
	struct err err = { 0 };
	int rc;

	c.json = json_pack("{s:{s:s,s:s}}", "annotations", "other", "(1, 2)",
			   "org.systemd.property.P", annotation);
	rc = oci_scope_properties(&c, -1, 7, to, &err);
	json_decref(c.json);
	free(c.slice);
	return rc;
}

static void test_annotations(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "true", "[\"P\",\"b\",true]" },
		{ "uint64 5000000", "[\"P\",\"t\",5000000]" },
		{ "uint64 18446744073709551615", "[\"P\",\"t\",-1]" },
		{ "uint32 4294967295", "[\"P\",\"u\",4294967295]" },
		{ "int32 7", "[\"P\",\"i\",7]" },
		{ "7", "[\"P\",\"i\",7]" },
		{ "'inactive-or-failed'", "[\"P\",\"s\",\"inactive-or-failed\"]" },
		{ "\"it's\"", "[\"P\",\"s\",\"it's\"]" },
		{ "['a', 'b']", "[\"P\",\"as\",[\"a\",\"b\"]]" },
		{ "[]", "[\"P\",\"as\",[]]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_json json_t *to = json_array();
		auto_free char *text = NULL;

		assert_int_equal(0, properties(cases[i].text, to));
		text = json_text(json_array_get(to, json_array_size(to) - 1));
		assert_string_equal(cases[i].want, text);
	}
}

static void test_annotations_refused(void **state)
{
	static const char *const bad[] = {
		"",         "(1, 2)", "-1",       "2147483648", "uint32 4294967296",
		"uint64 x", "'a",     "'a', 'b'", "[1]",        "['a', 1]",
		"null",     "{}",     "1.5",      "'a'] , ['b'"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_json json_t *to = json_array();

		assert_int_equal(-EINVAL, properties(bad[i], to));
	}
}

static void test_properties(void **state)
{
	auto_json json_t *to = json_array();
	auto_free char *text = NULL;

	(void)state;
	assert_int_equal(0, properties("1", to));
	text = json_text(to);
	assert_string_equal("[[\"Description\",\"s\",\"shale container \"],"
			    "[\"Slice\",\"s\",\"a.slice\"],[\"Delegate\",\"b\",true],"
			    "[\"DefaultDependencies\",\"b\",false],"
			    "[\"CollectMode\",\"s\",\"inactive-or-failed\"],"
			    "[\"MemoryAccounting\",\"b\",true],[\"CPUAccounting\",\"b\",true],"
			    "[\"TasksAccounting\",\"b\",true],[\"IOAccounting\",\"b\",true],"
			    "[\"PIDs\",\"au\",[7]],[\"P\",\"i\",1]]",
			    text);
}

static void check_name(const char *path, const char *slice, const char *unit)
{
	struct oci_config c = { 0 };
	struct err err = { 0 };
	int rc = oci_scope_name(&c, path, "id", &err);

	assert_int_equal(slice ? 0 : -err.code, rc);
	assert_true(slice || rc < 0);
	if (slice) {
		assert_string_equal(slice, c.slice);
		assert_string_equal(unit, c.unit);
	}
	free(c.slice);
	free(c.unit);
}

static void test_name(void **state)
{
	(void)state;
	check_name(NULL, "system.slice", "shale-id.scope");
	check_name("a-b.slice:pre:name", "a-b.slice", "pre-name.scope");
	check_name("a.slice::name", "a.slice", "name.scope");
	check_name("/p/q", NULL, NULL);
	check_name("a:b:c", NULL, NULL);
	check_name("a.slice:b:c.slice", NULL, NULL);
	check_name("a.slice:b:c/d", NULL, NULL);
	check_name("a.slice:b:", NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_annotations),
		cmocka_unit_test(test_annotations_refused),
		cmocka_unit_test(test_properties),
		cmocka_unit_test(test_name),
	};

	return cmocka_run_group_tests_name("oci", tests, NULL, NULL);
}
