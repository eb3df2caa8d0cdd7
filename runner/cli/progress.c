/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/json.h>
#include <shale/base/mem.h>
#include <shale/base/proc.h>
#include <shale/image.h>

#include "live.h"

enum { LINE_MAX_BYTES = 4096, TEXT_MAX = 120, TAIL_BYTES = 16 << 10, ID_SHOWN = 12 };

int progress_parse(const char *name, int fd, enum progress_kind *ret, struct err *err)
{
	static const struct {
		const char *name;
		enum progress_kind kind;
	} kinds[] = { { "plain", PROGRESS_PLAIN },
		      { "tty", PROGRESS_TTY },
		      { "quiet", PROGRESS_QUIET },
		      { "json", PROGRESS_JSON },
		      { "rawjson", PROGRESS_JSON } };

	if (!strcmp(name, "auto")) {
		*ret = isatty(fd) ? PROGRESS_TTY : PROGRESS_PLAIN;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strcmp(name, kinds[i].name)) {
			*ret = kinds[i].kind;
			return 0;
		}
	return err_set(err, EINVAL, "--progress %s: want auto, tty, plain, quiet or json", name);
}

int progress_begin(struct progress *p, const char *name, struct err *err)
{
	int rc = progress_parse(name, STDERR_FILENO, &p->kind, err);

	p->start_ns = proc_mono_ns();
	return rc;
}

static const char *color(const struct progress *p, const char *code)
{
	return p->kind == PROGRESS_TTY ? code : "";
}

#define DIM    "\033[2m"
#define GREEN  "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN  "\033[0m"

/* "#3   0.1s ": step number and seconds since the start. */
static void head(const struct progress *p, const struct build_event *e)
{
	fprintf(stderr, "%s#%-3zu %6.1fs%s ", color(p, DIM), e->step,
		(double)(proc_mono_ns() - p->start_ns) / 1e9, color(p, PLAIN));
}

/* One line of the instruction, control characters shown as blanks. */
static void text(const char *s)
{
	size_t n = strlen(s), shown = n > TEXT_MAX ? TEXT_MAX : n;

	for (size_t i = 0; i < shown; i++)
		fputc((unsigned char)s[i] < ' ' ? ' ' : s[i], stderr);
	if (shown < n)
		fputs("...", stderr);
}

static void output_line(const struct progress *p, const struct build_event *e, const char *s,
			size_t n)
{
	head(p, e);
	fprintf(stderr, "%s|%s %.*s\n", color(p, DIM), color(p, PLAIN), (int)n, s);
}

static struct str *part_of(struct progress *p, size_t step)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->parts[i].step == step)
			return &p->parts[i].text;
	mem_room(p->parts, p->n, p->cap);
	p->parts[p->n] = (struct progress_part){ .step = step };
	return &p->parts[p->n++].text;
}

static void on_output(struct progress *p, const struct build_event *e)
{
	const char *s = e->text, *end = e->text + e->len;
	struct str *part = part_of(p, e->step);

	while (s < end) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		size_t n = (size_t)((nl ? nl : end) - s);

		str_addn(part, s, n);
		s += n + 1;
		if (!nl && part->len < LINE_MAX_BYTES)
			break;
		output_line(p, e, str_get(part), part->len);
		str_reset(part);
		if (!nl)
			s = end;
	}
}

static void flush_part(struct progress *p, const struct build_event *e)
{
	for (size_t i = 0; i < p->n; i++) {
		struct progress_part *part = &p->parts[i];

		if (part->step != e->step)
			continue;
		if (part->text.len)
			output_line(p, e, str_get(&part->text), part->text.len);
		str_free(&part->text);
		*part = p->parts[--p->n];
		return;
	}
}

static void on_result(struct progress *p, const struct build_event *e)
{
	bool cached = e->kind == BUILD_CACHED;
	char size[STR_SIZE_MAX];

	flush_part(p, e);
	head(p, e);
	if (cached)
		fprintf(stderr, "%sCACHED%s  ", color(p, GREEN), color(p, PLAIN));
	else
		fprintf(stderr, "%.2fs   ", (double)e->elapsed_ns / 1e9);
	fprintf(stderr, "%.*s", ID_SHOWN, str_starts(e->id, "sha256:") ? e->id + 7 : e->id);
	if (e->has_layer)
		fprintf(stderr, "  %s", str_size(e->size_bytes, size));
	fputc('\n', stderr);
}

static void on_step(struct progress *p, const struct build_event *e)
{
	head(p, e);
	fprintf(stderr, "[%zu/%zu] ", e->step, e->total);
	text(e->text);
	fputc('\n', stderr);
}

static void on_warning(struct progress *p, const struct build_event *e)
{
	fprintf(stderr, "%sWARNING:%s %s\n", color(p, YELLOW), color(p, PLAIN), e->text);
}

