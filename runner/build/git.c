/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program git, for repositories: as tool.h has it, without hooks, without the host's and the
 * user's configuration. What it leaves is read beneath an fd, like any hostile tree (TRAPS T24).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>

#include "git.h"

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

static void git_cleanup(struct git *g)
{
	ssh_relay_free(g->relay);
	tool_cleanup(&g->t);
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

	strv_addf(&g->t.env, "GIT_CONFIG_KEY_%zu=http.%.*s/.extraHeader", n, (int)len, g->r->u.url);
	strv_addf(&g->t.env, "GIT_CONFIG_VALUE_%zu=Authorization: %s", n, value);
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
	int rc = given_line(secret, &text, err);

	if (rc < 0)
		return rc;
	if (is_token)
		add_basic(g, n, "x-access-token", text);
	else
		add_header(g, n, text);
	explicit_bzero(text, strlen(text));
	return 0;
}

/* BuildKit's names: that of one server before that of all. 1 when there is one. */
static int add_secrets(struct git *g, size_t n, struct err *err)
{
	static const char *const names[] = { "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN" };
	const char *url = g->r->u.url;
	size_t host = 0, len = origin_length(url, &host);

	for (size_t i = 0; len && i < ARRAY_LEN(names); i++) {
		auto_free char *own = mem_fmt("%s.%.*s", names[i], (int)(len - host), url + host);
		const struct given *s = givens_find(&g->t.b->secrets, own);
		int rc;

		if (!s)
			s = givens_find(&g->t.b->secrets, names[i]);
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
		"GIT_CONFIG_NOSYSTEM=1",  "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=/bin/false", "GIT_ATTR_NOSYSTEM=1",         "GIT_LFS_SKIP_SMUDGE=1",
	};
	static const char *const kept[] = { "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY",
					    "NO_PROXY",   "ALL_PROXY",   "all_proxy" };
	size_t n = ARRAY_LEN(settings);
	int rc = 0;

	tool_env(&g->t);
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		strv_add(&g->t.env, fixed[i]);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (getenv(kept[i]))
			strv_addf(&g->t.env, "%s=%s", kept[i], getenv(kept[i]));
	for (size_t i = 0; i < n; i++) {
		strv_addf(&g->t.env, "GIT_CONFIG_KEY_%zu=%s", i, settings[i].key);
		strv_addf(&g->t.env, "GIT_CONFIG_VALUE_%zu=%s", i, settings[i].value);
	}
	if (g->r->u.user)
		add_basic(g, n++, g->r->u.user, g->r->u.password);
	else
		rc = add_secrets(g, n, err);
	if (rc > 0)
		n++;
	strv_addf(&g->t.env, "GIT_CONFIG_COUNT=%zu", n);
	return rc < 0 ? rc : 0;
}

/* "git fetch", whatever stands before that word. */
static char *name_of(const struct strv *args)
{
	size_t i = args->n > 3 && !strcmp(args->v[1], "-C") ? 3 : 1;

	return mem_fmt("git %s", args->v[i]);
}

static int git(struct git *g, struct err *err, ...)
{
	auto_strv struct strv args = { 0 };
	auto_free char *name = NULL;
	const char *word;
	va_list ap;
	int code;

	strv_add(&args, "git");
	va_start(ap, err);
	while ((word = va_arg(ap, const char *)))
		strv_add(&args, word);
	va_end(ap);
	code = tool_run(&g->t, &args, -1, err);
	if (code <= 0)
		return code;
	name = name_of(&args);
	return git_ssh_failed(g, name, code, err);
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

static int begin(struct git *g, struct err *err)
{
	int rc = make_env(g, err);

	return rc < 0 ? rc : git_ssh_begin(g, err);
}

static int ask(struct build *b, struct remote *r, struct err *err)
{
	cleanup(git_cleanup) struct git g = { .t = { .b = b, .dir_fd = r->dir.fd }, .r = r };
	const char *ref = r->u.ref ? r->u.ref : "HEAD";
	auto_free char *peeled = mem_fmt("%s^{}", ref);
	int rc = begin(&g, err);

	if (rc >= 0)
		rc = git(&g, err, "ls-remote", "-q", "--", r->u.url, ref, peeled, NULL);
	if (rc >= 0 && !pick(str_get(&g.t.out), ref, r->id, sizeof(r->id)))
		rc = err_set(err, ENOENT, "no branch, tag or commit %s", ref);
	return rc;
}

int git_look(struct build *b, struct remote *r, struct err *err)
{
	int rc = tool_dir(b, &r->dir, err);

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
		path_open_beneath(g->t.dir_fd, "src/.gitmodules", O_PATH | O_NOFOLLOW, 0, &ignored);

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
	cleanup(git_cleanup) struct git g = { .t = { .b = b }, .r = r };
	auto_fd int src = -1, fd = -1;
	auto_free char *subdir = NULL;
	int rc = tool_dir(b, &r->dir, err);

	if (rc < 0)
		return rc;
	g.t.dir_fd = r->dir.fd;
	rc = begin(&g, err);
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
