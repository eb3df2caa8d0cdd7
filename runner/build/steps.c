/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of steps: metadata, WORKDIR, COPY and ADD. RUN stands in run.c. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>

#include "priv.h"

int meta_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err)
{
	auto_key struct key key = { 0 };
	auto_str struct str what = { 0 };
	struct step_run r = { .b = b, .st = st, .inst = i, .key = &key };
	const struct vars vars = { b->d->escape, scope_lookup, &st->scope };
	int rc = config_apply(st->config, i, &vars, &what, err);

	if (rc < 0)
		return rc;
	r.text = str_get(&what);
	key_begin(&key, b, "config", st->parent);
	key_add(&key, "instruction", r.text);
	key_end(&key);
	step_begin(&r);
	return step_config(&r, err);
}

static int make_workdir(int root_fd, int64_t snapshot, void *arg, struct err *err)
{
	const struct path_new n = { .mode = 0755 };
	int fd = path_mkdirs_in(root_fd, arg, &n, err);

	(void)snapshot;
	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

/* Is dir there in the stage's tree? */
static int has_dir(struct build *b, const struct stage_state *st, const char *dir, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	auto_fd int fd = -1;
	int rc = snap_mount(b->rt->snap, st->snapshot, SNAP_RDONLY, &m, err);

	if (rc < 0)
		return rc;
	fd = path_try_in(m.root_fd, dir, O_PATH, 0);
	return fd >= 0;
}

int workdir_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err)
{
	auto_key struct key key = { 0 };
	auto_str struct str what = { 0 };
	struct step_run r = { .b = b, .st = st, .inst = i, .key = &key };
	const struct vars vars = { b->d->escape, scope_lookup, &st->scope };
	struct step found = { 0 };
	int rc = config_apply(st->config, i, &vars, &what, err);

	if (rc < 0)
		return rc;
	r.text = str_get(&what);
	key_begin(&key, b, "workdir", st->fs_parent);
	key_add(&key, "dir", st->config->workdir);
	key_end(&key);
	step_begin(&r);
	/* A record under this key means that a directory was made; without one, the tree is asked.
	 */
	rc = b->o->no_cache ? 0 : cache_find(b->rt, &key, &found, err);
	step_free(&found);
	if (rc == 0)
		rc = has_dir(b, st, st->config->workdir, err) == 0;
	if (rc < 0)
		return rc;
	if (rc > 0)
		return step_layer(&r, make_workdir, st->config->workdir, err);
	key_free(&key);
	key_begin(&key, b, "config", st->parent);
	key_add(&key, "instruction", r.text);
	key_end(&key);
	return step_config(&r, err);
}

static int expand_flag(struct build *b, struct stage_state *st, const struct df_inst *i,
		       const char *name, char **ret, struct err *err)
{
	const struct df_flag *f = inst_flag(i, name);

	return f ? expand_word(f->value ? f->value : "", b->d->escape, scope_lookup, &st->scope,
			       ret, err)
		 : 0;
}

/* Words and heredocs of the instruction, expanded. The last word is the destination. */
static int copy_words(struct build *b, struct stage_state *st, const struct df_inst *i,
		      struct copy_job *j, struct err *err)
{
	auto_strv struct strv words = { 0 };
	size_t doc = 0;
	int rc = 0;

	for (size_t n = 0; n < i->args.n && rc >= 0; n++) {
		const struct df_heredoc *h;
		char *body = NULL;

		if (n + 1 == i->args.n || doc >= i->n_heredocs ||
		    !inst_is_heredoc_word(i, i->args.v[n])) {
			rc = expand_words(i->args.v[n], b->d->escape, scope_lookup, &st->scope,
					  &words, err);
			continue;
		}
		h = &i->heredocs[doc++];
		if (h->expand)
			rc = expand_text(h->body, b->d->escape, scope_lookup, &st->scope, &body,
					 err);
		strv_add(&j->doc_names, h->name);
		strv_add_take(&j->doc_bodies, body ? body : mem_str(h->body));
	}
	if (rc < 0)
		return rc;
	if (!words.n || words.n + j->doc_names.n < 2)
		return err_set(err, EINVAL, "%s needs a source and a destination",
			       df_kind_name(i->kind));
	for (size_t n = 0; n + 1 < words.n; n++) {
		if (j->is_add && inst_add_is_remote(words.v[n]))
			return err_set(err, ENOTSUP,
				       "ADD of %s: this version of shale adds local files only",
				       words.v[n]);
		strv_add(&j->sources, words.v[n]);
	}
	j->dest = mem_str(words.v[words.n - 1]);
	return 0;
}

