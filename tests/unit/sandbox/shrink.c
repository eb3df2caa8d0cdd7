/* SPDX-License-Identifier: Apache-2.0 */
/* A shrunk filter gives the same for every call; what is not understood stays as it was. */
#include "tests.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include "../../../runner/sandbox/priv.h"

enum { MAX = 4096, TRIES = 200000, X32 = 0x40000000 };

static uint32_t result(const struct sock_filter *f, size_t n, const struct seccomp_data *d)
{
	uint32_t a = 0;

	for (size_t at = 0; at < n; at++) {
		const struct sock_filter *i = &f[at];
		bool yes = false;

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&a, (const char *)d + i->k, sizeof(a));
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			continue;
		case BPF_RET | BPF_K:
			return i->k;
		case BPF_JMP | BPF_JA:
			at += i->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = a == i->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			yes = a > i->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			yes = a >= i->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			yes = a & i->k;
			break;
		default:
			fail_msg("instruction %#x", i->code);
		}
		at += yes ? i->jt : i->jf;
	}
	fail_msg("the filter has no end");
	return 0;
}

/* The same for each try, so that what fails fails again. */
static uint32_t draw(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 32);
}

static void fill(uint64_t *seed, struct seccomp_data *d)
{
	static const uint32_t archs[] = { AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, AUDIT_ARCH_AARCH64,
					  AUDIT_ARCH_ARM };
	static const uint32_t likely[] = { 0,  1,  8,  16,         0x20000,    0x20008,
					   38, 39, 40, 0x7e020000, 0xffffffff, 0x80000000 };
	uint32_t how = draw(seed);

	d->arch = how % 31 ? archs[how % 4] : draw(seed);
	d->nr = (int)(draw(seed) % 520);
	if (how >> 8 & 1)
		d->nr |= X32;
	if ((how >> 9) % 16 == 0)
		d->nr = (int)draw(seed);
	d->instruction_pointer = draw(seed);
	for (size_t i = 0; i < ARRAY_LEN(d->args); i++)
		d->args[i] = draw(seed) % 3 ? likely[draw(seed) % ARRAY_LEN(likely)]
					    : (uint64_t)draw(seed) << 32 | draw(seed);
}

static void compare(const struct sock_filter *was, size_t n_was, const struct sock_filter *is,
		    size_t n_is)
{
	uint64_t seed = 1;

	for (int i = 0; i < TRIES; i++) {
		struct seccomp_data d;
		uint32_t want, got;

		fill(&seed, &d);
		want = result(was, n_was, &d);
		got = result(is, n_is, &d);
		if (want != got)
			fail_msg("arch %#x call %#x: %#x instead of %#x", d.arch, (unsigned)d.nr,
				 got, want);
	}
}

static size_t export(scmp_filter_ctx ctx, struct sock_filter *f)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);
	ssize_t n;

	assert_int_equal(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2), 0);
	assert_int_equal(seccomp_export_bpf(ctx, fd), 0);
	lseek(fd, 0, SEEK_SET);
	n = read(fd, f, MAX * sizeof(*f));
	close(fd);
	seccomp_release(ctx);
	assert_true(n > 0);
	return (size_t)n / sizeof(*f);
}

static void shrinks(size_t at_most_percent, scmp_filter_ctx ctx)
{
	static struct sock_filter was[MAX], is[MAX];
	size_t n = export(ctx, was), n_is = n;

	memcpy(is, was, sizeof(is));
	sandbox_filter_shrink(is, &n_is);
	compare(was, n, is, n_is);
	if (n_is * 100 > n * at_most_percent)
		fail_msg("%zu of %zu instructions", n_is, n);
}

static void rule(scmp_filter_ctx ctx, uint32_t action, int nr, struct scmp_arg_cmp arg)
{
	assert_int_equal(seccomp_rule_add_array(ctx, action, nr, 1, &arg), 0);
}

static scmp_filter_ctx with_archs(uint32_t otherwise)
{
	scmp_filter_ctx ctx = seccomp_init(otherwise);
	static const uint32_t more[] = { SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32 };

	for (size_t i = 0; i < ARRAY_LEN(more); i++)
		seccomp_arch_add(ctx, more[i]);
	return ctx;
}

/* As ours: most are allowed, some by an argument. */
static void test_allowing(void **state)
{
	scmp_filter_ctx ctx = with_archs(SCMP_ACT_ERRNO(1));

	(void)state;
	for (int nr = 0; nr < 300; nr++)
		if (nr % 7 != 3 && nr != 41 && nr != 56 && nr != 135)
			seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 0, NULL);
	rule(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), SCMP_A0(SCMP_CMP_EQ, 0x20008));
	rule(ctx, SCMP_ACT_ALLOW, SCMP_SYS(personality), SCMP_A0(SCMP_CMP_EQ, 8));
	rule(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_LT, 38));
	rule(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_GT, 40));
	rule(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, 0x7e020000, 0));
	rule(ctx, SCMP_ACT_ERRNO(38), SCMP_SYS(clone3), SCMP_A1(SCMP_CMP_NE, 88));
	shrinks(60, ctx);
}

static void test_denying(void **state)
{
	scmp_filter_ctx ctx = with_archs(SCMP_ACT_ALLOW);

	(void)state;
	for (int nr = 100; nr < 400; nr++)
		seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(nr % 5 ? 1 : 38), nr, 0, NULL);
	rule(ctx, SCMP_ACT_KILL, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffff, 0x5412));
	rule(ctx, SCMP_ACT_TRAP, SCMP_SYS(read), SCMP_A2(SCMP_CMP_GE, 0x80000000));
	shrinks(60, ctx);
}

/* Results that alternate: more ranges than a comparison's jump reaches over. */
static void test_long(void **state)
{
	scmp_filter_ctx ctx = with_archs(SCMP_ACT_ALLOW);

	(void)state;
	for (int nr = 0; nr < 440; nr++)
		seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO((uint32_t)nr % 100 + 1), nr, 0, NULL);
	shrinks(100, ctx);
}

static void test_left_alone(void **state)
{
	struct sock_filter masked[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_filter outside[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 9),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter endless[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 0),
		BPF_STMT(BPF_JMP | BPF_JA, UINT32_MAX),
	};
	struct sock_filter *all[] = { masked, outside, endless };
	size_t sizes[] = { ARRAY_LEN(masked), ARRAY_LEN(outside), ARRAY_LEN(endless) };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct sock_filter before[8];
		size_t n = sizes[i];

		memcpy(before, all[i], n * sizeof(*before));
		sandbox_filter_shrink(all[i], &n);
		assert_int_equal(n, sizes[i]);
		assert_memory_equal(before, all[i], n * sizeof(*before));
	}
}

int test_shrink(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowing),
		cmocka_unit_test(test_denying),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
