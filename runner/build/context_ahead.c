/* SPDX-License-Identifier: Apache-2.0 */
/*
 * While a RUN runs, what later COPYs and ADDs name is read by one thread, so that their keys are
 * there when it ends. The thread knows the files as the walk found them, and writes to its own
 * results only; the main thread takes those over when it has joined it.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <shale/base/path.h>
#include <shale/base/proc.h>

#include "context.h"

enum { NICE = 10 };

struct ahead {
	const struct context *c;
	struct context_file **todo;
	struct context_seen *seen; /* of the first n_done */
	size_t n, n_done;
	atomic_bool stop;
	pthread_t thread;
};

/* It shall not take the RUN's time where there is no core to spare. */
static void *read_main(void *arg)
{
	struct ahead *a = arg;
	cleanup(reader_close) struct reader r = { 0 };
	struct err ignored;

	reader_open(&r, &a->stop);
	setpriority(PRIO_PROCESS, 0, NICE); /* this thread's */
	for (; a->n_done < a->n && !atomic_load(&a->stop); a->n_done++)
		if (context_hash_one(a->c, a->todo[a->n_done], &r, &a->seen[a->n_done], &ignored) <
		    0)
			break; /* who wants it will say why */
	return NULL;
}

static void ahead_free(struct ahead *a)
{
	free(a->todo);
	free(a->seen);
	free(a);
}

void context_ahead_end(struct context *c)
{
	struct ahead *a = take(c->ahead);

	if (!a)
		return;
	atomic_store(&a->stop, true);
	pthread_join(a->thread, NULL);
	for (size_t i = 0; i < a->n_done; i++)
		context_file_seen(a->todo[i], &a->seen[i]);
	c->learned = c->learned || a->n_done;
	ahead_free(a);
}

/* --- what will be wanted --- */

/* The directory or file of a source, as far as that is known before anything is expanded; "" is
 * all. */
static char *known_part(const char *word)
{
	auto_free char *head = mem_strn(word, strcspn(word, "$*?[\\"));
	auto_free char *clean = NULL;
	char *slash = strrchr(head, '/');

	if (word[strlen(head)]) /* "src/ma*" is something in src */
		head[slash ? (size_t)(slash - head) : 0] = 0;
	clean = path_join("/", head);
	return mem_str(clean + 1);
}

static void add_sources(const struct df_inst *i, struct strv *to)
{
	if ((i->kind != DF_COPY && i->kind != DF_ADD) || inst_flag(i, "from"))
		return;
	for (size_t n = 0; n + 1 < i->args.n; n++)
		if (!inst_is_heredoc_word(i, i->args.v[n]))
			strv_add_take(to, known_part(i->args.v[n]));
}

static bool is_beneath(const char *path, const struct strv *roots)
{
	for (size_t i = 0; i < roots->n; i++) {
		size_t len = strlen(roots->v[i]);

		if (!len || (!strncmp(path, roots->v[i], len) && (!path[len] || path[len] == '/')))
			return true;
	}
	return false;
}

static void find_unread(struct context *c, const struct strv *roots, struct ahead *a)
{
	struct context_file *files;
	struct err ignored;
	size_t n, cap = 0;

	if (context_files(c, &files, &n, &ignored) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if (!is_beneath(files[i].path, roots) || !context_is_unread(c, &files[i]))
			continue;
		if (a->n == cap) {
			cap = cap ? 2 * cap : 64;
			a->todo = mem_grow(a->todo, cap, sizeof(struct context_file *));
		}
		a->todo[a->n++] = &files[i];
	}
}

static void begin(struct context *c, struct ahead *a)
{
	a->c = c;
	a->seen = mem_array(a->n, sizeof(*a->seen));
	if (proc_thread(&a->thread, read_main, a) < 0)
		ahead_free(a);
	else
		c->ahead = a;
}

void context_read_ahead(struct build *b)
{
	auto_strv struct strv roots = { 0 };
	struct ahead *a;

	if (!b->context || b->context->ahead || b->context->is_read)
		return;
	for (size_t i = 0; i < b->plan->n; i++)
		for (size_t n = 0; b->plan->stages[i].needed && n < b->plan->stages[i].n_inst; n++)
			add_sources(&b->plan->stages[i].inst[n], &roots);
	a = mem_alloc(sizeof(*a));
	if (roots.n)
		find_unread(b->context, &roots, a);
	b->context->is_read = !a->n;
	if (a->n)
		begin(b->context, a);
	else
		ahead_free(a);
}
