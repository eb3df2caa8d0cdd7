/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter: rules compiled by libseccomp once, kept in a file, read in microseconds. Ours in
 * front of libseccomp's program: system calls newer than the table give ENOSYS, so that libc falls
 * back, where an older name that is not allowed gives EPERM.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "priv.h"

enum {
	CLONE_NAMESPACES = 0x7e020000, /* every CLONE_NEW* of clone(2) but NEWTIME: 2114060288 in
					  Docker's profile */
	FAMILY_ALG = 38,
	FAMILY_NFC = 39,
	FAMILY_VSOCK = 40,
	X32_BIT = 0x40000000,
	FILTER_MAX = 4096, /* BPF_MAXINSNS */
	CACHE_MAGIC = 0x31626373,
};

struct cache_head {
	uint32_t magic, n;
	uint64_t sum;
};

#define auto_ctx cleanup(ctx_cleanup)
static void ctx_cleanup(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

static int add_rule(scmp_filter_ctx ctx, uint32_t action, int nr, unsigned n_args,
		    const struct scmp_arg_cmp *args)
{
	int rc = seccomp_rule_add_array(ctx, action, nr, n_args, args);

	/* A call that an architecture of the filter does not have is not an error. */
	return rc == -EEXIST || rc == -EDOM ? 0 : rc;
}

static int allow(scmp_filter_ctx ctx, const char *name, unsigned n_args,
		 const struct scmp_arg_cmp *args, struct err *err)
{
	int nr = seccomp_syscall_resolve_name(name), rc;

	if (nr == __NR_SCMP_ERROR) /* newer than this libseccomp */
		return 0;
	rc = add_rule(ctx, SCMP_ACT_ALLOW, nr, n_args, args);
	return rc < 0 ? err_errno(err, -rc, "seccomp rule for %s", name) : 0;
}

static int allow_names(scmp_filter_ctx ctx, const char *names, struct err *err)
{
	char name[64];
	int rc = 0;

	while (*names && rc == 0) {
		size_t n = strcspn(names, " ");

		snprintf(name, sizeof(name), "%.*s", (int)n, names);
		rc = allow(ctx, name, 0, NULL, err);
		names += n;
		names += strspn(names, " ");
	}
	return rc;
}

/* Calls of which only some arguments are allowed. */
static int allow_by_argument(scmp_filter_ctx ctx, bool admin, struct err *err)
{
	static const uint64_t personalities[] = { 0, 8, 0x20000, 0x20008, 0xffffffff };
	const struct scmp_arg_cmp sockets[] = { SCMP_A0(SCMP_CMP_LT, FAMILY_ALG),
						SCMP_A0(SCMP_CMP_EQ, FAMILY_NFC),
						SCMP_A0(SCMP_CMP_GT, FAMILY_VSOCK) };
	const struct scmp_arg_cmp plain_clone = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NAMESPACES, 0);
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(personalities) && rc == 0; i++) {
		const struct scmp_arg_cmp is = SCMP_A0(SCMP_CMP_EQ, personalities[i]);

		rc = allow(ctx, "personality", 1, &is, err);
	}
	for (size_t i = 0; i < ARRAY_LEN(sockets) && rc == 0; i++)
		rc = allow(ctx, "socket", 1, &sockets[i], err);
	if (rc < 0 || admin)
		return rc;
	rc = allow(ctx, "clone", 1, &plain_clone, err);
	if (rc < 0)
		return rc;
	/* ENOSYS, not EPERM: glibc then uses clone(2), whose flags can be seen here. */
	rc = add_rule(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
	return rc < 0 ? err_errno(err, -rc, "seccomp rule for clone3") : 0;
}

static int add_architectures(scmp_filter_ctx ctx)
{
#if defined(__x86_64__)
	static const uint32_t more[] = { SCMP_ARCH_X86, SCMP_ARCH_X32 };
#else
	static const uint32_t more[] = { SCMP_ARCH_ARM };
#endif
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(more) && rc == 0; i++) {
		rc = seccomp_arch_add(ctx, more[i]);
		rc = rc == -EEXIST ? 0 : rc;
	}
	return rc;
}

static int build(uint64_t caps, scmp_filter_ctx ctx, struct err *err)
{
	bool admin = caps & (1ull << 21); /* CAP_SYS_ADMIN */
	int rc = add_architectures(ctx);

	if (rc == 0)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
	if (rc < 0)
		return err_errno(err, -rc, "seccomp architectures");
	for (size_t i = 0; i < sandbox_n_rules; i++) {
		const struct sandbox_rule *r = &sandbox_rules[i];

		if (r->caps && !(r->caps & caps))
			continue;
		rc = allow_names(ctx, r->names, err);
		if (rc < 0)
			return rc;
	}
	return allow_by_argument(ctx, admin, err);
}

/* The part in front; returns its length. Calls from SANDBOX_NEW_FIRST on have one number on all
 * architectures. */
static size_t prologue(uint64_t caps, struct sock_filter *f)
{
	size_t n = 0;

	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					      offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
	f[n++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (uint32_t)~X32_BIT);
#endif
	/* Older ones: over all that follows here. */
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SANDBOX_NEW_FIRST, 0,
					      (uint8_t)(2 * sandbox_n_new_calls + 1));
	for (size_t i = 0; i < sandbox_n_new_calls; i++) {
		const struct sandbox_new_call *c = &sandbox_new_calls[i];
		bool ok = !c->caps || (c->caps & caps);

		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, c->last, 1, 0);
		f[n++] = (struct sock_filter)BPF_STMT(
			BPF_RET | BPF_K, ok ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EPERM);
	}
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
	return n;
}

