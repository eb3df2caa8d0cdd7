/* SPDX-License-Identifier: Apache-2.0 */
/* transfer: what pull and push show, and whence their credentials come. */
#ifndef SHALE_CLI_TRANSFER_H
#define SHALE_CLI_TRANSFER_H

#include <shale/image.h>

#include "priv.h"

enum { TRANSFER_SHOWN_MAX = 512 };

struct transfer_view {
	FILE *to;
	bool quiet, is_tty;
	int64_t drawn_ns;
	struct transfer_line {
		char id[13];
		const char *text; /* what became of it, or NULL while bytes come */
		uint64_t done, total, first_done;
		int64_t start_ns;
	} * line;
	size_t n, cap, drawn; /* drawn: lines on the terminal that are gone over again */
};
void transfer_view_begin(struct transfer_view *v, FILE *to, bool quiet);
void transfer_view_end(struct transfer_view *v); /* frees; what is on the terminal stays */
void transfer_view_event(const struct image_transfer_event *e, void *view);

/* --tls-verify, the settings, and under sudo the caller's home where that is asked for. */
struct transfer_access {
	struct image_access access;
	struct strv insecure, mirrors;
	char *home;
};
void transfer_access_free(struct transfer_access *a);
void transfer_access_make(const struct cli *c, bool tls_verify, struct transfer_access *ret);

/* ^C, SIGTERM, SIGHUP: what is half done is taken back first. */
volatile int *transfer_catch_signals(void);

#endif
