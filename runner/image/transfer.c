/* SPDX-License-Identifier: Apache-2.0 */
/* Starting shale-transfer with nothing but a socket, and requests and answers over it. */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>
#include <shale/registry.h>

#define PROGRAM REGISTRY_PROGRAM

enum {
	PACKET_MAX = REGISTRY_PACKET_MAX,
	NOBODY = REGISTRY_UID,
	SOCKET_FD = REGISTRY_FD,
	PENDING_MAX = 20000
};

struct image_transfer {
	pid_t pid;
	int fd;
	int last_id;
	json_t *answers; /* that nobody has asked for yet: id as text -> packet */
	volatile int *interrupted;
	image_remote_event_fn *event;
	void *event_arg;
	struct strv token_files;
	char packet[PACKET_MAX + 1];
};

/* --- the process --- */

/* In the child: credentials are in its memory, so it leaves no core and is no one's to trace. */
static void become_transfer(int sock, pid_t parent, const char *path, char *const env[])
{
	static const struct rlimit no_core = { 0, 0 };
	char name[] = PROGRAM;
	char *argv[] = { name, NULL };
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid(); /* ^C is for the parent, which then ends us */
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || chdir("/") < 0)
		_exit(126);
	if (sock == SOCKET_FD ? fcntl(sock, F_SETFD, 0) < 0 : dup2(sock, SOCKET_FD) < 0)
		_exit(126);
	sys_close_range(SOCKET_FD + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	setrlimit(RLIMIT_CORE, &no_core);
	if (proc_become(NOBODY) < 0)
		_exit(126);
	/* After the last change of credentials, which clears it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(126);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(path, argv, env);
	_exit(127);
}

static void clean_env(struct strv *env)
{
	static const char *const kept[] = { "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY",
					    "NO_PROXY",   "ALL_PROXY",   "all_proxy" };

	strv_add(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		const char *value = getenv(kept[i]);

		if (value && *value)
			strv_addf(env, "%s=%s", kept[i], value);
	}
}

int image_transfer_start(volatile int *interrupted, struct image_transfer **ret, struct err *err)
{
	auto_strv struct strv env = { 0 };
	auto_free char *path = NULL;
	auto_fd int ours = -1, theirs = -1;
	struct image_transfer *t;
	pid_t parent = getpid(), pid;
	int pair[2];
	int rc = proc_find_own(PROGRAM, &path, err);

	if (rc < 0)
		return rc;
	clean_env(&env);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, "socket for " PROGRAM);
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return err_sys(err, "fork for " PROGRAM);
	if (pid == 0)
		become_transfer(theirs, parent, path, strv_args(&env));
	t = mem_alloc(sizeof(*t));
	t->pid = pid;
	t->fd = fd_take(&ours);
	t->answers = json_object();
	t->interrupted = interrupted;
	*ret = t;
	return 0;
}

void image_transfer_cleanup(struct image_transfer **tp)
{
	struct image_transfer *t = *tp;
	struct err ignored;
	int code;

	*tp = NULL;
	if (!t)
		return;
	fd_close(&t->fd);
	kill(t->pid, SIGKILL);
	proc_wait(t->pid, &code, &ignored);
	json_decref(t->answers);
	strv_free(&t->token_files);
	/* Credentials went through it. */
	explicit_bzero(t->packet, sizeof(t->packet));
	free(t);
}

void image_transfer_on_event(struct image_transfer *t, image_remote_event_fn *fn, void *arg)
{
	t->event = fn;
	t->event_arg = arg;
}

void image_transfer_keep_tokens(struct image_transfer *t, const struct strv *names)
{
	strv_copy(&t->token_files, names);
}

/* --- packets --- */

static int gone(struct err *err)
{
	return err_set(err, EPROTO, PROGRAM " has ended unexpectedly");
}

static int send_packet(struct image_transfer *t, const char *text, int fd, struct err *err)
{
	size_t n = strlen(text);

	if (n > PACKET_MAX)
		return err_set(err, EFBIG, "a request of %zu bytes to " PROGRAM, n);
	if (fd_send(t->fd, text, n, fd) == 0)
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? gone(err) : err_sys(err, "ask " PROGRAM);
}

int image_transfer_send(struct image_transfer *t, json_t *request, int fd, struct err *err)
{
	char *text;
	int rc;

	json_object_set_new(request, "id", json_integer(++t->last_id));
	text = json_text(request);
	rc = send_packet(t, text, fd, err);
	explicit_bzero(text, strlen(text));
	free(text);
	return rc < 0 ? rc : t->last_id;
}

