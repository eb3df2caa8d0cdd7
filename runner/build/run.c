/* SPDX-License-Identifier: Apache-2.0 */
/* RUN: a process in a box over a mounted snapshot. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>
#include <shale/base/proc.h>
#include <shale/base/undo.h>
#include <shale/sandbox.h>

#include "run.h"

enum { POLL_MS = 200, OUTPUT_CHUNK = 16 << 10, JOBS_MIN = 4, KILLED_CODE = 128 + SIGKILL };

void run_free(struct run *r)
{
	strv_free(&r->argv);
	strv_free(&r->env);
	strv_free(&r->visible);
	strv_free(&r->targets);
	strv_free(&r->devices);
	strv_free(&r->device_sources);
	strv_free(&r->cdi);
	strv_free(&r->cdi_env);
	strv_free(&r->cdi_volumes);
	run_kept_drop(r);
	mem_cleanup(&r->hosts);
	mem_cleanup(&r->resolv);
	for (size_t i = 0; i < r->n_mounts; i++)
		if (r->mounts[i].source_fd >= 0)
			close(r->mounts[i].source_fd);
	run_sources_free(r);
	mem_cleanup(&r->mounts);
	mem_cleanup(&r->script);
	scratch_close(&r->own);
}

int run_own_dir(struct run *r, struct err *err)
{
	int rc = r->own.fd >= 0 ? 0 : scratch_open(r->b->rt->root_fd, &r->own, err);

	return rc < 0 ? rc : r->own.fd;
}

/* A heredoc that stands alone is the script; otherwise the shell reads the whole text, heredocs in
 * place. */
static void shell_text(struct run *r, const struct df_inst *i, struct str *text)
{
	const char *line = i->args.n ? i->args.v[0] : "";

	if (i->n_heredocs == 1 && inst_is_heredoc_word(i, line)) {
		const char *body = i->heredocs[0].body;

		if (str_starts(body, "#!"))
			r->script = mem_str(body);
		str_add(text, body);
		return;
	}
	str_add(text, line);
	for (size_t n = 0; n < i->n_heredocs; n++)
		str_addf(text, "\n%s%s", i->heredocs[n].body, i->heredocs[n].name);
}

static void make_argv(struct run *r, const struct image_config *c, const struct df_inst *i)
{
	auto_str struct str text = { 0 };

	if (i->is_json) {
		strv_copy(&r->argv, &i->args);
		return;
	}
	shell_text(r, i, &text);
	if (r->script) {
		strv_addf(&r->argv, RUN_SCRIPT_DIR "/%s", i->heredocs[0].name);
		return;
	}
	if (c->shell.n) {
		strv_copy(&r->argv, &c->shell);
	} else {
		strv_add(&r->argv, "/bin/sh");
		strv_add(&r->argv, "-c");
	}
	strv_add_take(&r->argv, str_take(&text));
}

