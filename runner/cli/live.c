/* SPDX-License-Identifier: Apache-2.0 */
#include "live.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <shale/base/proc.h>

enum {
	TAIL_LINES = 6,
	TAIL_BYTES = 16 << 10,
	LINE_BYTES = 1000,
	FRAME_NS = 100000000, /* and a step shorter than that is never in the block */
	ROWS = 24
};

/* A line that is longer than the terminal must not become two: it could not be drawn over. */
#define WRAP_OFF "\033[?7l"
#define WRAP_ON  "\033[?7h"
#define BELOW    "\033[J"
#define DIM      "\033[2m"
#define PLAIN    "\033[0m"

struct live {
	FILE *to;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t painter;
	bool painting, over;
	struct live_step *steps;
	size_t n, cap;
	size_t drawn; /* lines of the block that are on the terminal */
};

static void step_free(struct live_step *s)
{
	free(s->text);
	str_free(&s->part);
	str_free(&s->tail);
	transfer_view_end(&s->transfer);
}

/* --- what is shown of foreign bytes --- */

/* Past an escape sequence that begins at s (CSI, OSC, or one more byte). */
static const char *after_escape(const char *s, const char *end)
{
	if (++s == end)
		return s;
	if (*s == '[') {
		for (s++; s < end && ((unsigned char)*s < '@' || *s == 0x7f); s++)
			;
		return s < end ? s + 1 : s;
	}
	if (*s == ']') {
		for (s++; s < end && *s != '\a' && *s != '\033'; s++)
			;
		return s;
	}
	return s + 1;
}

/* C1 controls, as UTF-8 has them. */
static bool is_c1(const char *s, const char *end)
{
	return (unsigned char)*s == 0xc2 && s + 1 < end && (unsigned char)s[1] >= 0x80 &&
	       (unsigned char)s[1] < 0xa0;
}

/* What a terminal would show of a line after all its carriage returns, and nothing that it obeys.
 */
static void add_shown(struct str *out, const char *s, size_t n)
{
	const char *end = s + n;
	size_t from = out->len;

	while (s < end) {
		if (*s == '\033') {
			s = after_escape(s, end);
			continue;
		}
		if (*s == '\r' && s + 1 < end) {
			out->len = from;
		} else if (is_c1(s, end)) {
			s++;
		} else if (*s == '\t') {
			str_addc(out, ' ');
		} else if ((unsigned char)*s >= ' ' && *s != 0x7f) {
			str_addc(out, *s);
		}
		s++;
	}
}

static void cut_front(struct str *tail)
{
	size_t cut = tail->len - TAIL_BYTES;
	const char *nl = memchr(tail->s + cut, '\n', tail->len - cut);

	cut = nl ? (size_t)(nl + 1 - tail->s) : cut;
	memmove(tail->s, tail->s + cut, tail->len - cut + 1);
	tail->len -= cut;
}

static void end_line(struct live_step *s)
{
	add_shown(&s->tail, str_get(&s->part), s->part.len);
	str_addc(&s->tail, '\n');
	str_reset(&s->part);
	if (s->tail.len > 2 * (size_t)TAIL_BYTES)
		cut_front(&s->tail);
}

static void add_output(struct live_step *s, const char *text, size_t n)
{
	const char *end = text + n;

	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t room = LINE_BYTES - s->part.len;
		size_t len = (size_t)((nl ? nl : end) - text);

		if (len > room)
			nl = NULL;
		len = len > room ? room : len;
		str_addn(&s->part, text, len);
		text += len + (nl ? 1 : 0);
		if (nl || s->part.len >= LINE_BYTES)
			end_line(s);
	}
}

/* --- drawing --- */

static size_t rows_of(const struct live *l)
{
	struct winsize size = { .ws_row = ROWS };

	ioctl(fileno(l->to), TIOCGWINSZ, &size);
	return size.ws_row > 3 ? size.ws_row : ROWS;
}

/* The last lines of tail, at most n; how many there are. */
static size_t last_lines(const struct str *tail, size_t n, const char **ret)
{
	const char *s = str_get(tail), *p = s + tail->len;
	size_t found = 0;

	while (p > s && found < n) {
		const char *nl = memrchr(s, '\n', (size_t)(p - 1 - s));

		p = nl ? nl + 1 : s;
		found++;
	}
	*ret = p;
	return found;
}

static void put_row(struct str *out, const char *dim, const char *s, size_t n)
{
	str_addf(out, "%s", dim);
	str_addn(out, s, n);
	str_add(out, PLAIN "\n");
}

static size_t put_bars(struct str *out, struct live_step *s, size_t room)
{
	size_t from = s->transfer.n > room ? s->transfer.n - room : 0;

	for (size_t i = from; i < s->transfer.n; i++) {
		str_add(out, "    ");
		transfer_view_put(&s->transfer, i, out);
		str_addc(out, '\n');
	}
	return s->transfer.n - from;
}