static int copy_prepare(struct build *b, struct stage_state *st, const struct df_inst *i,
			struct copy_job *j, struct err *err)
{
	int rc = copy_words(b, st, i, j, err);

	if (rc >= 0)
		rc = expand_flag(b, st, i, "chown", &j->chown, err);
	if (rc >= 0)
		rc = expand_flag(b, st, i, "chmod", &j->chmod, err);
	j->workdir = st->config->workdir;
	j->inst = i;
	return rc;
}

static void copy_text(const struct df_inst *i, const struct copy_job *j, const char *from,
		      struct str *text)
{
	str_add(text, df_kind_name(i->kind));
	if (from)
		str_addf(text, " --from=%s", from);
	if (j->chown)
		str_addf(text, " --chown=%s", j->chown);
	if (j->chmod)
		str_addf(text, " --chmod=%s", j->chmod);
	for (size_t n = 0; n < j->sources.n; n++)
		str_addf(text, " %s", j->sources.v[n]);
	for (size_t n = 0; n < j->doc_names.n; n++)
		str_addf(text, " <<%s", j->doc_names.v[n]);
	str_addf(text, " %s", j->dest);
}

static int copy_work(int root_fd, int64_t snapshot, void *arg, struct err *err)
{
	(void)snapshot;
	return copy_write(arg, root_fd, err);
}

static void copy_key(struct key *k, const struct step_run *r, const struct copy_job *j,
		     const char *from, const struct digest *content)
{
	key_begin(k, r->b, "copy", r->st->fs_parent);
	key_add(k, "instruction", r->text);
	key_add(k, "workdir", j->workdir);
	key_add(k, "from", from);
	if (content)
		key_add(k, "content", digest_str(content));
	key_addv(k, "heredocs", &j->doc_bodies);
	key_end(k);
}

static int copy_from_context(struct step_run *r, struct copy_job *j, struct err *err)
{
	struct digest content = { { 0 } };
	int rc = copy_resolve(j, err);

	if (rc >= 0)
		rc = copy_digest(j, &content, err);
	if (rc < 0)
		return rc;
	copy_key(r->key, r, j, NULL, &content);
	return step_layer(r, copy_work, j, err);
}

/* The source's files are read, and the step is looked up by them. */
static int copy_by_content(struct step_run *r, struct copy_job *j, struct key *content_key,
			   struct err *err)
{
	struct digest content = { { 0 } };
	int rc = copy_resolve(j, err);

	if (rc >= 0)
		rc = copy_digest(j, &content, err);
	if (rc < 0)
		return rc;
	copy_key(content_key, r, j, "content", &content);
	r->content_key = content_key;
	return step_layer(r, copy_work, j, err);
}

/* First by what the source is called, which costs nothing; then by what is in it. */
static int copy_from_tree(struct step_run *r, struct copy_job *j, const struct build_tree *from,
			  struct key *content_key, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	auto_context struct context *tree = NULL;
	struct step found = { 0 };
	int rc;

	copy_key(r->key, r, j, from->result, NULL);
	rc = r->b->o->no_cache ? 0 : cache_find(r->b->rt, r->key, &found, err);
	step_free(&found);
	if (rc < 0)
		return rc;
	if (rc > 0)
		return step_layer(r, copy_work, j, err);
	rc = snap_mount(r->b->rt->snap, from->snapshot, SNAP_RDONLY, &m, err);
	if (rc >= 0)
		rc = context_open_tree(r->b->rt, m.root_fd, &tree, err);
	if (rc < 0)
		return rc;
	j->from = tree;
	j->is_tree = true;
	return copy_by_content(r, j, content_key, err);
}

int copy_step(struct build *b, struct stage_state *st, const struct df_inst *i, struct err *err)
{
	auto_copy_job struct copy_job j = { .from = b->context, .is_add = i->kind == DF_ADD };
	auto_str struct str text = { 0 };
	auto_key struct key key = { 0 }, content_key = { 0 };
	auto_free char *from = NULL;
	struct step_run r = { .b = b, .st = st, .inst = i, .key = &key };
	struct build_tree other = { 0 };
	int rc = copy_prepare(b, st, i, &j, err);

	if (rc >= 0)
		rc = expand_flag(b, st, i, "from", &from, err);
	if (rc >= 0 && from)
		rc = build_find_tree(b, st, from, &other, err);
	if (rc < 0)
		return rc;
	copy_text(i, &j, from, &text);
	r.text = str_get(&text);
	step_begin(&r);
	return from ? copy_from_tree(&r, &j, &other, &content_key, err)
		    : copy_from_context(&r, &j, err);
}
