/* SPDX-License-Identifier: Apache-2.0 */
/* A seccomp profile of somebody else's, compiled by libseccomp and kept. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "priv.h"

enum {
	ARGS_MAX = 6,
	FILTER_MAX = 4096,
	KEY_MAX = 1 << 20,
	FILE_MAX = 1 << 21,
	PROLOGUE = 6,
	MAGIC = 0x33706373
};
enum { X32_BIT = 0x40000000 };

#if defined(__x86_64__)
enum { OWN_ARCH = AUDIT_ARCH_X86_64 };
#else
enum { OWN_ARCH = AUDIT_ARCH_AARCH64 };
#endif

#define auto_filter cleanup(filter_cleanup)
static void filter_cleanup(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

static int add(scmp_filter_ctx ctx, const struct sandbox_call_rule *r, int nr,
	       const struct scmp_arg_cmp *args, unsigned n)
{
	int rc = seccomp_rule_add_array(ctx, r->action, nr, n, args);

	/* The same again, or a call that an architecture of the filter has not. */
	return rc == -EEXIST || rc == -EDOM ? 0 : rc;
}

/* libseccomp takes an argument once a rule; more conditions on one are a rule each. */
static int add_call(scmp_filter_ctx ctx, const struct sandbox_call_rule *r, int nr)
{
	struct scmp_arg_cmp args[ARGS_MAX];
	unsigned seen[ARGS_MAX] = { 0 };
	bool twice = false;
	int rc = 0;

	for (size_t i = 0; i < r->n_args; i++)
		twice |= seen[r->args[i].index]++ > 0;
	if (!r->n_args)
		return add(ctx, r, nr, NULL, 0);
	for (size_t i = 0; i < r->n_args && rc == 0; i++) {
		const struct sandbox_call_arg *a = &r->args[i];
		struct scmp_arg_cmp one = { .arg = a->index,
					    .op = (enum scmp_compare)a->op,
					    .datum_a = a->value,
					    .datum_b = a->other };

		if (twice)
			rc = add(ctx, r, nr, &one, 1);
		else
			args[i] = one;
	}
	return twice ? rc : add(ctx, r, nr, args, (unsigned)r->n_args);
}

static int add_rules(scmp_filter_ctx ctx, const struct sandbox_profile *p, int *ret_last,
		     struct err *err)
{
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct sandbox_call_rule *r = &p->rules[i];

		for (const char *const *name = r->names; *name; name++) {
			int nr = seccomp_syscall_resolve_name(*name), rc;

			if (nr == __NR_SCMP_ERROR)
				continue;
			if (nr > *ret_last && nr < X32_BIT)
				*ret_last = nr;
			/* What is done in any case libseccomp takes for a mistake. */
			rc = r->action == p->action ? 0 : add_call(ctx, r, nr);
			if (rc < 0)
				return err_errno(err, -rc, "seccomp rule for %s", *name);
		}
	}
	return 0;
}

static int add_archs(scmp_filter_ctx ctx, const struct sandbox_profile *p, struct err *err)
{
	for (const char *const *a = p->archs; a && *a; a++) {
		uint32_t arch = seccomp_arch_resolve_name(*a);
		int rc = arch ? seccomp_arch_add(ctx, arch) : -EINVAL;

		/* EDOM: of the other byte order, so that nothing of it ever runs here. */
		if (rc < 0 && rc != -EEXIST && rc != -EDOM)
			return err_set(err, EINVAL, "seccomp: unknown architecture %s", *a);
	}
	return 0;
}

/*
 * A call newer than all that the profile speaks of: ENOSYS, so that libc falls back, where the
 * profile's own word would be an EPERM that it takes for a refusal.
 */
static size_t prologue(const struct sandbox_profile *p, int last, struct sock_filter *f)
{
	size_t n = 0;

	if ((p->action & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ERRNO || last <= 0)
		return 0;
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)OWN_ARCH, 0, 4);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, nr));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 2, 0);
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)last, 0, 1);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
	return n;
}

static int compile(const struct sandbox_profile *p, struct sock_filter **ret, size_t *ret_n,
		   struct err *err)
{
	auto_filter scmp_filter_ctx ctx = seccomp_init(p->action);
	auto_free struct sock_filter *f = mem_array(FILTER_MAX, sizeof(*f));
	auto_fd int fd = memfd_create("shale-seccomp", MFD_CLOEXEC);
	int last = 0, rc;
	size_t n, count;
	ssize_t got;

