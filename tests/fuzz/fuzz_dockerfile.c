/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: the pure half of build over foreign text. The input is a Dockerfile; its first half is
 * also an ignore file and a pattern, its second half a path and a word.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <shale/build.h>

#include "../../runner/build/check.h"
#include "fuzz.h"

static const char *lookup(const char *name, void *arg)
{
	return *name == 'U' ? NULL : *name == 'N' ? "" : arg;
}

static void expand_all(const struct dockerfile *d, const char *value)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct df_inst *inst = &d->inst[i];
		auto_free char *again = inst->onbuild ? inst_trigger_text(inst) : NULL;
		struct df_inst *trigger = NULL;
		struct err err = { 0 };

		/* What is stored as a trigger must be readable again. */
		if (again && dockerfile_parse_line(again, d->escape, &trigger, &err) < 0)
			abort();
		df_inst_free(trigger);
		for (size_t k = 0; k < inst->args.n; k++) {
			auto_free char *word = NULL;
			auto_strv struct strv words = { 0 }, ports = { 0 };
			char *arg = mem_str(value);

			expand_word(inst->args.v[k], d->escape, lookup, arg, &word, &err);
			expand_words(inst->args.v[k], d->escape, lookup, arg, &words, &err);
			if (inst->kind == DF_EXPOSE && word)
				expose_parse(word, &ports, &err);
			free(arg);
		}
		for (size_t k = 0; k < inst->n_heredocs; k++) {
			auto_free char *body = NULL;
			char *arg = mem_str(value);

			expand_text(inst->heredocs[k].body, '\\', lookup, arg, &body, &err);
			free(arg);
		}
	}
}

static void patterns(const char *first, const char *second)
{
	struct ignore *g = NULL;
	struct err err = { 0 };
	auto_free char *out = NULL, *out2 = NULL;
	uint32_t mode;

	if (ignore_parse(first, strlen(first), &g, &err) == 0)
		ignore_match(g, second);
	ignore_free(g);
	glob_match(first, second);
	chmod_apply(first, 0644, false, &mode);
	pattern_trim(second, first, false, true, &out, &err);
	pattern_replace(second, first, "xy", true, &out2, &err);
}

static void checks(const struct dockerfile *d, const struct plan *p, const char *ignore)
{
	cleanup(check_report_free) struct check_report report = { 0 };
	struct check_opts o = { .file_name = "F", .all_stages = true };
	struct ignore *g = NULL;
	struct err err = { 0 };

	if (ignore_parse(ignore, strlen(ignore), &g, &err) == 0)
		o.ignore = g;
	err = (struct err){ 0 };
	if (check_run(d, p, &o, &report, &err) < 0 && !err.code)
		abort();
	for (size_t i = 0; i < report.n; i++)
		if (report.v[i].line < 1 || report.v[i].column < 1)
			abort();
	free(call_check(&report, "F", true));
	free(call_check(&report, "F", false));
	free(call_outline(d, p, true));
	free(call_outline(d, p, false));
	free(call_targets(d, p, true));
	free(call_targets(d, p, false));
	ignore_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = mem_strn((const char *)data, size);
	size_t len = strlen(text), half = len / 2;
	auto_free char *first = mem_strn(text, half);
	struct plan_opts o = { .file_name = "F",
			       .target = len % 2 ? NULL : "a",
			       .look_only = len % 3 };
	auto_dockerfile struct dockerfile *d = NULL;
	auto_plan struct plan *p = NULL;
	struct err err = { 0 };

	patterns(first, text + half);
	if (dockerfile_parse("F", text, len, &d, &err) < 0) {
		if (!err.code)
			abort();
		return 0;
	}
	expand_all(d, first);
	if (plan_make(d, &o, &p, &err) < 0) {
		if (!err.code)
			abort();
		return 0;
	}
	free(plan_text(p));
	checks(d, p, first);
	return 0;
}