static size_t put_tail(struct str *out, const struct live_step *s, size_t room)
{
	const char *p = NULL;
	size_t n = last_lines(&s->tail, room, &p);

	for (size_t i = 0; i < n; i++) {
		const char *nl = strchr(p, '\n');

		put_row(out, DIM "    | ", p, (size_t)(nl - p));
		p = nl + 1;
	}
	return n;
}

static size_t put_step(struct str *out, struct live_step *s, size_t room)
{
	char took[32];

	snprintf(took, sizeof(took), "%.1fs", (double)(proc_mono_ns() - s->started_ns) / 1e9);
	str_addf(out, "#%-3zu %7s [%zu/%zu] ", s->number, took, s->number, s->total);
	add_shown(out, s->text, strcspn(s->text, "\n"));
	str_addc(out, '\n');
	return 1 + (s->transfer.n ? put_bars(out, s, room) : put_tail(out, s, room));
}

static void erase(struct live *l, struct str *out)
{
	if (l->drawn)
		str_addf(out, "\r\033[%zuA" BELOW, l->drawn);
	l->drawn = 0;
}

/* One write: what is killed in between leaves no half of it. */
static void show(struct live *l, const struct str *out)
{
	fwrite(str_get(out), 1, out->len, l->to);
	fflush(l->to);
}

/* The terminal's lines are shared out evenly; steps that find none are not drawn. */
static void draw(struct live *l)
{
	auto_str struct str out = { 0 };
	size_t rows = rows_of(l) - 1, bars, tail;

	if (!l->n && !l->drawn)
		return;
	erase(l, &out);
	str_add(&out, WRAP_OFF);
	bars = l->n && rows / l->n > 1 ? rows / l->n - 1 : 0;
	tail = bars < TAIL_LINES ? bars : TAIL_LINES;
	for (size_t i = 0; i < l->n && i < rows; i++)
		l->drawn += put_step(&out, &l->steps[i], l->steps[i].transfer.n ? bars : tail);
	str_add(&out, WRAP_ON);
	show(l, &out);
}

static void *paint(void *arg)
{
	struct live *l = arg;
	struct timespec at;

	pthread_mutex_lock(&l->lock);
	while (!l->over) {
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_nsec += FRAME_NS;
		at.tv_sec += at.tv_nsec / 1000000000;
		at.tv_nsec %= 1000000000;
		if (pthread_cond_timedwait(&l->wake, &l->lock, &at) != 0 && !l->over)
			draw(l);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* Without a painter there is no block, and nothing else is lost. */
static void begin_painting(struct live *l)
{
	l->painting = proc_thread(&l->painter, paint, l) == 0;
}

struct live *live_new(FILE *to)
{
	struct live *l = mem_alloc(sizeof(*l));
	pthread_condattr_t attr;

	l->to = to;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &attr);
	pthread_condattr_destroy(&attr);
	return l;
}

void live_free(struct live *l)
{
	if (!l)
		return;
	live_lift(l);
	l->over = true;
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	if (l->painting)
		pthread_join(l->painter, NULL);
	for (size_t i = 0; i < l->n; i++)
		step_free(&l->steps[i]);
	free(l->steps);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* --- steps --- */

static struct live_step *find(const struct live *l, size_t number)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->steps[i].number == number)
			return &l->steps[i];
	return NULL;
}

const struct live_step *live_find(const struct live *l, size_t number)
{
	return find(l, number);
}

const struct live_step *live_at(const struct live *l, size_t i)
{
	return i < l->n ? &l->steps[i] : NULL;
}

void live_over(struct live *l, size_t number)
{
	struct live_step *s = find(l, number);

	if (!s)
		return;
	step_free(s);
	l->n--;
	memmove(s, s + 1, (size_t)(l->steps + l->n - s) * sizeof(*s));
}

static void begin_step(struct live *l, const struct build_event *e)
{
	live_over(l, e->step);
	mem_room(l->steps, l->n, l->cap);
	l->steps[l->n] = (struct live_step){ .number = e->step,
					     .total = e->total,
					     .text = mem_str(e->text),
					     .started_ns = proc_mono_ns() };
	transfer_view_begin(&l->steps[l->n].transfer, l->to, PROGRESS_TTY, "Downloading");
	l->n++;
}

void live_event(struct live *l, const struct build_event *e)
{
	struct live_step *s;

	if (e->kind == BUILD_STEP && !l->painting)
		begin_painting(l);
	pthread_mutex_lock(&l->lock);
	if (e->kind == BUILD_STEP)
		begin_step(l, e);
	s = find(l, e->step);
	if (s && e->kind == BUILD_OUTPUT)
		add_output(s, e->text, e->len);
	if (s && e->kind == BUILD_TRANSFER)
		transfer_view_take(&s->transfer, e->transfer);
	pthread_mutex_unlock(&l->lock);
}

void live_lift(struct live *l)
{
	auto_str struct str out = { 0 };

	pthread_mutex_lock(&l->lock);
	erase(l, &out);
	show(l, &out);
}

/* The painter puts the block back: many steps may end within one frame. */
void live_drop(struct live *l)
{
	pthread_mutex_unlock(&l->lock);
}
