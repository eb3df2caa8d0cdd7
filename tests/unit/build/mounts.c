/* SPDX-License-Identifier: Apache-2.0 */
/* RUN --mount: what is understood, what is refused and how. */
#include <errno.h>
#include <string.h>

#include "../../../runner/build/mount.h"
#include "tests.h"

static const char *lookup(const char *name, void *arg)
{
	(void)arg;
	return !strcmp(name, "DIR") ? "/srv" : !strcmp(name, "V") ? "two words" : NULL;
}

static void mounts_are_understood(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "target=/a", "type=bind,target=/a,ro" },
		{ "type=bind,src=b,dst=/a,rw", "type=bind,source=b,target=/a,rw" },
		{ "ro", "type=bind,target=.,ro" },
		{ "from=,target=/a", "type=bind,target=/a,ro" },
		{ "from=s,destination=/a,readwrite=false", "type=bind,from=s,target=/a,ro" },
		{ "TYPE=Bind,Target=/a,rw,ro", "type=bind,target=/a,ro" },
		{ "type=cache,target=/c/../d",
		  "type=cache,target=/c/../d,id=/d,sharing=shared,mode=0755,uid=0,gid=0" },
		{ "type=cache,target=$DIR/x,id=$V,sharing=locked,mode=700,uid=7,gid=8,ro",
		  "type=cache,target=/srv/x,id=two words,sharing=locked,mode=0700,uid=7,gid=8" },
		{ "type=cache,target=/a,id=../../etc",
		  "type=cache,target=/a,id=../../etc,sharing=shared,mode=0755,uid=0,gid=0" },
		{ "type=tmpfs,target=/t,size=1k", "type=tmpfs,target=/t,size=1024,rw" },
		{ "type=secret,id=a/b",
		  "type=secret,target=/run/secrets/b,id=a/b,mode=0400,uid=0,gid=0" },
		{ "type=secret,target=/x/key",
		  "type=secret,target=/x/key,id=key,mode=0400,uid=0,gid=0" },
		{ "type=secret,src=k,env=TOKEN,required",
		  "type=secret,id=k,env=TOKEN,mode=0400,uid=0,gid=0" },
		{ "type=ssh", "type=ssh,id=default,mode=0600,uid=0,gid=0" },
		{ "type=bind,\"source=a,b\",target=/\"q\"", "type=bind,source=a,b,target=/q,ro" },
	};
	const struct vars vars = { '\\', lookup, NULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_run_mount struct run_mount m = { 0 }, early = { 0 };
		auto_str struct str got = { 0 };
		struct err err = { 0 };

		if (mount_parse(rows[i].text, NULL, &early, &err) < 0 ||
		    mount_parse(rows[i].text, &vars, &m, &err) < 0)
			fail_msg("%s: %s", rows[i].text, err.msg);
		mount_text(&m, &got);
		assert_string_equal(str_get(&got), rows[i].want);
	}
}

static void bad_mounts_are_refused(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "type=cache", "cache needs a target" },
		{ "", "unknown key" },
		{ "type=nfs,target=/a", "type=nfs: want bind" },
		{ "type=cache,target=/a,sharing=all", "sharing=all: want shared" },
		{ "type=cache,target=/a,shraing=shared", "did you mean sharing?" },
		{ "type=cache,target", "target needs a value" },
		{ "type=tmpfs,target=/a,mode=1777", "tmpfs has no mode" },
		{ "type=tmpfs,target=/a,size=-1", "size=-1: want a size" },
		{ "type=bind,target=/a,sharing=locked", "bind has no sharing" },
		{ "type=secret", "secret needs an id or a target" },
		{ "type=secret,id=a,source=b", "give one" },
		{ "type=secret,id=a,env=A=B", "env=A=B: want" },
		{ "type=secret,id=a,from=b", "secret has no from" },
		{ "type=secret,id=a,mode=0888", "mode=0888: want an octal" },
		{ "type=cache,target=/a,uid=4294967295", "uid=4294967295: want" },
		{ "type=cache,target=/a,ro=maybe", "ro=maybe: want true or false" },
		{ "type=bind,target=/a,from=$DIR", "variables are not expanded here" },
		{ "type=bind,target=$NONE", "target=: want a path" },
		{ "type=bind,target=/a,bind-propagation=rshared", "unknown key bind-propagation" },
		{ "type=bind,\"target=/a", "quote is not closed" },
	};
	const struct vars vars = { '\\', lookup, NULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct run_mount m = { 0 };
		struct err err = { 0 };
		int rc = mount_parse(rows[i].text, &vars, &m, &err);

		if (rc != -EINVAL || !strstr(err.msg, rows[i].want))
			fail_msg("%s: want %s, got %d %s", rows[i].text, rows[i].want, rc, err.msg);
	}
}

int test_mounts(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mounts_are_understood),
		cmocka_unit_test(bad_mounts_are_refused),
	};

	return cmocka_run_group_tests_name("mounts", tests, NULL, NULL);
}
