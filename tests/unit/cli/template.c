/* SPDX-License-Identifier: Apache-2.0 */
#include "tests.h"

#include <errno.h>
#include <string.h>

#include "../../../runner/cli/priv.h"

static const char data[] =
	"{\"ID\":\"abc\",\"Size\":12,\"On\":true,\"Off\":false,\"None\":null,\"Empty\":\"\",\"List\":[\"a\",\"b\",\"c\"],"
	"\"Labels\":\"k=v,x=y\",\"Config\":{\"Env\":[\"A=1\"],\"Labels\":{\"com.example\":\"yes\",\"z\":\"1\",\"b\":\"2\"}}}";

static int run(const char *text, struct str *out, struct err *err)
{
	auto_template struct template *t = NULL;
	auto_json json_t *value = NULL;
	int rc = json_parse(data, sizeof(data) - 1, &value, err);

	if (rc >= 0)
		rc = template_parse(text, &t, err);
	return rc < 0 ? rc : template_run(t, value, out, err);
}

static void test_results(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "plain", "plain" },
		{ "{{.ID}}:{{.Size}} {{.On}}", "abc:12 true" },
		{ "{{ .Config.Env }}", "[A=1]" },
		{ "{{.Config.Labels}}", "map[b:2 com.example:yes z:1]" },
		{ "{{json .List}}", "[\"a\",\"b\",\"c\"]" },
		{ "{{json .ID}}", "\"abc\"" },
		{ "{{.Config.Env | json}}", "[\"A=1\"]" },
		{ "{{range .List}}<{{.}}>{{end}}", "<a><b><c>" },
		{ "{{range $i, $e := .List}}{{if $i}},{{end}}{{$e}}{{end}}", "a,b,c" },
		{ "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}",
		  "b=2;com.example=yes;z=1;" },
		{ "{{range .None}}x{{else}}none{{end}}", "none" },
		{ "{{if .Off}}a{{else if .On}}b{{else}}c{{end}}", "b" },
		{ "{{if .Empty}}a{{end}}.", "." },
		{ "{{with .Config}}{{index .Env 0}}{{$.ID}}{{end}}", "A=1abc" },
		{ "{{with .Empty}}x{{else}}y{{end}}", "y" },
		{ "{{index .Config.Labels \"com.example\"}}", "yes" },
		{ "[{{index .Config.Labels \"no\"}}]", "[]" },
		{ "[{{.Config.Labels.missing}}]", "[]" },
		{ "{{(index .List 1)}}", "b" },
		{ "{{join .List \", \"}}", "a, b, c" },
		{ "{{printf \"%s-%05d|%-4s|%q|%x\" .ID .Size \"z\" \"q\" 255}}",
		  "abc-00012|z   |\"q\"|ff" },
		{ "{{printf \"%.2s %v %%\" .ID .List}}", "ab [a b c] %" },
		{ "{{println .ID .Size}}", "abc 12\n" },
		{ "{{eq .ID \"abc\"}} {{eq .Size 1 12}} {{ne .ID \"x\"}}", "true true true" },
		{ "{{if and .On (eq .Size 12)}}y{{end}}{{if or .Off .Empty}}n{{end}}", "y" },
		{ "{{len .List}}{{len .ID}}{{not .On}}", "33false" },
		{ "{{lt .Size 13}}{{ge 3 3}}{{gt \"b\" \"a\"}}{{le 2 1}}", "truetruetruefalse" },
		{ "{{upper .ID}}{{title \"two words\"}}{{truncate .ID 2}}", "ABCTwo Wordsab" },
		{ "{{$x := .ID}}{{$x}}{{$x = \"n\"}}{{$x}}", "abcn" },
		{ "{{$x := 1}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "c" },
		{ "a  {{- .ID -}}  b", "aabcb" },
		{ "{{/* nothing */}}x", "x" },
		{ "{{.Label \"x\"}}{{.Label \"no\"}}", "y" },
		{ "{{.ID}}\\t{{.Size}}\\n", "abc\t12\n" },
		{ "{{`raw\\n`}}{{\"a\\tb\"}}", "raw\\na\tb" },
		{ "{{-3}}{{1.5}}{{true}}", "-31.5true" },
		{ "{{split \"a,b\" \",\"}}", "[a b]" },
		{ "{{.None}}", "<no value>" },
		{ "{{.List | len | printf \"%d items\"}}", "3 items" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_str struct str out = { 0 };
		struct err err = { 0 };

		if (run(cases[i].text, &out, &err) < 0)
			fail_msg("%s: %s", cases[i].text, err.msg);
		if (strcmp(str_get(&out), cases[i].want) != 0)
			fail_msg("%s: %s, not %s", cases[i].text, str_get(&out), cases[i].want);
	}
}

static void test_failures(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "{{.ID", "without }}" },
		{ "{{.Sizee}}", "did you mean Size?" },
		{ "{{.ID.More}}", "no fields" },
		{ "{{if .ID}}", "missing {{end}}" },
		{ "{{end}}", "unexpected {{end}}" },
		{ "{{else}}", "unexpected {{else}}" },
		{ "{{nope .}}", "no function nope" },
		{ "{{json}}", "wrong number" },
		{ "{{json . .}}", "wrong number" },
		{ "{{$y}}", "no variable $y" },
		{ "{{range .Size}}{{end}}", "no list" },
		{ "{{index .List 3}}", "out of range" },
		{ "{{index .List -1}}", "out of range" },
		{ "{{\"abc}}", "unterminated string" },
		{ "{{(.ID}}", "missing )" },
		{ "{{.ID .Size}}", "no function" },
		{ "{{}}", "empty command" },
		{ "{{.ID | }}", "empty command" },
		{ "{{printf \"%999999999d\" 1}}", "bad format" },
		{ "{{pad .ID 99999 0}}", "pad needs" },
		{ "{{lt .ID 3}}", "cannot be compared" },
		{ "{{/* x}}", "unterminated comment" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_str struct str out = { 0 };
		struct err err = { 0 };

		assert_true(run(cases[i].text, &out, &err) < 0);
		if (!strstr(err.msg, cases[i].message))
			fail_msg("%s: %s", cases[i].text, err.msg);
	}
}

static void test_depth(void **state)
{
	auto_str struct str text = { 0 }, out = { 0 };
	struct err err = { 0 };

	(void)state;
	str_add(&text, "{{");
	for (int i = 0; i < 10000; i++)
		str_addc(&text, '(');
	assert_int_equal(run(text.s, &out, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "deeply"));
	str_reset(&text);
	for (int i = 0; i < 1000; i++)
		str_add(&text, "{{if 1}}");
	assert_int_equal(run(text.s, &out, &err), -EINVAL);
}

/* Ranges in ranges make any amount of text. */
static void test_output_limit(void **state)
{
	auto_str struct str text = { 0 }, out = { 0 };
	struct err err = { 0 };

	(void)state;
	for (int i = 0; i < 30; i++)
		str_add(&text, "{{range $.List}}");
	str_add(&text, "0123456789");
	for (int i = 0; i < 30; i++)
		str_add(&text, "{{end}}");
	assert_int_equal(run(text.s, &out, &err), -EFBIG);
}

int run_template_tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_output_limit),
	};

	return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
