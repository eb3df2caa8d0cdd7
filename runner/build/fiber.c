/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages side by side in one thread: each is a fiber with a stack of its own, and where one waits
 * for a process the others go on. So nothing is shared between threads (SQLite, rows, the plan), no
 * lock is needed, and the main thread alone clones, as pdeathsig wants it.
 */
#include "fiber.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <shale/base/mem.h>
#include <shale/base/proc.h>

/* Touched pages count, not these; deep trees are walked by recursion. */
enum { STACK_BYTES = 4 << 20, GUARD_BYTES = 64 << 10, IDLE_MS = 50, LONG_MS = 1000 };

struct fiber {
	ucontext_t ctx;
	fiber_fn *fn;
	void *arg;
	char *stack;
	int fd; /* waited for; -1: only for time or for others */
	int64_t until_ns;
	bool ready, ended;
	struct fiber *next;
};

struct fibers {
	ucontext_t home;
	struct fiber *first, **end;
	size_t n;
	struct fiber *running;
};

struct fibers *fibers_new(void)
{
	struct fibers *f = mem_alloc(sizeof(*f));

	f->end = &f->first;
	return f;
}

void fibers_free(struct fibers *f)
{
	if (!f)
		return;
	for (struct fiber *x = f->first, *next; x; x = next) {
		next = x->next;
		munmap(x->stack, STACK_BYTES);
		free(x);
	}
	free(f);
}

/* makecontext hands over ints only. */
static void fiber_main(unsigned high, unsigned low)
{
	struct fibers *f = (struct fibers *)((uintptr_t)high << 32 | low);
	struct fiber *me = f->running;

	me->fn(me->arg);
	me->ended = true;
}

int fibers_add(struct fibers *f, fiber_fn *fn, void *arg, struct err *err)
{
	uintptr_t self = (uintptr_t)f;
	struct fiber *n = mem_alloc(sizeof(*n));

	*n = (struct fiber){ .fn = fn, .arg = arg, .fd = -1, .ready = true };
	n->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	if (n->stack == MAP_FAILED || mprotect(n->stack, GUARD_BYTES, PROT_NONE) < 0 ||
	    getcontext(&n->ctx) < 0) {
		if (n->stack != MAP_FAILED)
			munmap(n->stack, STACK_BYTES);
		free(n);
		return err_sys(err, "a stack for a stage");
	}
	n->ctx.uc_stack.ss_sp = n->stack;
	n->ctx.uc_stack.ss_size = STACK_BYTES;
	n->ctx.uc_link = &f->home;
	makecontext(&n->ctx, (void (*)(void))fiber_main, 2, (unsigned)(self >> 32), (unsigned)self);
	*f->end = n;
	f->end = &n->next;
	f->n++;
	return 0;
}

/* All wait: until something that one of them waits for has come. */
static void wait_for_any(struct fibers *f)
{
	auto_free struct pollfd *p = mem_array(f->n, sizeof(*p));
	int64_t now = proc_mono_ns();
	int timeout_ms = LONG_MS;
	size_t i = 0;

	for (struct fiber *x = f->first; x; x = x->next, i++) {
		int64_t left = (x->until_ns - now) / 1000000;

		p[i] = (struct pollfd){ x->ended ? -1 : x->fd, POLLIN, 0 };
		if (x->fd < 0)
			left = IDLE_MS;
		if (!x->ended && left < timeout_ms)
			timeout_ms = left > 0 ? (int)left : 0;
	}
	poll(p, f->n, timeout_ms);
	now = proc_mono_ns();
	i = 0;
	for (struct fiber *x = f->first; x; x = x->next, i++)
		x->ready = x->fd < 0 || p[i].revents || now >= x->until_ns;
}

static void resume(struct fibers *f, struct fiber *next)
{
	f->running = next;
	swapcontext(&f->home, &next->ctx);
	f->running = NULL;
}

/* Whether one of them has moved. */
static bool run_ready(struct fibers *f)
{
	bool moved = false;

	for (struct fiber *x = f->first; x; x = x->next) {
		if (x->ended || !x->ready)
			continue;
		x->ready = false;
		resume(f, x);
		moved = moved || x->ended || x->fd >= 0;
	}
	return moved;
}

void fibers_run(struct fibers *f)
{
	bool alive = true;

	while (alive) {
		bool moved = run_ready(f);

		alive = false;
		for (struct fiber *x = f->first; x; x = x->next) {
			alive = alive || !x->ended;
			/* What waits for others looks again. */
			if (moved && x->fd < 0)
				x->ready = true;
		}
		if (alive && !moved)
			wait_for_any(f);
	}
}

int fiber_wait(struct fibers *f, int fd, int timeout_ms)
{
	struct fiber *me = f ? f->running : NULL;
	struct pollfd p = { fd, POLLIN, 0 };
	int saved;

	if (!me || fd < 0 || timeout_ms <= 0)
		return poll(&p, fd >= 0, timeout_ms);
	me->fd = fd;
	me->until_ns = proc_mono_ns() + (int64_t)timeout_ms * 1000000;
	saved = errno;
	swapcontext(&me->ctx, &f->home);
	errno = saved;
	me->fd = -1;
	return poll(&p, 1, 0);
}

void fiber_yield(struct fibers *f)
{
	struct fiber *me = f ? f->running : NULL;
	int saved = errno;

	if (me)
		swapcontext(&me->ctx, &f->home);
	errno = saved;
}
