/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program git, for repositories: as nobody, in a mount namespace where the directory it may
 * write to stands at /tmp, with an environment of our own, without hooks, without the host's and
 * the user's configuration. What it leaves is read beneath an fd, like any hostile tree (TRAPS
 * T24).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "remote.h"

enum { NOBODY = 65534, OUT_BYTES_MAX = 256 << 10, SHOWN = 600, POLL_MS = 100 };

/* GIT_CONFIG_KEY_n, GIT_CONFIG_VALUE_n */
static const struct {
	const char *key, *value;
} settings[] = {
	{ "core.hooksPath", "/dev/null" },
	{ "core.fsmonitor", "false" },
	{ "core.askPass", "" },
	{ "credential.helper", "" },
	{ "gc.auto", "0" },
	{ "maintenance.auto", "false" },
	{ "safe.directory", "*" },
	{ "advice.detachedHead", "false" },
	{ "init.defaultBranch", "master" },
	{ "http.lowSpeedLimit", "100" },
	{ "http.lowSpeedTime", "60" },
	{ "fetch.recurseSubmodules", "false" },
	{ "submodule.recurse", "false" },
};

struct git {
	struct build *b;
	const struct remote *r;
	struct strv env;
	int dir_fd;
	struct str out, said; /* standard output; standard error, its beginning */
};

static void git_cleanup(struct git *g)
{
	for (size_t i = 0; i < g->env.n; i++)
		explicit_bzero(g->env.v[i], strlen(g->env.v[i]));
	strv_free(&g->env);
	str_free(&g->out);
	str_free(&g->said);
}

/* Of an http URL: "https://host:1", and where the host begins in it; 0 for another. */
static size_t origin_length(const char *url, size_t *ret_host)
{
	const char *host = strstr(url, "://");

	if (!host || strncmp(url, "http", 4) != 0)
		return 0;
	*ret_host = 3 + (size_t)(host - url);
	return *ret_host + strcspn(url + *ret_host, "/");
}

/* A header for that server alone: argv, .git/config and messages never see it. */
static void add_header(struct git *g, size_t n, const char *value)
{
	size_t host, len = origin_length(g->r->u.url, &host);

	strv_addf(&g->env, "GIT_CONFIG_KEY_%zu=http.%.*s/.extraHeader", n, (int)len, g->r->u.url);
	strv_addf(&g->env, "GIT_CONFIG_VALUE_%zu=Authorization: %s", n, value);
}

static void add_basic(struct git *g, size_t n, const char *user, const char *password)
{
	auto_free char *pair = mem_fmt("%s:%s", user, password), *text = NULL;
	auto_str struct str b = { 0 };

	str_add(&b, "Basic ");
	str_add_base64(&b, pair, strlen(pair));
	text = str_take(&b);
	add_header(g, n, text);
	explicit_bzero(pair, strlen(pair));
	explicit_bzero(text, strlen(text));
}

static int add_secret(struct git *g, size_t n, const struct given *secret, bool is_token,
		      struct err *err)
{
	auto_free char *text = NULL;
	size_t len = 0;
	int rc = given_read(secret, &text, &len, err);

