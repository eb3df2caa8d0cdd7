/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A filter of libseccomp's in a quarter of its instructions. The kernel checks, converts and
 * compiles each of them for every process that gets the filter: 1,234 of them are a twentieth of a
 * start.
 *
 * libseccomp compares the number of the call with that of every rule. What comes of a number is one
 * of a few results for long ranges of numbers: the filter is run for one number of each range (the
 * numbers that it compares with are the ranges' ends), and ranges with one result become one. Where
 * an argument is looked at, its code is taken over as it is. At the end both filters are run for
 * every range; unless all results are the same, and for whatever is not understood, the filter
 * stays as it was.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <linux/audit.h>
#include <linux/seccomp.h>

#include "priv.h"

enum {
	LOAD = BPF_LD | BPF_W | BPF_ABS,
	AND = BPF_ALU | BPF_AND | BPF_K,
	RETURN = BPF_RET | BPF_K,
	JUMP = BPF_JMP | BPF_JA,
	EQ = BPF_JMP | BPF_JEQ | BPF_K,
	GT = BPF_JMP | BPF_JGT | BPF_K,
	GE = BPF_JMP | BPF_JGE | BPF_K,
	SET = BPF_JMP | BPF_JSET | BPF_K,
	OF_NR = offsetof(struct seccomp_data, nr),
	OF_ARCH = offsetof(struct seccomp_data, arch),
	ARCHS_MAX = 8,
	FAR = 250,  /* a comparison's jump reaches 255 */
	NEAR = 100, /* a return is made again rather than jumped far for */
	NOWHERE = -1,
};

struct filter {
	const struct sock_filter *f;
	size_t n;
};

struct result {
	bool returns;
	uint32_t k; /* what it returns; else where an argument is loaded */
};

struct range {
	uint32_t from;
	struct result result;
};

static bool is_comparison(uint16_t code)
{
	return code == EQ || code == GT || code == GE || code == SET;
}

static bool holds(const struct sock_filter *i, uint32_t a)
{
	return i->code == EQ   ? a == i->k
	       : i->code == GT ? a > i->k
	       : i->code == GE ? a >= i->k
			       : (a & i->k) != 0;
}

/* Only of filters that understand() has found well. */
static struct result run(struct filter p, uint32_t arch, uint32_t nr)
{
	uint32_t a = 0;
	size_t at = 0;

	for (;;) {
		const struct sock_filter *i = &p.f[at++];

		if (i->code == RETURN)
			return (struct result){ true, i->k };
		if (i->code == LOAD && i->k != OF_NR && i->k != OF_ARCH)
			return (struct result){ false, (uint32_t)at - 1 };
		if (i->code == LOAD)
			a = i->k == OF_NR ? nr : arch;
		else if (i->code == JUMP)
			at += i->k;
		else
			at += holds(i, a) ? i->jt : i->jf;
	}
}

/* --- what it compares with --- */

struct known {
	uint32_t archs[ARCHS_MAX + 1]; /* and one that is none of them */
	size_t n_archs;
	uint32_t *ends; /* where a range may begin */
	size_t n_ends;
};

#define auto_known cleanup(known_free)
static void known_free(struct known *k)
{
	free(k->ends);
}

enum { UNSEEN, NR, ARCH, ARGUMENT, MIXED };

static int note(struct known *k, const struct sock_filter *i, int what)
{
	if (what == ARGUMENT)
		return 0;
	if (what == NR && i->code != SET) {
		k->ends[k->n_ends++] = i->k;
		k->ends[k->n_ends++] = i->k < UINT32_MAX ? i->k + 1 : i->k;
		return 0;
	}
	if (what != ARCH || i->code != EQ)
		return -ENOTSUP;
	for (size_t n = 0; n < k->n_archs; n++)
		if (k->archs[n] == i->k)
			return 0;
	if (k->n_archs == ARCHS_MAX)
		return -ENOTSUP;
	k->archs[k->n_archs++] = i->k;
	return 0;
}

static void flow(uint8_t *what, size_t n, size_t to, uint8_t is, bool *fits)
{
	if (to >= n)
		*fits = false;
	else
		what[to] = what[to] == UNSEEN || what[to] == is ? is : MIXED;
}

/* Jumps only go forward: at each instruction all ways to it are known. */
static int understand(struct filter p, struct known *k)
{
	auto_free uint8_t *what = mem_array(p.n, 1);
	bool fits = true;
	int rc = 0;

	memset(what, UNSEEN, p.n);
	k->ends = mem_array(2 * p.n + 1, sizeof(*k->ends));
	k->ends[k->n_ends++] = 0;
	what[0] = MIXED;
	for (size_t i = 0; i < p.n && rc == 0 && fits; i++) {
		const struct sock_filter *f = &p.f[i];
		uint8_t is = f->code != LOAD   ? what[i]
			     : f->k == OF_NR   ? NR
			     : f->k == OF_ARCH ? ARCH
					       : ARGUMENT;

		if (what[i] == UNSEEN || f->code == RETURN)
			continue;
		if (is_comparison(f->code)) {
			rc = note(k, f, what[i]);
			flow(what, p.n, i + 1 + f->jt, is, &fits);
			flow(what, p.n, i + 1 + f->jf, is, &fits);
		} else if (f->code == JUMP) {
			fits &= f->k < p.n;
			flow(what, p.n, i + 1 + f->k % p.n, is, &fits);
		} else if (f->code == LOAD || (f->code == AND && what[i] == ARGUMENT)) {
			flow(what, p.n, i + 1, is, &fits);
		} else {
			rc = -ENOTSUP;
		}
	}
	return fits ? rc : -EINVAL;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void complete(struct known *k)
{
	uint32_t other = 0;

	qsort(k->ends, k->n_ends, sizeof(*k->ends), by_value);
	for (size_t i = 0; i < k->n_archs; i++)
		for (size_t j = 0; j < k->n_archs; j++)
			other += other == k->archs[j];
	k->archs[k->n_archs++] = other;
}

/* --- the new one, from its end to its beginning: what is jumped to is there already --- */

struct made {
	struct filter of;
	struct sock_filter *f; /* the last one first */
	size_t n, cap;
	int *at; /* of the old filter's instructions that were taken over: here, or NOWHERE */
	bool is_full;
};

static size_t put(struct made *m, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (m->n == m->cap) {
		m->is_full = true;
		return 0;
	}
	m->f[m->n] = (struct sock_filter){ code, jt, jf, k };
	return m->n++;
}

/* What the next instruction can jump to. */
static size_t reach(struct made *m, size_t to)
{
	return m->n - to <= FAR ? to : put(m, JUMP, 0, 0, (uint32_t)(m->n - to - 1));
}

static void follow(struct made *m, size_t to)
{
	if (to + 1 != m->n)
		put(m, JUMP, 0, 0, (uint32_t)(m->n - to - 1));
}

static size_t compare(struct made *m, uint16_t code, uint32_t k, size_t yes, size_t no)
{
	yes = reach(m, yes);
	no = reach(m, no);
	return put(m, code, (uint8_t)(m->n - yes - 1), (uint8_t)(m->n - no - 1), k);
}

static size_t put_return(struct made *m, uint32_t k)
{
	for (size_t i = 1; i <= NEAR && i <= m->n; i++)
		if (m->f[m->n - i].code == RETURN && m->f[m->n - i].k == k)
			return m->n - i;
	return put(m, RETURN, 0, 0, k);
}

static size_t take_over(struct made *m, size_t i)
{
	const struct sock_filter *f = &m->of.f[i];
	size_t yes;

	if (m->at[i] != NOWHERE || m->is_full)
		return m->at[i] == NOWHERE ? 0 : (size_t)m->at[i];
	if (f->code == RETURN)
		return put_return(m, f->k);
	if (f->code == JUMP)
		return take_over(m, i + 1 + f->k);
	if (is_comparison(f->code)) {
		yes = take_over(m, i + 1 + f->jt);
		m->at[i] = (int)compare(m, f->code, f->k, yes, take_over(m, i + 1 + f->jf));
	} else {
		follow(m, take_over(m, i + 1));
		m->at[i] = (int)put(m, f->code, 0, 0, f->k);
	}
	return (size_t)m->at[i];
}

static size_t put_result(struct made *m, struct result r)
{
	return r.returns ? put_return(m, r.k) : take_over(m, r.k);
}

static size_t put_ranges(struct made *m, const struct range *r, size_t n)
{
	size_t half = n / 2, above;

	if (n == 1)
		return put_result(m, r->result);
	above = put_ranges(m, r + half, n - half);
	return compare(m, GE, r[half].from, above, put_ranges(m, r, half));
}

static size_t put_arch(struct made *m, const struct known *k, uint32_t arch)
{
	auto_free struct range *r = mem_array(k->n_ends, sizeof(*r));
	size_t n = 0, to;

	for (size_t i = 0; i < k->n_ends; i++) {
		struct result is = run(m->of, arch, k->ends[i]);

		if (!n || is.returns != r[n - 1].result.returns || is.k != r[n - 1].result.k)
			r[n++] = (struct range){ k->ends[i], is };
	}
	to = put_ranges(m, r, n);
	if (n == 1)
		return to;
	follow(m, to);
	return put(m, LOAD, 0, 0, OF_NR);
}

static void make(struct made *m, const struct known *k)
{
	size_t next = put_arch(m, k, k->archs[k->n_archs - 1]);

	for (size_t i = k->n_archs - 1; i-- > 0;)
		next = compare(m, EQ, k->archs[i], put_arch(m, k, k->archs[i]), next);
	follow(m, next);
	put(m, LOAD, 0, 0, OF_ARCH);
	for (size_t i = 0; i < m->n / 2; i++) {
		struct sock_filter f = m->f[i];

		m->f[i] = m->f[m->n - 1 - i];
		m->f[m->n - 1 - i] = f;
	}
}

static bool is_same(const struct made *m, const struct known *k)
{
	struct filter made = { m->f, m->n };

	for (size_t a = 0; a < k->n_archs; a++)
		for (size_t i = 0; i < k->n_ends; i++) {
			struct result was = run(m->of, k->archs[a], k->ends[i]);
			struct result is = run(made, k->archs[a], k->ends[i]);

			if (!was.returns)
				was.k = (uint32_t)(m->n - 1) - (uint32_t)m->at[was.k];
			if (was.returns != is.returns || was.k != is.k)
				return false;
		}
	return true;
}

void sandbox_filter_shrink(struct sock_filter *f, size_t *n)
{
	auto_free struct sock_filter *v = mem_array(*n, sizeof(*v));
	auto_free int *at = mem_array(*n, sizeof(*at));
	struct made m = { .of = { f, *n }, .f = v, .cap = *n, .at = at };
	auto_known struct known k = { 0 };

	if (understand(m.of, &k) < 0 || !k.n_archs)
		return;
	for (size_t i = 0; i < *n; i++)
		at[i] = NOWHERE;
	complete(&k);
	make(&m, &k);
	if (m.is_full || m.n >= *n || !is_same(&m, &k))
		return;
	memcpy(f, m.f, m.n * sizeof(*f));
	*n = m.n;
}
