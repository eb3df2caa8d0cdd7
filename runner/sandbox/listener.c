/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the filter refuses with EPERM is told to a thread of the parent, which refuses it in the
 * kernel's place and remembers the call (seccomp_unotify(2)). It decides nothing: no argument is
 * looked at, and the answer is always the same. Once the parent is gone the kernel says ENOSYS.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/seccomp.h>
#include <seccomp.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { CALLS_MAX = 8 };

struct sandbox_listener {
	int fd, stop_fd;
	pthread_t thread;
	struct seccomp_notif_sizes sizes; /* the kernel's structs may be longer than ours */
	struct {
		uint32_t arch;
		int nr;
	} calls[CALLS_MAX]; /* the thread's, until it has been joined */
	size_t n;
};

void sandbox_filter_listen(struct sock_filter *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (f[i].code == (BPF_RET | BPF_K) && f[i].k == (SECCOMP_RET_ERRNO | EPERM))
			f[i].k = SECCOMP_RET_USER_NOTIF;
}

void sandbox_filter_unlisten(struct sock_filter *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (f[i].code == (BPF_RET | BPF_K) && f[i].k == SECCOMP_RET_USER_NOTIF)
			f[i].k = SECCOMP_RET_ERRNO | EPERM;
}

static void note(struct sandbox_listener *l, const struct seccomp_data *d)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->calls[i].nr == d->nr && l->calls[i].arch == d->arch)
			return;
	if (l->n == CALLS_MAX)
		return;
	l->calls[l->n].arch = d->arch;
	l->calls[l->n++].nr = d->nr;
}

/* A call whose process has ended meanwhile is no error. */
static void refuse_one(struct sandbox_listener *l, struct seccomp_notif *ask,
		       struct seccomp_notif_resp *answer)
{
	memset(ask, 0, l->sizes.seccomp_notif);
	if (ioctl(l->fd, SECCOMP_IOCTL_NOTIF_RECV, ask) < 0)
		return;
	note(l, &ask->data);
	memset(answer, 0, l->sizes.seccomp_notif_resp);
	answer->id = ask->id;
	answer->error = -EPERM;
	ioctl(l->fd, SECCOMP_IOCTL_NOTIF_SEND, answer);
}

static void *listen_main(void *arg)
{
	struct sandbox_listener *l = arg;
	auto_free struct seccomp_notif *ask = mem_alloc(l->sizes.seccomp_notif);
	auto_free struct seccomp_notif_resp *answer = mem_alloc(l->sizes.seccomp_notif_resp);
	struct pollfd p[] = { { l->fd, POLLIN, 0 }, { l->stop_fd, POLLIN, 0 } };

	for (;;) {
		if (poll(p, ARRAY_LEN(p), -1) < 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		if (p[0].revents & POLLIN)
			refuse_one(l, ask, answer);
		else /* nobody is left who has the filter, or the parent wants an end */
			break;
	}
	return NULL;
}

static int begin(struct sandbox_listener *l)
{
	if (sys_seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &l->sizes) < 0)
		return -errno;
	if (l->sizes.seccomp_notif < sizeof(struct seccomp_notif))
		l->sizes.seccomp_notif = sizeof(struct seccomp_notif);
	if (l->sizes.seccomp_notif_resp < sizeof(struct seccomp_notif_resp))
		l->sizes.seccomp_notif_resp = sizeof(struct seccomp_notif_resp);
	l->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (l->stop_fd < 0)
		return -errno;
	return proc_thread(&l->thread, listen_main, l);
}

int sandbox_listener_new(int fd, struct sandbox_listener **ret, struct err *err)
{
	struct sandbox_listener *l = mem_alloc(sizeof(*l));
	int rc;

	l->fd = fd;
	l->stop_fd = -1;
	rc = begin(l);
	if (rc < 0) {
		fd_close(&l->fd);
		fd_close(&l->stop_fd);
		free(l);
		return err_errno(err, -rc, "sandbox: listen to what is refused");
	}
	*ret = l;
	return 0;
}

static void end(struct sandbox_listener *l)
{
	const uint64_t one = 1;

	if (l->stop_fd < 0)
		return;
	if (write(l->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(l->thread, NULL);
	fd_close(&l->stop_fd);
	fd_close(&l->fd);
}

void sandbox_listener_free(struct sandbox_listener *l)
{
	if (!l)
		return;
	end(l);
	free(l);
}

void sandbox_listener_names(struct sandbox_listener *l, struct strv *ret)
{
	end(l);
	for (size_t i = 0; i < l->n; i++) {
		char *name = seccomp_syscall_resolve_num_arch(l->calls[i].arch, l->calls[i].nr);

		if (name)
			strv_add(ret, name);
		else
			strv_addf(ret, "call %d", l->calls[i].nr);
		free(name);
	}
}