	if (rc < 0)
		return err_ctx(err, "secret %s", secret->id);
	str_trim(text);
	for (size_t i = 0; i < strlen(text) && rc >= 0; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			rc = err_set(err, EINVAL, "secret %s: no header can hold it", secret->id);
	if (rc >= 0 && is_token)
		add_basic(g, n, "x-access-token", text);
	else if (rc >= 0)
		add_header(g, n, text);
	explicit_bzero(text, len);
	return rc;
}

/* BuildKit's names: that of one server before that of all. 1 when there is one. */
static int add_secrets(struct git *g, size_t n, struct err *err)
{
	static const char *const names[] = { "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN" };
	const char *url = g->r->u.url;
	size_t host = 0, len = origin_length(url, &host);

	for (size_t i = 0; len && i < ARRAY_LEN(names); i++) {
		auto_free char *own = mem_fmt("%s.%.*s", names[i], (int)(len - host), url + host);
		const struct given *s = givens_find(&g->b->secrets, own);
		int rc;

		if (!s)
			s = givens_find(&g->b->secrets, names[i]);
		if (!s)
			continue;
		rc = add_secret(g, n, s, i == 1, err);
		return rc < 0 ? rc : 1;
	}
	return 0;
}

static int make_env(struct git *g, struct err *err)
{
	static const char *const fixed[] = {
		"PATH=/usr/local/bin:/usr/bin:/bin",
		"HOME=/tmp",
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=/bin/false",
		"SSH_ASKPASS=/bin/false",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_LFS_SKIP_SMUDGE=1",
		"GIT_ALLOW_PROTOCOL=http:https:git:ssh",
		"GIT_SSH_COMMAND=ssh -F /dev/null -o BatchMode=yes -o UserKnownHostsFile=/dev/null",
	};
	static const char *const kept[] = { "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY",
					    "NO_PROXY",   "ALL_PROXY",   "all_proxy" };
	size_t n = ARRAY_LEN(settings);
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		strv_add(&g->env, fixed[i]);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (getenv(kept[i]))
			strv_addf(&g->env, "%s=%s", kept[i], getenv(kept[i]));
	for (size_t i = 0; i < n; i++) {
		strv_addf(&g->env, "GIT_CONFIG_KEY_%zu=%s", i, settings[i].key);
		strv_addf(&g->env, "GIT_CONFIG_VALUE_%zu=%s", i, settings[i].value);
	}
	if (g->r->u.user)
		add_basic(g, n++, g->r->u.user, g->r->u.password);
	else
		rc = add_secrets(g, n, err);
	if (rc > 0)
		n++;
	strv_addf(&g->env, "GIT_CONFIG_COUNT=%zu", n);
	return rc < 0 ? rc : 0;
}

/* --- the process --- */

/* Whatever the host has in /tmp is out of sight, and our directory is where nobody can reach it. */
static int enter_own_tmp(int dir_fd)
{
	/* Before the namespace changes: an fd of the old one cannot be cloned in the new one. */
	int tree = sys_open_tree(dir_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (tree < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	if (sys_move_mount(tree, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -1;
	return chdir("/tmp");
}

/*
 * git starts helpers, which would go on when we are killed: in a pid namespace they end with its
 * first process. The one in between waits for that and ends with us. *ret_fd, in git's process: at
 * its end when the one in between is gone.
 */
static void enter_own_pids(pid_t parent, int *ret_fd)
{
	int alive[2], code = 126;
	struct err ignored;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent || pipe2(alive, O_CLOEXEC) < 0 || unshare(CLONE_NEWPID) < 0)
		_exit(126);
	pid = fork();
	if (pid < 0)
		_exit(126);
	if (pid == 0) {
		close(alive[1]);
		*ret_fd = alive[0];
		return;
	}
	/* git's output ends when git does. */
	dup2(alive[1], 0);
	sys_close_range(1, ~0u, 0);
	proc_wait(pid, &code, &ignored);
	_exit(code);
}

static bool is_closed(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	return poll(&p, 1, 0) != 0;
}

static void become_git(const struct git *g, char *const argv[], char *const env[], int out,
		       int said, pid_t parent)
{
	static const char *const places[] = { "/usr/local/bin/git", "/usr/bin/git", "/bin/git" };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sigset_t none;
	int alive = -1;

	setsid();
	enter_own_pids(parent, &alive);
	if (enter_own_tmp(g->dir_fd) < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 ||
	    dup2(said, 2) < 0)
		_exit(126);
	sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	umask(022);
	if (proc_become(NOBODY) < 0)
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (is_closed(alive))
		_exit(126);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		execve(places[i], argv, env);
	_exit(127);
}

/* All that is there, without waiting; what is beyond the limit is dropped. 0: the end. */
static int drain(int fd, struct str *to, size_t limit)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (to->len < limit)
			str_addn(to, buf,
				 (size_t)n < limit - to->len ? (size_t)n : limit - to->len);
	return n == 0 ? 0 : 1;
}

static int listen_to(struct git *g, int out, int said, struct err *err)
{
	int open_out = 1, open_said = 1;

	fcntl(out, F_SETFL, O_NONBLOCK);
	fcntl(said, F_SETFL, O_NONBLOCK);
	while (open_out || open_said) {
		if (build_is_interrupted(g->b))
			return err_set(err, EINTR, "interrupted");
		build_wait(g->b, open_out ? out : said, POLL_MS);
		open_out = open_out && drain(out, &g->out, OUT_BYTES_MAX);
		open_said = open_said && drain(said, &g->said, SHOWN);
	}
	return 0;
}

/* What git said of its failure, made fit for a terminal. */
static int failed(struct git *g, const char *what, int code, struct err *err)
{
	auto_free char *text = source_url_scrub(str_get(&g->said));

	if (code == 127)
		return err_set(err, ENOENT, "the program git is not installed");
	if (code == 126)
		return err_set(err, EPROTO, "git has no place of its own to run in");
	text_safe(text);
	return err_set(err, EPROTO, "git %s: %s", what, *text ? text : "ended with a failure");
}

static int run(struct git *g, struct strv *args, struct err *err)
{
	auto_fd int out_r = -1, out_w = -1, said_r = -1, said_w = -1;
	pid_t parent = getpid(), pid;
	int a[2], b[2], code = 0, rc;

	if (pipe2(a, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	out_r = a[0];
	out_w = a[1];
	if (pipe2(b, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	said_r = b[0];
	said_w = b[1];
	str_reset(&g->out);
	str_reset(&g->said);
	pid = fork();
	if (pid < 0)
		return err_sys(err, "fork for git");
	if (pid == 0)
		become_git(g, strv_args(args), strv_args(&g->env), out_w, said_w, parent);
	fd_close(&out_w);
	fd_close(&said_w);
	rc = listen_to(g, out_r, said_r, err);
	/* Its whole session: nothing of it writes any more when the tree is read. */
	if (rc < 0)
		kill(-pid, SIGKILL);
	if (proc_wait(pid, &code, err) < 0 && rc >= 0)
		rc = -err->code;
	kill(-pid, SIGKILL);
	return rc < 0 ? rc : code ? failed(g, args->v[1], code, err) : 0;
}

static int git(struct git *g, struct err *err, ...)
{
	auto_strv struct strv args = { 0 };
	const char *word;
	va_list ap;

	strv_add(&args, "git");
	va_start(ap, err);
	while ((word = va_arg(ap, const char *)))
		strv_add(&args, word);
	va_end(ap);
	return run(g, &args, err);
}

/* --- which commit --- */

static bool is_commit(const char *s)
{
	size_t n = strspn(s, "0123456789abcdef");

	return !s[n] && (n == 40 || n == 64);
}

/* The line "<commit>\t<name>" of ls-remote. */
static bool find_line(const char *out, const char *name, char *ret, size_t room)
{
	for (const char *line = out; *line;) {
		size_t n = strcspn(line, "\n");
		auto_free char *copy = mem_strn(line, n);
		char *tab = strchr(copy, '\t');

		if (tab && !strcmp(tab + 1, name)) {
			*tab = 0;
			if (is_commit(copy)) {
				snprintf(ret, room, "%s", copy);
				return true;
			}
		}
		line += n + (line[n] == '\n');
	}
	return false;
}

/* A branch before a tag, as git checkout has it; of an annotated tag the commit. */
static bool pick(const char *out, const char *ref, char *ret, size_t room)
{
	static const char *const forms[] = {
		"refs/heads/%s", "refs/tags/%s^{}", "refs/tags/%s", "%s^{}", "%s", "refs/%s"
	};

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		auto_str struct str b = { 0 };
		const char *mark = strstr(forms[i], "%s");

		str_addn(&b, forms[i], (size_t)(mark - forms[i]));
		str_addf(&b, "%s%s", ref, mark + 2);
		if (find_line(out, b.s, ret, room))
			return true;
	}
	return false;
}

static int check_commit(const struct remote *r, struct err *err)
{
	if (!r->checksum || str_starts(r->id, r->checksum))
		return 0;
	return err_set(err, EBADMSG, "the commit is %s, not %s", r->id, r->checksum);
}

static int ask(struct build *b, struct remote *r, struct err *err)
{
	cleanup(git_cleanup) struct git g = { .b = b, .r = r, .dir_fd = r->dir.fd };
	const char *ref = r->u.ref ? r->u.ref : "HEAD";
	auto_free char *peeled = mem_fmt("%s^{}", ref);
	int rc = make_env(&g, err);

	if (rc >= 0)
		rc = git(&g, err, "ls-remote", "-q", "--", r->u.url, ref, peeled, NULL);
	if (rc >= 0 && !pick(str_get(&g.out), ref, r->id, sizeof(r->id)))
		rc = err_set(err, ENOENT, "no branch, tag or commit %s", ref);
	return rc;
}

static int own_dir(struct build *b, struct remote *r, struct err *err)
{
	int rc = r->dir.fd >= 0 ? 0 : scratch_open(b->rt->root_fd, &r->dir, err);

	if (rc >= 0 && fchown(r->dir.fd, NOBODY, NOBODY) < 0)
		return err_sys(err, "a directory for git");
	return rc;
}

int git_look(struct build *b, struct remote *r, struct err *err)
{
	int rc = own_dir(b, r, err);

	if (rc >= 0 && r->u.ref && is_commit(r->u.ref))
		snprintf(r->id, sizeof(r->id), "%s", r->u.ref);
	else if (rc >= 0)
		rc = ask(b, r, err);
	if (rc >= 0)
		rc = check_commit(r, err);
	return rc < 0 ? err_ctx(err, "%s", r->u.url) : 0;
}

/* --- the tree --- */

/* Many servers give a commit by its id, and then it alone; the others all there is. */
static int fetch(struct git *g, struct err *err)
{
	struct err first = { 0 };
	int rc = git(g, &first, "-C", "src", "fetch", "-q", "--depth=1", "--no-tags", "origin",
		     g->r->id, NULL);

	if (rc == -EPROTO)
		return git(g, err, "-C", "src", "fetch", "-q", "origin",
			   "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", NULL);
	if (rc < 0)
		*err = first;
	return rc;
}

static bool has_submodules(const struct git *g)
{
	struct stat st;
	struct err ignored;
	auto_fd int fd =
		path_open_beneath(g->dir_fd, "src/.gitmodules", O_PATH | O_NOFOLLOW, 0, &ignored);

	return !g->r->u.no_submodules && fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int check_out(struct git *g, struct err *err)
{
	int rc = git(g, err, "init", "-q", "--template=", "src", NULL);

	if (rc >= 0)
		rc = git(g, err, "-C", "src", "remote", "add", "origin", g->r->u.url, NULL);
	if (rc >= 0)
		rc = fetch(g, err);
	if (rc >= 0)
		rc = git(g, err, "-C", "src", "checkout", "-q", "--detach", g->r->id, NULL);
	if (rc >= 0 && has_submodules(g))
		rc = git(g, err, "-C", "src", "submodule", "-q", "update", "--init", "--recursive",
			 "--depth=1", NULL);
	return rc;
}

int git_fetch(struct build *b, struct remote *r, int *ret_fd, struct err *err)
{
	cleanup(git_cleanup) struct git g = { .b = b, .r = r };
	auto_fd int src = -1, fd = -1;
	auto_free char *subdir = NULL;
	int rc = own_dir(b, r, err);

	if (rc < 0)
		return rc;
	g.dir_fd = r->dir.fd;
	rc = make_env(&g, err);
	if (rc >= 0)
		rc = check_out(&g, err);
	if (rc < 0)
		return rc;
	src = path_open_beneath(r->dir.fd, "src", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
	if (src < 0)
		return fd_take(&src);
	if (!r->keep_git)
		rc = fs_remove_tree(src, ".git", err);
	if (rc < 0)
		return rc;
	subdir = path_join("/", r->u.subdir ? r->u.subdir : "");
	fd = path_open_beneath(src, subdir + 1, O_RDONLY | O_DIRECTORY, 0, err);
	if (fd < 0)
		return err_ctx(err, "directory %s of the repository", subdir);
	*ret_fd = fd_take(&fd);
	return 0;
}
