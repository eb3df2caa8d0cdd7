/* SPDX-License-Identifier: Apache-2.0 */
/* The words of networks: places, ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <shale/network.h>

#include "../../../runner/network/priv.h"

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
		"name=a,ip6=10.0.0.1",
		"name=a,ip6=::1,ip6=::2",
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
	check_port("8000-8010:80", "|8000|80|1|tcp");
	check_port("[fd00::1]:8080:80", "fd00::1|8080|80|1|tcp");
	check_port("[fd00:0:0::1]::80/udp", "fd00::1|0|80|1|udp");
	check_port("[::]:1:2", "|1|2|1|tcp");
	check_port("[0::1]:1:2", "::1|1|2|1|tcp");
}

static void test_port_refused(void **state)
{
	static const char *const bad[] = {
		"",        ":",      "0",       "65536",    "80:",      "1-3:3-4",
		"3-1",     "a:80",   "x:1:2",   "80/",      "80/xx",    "1:2:3:4",
		"80/tc",   "-1:80",  "1-70000", "[::2]:80", "[::2:1:2", "[127.0.0.1]:1:2:3",
		"::2:1:2", "[]:1:2", "[::2]1:2"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		check_port(bad[i], "refused");
}

static void check_range(const char *text, const char *want)
{
	char base[NETWORK_SUBNET_MAX] = "refused", last[NETWORK_ADDRESS_MAX] = "";
	struct network_range r;

	if (network_range_parse(text, &r) >= 0) {
		struct network_address a = network_range_last(&r);

		network_range_text(&r, base);
		network_address_text(&a, last);
	}
	if (*last)
		snprintf(base + strlen(base), sizeof(base) - strlen(base), " %s", last);
	assert_string_equal(want, base);
}

static void test_range(void **state)
{
	(void)state;
	check_range("10.1.2.3/24", "10.1.2.0/24 10.1.2.255");
	check_range("0.0.0.0/0", "0.0.0.0/0 255.255.255.255");
	check_range("10.0.0.1/32", "10.0.0.1/32 10.0.0.1");
	check_range("fd00:1::5/64", "fd00:1::/64 fd00:1::ffff:ffff:ffff:ffff");
	check_range("::/0", "::/0 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	check_range("10.0.0.0/33", "refused");
	check_range("fd00::/129", "refused");
	check_range("fd00::", "refused");
	check_range("/8", "refused");
}

static void test_overlap(void **state)
{
	static const struct {
		const char *a, *b;
		bool yes;
	} cases[] = {
		{ "10.0.0.0/8", "10.2.0.0/16", true },     { "10.2.0.0/16", "10.0.0.0/8", true },
		{ "10.0.0.0/24", "10.0.1.0/24", false },   { "fd00::/8", "fd12::/64", true },
		{ "fd00::/64", "fd00:0:0:1::/64", false }, { "0.0.0.0/0", "::/0", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct network_range a, b;

		assert_int_equal(0, network_range_parse(cases[i].a, &a));
		assert_int_equal(0, network_range_parse(cases[i].b, &b));
		assert_int_equal(cases[i].yes, network_range_overlaps(&a, &b));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join),  cmocka_unit_test(test_join_refused),
		cmocka_unit_test(test_port),  cmocka_unit_test(test_port_refused),
		cmocka_unit_test(test_range), cmocka_unit_test(test_overlap),
	};

	return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