static int wait_output(struct build *b, struct sandbox *sb, int out_fd, int log_fd, struct err *err)
{
	auto_free char *buf = mem_alloc(OUTPUT_CHUNK);

	for (;;) {
		struct build_event e = { .kind = BUILD_OUTPUT, .text = buf };
		struct err ignored;
		ssize_t n;

		if (build_is_interrupted(b)) {
			sandbox_kill(sb, &ignored);
			return err_set(err, EINTR, "interrupted");
		}
		if (build_wait(b, out_fd, POLL_MS) <= 0)
			continue;
		n = read(out_fd, buf, OUTPUT_CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0; /* every writer is gone: pid 1 ended and took the rest along */
		e.len = (size_t)n;
		build_emit(b, &e);
		if (log_fd >= 0)
			fd_write_all(log_fd, buf, (size_t)n, &ignored);
	}
}

/* The program may close its output and go on: then only its end counts. */
static int wait_end(struct build *b, struct sandbox *sb, int *ret_status, struct err *err)
{
	int rc = 0;

	while (rc == 0) {
		build_wait(b, sandbox_pidfd(sb), POLL_MS);
		rc = sandbox_wait(sb, 0, ret_status, err);
		if (rc == 0 && build_is_interrupted(b)) {
			struct err ignored;

			sandbox_kill(sb, &ignored);
			return err_set(err, EINTR, "interrupted");
		}
	}
	return rc < 0 ? rc : 0;
}

static void leave_box(void *arg)
{
	((struct build *)arg)->boxes--;
}

/* Only so many run at once. */
static int enter_box(struct build *b, struct err *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t max = b->o->jobs ? b->o->jobs : cpus < JOBS_MIN ? JOBS_MIN : (size_t)cpus;

	while (b->boxes >= max) {
		if (build_is_interrupted(b))
			return err_set(err, EINTR, "interrupted");
		build_wait(b, -1, 0);
	}
	b->boxes++;
	return 0;
}

/* The kernel takes none of its programs, or has only an interpreter that is not in this tree. */
static int explain_exec(const struct run *r, int rc, struct err *err)
{
	struct plan_platform p;

	if (plan_platform_is_host(r->st->platform) || (rc != -ENOEXEC && rc != -ENOENT))
		return rc;
	plan_platform_set(&p, r->st->platform);
	return err_hint(err,
			"programs of %s do not run here: there is no binfmt_misc handler for %s "
			"with the flag F (qemu-user-static brings one)",
			p.text, p.arch);
}

/* A program says "Operation not permitted" and seldom of what. */
static int tell_denied(struct sandbox *sb, struct err *err)
{
	auto_strv struct strv names = { 0 };
	auto_str struct str text = { 0 };

	sandbox_denied(sb, &names);
	for (size_t i = 0; i < names.n; i++)
		str_addf(&text, "%s%s", i ? ", " : "", names.v[i]);
	if (!names.n)
		return -err->code;
	return err_hint(err,
			"refused by seccomp: %s; RUN --security=insecure with --allow "
			"security.insecure would let it",
			text.s);
}

static int run_box(struct run *r, const struct sandbox_spec *spec, int out_fd, int *pipe_in,
		   struct err *err)
{
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	auto_sandbox struct sandbox *sb = NULL;
	auto_undo struct undo inside = { 0 };
	auto_fd int log_fd = -1;
	char name[RECORD_LOG_NAME];
	int status = 0, rc = enter_box(r->b, err);
	uint64_t memory;

	if (rc < 0)
		return rc;
	undo_push(&inside, leave_box, r->b);
	rc = record_log_name(r->b, name, err);
	if (rc < 0)
		return rc;
	log_fd = openat(r->b->rt->root_fd, name,
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	rc = sandbox_plan(spec, &plan, err);
	if (rc >= 0)
		rc = sandbox_spawn(plan, &sb, err);
	fd_close(pipe_in);
	if (rc >= 0)
		rc = sandbox_release(sb, err);
	if (rc < 0)
		return explain_exec(r, rc, err);
	context_read_ahead(r->b);
	rc = wait_output(r->b, sb, out_fd, log_fd, err);
	if (rc >= 0)
		rc = wait_end(r->b, sb, &status, err);
	if (rc < 0)
		return rc;
	if (status == 0)
		return 0;
	if (WIFSIGNALED(status))
		err_set(err, ECHILD, "killed by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		err_set(err, ECHILD, "ended with exit code %d", WEXITSTATUS(status));
	memory = r->b->o->cgroup ? r->b->o->cgroup->memory_bytes : 0;
	if (memory && proc_exit_code(status) == KILLED_CODE)
		err_hint(err, "--memory is %llu bytes", (unsigned long long)memory);
	return tell_denied(sb, err);
}

static void set_home(struct run *r, const struct sandbox_user *u)
{
	if (!strv_env_get(&r->env, "HOME"))
		strv_env_set(&r->env, "HOME", u->home && *u->home ? u->home : "/");
}

void run_cdi_env(const struct run *r, struct strv *env)
{
	for (size_t i = 0; i < r->cdi_env.n; i++) {
		const char *pair = r->cdi_env.v[i];
		auto_free char *name = mem_strn(pair, strcspn(pair, "="));

		strv_env_set(env, name, pair[strlen(name)] ? pair + strlen(name) + 1 : "");
	}
}

/* The environment that the process gets: the step's own, and what is for it alone. */
static void add_secret_env(const struct run *r, struct strv *env)
{
	strv_copy(env, &r->env);
	run_cdi_env(r, env);
	for (size_t i = 0; i < r->secret_env.n; i++) {
		const char *pair = r->secret_env.v[i], *eq = strchr(pair, '=');
		auto_free char *name = mem_strn(pair, (size_t)(eq - pair));

		strv_env_set(env, name, eq + 1);
	}
}

static const char default_name[] = "buildkitsandbox";

const char *run_host_name(const struct run *r)
{
	const char *name = strv_env_get(&r->b->build_args, "BUILDKIT_SANDBOX_HOSTNAME");

	return name && *name ? name : default_name;
}

static int work_in(int root_fd, int64_t snapshot, struct run *r, struct err *err)
{
	auto_strv struct strv env = { 0 };
	struct sandbox_user user = { 0 };
	struct run_stubs stubs = { 0 };
	struct sandbox_spec spec = { .root_fd = root_fd,
				     .root_is_spent = true,
				     .hostname = run_host_name(r),
				     .stdio = { -1, -1, -1 } };
	auto_fd int out = -1, in = -1;
	int fds[2],
		rc = sandbox_user_find(root_fd, r->config->user ? r->config->user : "", &user, err);

	if (rc < 0)
		return err_ctx(err, "USER %.200s", r->config->user ? r->config->user : "0");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	out = fds[0];
	in = fds[1];
	set_home(r, &user);
	add_secret_env(r, &env);
	spec.argv = strv_args(&r->argv);
	spec.envp = strv_args(&env);
	spec.cwd = r->config->workdir && *r->config->workdir ? r->config->workdir : "/";
	spec.uid = user.uid;
	spec.gid = user.gid;
	spec.groups = user.groups;
	spec.n_groups = user.n_groups;
	spec.net = r->net;
	spec.net_fd = r->b->net.fd;
	spec.mounts = r->mounts;
	spec.n_mounts = r->n_mounts;
	spec.stdio[1] = spec.stdio[2] = in;
	spec.cache_dir = r->cache_dir;
	spec.tell_denied = true;
	run_rights_spec(r, &spec);
	ids_enter(spec.ids);
	rc = run_stubs_make(&stubs, r, snapshot, root_fd, err);
	ids_leave(spec.ids);
	if (rc >= 0)
		rc = run_box(r, &spec, out, &in, err);
	/* Also of what is kept for who wants to look into it. */
	if (rc >= 0 || rc == -ECHILD) {
		struct err *e = rc < 0 ? &(struct err){ 0 } : err;
		int removed = run_stubs_remove(&stubs, r->b->rt->snap, snapshot, root_fd, e);

		rc = rc < 0 ? rc : removed;
	}
	run_stubs_free(&stubs);
	sandbox_user_free(&user);
	return rc;
}

/* A second attempt begins where the first one did. */
static int work(int root_fd, int64_t snapshot, void *arg, struct err *err)
{
	struct run *r = arg;
	size_t n_mounts = r->n_mounts;
	int rc = run_sources_open(r, err);

	run_mounts_point(r);
	if (rc >= 0)
		rc = run_net_open(r, err);
	if (rc >= 0)
		rc = work_in(root_fd, snapshot, r, err);
	if (rc == -ECHILD)
		run_keep(r);
	for (; r->n_mounts > n_mounts; r->n_mounts--)
		strv_remove(&r->targets, r->n_mounts - 1);
	run_sources_close(r);
	return rc;
}

static void run_text(const struct run *r, const struct df_inst *i, struct str *text)
{
	str_add(text, "RUN");
	if (i->is_json) {
		for (size_t n = 0; n < i->args.n; n++)
			str_addf(text, "%s\"%s\"", n ? ", " : " [", i->args.v[n]);
		str_add(text, "]");
		return;
	}
	for (size_t n = 0; n < r->argv.n; n++)
		str_addf(text, " %s", r->argv.v[n]);
}

static int run_key(struct run *r, struct key *key, bool by_content, bool *ret_differs,
		   struct err *err)
{
	auto_strv struct strv mounts = { 0 };
	int rc = run_sources_key(r, by_content, &mounts, ret_differs, err);

	if (rc < 0)
		return rc;
	key_begin(key, r->b, "run", r->st->fs_parent);
	key_addv(key, "argv", &r->argv);
	key_add(key, "script", r->script);
	key_addv(key, "env", &r->visible);
	key_add(key, "user", r->config->user);
	key_add(key, "workdir", r->config->workdir);
	key_add(key, "network", r->net_name);
	if (strcmp(run_host_name(r), default_name) != 0)
		key_add(key, "hostname", run_host_name(r));
	key_addv(key, "volumes", &r->b->o->volumes);
	if (mounts.n)
		key_addv(key, "mounts", &mounts);
	/* What a program does under another machine's name is another thing. */
	if (!plan_platform_is_host(r->st->platform))
		key_add(key, "platform", r->st->platform);
	run_rights_key(r, key);
	key_end(key);
	return 0;
}

static bool reads_absent(const struct run *r)
{
	for (size_t i = 0; i < r->n_sources; i++)
		if (r->sources[i].tree.stage && stage_is_absent(r->b, r->sources[i].tree.stage))
			return true;
	return false;
}

/* First by what the stages that are mounted are called, which costs nothing; then by what is in
 * them. */
static int run_keys(struct run *r, struct step_run *s, struct key *content_key, struct err *err)
{
	struct step found = { 0 };
	bool differs;
	int rc = run_key(r, s->key, false, &differs, err);

	if (rc < 0 || !differs || s->st->no_cache)
		return rc;
	rc = cache_find(r->b->rt, s->key, &found, err);
	step_free(&found);
	if (rc == 0)
		rc = depots_find(s, s->key, true, err);
	if (rc == 0 || (rc > 0 && depots_want_content(s->b) && !reads_absent(r))) {
		rc = run_key(r, content_key, true, &differs, err);
		s->content_key = content_key;
	}
	return rc < 0 ? rc : 0;
}

int run_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err)
{
	cleanup(run_free) struct run r = {
		.b = b, .st = st, .config = st->config, .own = SCRATCH_INIT
	};
	auto_free char *cache_dir = mem_fmt("%s/cache/seccomp", b->rt->root);
	auto_key struct key key = { 0 }, content_key = { 0 };
	auto_str struct str text = { 0 };
	struct step_run s = { .b = b, .st = st, .inst = i, .key = &key };
	int rc;

	run_net_choose(&r, i);
	make_argv(&r, st->config, i);
	rc = run_rights(&r, i, err);
	if (rc >= 0)
		rc = run_mounts(&r, i, err);
	if (rc < 0)
		return rc;
	r.cache_dir = cache_dir;
	scope_env(&st->scope, &r.env, &r.visible);
	run_text(&r, i, &text);
	r.text = s.text = str_get(&text);
	step_begin(&s);
	rc = run_keys(&r, &s, &content_key, err);
	if (rc >= 0 && b->o->user_ns && !b->ids.count)
		rc = ids_open(&b->ids, err);
	s.ids = &b->ids;
	if (rc >= 0)
		rc = step_layer(&s, work, &r, err);
	if (s.kept)
		run_failed(&r, &s, b->failure);
	return rc;
}
