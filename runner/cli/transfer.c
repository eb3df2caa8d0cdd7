/* SPDX-License-Identifier: Apache-2.0 */
/* One line an event; on a terminal a line a layer that is drawn over, with a bar, rate and time
 * left. */
#include "transfer.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <shale/base/proc.h>

#define SAMPLE_S 0.4

enum { BAR = 24, REDRAW_NS = 100000000 };

static volatile int interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };

volatile int *transfer_catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_LEN(sigs); i++)
		sigaction(sigs[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	return &interrupted;
}

void transfer_leave_signals(void)
{
	for (size_t i = 0; i < ARRAY_LEN(sigs); i++)
		signal(sigs[i], SIG_DFL);
	if (interrupted)
		raise(interrupted);
}

static int find_kind(const char *progress, bool quiet, int fd, enum progress_kind *ret,
		     struct err *err)
{
	const char *term = getenv("TERM");
	int rc = progress_parse(progress, fd, ret, err);

	if (rc >= 0 && quiet)
		*ret = PROGRESS_QUIET;
	if (*ret == PROGRESS_TTY && str_eq(progress, "auto") && str_eq(term, "dumb"))
		*ret = PROGRESS_PLAIN;
	return rc;
}

const char *transfer_name(const char *name)
{
	static const char scheme[] = "docker://";

	return str_starts(name, scheme) ? name + strlen(scheme) : name;
}

/* Where others put images besides registries; a repository may be called "dir" or "oci". */
static int check_transport(const char *name, struct err *err)
{
	static const struct {
		const char *prefix, *instead;
		bool is_word; /* only with a path behind it */
	} transports[] = {
		{ "docker-archive:", "save and load are for archives", false },
		{ "oci-archive:", "save --format oci-archive and load are for archives", false },
		{ "oci:", "save --format oci-dir and load -i DIRECTORY are for layouts", true },
		{ "dir:", "save --format oci-dir and load -i DIRECTORY are for directories", true },
		{ "docker-daemon:", "there is no daemon: docker load reads what save writes",
		  false },
		{ "containers-storage:", "podman load reads what save writes", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(transports); i++) {
		const char *rest = name + strlen(transports[i].prefix);

		if (!str_starts(name, transports[i].prefix))
			continue;
		if (!transports[i].is_word || *rest == '/' || *rest == '.')
			return err_set(err, EINVAL, "%.200s is in no registry: %s", name,
				       transports[i].instead);
	}
	return 0;
}

int transfer_ref(const char *name, char **ret, struct err *err)
{
	int rc = check_transport(name, err);

	return rc < 0 ? rc : image_ref_normalize(transfer_name(name), ret, err);
}

int transfer_kind(const char *progress, bool quiet, enum progress_kind *ret, struct err *err)
{
	return find_kind(progress, quiet, STDOUT_FILENO, ret, err);
}

int transfer_view_aside(struct transfer_view *v, const char *progress, bool quiet, const char *verb,
			struct err *err)
{
	enum progress_kind kind = PROGRESS_QUIET;
	int rc = find_kind(progress, quiet, STDERR_FILENO, &kind, err);

	if (kind == PROGRESS_PLAIN && str_eq(progress, "auto"))
		kind = PROGRESS_QUIET;
	transfer_view_begin(v, stderr, kind, verb);
	return rc;
}

struct image_watch transfer_watch(struct transfer_view *v)
{
	bool is_on = v->kind != PROGRESS_QUIET;

	return (struct image_watch){ .event = is_on ? transfer_view_event : NULL, .arg = v };
}

void transfer_view_begin(struct transfer_view *v, FILE *to, enum progress_kind kind,
			 const char *verb)
{
	*v = (struct transfer_view){ .to = to, .kind = kind, .verb = verb };
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
	*l = (struct transfer_line){ .sample_ns = proc_mono_ns() };
	snprintf(l->id, sizeof(l->id), "%s", id);
	return l;
}

/* What came lately counts most. */
static void take_sample(struct transfer_line *l, int64_t now)
{
	double seconds = (double)(now - l->sample_ns) / 1e9;
	double fresh;

	if (seconds < SAMPLE_S)
		return;
	fresh = l->done > l->sample_done ? (double)(l->done - l->sample_done) / seconds : 0;
	l->rate = l->rate > 0 ? l->rate * 0.6 + fresh * 0.4 : fresh;
	l->sample_ns = now;
	l->sample_done = l->done;
}

static void put_left(struct str *out, double seconds)
{
	unsigned s = seconds < 359999 ? (unsigned)seconds : 359999;

	if (s >= 3600)
		str_addf(out, " %uh%02um left", s / 3600, s / 60 % 60);
	else if (s >= 60)
		str_addf(out, " %um%02us left", s / 60, s % 60);
	else
		str_addf(out, " %us left", s);
}

static void put_bar(struct str *out, const struct transfer_line *l, const char *verb)
{
	uint64_t left = l->total > l->done ? l->total - l->done : 0;
	unsigned filled =
		l->total && left ? (unsigned)((double)l->done / (double)l->total * BAR) : BAR;
	char done[STR_SIZE_MAX], total[STR_SIZE_MAX], per_s[STR_SIZE_MAX];

	str_addf(out, "%s [%.*s>%*s] %s/%s", left ? verb : "Finishing", (int)filled,
		 "========================", (int)(BAR - filled), "", str_size(l->done, done),
		 str_size(l->total, total));
	if (l->rate < 1 || !left)
		return;
	str_addf(out, " %s/s", str_size((uint64_t)l->rate, per_s));
	put_left(out, (double)left / l->rate);
}

void transfer_view_put(struct transfer_view *v, size_t i, struct str *out)
{
	struct transfer_line *l = &v->line[i];

	take_sample(l, proc_mono_ns());
	str_addf(out, "%s: ", l->id);
	if (l->text[0])
		str_add(out, l->text);
	else
		put_bar(out, l, v->verb);
}

/* A line that is broken by the terminal could not be drawn over: it is cut. */
static void draw_line(struct transfer_view *v, size_t i, size_t columns)
{
	auto_str struct str out = { 0 };

	transfer_view_put(v, i, &out);
	fprintf(v->to, "\r\033[K%.*s\n", (int)(columns ? columns - 1 : 79), out.s);
}

/* Lines that have scrolled off cannot be drawn over: only as many as the terminal has. */
static void draw(struct transfer_view *v, bool force)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	int64_t now = proc_mono_ns();
	size_t from = 0;

	if (v->kind != PROGRESS_TTY || (!force && now - v->drawn_ns < REDRAW_NS))
		return;
	v->drawn_ns = now;
	ioctl(fileno(v->to), TIOCGWINSZ, &size);
	if (size.ws_row > 2 && v->n > (size_t)size.ws_row - 2)
		from = v->n - ((size_t)size.ws_row - 2);
	if (v->drawn)
		fprintf(v->to, "\033[%zuA", v->drawn);
	for (size_t i = from; i < v->n; i++)
		draw_line(v, i, size.ws_col);
	v->drawn = v->n - from;
	fflush(v->to);
}

static bool is_over(const struct image_transfer_event *e)
{
	return e->kind == IMAGE_TRANSFER_DONE || e->kind == IMAGE_TRANSFER_EXISTS;
}

struct transfer_line *transfer_view_take(struct transfer_view *v,
					 const struct image_transfer_event *e)
{
	struct transfer_line *l = line_of(v, e->id);

	if (e->kind == IMAGE_TRANSFER_BEGIN) {
		l->sample_done = e->done_bytes;
		l->text[0] = 0;
	}
	l->done = e->done_bytes;
	l->total = e->total_bytes;
	if (is_over(e))
		snprintf(l->text, sizeof(l->text), "%s", e->text ? e->text : "Done");
	return l;
}

static void on_layer(struct transfer_view *v, const struct image_transfer_event *e)
{
	const struct transfer_line *l = transfer_view_take(v, e);

	if (is_over(e) && v->kind == PROGRESS_PLAIN)
		fprintf(v->to, "%s: %s\n", e->id, l->text);
	draw(v, is_over(e));
}

/* What happens to one layer stands above the bars, what is said of the image below them. */
static void on_text(struct transfer_view *v, const struct image_transfer_event *e)
{
	if (v->drawn && e->kind == IMAGE_TRANSFER_RETRY)
		fprintf(v->to, "\033[%zuA\033[J", v->drawn);
	if (e->id)
		fprintf(v->to, "%s: ", e->id);
	fprintf(v->to, "%s%s\n", e->kind == IMAGE_TRANSFER_RETRY ? "Retrying: " : "", e->text);
	v->drawn = 0;
	if (e->kind == IMAGE_TRANSFER_RETRY)
		draw(v, true);
	else
		v->n = 0;
	fflush(v->to);
}

static void on_json(struct transfer_view *v, const struct image_transfer_event *e)
{
	static const char *const names[] = {
		[IMAGE_TRANSFER_TEXT] = "text",         [IMAGE_TRANSFER_BEGIN] = "begin",
		[IMAGE_TRANSFER_PROGRESS] = "progress", [IMAGE_TRANSFER_EXISTS] = "exists",
		[IMAGE_TRANSFER_DONE] = "done",         [IMAGE_TRANSFER_RETRY] = "retry"
	};
	auto_json json_t *j = json_object();
	auto_free char *line = NULL;

	json_object_set_new(j, "event", json_string(names[e->kind]));
	json_set_str(j, "id", e->id);
	json_set_str(j, "text", e->text);
	if (e->id && e->kind != IMAGE_TRANSFER_RETRY) {
		json_object_set_new(j, "current", json_integer((json_int_t)e->done_bytes));
		json_object_set_new(j, "total", json_integer((json_int_t)e->total_bytes));
	}
	line = json_text(j);
	fprintf(v->to, "%s\n", line);
	fflush(v->to);
}

void transfer_view_event(const struct image_transfer_event *e, void *view)
{
	struct transfer_view *v = view;

	if (v->kind == PROGRESS_QUIET)
		return;
	if (v->kind == PROGRESS_JSON)
		on_json(v, e);
	else if (e->id && e->kind != IMAGE_TRANSFER_RETRY)
		on_layer(v, e);
	else
		on_text(v, e);
}

void transfer_view_say(struct transfer_view *v, const char *event, const char *key,
		       const char *text)
{
	auto_json json_t *j = NULL;
	auto_free char *line = NULL;

	if (v->kind != PROGRESS_JSON) {
		fprintf(v->to, "%s\n", text);
		return;
	}
	j = json_object();
	json_object_set_new(j, "event", json_string(event));
	json_set_str(j, key, text);
	line = json_text(j);
	fprintf(v->to, "%s\n", line);
}

/* --- access --- */

void transfer_access_free(struct transfer_access *a)
{
	strv_free(&a->insecure);
	strv_free(&a->mirrors);
	strv_free(&a->accept);
	strv_free(&a->reject);
	strv_free(&a->signed_by);
	strv_free(&a->pin);
	free(a->home);
	free(a->creds_for);
}

int transfer_access_as(struct transfer_access *a, const struct transfer_creds *c,
		       const char *normalized, struct err *err)
{
	if (c->creds && (!strchr(c->creds, ':') || str_ends(c->creds, ":") || *c->creds == ':'))
		return err_set(err, EINVAL, "--creds: want USER:PASSWORD");
	if (c->auth_file && access(c->auth_file, R_OK) < 0)
		return err_sys(err, "--authfile %s", c->auth_file);
	free(a->creds_for);
	a->creds_for = mem_strn(normalized, strcspn(normalized, "/"));
	a->access.creds = c->creds;
	a->access.creds_for = a->creds_for;
	a->access.auth_file = c->auth_file;
	return 0;
}

static void split_words(const char *text, struct strv *ret)
{
	auto_strv struct strv words = { 0 };

	strv_split(&words, text, ' ');
	for (size_t i = 0; i < words.n; i++)
		if (*words.v[i])
			strv_add(ret, words.v[i]);
}

static void trust_make(const struct cli *c, struct transfer_access *a)
{
	split_words(c->settings.v[SETTING_TRUST_ACCEPT].value, &a->accept);
	split_words(c->settings.v[SETTING_TRUST_REJECT].value, &a->reject);
	split_words(c->settings.v[SETTING_TRUST_SIGNED].value, &a->signed_by);
	split_words(c->settings.v[SETTING_TRUST_PIN].value, &a->pin);
	a->trust = (struct image_trust){ .fallback = c->settings.v[SETTING_TRUST_DEFAULT].value,
					 .accept = &a->accept,
					 .reject = &a->reject,
					 .signed_by = &a->signed_by,
					 .pin = &a->pin };
	a->access.trust = &a->trust;
}

void transfer_access_make(const struct cli *c, bool tls_verify, struct transfer_access *ret)
{
	const char *uid_text = secure_getenv("SUDO_UID");
	uint64_t uid = 0;

	split_words(c->settings.v[SETTING_REGISTRY_INSECURE].value, &ret->insecure);
	split_words(c->settings.v[SETTING_REGISTRY_MIRRORS].value, &ret->mirrors);
	trust_make(c, ret);
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