/* What a registry wrote may be in it: no control characters (C0, DEL, C1) reach the terminal. */
static char *clean_text(const char *text)
{
	char *clean = mem_str(text);

	for (unsigned char *p = (unsigned char *)clean; *p; p++) {
		if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = ' ';
		else if (*p < ' ' || *p == 0x7f)
			*p = ' ';
	}
	return clean;
}

static void take_event(struct image_transfer *t, int id, const json_t *j)
{
	const char *msg = json_get_str(j, "msg");
	auto_free char *clean = msg ? clean_text(msg) : NULL;
	int64_t bytes = json_get_int(j, "bytes", 0);

	if (t->event)
		t->event(id, clean, bytes > 0 ? (uint64_t)bytes : 0, t->event_arg);
}

static int take_packet(struct image_transfer *t, size_t n, struct err *err)
{
	auto_json json_t *j = NULL;
	char key[24];
	int64_t id;

	if (json_parse(t->packet, n, &j, err) < 0)
		return err_set(err, EPROTO, "an answer of " PROGRAM " that is no JSON");
	id = json_get_int(j, "id", 0);
	if (id <= 0 || id > t->last_id || json_object_size(t->answers) > PENDING_MAX)
		return err_set(err, EPROTO, "an answer of " PROGRAM " to no question");
	if (str_eq(json_get_str(j, "event"), "token")) {
		image_tokens_keep(&t->token_files, j);
		return 0;
	}
	if (json_get_str(j, "event")) {
		take_event(t, (int)id, j);
		return 0;
	}
	snprintf(key, sizeof(key), "%lld", (long long)id);
	json_object_set(t->answers, key, j);
	return 0;
}

/* All that is there, without waiting. */
static int receive(struct image_transfer *t, struct err *err)
{
	for (;;) {
		ssize_t n = recv(t->fd, t->packet, PACKET_MAX, MSG_DONTWAIT);
		int rc;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (n < 0 && errno != ECONNRESET)
			return err_sys(err, "answer of " PROGRAM);
		if (n <= 0)
			return gone(err);
		rc = take_packet(t, (size_t)n, err);
		if (rc < 0)
			return rc;
	}
}

static int failure(const json_t *answer, struct err *err)
{
	const char *text = json_get_str(answer, "msg");
	int64_t code = json_get_int(answer, "code", EPROTO);
	auto_free char *clean = clean_text(text ? text : "no reason was given");

	return err_set(err, code > 0 && code < 4096 ? (int)code : EPROTO, "%.1000s", clean);
}

static int find_answer(struct image_transfer *t, int id, json_t **ret, struct err *err)
{
	auto_json json_t *answer = NULL;
	char key[24];

	snprintf(key, sizeof(key), "%d", id);
	answer = json_incref(json_object_get(t->answers, key));
	if (!answer)
		return 0;
	json_object_del(t->answers, key);
	if (!json_get_bool(answer, "ok"))
		return failure(answer, err);
	if (ret)
		*ret = take(answer);
	return 1;
}

int image_transfer_answer(struct image_transfer *t, int id, json_t **ret, struct err *err)
{
	struct err why = { 0 };
	int lost = receive(t, &why);
	int rc = find_answer(t, id, ret, err);

	if (rc != 0 || lost >= 0)
		return rc;
	*err = why;
	return lost;
}

int image_transfer_wait(struct image_transfer *t, int other_fd, int timeout_ms, struct err *err)
{
	struct pollfd p[2] = { { t->fd, POLLIN, 0 }, { other_fd, POLLIN, 0 } };

	if (poll(p, 2, timeout_ms) < 0 && errno != EINTR)
		return err_sys(err, "wait for " PROGRAM);
	if (t->interrupted && *t->interrupted)
		return err_set(err, EINTR, "interrupted");
	return 0;
}

int image_transfer_call(struct image_transfer *t, json_t *request, int fd, json_t **ret,
			struct err *err)
{
	int id = image_transfer_send(t, request, fd, err);
	int rc = id;

	while (rc >= 0) {
		rc = image_transfer_answer(t, id, ret, err);
		if (rc)
			return rc < 0 ? rc : 0;
		/* Bounded: an interrupt between the look and the wait is seen soon. */
		rc = image_transfer_wait(t, -1, 500, err);
	}
	return rc;
}