/* Names come from the context: nothing that a terminal would obey. */
static void on_explain(struct progress *p, const struct build_event *e)
{
	head(p, e);
	fprintf(stderr, "%swhy:%s ", color(p, YELLOW), color(p, PLAIN));
	for (const char *s = e->text; *s; s++)
		fputc((unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s, stderr);
	fputc('\n', stderr);
}

static void show(struct progress *p, const struct build_event *e)
{
	static void (*const shows[])(struct progress * p, const struct build_event *e) = {
		[BUILD_STEP] = on_step,       [BUILD_CACHED] = on_result,
		[BUILD_DONE] = on_result,     [BUILD_OUTPUT] = on_output,
		[BUILD_WARNING] = on_warning, [BUILD_EXPLAIN] = on_explain,
	};

	if (e->kind < ARRAY_LEN(shows))
		shows[e->kind](p, e);
}

static void step_line(struct progress *p, const struct live_step *s)
{
	struct build_event e = {
		.kind = BUILD_STEP, .step = s->number, .total = s->total, .text = s->text
	};

	on_step(p, &e);
}

/* On a terminal a step is two lines when it has ended; what it printed is in its log. */
static void show_live(struct progress *p, const struct build_event *e)
{
	const struct live_step *s;

	if (!p->live)
		p->live = live_new(stderr);
	live_event(p->live, e);
	if (e->kind == BUILD_STEP || e->kind == BUILD_OUTPUT || e->kind == BUILD_TRANSFER)
		return;
	live_lift(p->live);
	s = live_find(p->live, e->step);
	if (e->kind == BUILD_CACHED || e->kind == BUILD_DONE) {
		if (s)
			step_line(p, s);
		on_result(p, e);
		live_over(p->live, e->step);
	} else {
		show(p, e);
	}
	live_drop(p->live);
}

/* Of a step that failed its last output stays. */
static void show_failed(struct progress *p)
{
	const struct live_step *s;

	live_lift(p->live);
	for (size_t i = 0; (s = live_at(p->live, i)); i++) {
		struct build_event e = { .kind = BUILD_OUTPUT, .step = s->number };

		step_line(p, s);
		e.text = str_get(&s->tail);
		e.len = s->tail.len;
		on_output(p, &e);
		if (s->part.len)
			output_line(p, &e, str_get(&s->part), s->part.len);
	}
	live_drop(p->live);
}

/* Quiet: output is kept, and shown only if the build fails. */
static void keep_tail(struct progress *p, const struct build_event *e)
{
	if (e->kind != BUILD_OUTPUT)
		return;
	str_addn(&p->tail, e->text, e->len);
	if (p->tail.len > 2 * (size_t)TAIL_BYTES) {
		size_t cut = p->tail.len - TAIL_BYTES;

		memmove(p->tail.s, p->tail.s + cut, p->tail.len - cut + 1);
		p->tail.len -= cut;
	}
}

static void show_json(const struct build_event *e)
{
	static const char *const names[] = {
		[BUILD_STEP] = "step",        [BUILD_CACHED] = "cached",
		[BUILD_DONE] = "done",        [BUILD_OUTPUT] = "output",
		[BUILD_WARNING] = "warning",  [BUILD_EXPLAIN] = "explain",
		[BUILD_TRANSFER] = "transfer"
	};
	auto_json json_t *j = json_object();
	auto_free char *s = e->text ? mem_strn(e->text, e->len ? e->len : strlen(e->text)) : NULL;
	auto_free char *line = NULL;

	json_object_set_new(j, "event", json_string(names[e->kind]));
	json_object_set_new(j, "step", json_integer((json_int_t)e->step));
	json_object_set_new(j, "total", json_integer((json_int_t)e->total));
	json_set_str(j, "text", s);
	json_set_str(j, "id", e->id);
	if (e->kind == BUILD_CACHED || e->kind == BUILD_DONE) {
		json_object_set_new(j, "layer", json_boolean(e->has_layer));
		json_object_set_new(j, "size", json_integer((json_int_t)e->size_bytes));
		json_object_set_new(j, "elapsed_ns", json_integer(e->elapsed_ns));
	}
	if (e->kind == BUILD_TRANSFER) {
		json_set_str(j, "layer", e->transfer->id);
		json_object_set_new(j, "current",
				    json_integer((json_int_t)e->transfer->done_bytes));
		json_object_set_new(j, "size", json_integer((json_int_t)e->transfer->total_bytes));
	}
	line = json_text(j);
	fprintf(stderr, "%s\n", line);
}

static void show_lines(struct progress *p, const struct build_event *e)
{
	if (!p->is_buffered)
		setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
	p->is_buffered = true;
	show(p, e);
}

void progress_event(const struct build_event *e, void *progress)
{
	struct progress *p = progress;

	if (p->kind == PROGRESS_JSON)
		show_json(e);
	else if (p->kind == PROGRESS_QUIET)
		keep_tail(p, e);
	else if (p->kind == PROGRESS_TTY)
		show_live(p, e);
	else
		show_lines(p, e);
}

void progress_end(struct progress *p, const struct build_result *r)
{
	double took = (double)(proc_mono_ns() - p->start_ns) / 1e9;

	if (!r && p->live)
		show_failed(p);
	live_free(p->live);
	p->live = NULL;
	for (size_t i = 0; i < p->n; i++) {
		if (!r && p->parts[i].text.len)
			fprintf(stderr, "#%-3zu %s\n", p->parts[i].step,
				str_get(&p->parts[i].text));
		str_free(&p->parts[i].text);
	}
	free(p->parts);
	if (!r && p->tail.len)
		fprintf(stderr, "%s\n", str_get(&p->tail));
	if (r && p->kind == PROGRESS_QUIET)
		printf("%s%s", r->image_id, r->image_id[0] ? "\n" : "");
	else if (r && p->kind == PROGRESS_JSON)
		fprintf(stderr,
			"{\"event\":\"image\",\"id\":\"%s\",\"cached\":%zu,\"total\":%zu,\"build\":\"%s\"}\n",
			r->image_id, r->cached, r->steps, r->build_id);
	else if (r)
		fprintf(stderr, "%s in %.2fs, cached %zu of %zu, build %s\n",
			r->image_id[0] ? r->image_id : "no image", took, r->cached, r->steps,
			r->build_id);
	str_free(&p->tail);
}
