/* SPDX-License-Identifier: Apache-2.0 */
/* Properties as they are written to a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../../runner/scope/priv.h"

struct line {
	int pair[2];
	sd_bus *bus;
	sd_bus_message *m;
};

/* A message can be written as soon as there is a connection; nobody need answer. */
static int set_up(void **state)
{
	static struct line l;

	assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, l.pair));
	assert_true(sd_bus_new(&l.bus) >= 0 && sd_bus_set_fd(l.bus, l.pair[0], l.pair[0]) >= 0 &&
		    sd_bus_start(l.bus) >= 0);
	assert_true(sd_bus_message_new_method_call(l.bus, &l.m, "a.b", "/", "a.b", "C") >= 0);
	*state = &l;
	return 0;
}

static int tear_down(void **state)
{
	struct line *l = *state;

	sd_bus_message_unref(l->m);
	sd_bus_close_unref(l->bus);
	return close(l->pair[1]);
}

static int append(struct line *l, const char *text)
{
	auto_json json_t *properties = NULL;
	struct err err = { 0 };

	assert_int_equal(0, json_parse(text, strlen(text), &properties, &err));
	return scope_append(l->m, properties);
}

static void test_append(void **state)
{
	struct line *l = *state;
	const char *name, *text, *texts[2];
	const void *bytes = NULL;
	uint64_t n64 = 0;
	uint32_t n32 = 0;
	int32_t i = 0;
	size_t len = 0;
	int b = -1;

	assert_true(append(l, "[[\"S\",\"s\",\"text\"],[\"B\",\"b\",true],[\"N\",\"b\",false],"
			      "[\"T\",\"t\",-1],[\"U\",\"u\",4294967295],[\"I\",\"i\",-7],"
			      "[\"Y\",\"ay\",[7,255]],[\"A\",\"as\",[\"x\",\"y\"]],"
			      "[\"P\",\"au\",[9]]]") >= 0);
	assert_true(sd_bus_message_seal(l->m, 1, 0) >= 0);
	assert_string_equal("a(sv)", sd_bus_message_get_signature(l->m, true));
	assert_true(sd_bus_message_enter_container(l->m, 'a', "(sv)") > 0);
	assert_true(sd_bus_message_read(l->m, "(sv)", &name, "s", &text) > 0);
	assert_string_equal("S", name);
	assert_string_equal("text", text);
	assert_true(sd_bus_message_read(l->m, "(sv)", &name, "b", &b) > 0 && b == 1);
	assert_true(sd_bus_message_read(l->m, "(sv)", &name, "b", &b) > 0 && b == 0);
	assert_true(sd_bus_message_read(l->m, "(sv)", &name, "t", &n64) > 0);
	assert_true(n64 == UINT64_MAX);
	assert_true(sd_bus_message_read(l->m, "(sv)", &name, "u", &n32) > 0);
	assert_true(n32 == UINT32_MAX);
	assert_true(sd_bus_message_read(l->m, "(sv)", &name, "i", &i) > 0 && i == -7);
	assert_true(sd_bus_message_enter_container(l->m, 'r', "sv") > 0 &&
		    sd_bus_message_read(l->m, "s", &name) > 0 &&
		    sd_bus_message_enter_container(l->m, 'v', "ay") > 0 &&
		    sd_bus_message_read_array(l->m, 'y', &bytes, &len) > 0);
	assert_true(len == 2 && memcmp(bytes, "\x07\xff", 2) == 0);
	assert_true(sd_bus_message_exit_container(l->m) >= 0 &&
		    sd_bus_message_exit_container(l->m) >= 0);
	assert_true(sd_bus_message_read(l->m, "(sv)", &name, "as", 2, &texts[0], &texts[1]) > 0);
	assert_string_equal("x", texts[0]);
	assert_string_equal("y", texts[1]);
	assert_true(sd_bus_message_read(l->m, "(sv)", &name, "au", 1, &n32) > 0 && n32 == 9);
	assert_true(sd_bus_message_at_end(l->m, false) > 0);
}

static void test_append_refused(void **state)
{
	static const char *const bad[] = { "[[\"S\"]]", "[[\"S\",\"zz\",1]]", "[1]",
					   "[[\"S\",\"(s\",\"x\"]]", "[[\"S\",\"\",1]]" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (i)
			set_up(state);
		assert_true(append(*state, bad[i]) < 0);
		if (i + 1 < ARRAY_LEN(bad))
			tear_down(state);
	}
}

/* Nothing is asked of systemd for a plan that makes no sense. */
static void test_plans(void **state)
{
	static const char *const bad[] = { "{}", "{\"verb\":\"start\"}", "{\"unit\":\"a.scope\"}",
					   "{\"verb\":\"kill\",\"unit\":\"a.scope\"}" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		auto_json json_t *plan = NULL, *answer = json_object();
		struct err err = { 0 };

		assert_int_equal(0, json_parse(bad[i], strlen(bad[i]), &plan, &err));
		assert_int_equal(-EINVAL, scope_run(plan, answer, &err));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_append, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_append_refused, set_up, tear_down),
		cmocka_unit_test(test_plans),
	};

	return cmocka_run_group_tests_name("scope", tests, NULL, NULL);
}