	if (!ctx || fd < 0)
		return err_set(err, EINVAL, "seccomp: cannot start a filter");
	rc = add_archs(ctx, p, err);
	if (rc == 0)
		rc = add_rules(ctx, p, &last, err);
	if (rc < 0)
		return rc;
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
	rc = seccomp_export_bpf(ctx, fd);
	if (rc < 0)
		return err_errno(err, -rc, "seccomp: export");
	n = prologue(p, last, f);
	got = lseek(fd, 0, SEEK_SET) < 0
		      ? -1
		      : fd_read_full(fd, f + n, (FILTER_MAX - n) * sizeof(*f), err);
	if (got <= 0 || got % (ssize_t)sizeof(*f) || (size_t)got == (FILTER_MAX - n) * sizeof(*f))
		return err_set(err, EFBIG, "seccomp: a filter of %zd bytes", got);
	count = (size_t)got / sizeof(*f);
	sandbox_filter_shrink(f + n, &count);
	*ret_n = n + count;
	*ret = take(f);
	return 0;
}

/* The key is kept with the filter and compared whole: its hash is only a name. */
static char *cache_name(const char *key)
{
	const struct scmp_version *v = seccomp_version();
	uint64_t h = 0xcbf29ce484222325ull;
	struct utsname u;

	if (uname(&u) < 0)
		return NULL;
	for (const char *p = key; *p; p++)
		h = (h ^ (unsigned char)*p) * 0x100000001b3ull;
	for (char *p = u.release; *p; p++)
		if (*p == '/')
			*p = '_';
	return mem_fmt("profile-%s-%llx-%u.%u.%u-%s", u.machine, (unsigned long long)h,
		       v ? v->major : 0, v ? v->minor : 0, v ? v->micro : 0, u.release);
}

struct head {
	uint32_t magic, n;
	uint64_t key_len;
};

static bool cache_read(int dir_fd, const char *name, const char *key, struct sock_filter **ret,
		       size_t *ret_n)
{
	auto_free char *text = NULL;
	auto_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct err ignored;
	struct head head;
	struct stat st;
	size_t len, bytes;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != 0 ||
	    (st.st_mode & 022) || fd_read_all(fd, FILE_MAX, &text, &len, &ignored) < 0 ||
	    len < sizeof(head))
		return false;
	memcpy(&head, text, sizeof(head));
	bytes = head.n * sizeof(**ret);
	if (head.magic != MAGIC || !head.n || head.n > FILTER_MAX || head.key_len != strlen(key) ||
	    len != sizeof(head) + head.key_len + bytes ||
	    memcmp(text + sizeof(head), key, head.key_len) != 0)
		return false;
	*ret = mem_dup(text + sizeof(head) + head.key_len, bytes);
	*ret_n = head.n;
	return true;
}

static void cache_write(int dir_fd, const char *name, const char *key, const struct sock_filter *f,
			size_t n)
{
	struct head head = { MAGIC, (uint32_t)n, strlen(key) };
	auto_str struct str out = { 0 };
	struct err ignored;

	str_addn(&out, &head, sizeof(head));
	str_add(&out, key);
	str_addn(&out, f, n * sizeof(*f));
	fs_write_atomic(dir_fd, name, out.s, out.len, false, &ignored);
}

int sandbox_profile_compile(const struct sandbox_profile *p, struct sock_filter **ret,
			    size_t *ret_n, struct err *err)
{
	auto_fd int dir_fd = -1;
	auto_free char *name = NULL;
	bool kept = p->cache_dir && p->key && strlen(p->key) < KEY_MAX;
	int rc;

	if (kept) {
		name = cache_name(p->key);
		dir_fd = open(p->cache_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (dir_fd >= 0 && name && cache_read(dir_fd, name, p->key, ret, ret_n))
		return 0;
	rc = compile(p, ret, ret_n, err);
	if (rc == 0 && dir_fd >= 0 && name)
		cache_write(dir_fd, name, p->key, *ret, *ret_n);
	return rc;
}
