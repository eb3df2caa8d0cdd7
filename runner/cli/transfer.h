/* SPDX-License-Identifier: Apache-2.0 */
/* transfer: what pull and push show, and whence their credentials come. */
#ifndef SHALE_CLI_TRANSFER_H
#define SHALE_CLI_TRANSFER_H

#include <shale/image.h>

#include "priv.h"
#include "progress.h"

enum { TRANSFER_TEXT = 80 };

/* On a terminal a line a layer, drawn over; else a line an event, for people or as JSON. */
struct transfer_view {
	FILE *to;
	enum progress_kind kind;
	const char *verb; /* "Downloading", "Pushing" */
	int64_t drawn_ns;
	struct transfer_line {
		char id[13], text[TRANSFER_TEXT]; /* text: what became of it, "" while bytes come */
		uint64_t done, total, sample_done;
		int64_t sample_ns;
		double rate; /* bytes a second, of late */
	} * line;
	size_t n, cap, drawn; /* drawn: lines on the terminal that are gone over again */
};
void transfer_view_begin(struct transfer_view *v, FILE *to, enum progress_kind kind,
			 const char *verb);
void transfer_view_end(struct transfer_view *v); /* frees; what is on the terminal stays */
void transfer_view_event(const struct image_transfer_event *e, void *view);
/* For who draws the lines (view's i-th, without its end) itself: takes note of what e says of a
 * layer (id, no retry). */
struct transfer_line *transfer_view_take(struct transfer_view *v,
					 const struct image_transfer_event *e);
void transfer_view_put(struct transfer_view *v, size_t i, struct str *out);
/* A line of the command's own; as JSON {"event":event,key:text}. */
void transfer_view_say(struct transfer_view *v, const char *event, const char *key,
		       const char *text);
/* What others write a registry's images as: without docker:// */
const char *transfer_name(const char *name);
/* The same, normalised; the caller's. -EINVAL also for what is in no registry. */
int transfer_ref(const char *name, char **ret, struct err *err);
/* -q and --progress, for standard output. -EINVAL. */
int transfer_kind(const char *progress, bool quiet, enum progress_kind *ret, struct err *err);
/* Of commands whose standard output is for their result: shown on standard error, unasked only on a
 * terminal. -EINVAL. */
int transfer_view_aside(struct transfer_view *v, const char *progress, bool quiet, const char *verb,
			struct err *err);
struct image_watch transfer_watch(struct transfer_view *v);
#define PROGRESS_ASIDE_OPT(at)                                                                     \
	{                                                                                          \
		0, "progress", OPT_STR, at, "TYPE",                                                \
			"auto (on a terminal), tty, plain, json, quiet"                            \
	}

/* --tls-verify, the settings, and under sudo the caller's home where that is asked for. */
struct transfer_access {
	struct image_access access;
	struct image_trust trust;
	struct strv insecure, mirrors, accept, reject, signed_by, pin;
	char *home, *creds_for;
};
/* --creds, --authfile */
struct transfer_creds {
	const char *creds, *auth_file;
};
#define TRANSFER_CREDS_OPT(at)                                                                     \
	{                                                                                          \
		0, "creds", OPT_STR, (at) + offsetof(struct transfer_creds, creds),                \
			"USER:PASSWORD", "instead of those that login kept; others see them in ps" \
	}
#define TRANSFER_AUTHFILE_OPT(at)                                                                  \
	{                                                                                          \
		0, "authfile", OPT_STR, (at) + offsetof(struct transfer_creds, auth_file), "FILE", \
			"credentials are in that file, and in no other"                            \
	}
/* normalized: what they are for. -EINVAL, or the file's error. */
int transfer_access_as(struct transfer_access *a, const struct transfer_creds *c,
		       const char *normalized, struct err *err);
void transfer_access_free(struct transfer_access *a);
void transfer_access_make(const struct cli *c, bool tls_verify, struct transfer_access *ret);

/* ^C, SIGTERM, SIGHUP: what is half done is taken back first. */
volatile int *transfer_catch_signals(void);
/* For what comes after, which does not look: they end it. */
void transfer_leave_signals(void);

#endif
