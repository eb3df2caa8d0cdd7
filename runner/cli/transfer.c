/* SPDX-License-Identifier: Apache-2.0 */
/* One line an event; on a terminal a line a layer that is drawn over, with a bar, rate and time
 * left. */
#include "transfer.h"

#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <shale/base/proc.h>

enum { BAR = 24, REDRAW_NS = 100000000 };

static volatile int interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

volatile int *transfer_catch_signals(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_LEN(sigs); i++)
		sigaction(sigs[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	return &interrupted;
}

void transfer_view_begin(struct transfer_view *v, FILE *to, bool quiet)
{
	*v = (struct transfer_view){ .to = to, .quiet = quiet, .is_tty = isatty(fileno(to)) == 1 };
}

void transfer_view_end(struct transfer_view *v)
{
	free(v->line);
	*v = (struct transfer_view){ 0 };
}

static struct transfer_line *line_of(struct transfer_view *v, const char *id)
{
	struct transfer_line *l;

	for (size_t i = 0; i < v->n; i++)
		if (str_eq(v->line[i].id, id))
			return &v->line[i];
	mem_room(v->line, v->n, v->cap);
	l = &v->line[v->n++];
	*l = (struct transfer_line){ .start_ns = proc_mono_ns() };
	snprintf(l->id, sizeof(l->id), "%s", id);
	return l;
}

static void draw_bar(FILE *to, const struct transfer_line *l)
{
	double took = (double)(proc_mono_ns() - l->start_ns) / 1e9;
	uint64_t fresh = l->done > l->first_done ? l->done - l->first_done : 0;
	double rate = took > 0.2 ? (double)fresh / took : 0;
	unsigned filled = l->total ? (unsigned)(l->done * BAR / l->total) : 0;
	char done[STR_SIZE_MAX], total[STR_SIZE_MAX], per_s[STR_SIZE_MAX];

	filled = filled > BAR ? BAR : filled;
	fprintf(to, "%s: [%.*s>%*s] %s/%s", l->id, (int)filled,
		"========================", (int)(BAR - filled), "", str_size(l->done, done),
		str_size(l->total, total));
	if (rate > 0)
		fprintf(to, " %s/s %.0fs", str_size((uint64_t)rate, per_s),
			(double)(l->total - (l->done < l->total ? l->done : l->total)) / rate);
}

/* Lines that have scrolled off cannot be drawn over: only as many as the terminal has. */
static void draw(struct transfer_view *v, bool force)
{
	struct winsize size = { .ws_row = 24 };
	int64_t now = proc_mono_ns();
	size_t from = 0;

	if (!v->is_tty || (!force && now - v->drawn_ns < REDRAW_NS))
		return;
	v->drawn_ns = now;
	ioctl(fileno(v->to), TIOCGWINSZ, &size);
	if (size.ws_row > 2 && v->n > (size_t)size.ws_row - 2)
		from = v->n - ((size_t)size.ws_row - 2);
	if (v->drawn)
		fprintf(v->to, "\033[%zuA", v->drawn);
	for (size_t i = from; i < v->n; i++) {
		const struct transfer_line *l = &v->line[i];

		fputs("\r\033[K", v->to);
		if (l->text)
			fprintf(v->to, "%s: %s", l->id, l->text);
		else
			draw_bar(v->to, l);
		fputc('\n', v->to);
	}
	v->drawn = v->n - from;
	fflush(v->to);
}

static void on_layer(struct transfer_view *v, const struct image_transfer_event *e)
{
	static const char *const known[] = { "Already exists", "Pull complete", "Pushed",
					     "Layer already exists" };
	struct transfer_line *l = line_of(v, e->id);

	if (e->kind == IMAGE_TRANSFER_BEGIN)
		l->first_done = e->done_bytes;
	l->done = e->done_bytes;
	l->total = e->total_bytes;
	if (e->kind == IMAGE_TRANSFER_DONE || e->kind == IMAGE_TRANSFER_EXISTS) {
		l->text = e->kind == IMAGE_TRANSFER_DONE ? "Done" : known[0];
		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			if (str_eq(known[i], e->text))
				l->text = known[i];
		if (str_starts(e->text, "Mounted"))
			l->text = "Mounted";
		if (!v->is_tty)
			fprintf(v->to, "%s: %s\n", e->id, e->text);
	}
	draw(v, l->text != NULL);
}

void transfer_view_event(const struct image_transfer_event *e, void *view)
{
	struct transfer_view *v = view;

	if (v->quiet)
		return;
	if (e->id && e->kind != IMAGE_TRANSFER_RETRY) {
		on_layer(v, e);
		return;
	}
	if (e->id)
		fprintf(v->to, "%s: ", e->id);
	fprintf(v->to, "%s\n", e->text);
	v->drawn = 0;
	fflush(v->to);
}

/* --- access --- */

void transfer_access_free(struct transfer_access *a)
{
	strv_free(&a->insecure);
	strv_free(&a->mirrors);
	free(a->home);
}

static void split_words(const char *text, struct strv *ret)
{
	auto_strv struct strv words = { 0 };

	strv_split(&words, text, ' ');
	for (size_t i = 0; i < words.n; i++)
		if (*words.v[i])
			strv_add(ret, words.v[i]);
}

void transfer_access_make(const struct cli *c, bool tls_verify, struct transfer_access *ret)
{
	const char *uid_text = secure_getenv("SUDO_UID");
	uint64_t uid = 0;

	split_words(c->settings.v[SETTING_REGISTRY_INSECURE].value, &ret->insecure);
	split_words(c->settings.v[SETTING_REGISTRY_MIRRORS].value, &ret->mirrors);
	ret->access.insecure = &ret->insecure;
	ret->access.mirrors = &ret->mirrors;
	ret->access.skip_verify = !tls_verify;
	if (settings_bool(&c->settings, SETTING_REGISTRY_SUDO) && uid_text &&
	    str_to_u64(uid_text, 10, UINT32_MAX - 1, &uid) == 0) {
		const struct passwd *pw = getpwuid((uid_t)uid);

		ret->home = pw ? mem_str(pw->pw_dir) : NULL;
		ret->access.home = ret->home;
		ret->access.uid = (uint32_t)uid;
		ret->access.gid = pw ? pw->pw_gid : 0;
	}
}