static int compile(uint64_t caps, struct sock_filter **ret, size_t *ret_n, struct err *err)
{
	auto_ctx scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	auto_free struct sock_filter *f = mem_array(FILTER_MAX, sizeof(*f));
	auto_fd int fd = memfd_create("shale-seccomp", MFD_CLOEXEC);
	size_t n, count;
	ssize_t got;
	int rc;

	if (!ctx || fd < 0)
		return err_set(err, ENOMEM, "seccomp: cannot start a filter");
	rc = build(caps, ctx, err);
	if (rc < 0)
		return rc;
	rc = seccomp_export_bpf(ctx, fd);
	if (rc < 0)
		return err_errno(err, -rc, "seccomp: export");
	n = prologue(caps, f);
	got = lseek(fd, 0, SEEK_SET) < 0
		      ? -1
		      : fd_read_full(fd, f + n, (FILTER_MAX - n) * sizeof(*f), err);
	if (got < 0)
		return err_sys(err, "seccomp: read the filter");
	if (!got || got % (ssize_t)sizeof(*f) || (size_t)got == (FILTER_MAX - n) * sizeof(*f))
		return err_set(err, EFBIG, "seccomp: a filter of %zd bytes", got);
	count = (size_t)got / sizeof(*f);
	sandbox_filter_shrink(f + n, &count);
	*ret_n = n + count;
	*ret = take(f);
	return 0;
}

/* FNV-1a: a file cut short or scribbled on must not become a filter. Who can forge it is root. */
static uint64_t checksum(const void *p, size_t n)
{
	const unsigned char *b = p;
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3ull;
	return h;
}

/* What the filter depends on, as the file's name. */
static char *cache_name(uint64_t caps)
{
	const struct scmp_version *v = seccomp_version();
	struct utsname u;

	if (uname(&u) < 0)
		return NULL;
	for (char *p = u.release; *p; p++)
		if (*p == '/')
			*p = '_';
	return mem_fmt("seccomp-%s-%llx-r%d-lib%u.%u.%u-%s", u.machine, (unsigned long long)caps,
		       SANDBOX_RULES_REVISION, v ? v->major : 0, v ? v->minor : 0, v ? v->micro : 0,
		       u.release);
}

static int cache_read(int dir_fd, const char *name, struct sock_filter **ret, size_t *ret_n)
{
	auto_fd int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	auto_free struct sock_filter *f = NULL;
	struct cache_head head;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != 0 ||
	    (st.st_mode & 022) || read(fd, &head, sizeof(head)) != sizeof(head))
		return -ENOENT;
	if (head.magic != CACHE_MAGIC || head.n == 0 || head.n > FILTER_MAX ||
	    st.st_size != (off_t)(sizeof(head) + head.n * sizeof(*f)))
		return -EBADMSG;
	f = mem_array(head.n, sizeof(*f));
	if (read(fd, f, head.n * sizeof(*f)) != (ssize_t)(head.n * sizeof(*f)) ||
	    checksum(f, head.n * sizeof(*f)) != head.sum)
		return -EBADMSG;
	*ret_n = head.n;
	*ret = take(f);
	return 0;
}

/* Failing to keep it costs time, not correctness. */
static void cache_write(int dir_fd, const char *name, const struct sock_filter *f, size_t n)
{
	struct cache_head head = { CACHE_MAGIC, (uint32_t)n, checksum(f, n * sizeof(*f)) };
	auto_str struct str out = { 0 };
	struct err ignored;

	str_addn(&out, &head, sizeof(head));
	str_addn(&out, f, n * sizeof(*f));
	fs_write_atomic(dir_fd, name, out.s, out.len, false, &ignored);
}

int sandbox_filter_make(uint64_t caps, const char *cache_dir, struct sock_filter **ret,
			size_t *ret_n, struct err *err)
{
	auto_fd int dir_fd = cache_dir ? open(cache_dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	auto_free char *name = cache_name(caps);
	int rc;

	if (dir_fd >= 0 && name && cache_read(dir_fd, name, ret, ret_n) == 0)
		return 0;
	rc = compile(caps, ret, ret_n, err);
	if (rc == 0 && dir_fd >= 0 && name)
		cache_write(dir_fd, name, *ret, *ret_n);
	return rc;
}

/*
 * A file's owner may take it out of the project whose quota counts it, or its directory's children,
 * and needs no capability for that outside a user namespace. Where the two calls are refused they
 * are as on a file system that has neither; file_setattr(2) is too new for the table. Goes in
 * front of all.
 */
void sandbox_filter_keep_projects(struct sock_filter **f, size_t *n)
{
#if defined(__x86_64__)
	enum { NR_IOCTL = 16, NR_IOCTL_X32 = X32_BIT | 514 };
	const uint32_t native = AUDIT_ARCH_X86_64;
#else
	enum { NR_IOCTL = 29, NR_IOCTL_X32 = 29 /* there is none */ };
	const uint32_t native = AUDIT_ARCH_AARCH64;
#endif
	enum { NR_IOCTL_32 = 54 /* of i386 and arm */, COMPAT_SETFLAGS = 0x40046602 };
	const struct sock_filter head[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FS_IOC_FSSETXATTR, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)FS_IOC_SETFLAGS, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, COMPAT_SETFLAGS, 0, 9),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, native, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NR_IOCTL, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NR_IOCTL_X32, 3, 0),
		BPF_STMT(BPF_JMP | BPF_JA, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NR_IOCTL_32, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
	};

	*f = mem_grow(*f, *n + ARRAY_LEN(head), sizeof(**f));
	memmove(*f + ARRAY_LEN(head), *f, *n * sizeof(**f));
	memcpy(*f, head, sizeof(head));
	*n += ARRAY_LEN(head);
}
