/* SPDX-License-Identifier: Apache-2.0 */
/* The words of networks: places, ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <shale/network.h>

static void test_join(void **state)
{
	auto_network_join struct network_join j = { 0 }, again = { 0 };
	auto_free char *text = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(0, network_join_parse("name=a,ip=10.0.0.1,alias=x,alias=y,"
					       "mac-address=02:00:00:00:00:0f",
					       &j, &err));
	assert_string_equal("a", j.network);
	assert_int_equal(2, j.aliases.n);
	text = network_join_text(&j);
	assert_string_equal("name=a,ip=10.0.0.1,mac-address=02:00:00:00:00:0f,alias=x,alias=y",
			    text);
	assert_int_equal(0, network_join_parse("plain", &again, &err));
	assert_string_equal("plain", again.network);
}

static void test_join_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"a b",
		"-a",
		"name=a,ip=10.0.0",
		"name=a,x=y",
		"ip=10.0.0.1",
		"a\nb",
		"name=a,mac-address=01:00:00:00:00:00",
		"name=a,alias=x\ty",
		"name=a,alias=",
		"name=a,name=b",
		"name=../x",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_network_join struct network_join j = { 0 };
		struct err err = { 0 };

		assert_true(network_join_parse(bad[i], &j, &err) < 0);
	}
}

static void check_port(const char *text, const char *want)
{
	struct network_port p = { 0 };
	struct err err = { 0 };
	char got[80] = "refused";

	if (network_port_parse(text, &p, &err) >= 0)
		snprintf(got, sizeof(got), "%s|%u|%u|%u|%s", p.address, p.host, p.port, p.n,
			 p.protocol);
	assert_string_equal(want, got);
}

static void test_port(void **state)
{
	(void)state;
	check_port("80", "|0|80|1|tcp");
	check_port("8080:80", "|8080|80|1|tcp");
	check_port("127.0.0.1:8080:80/udp", "127.0.0.1|8080|80|1|udp");
	check_port("127.0.0.1::80", "127.0.0.1|0|80|1|tcp");
	check_port("0.0.0.0:1-3:11-13", "|1|11|3|tcp");
	check_port("5-6/sctp", "|0|5|2|sctp");
}

static void test_port_refused(void **state)
{
	static const char *const bad[] = { "",      ":",       "0",     "65536", "80:",
					   "1-2:3", "3-1",     "a:80",  "x:1:2", "80/",
					   "80/xx", "1:2:3:4", "80/tc", "-1:80", "1-70000" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		check_port(bad[i], "refused");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_join_refused),
		cmocka_unit_test(test_port),
		cmocka_unit_test(test_port_refused),
	};

	return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
