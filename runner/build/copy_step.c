/* SPDX-License-Identifier: Apache-2.0 */
/* COPY and ADD as a step: what the instruction says, the keys it is found under, and the work. */
#include <errno.h>
#include <string.h>

#include <shale/base/fd.h>

#include "remote.h"

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
		char *word = NULL, *body = NULL;

		if (n + 1 == i->args.n || doc >= i->n_heredocs ||
		    !inst_is_heredoc_word(i, i->args.v[n])) {
			/* One word stays one: "COPY $files" is not split. */
			rc = expand_word(i->args.v[n], b->d->escape, scope_lookup, &st->scope,
					 &word, err);
			if (rc >= 0)
				strv_add_take(&words, word);
			continue;
		}
		h = &i->heredocs[doc++];
		if (h->expand)
			/* Whatever the escape directive says, as BuildKit has it. */
			rc = expand_text(h->body, '\\', scope_lookup, &st->scope, &body, err);
		strv_add(&j->doc_names, h->name);
		strv_add_take(&j->doc_bodies, body ? body : mem_str(h->body));
	}
	if (rc < 0)
		return rc;
	if (!words.n || words.n + j->doc_names.n < 2)
		return err_set(err, EINVAL, "%s needs a source and a destination",
			       df_kind_name(i->kind));
	for (size_t n = 0; n + 1 < words.n; n++)
		strv_add(&j->sources, words.v[n]);
	j->dest = mem_str(words.v[words.n - 1]);
	return 0;
}

static int check_remote(const struct df_inst *i, const struct copy_job *j, struct remote *r,
			struct err *err)
{
	const struct df_flag *keep = inst_flag(i, "keep-git-dir");
	bool wanted = inst_flag_bool(i, "keep-git-dir", r->keep_git);

	if (keep && r->u.keep_git >= 0 && wanted != r->keep_git)
		return err_set(err, EINVAL, "--keep-git-dir and the URL's query differ");
	r->keep_git = wanted;
	if (!j->checksum)
		return 0;
	if (j->sources.n + j->doc_names.n > 1)
		return err_set(err, EINVAL, "--checksum is for a single source");
	if (r->checksum && strcmp(r->checksum, j->checksum) != 0)
		return err_set(err, EINVAL, "--checksum and the URL's query differ");
	free(r->checksum);
	r->checksum = mem_str(j->checksum);
	return 0;
}

/* Sources that are URLs leave the list's text without what nobody may read. */
static int copy_remotes(const struct df_inst *i, struct copy_job *j, struct err *err)
{
	size_t n_remote = 0;
	int rc = 0;

	j->remotes = mem_array(j->sources.n + 1, sizeof(struct remote *));
	for (size_t n = 0; n < j->sources.n && rc >= 0; n++) {
		struct source_url u = { 0 };
		char *clean;

		rc = source_url_parse(j->sources.v[n], &u, err);
		if (rc <= 0)
			continue;
		j->remotes[n] = remote_new(&u);
		clean = source_url_scrub(j->sources.v[n]);
		free(j->sources.v[n]);
		j->sources.v[n] = clean;
		n_remote++;
		if (i->kind != DF_ADD)
			return err_set(err, EINVAL, "%s: COPY takes no URL, ADD does", clean);
		rc = check_remote(i, j, j->remotes[n], err);
	}
	if (rc >= 0 && j->checksum && !n_remote)
		return err_set(err, EINVAL, "--checksum is for a URL or a git repository");
	return rc < 0 ? rc : 0;
}

static int expand_excludes(struct build *b, struct stage_state *st, const struct df_inst *i,
			   struct copy_job *j, struct err *err)
{
	int rc = 0;

	for (size_t n = 0; n < i->n_flags && rc >= 0; n++) {
		char *value = NULL;

		if (strcmp(i->flags[n].name, "exclude") != 0)
			continue;
		rc = expand_word(i->flags[n].value, b->d->escape, scope_lookup, &st->scope, &value,
				 err);
		if (rc >= 0)
			strv_add_take(&j->excludes, value);
	}
	return rc;
}

/* "1000", "1000:100" */
static bool is_numeric(const char *owner)
{
	return !owner[strspn(owner, "0123456789:")];
}

static int copy_prepare(struct build *b, struct stage_state *st, const struct df_inst *i,
			struct copy_job *j, struct err *err)
{
	int rc = copy_words(b, st, i, j, err);

	if (rc >= 0)
		rc = expand_flag(b, st, i, "chown", &j->chown, err);
	if (rc >= 0)
		rc = expand_flag(b, st, i, "chmod", &j->chmod, err);
	if (rc >= 0)
		rc = expand_excludes(b, st, i, j, err);
	if (rc >= 0)
		rc = expand_flag(b, st, i, "checksum", &j->checksum, err);
	if (rc >= 0 && !inst_flag(i, "from"))
		rc = copy_remotes(i, j, err);
	j->workdir = st->config->workdir;
	j->inst = i;
	j->parents = inst_flag_bool(i, "parents", false);
	j->unpack = inst_flag_bool(i, "unpack", i->kind == DF_ADD);
	/* With --chmod BuildKit does not link either, and people's files rely on what they get. */
	j->link = inst_flag_bool(i, "link", false) && !j->chmod;
	if (rc >= 0 && j->link && j->chown && !is_numeric(j->chown))
		return err_set(
			err, EINVAL,
			"--chown=%s: with --link the image's users are not read; use numbers",
			j->chown);
	return rc;
}

static void copy_text(const struct df_inst *i, const struct copy_job *j, const char *from,
		      struct str *text)
{
	str_add(text, df_kind_name(i->kind));
	if (from)
		str_addf(text, " --from=%s", from);
	if (j->link)
		str_add(text, " --link");
	if (j->parents)
		str_add(text, " --parents");
	for (size_t n = 0; n < j->excludes.n; n++)
		str_addf(text, " --exclude=%s", j->excludes.v[n]);
	if (inst_flag(i, "unpack"))
		str_addf(text, " --unpack=%s", j->unpack ? "true" : "false");
	if (j->checksum)
		str_addf(text, " --checksum=%s", j->checksum);
	if (inst_flag_bool(i, "keep-git-dir", false))
		str_add(text, " --keep-git-dir");
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

struct copy_work {
	struct build *b;
	struct copy_job *j;
};

static int copy_work(int root_fd, int64_t snapshot, void *arg, struct err *err)
{
	struct copy_work *w = arg;
	auto_fd int upper_fd = -1;
	int rc = copy_fetch(w->b, w->j, err);

	if (rc >= 0)
		rc = snap_work_fd(w->b->rt->snap, snapshot, root_fd, &upper_fd, err);
	if (rc >= 0)
		rc = copy_write(w->j, root_fd, upper_fd, err);
	return rc < 0 ? rc : sources_write(w->b->rt->snap, w->j, snapshot, err);
}

static int copy_run(struct step_run *r, struct copy_job *j, struct err *err)
{
	struct copy_work w = { r->b, j };

	return step_layer(r, copy_work, &w, err);
}

static int look_at_remotes(struct step_run *r, struct copy_job *j, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; j->remotes && i < j->sources.n && rc >= 0; i++)
		if (j->remotes[i])
			rc = remote_look(r->b, j->remotes[i], err);
	return rc;
}

/* parent: what the layer rests on; "" for one that needs none. */
static void copy_key(struct key *k, const struct step_run *r, const struct copy_job *j,
		     const char *parent, const char *from, const struct digest *content)
{
	key_begin(k, r->b, "copy", parent);
	key_add(k, "instruction", r->text);
	key_add(k, "workdir", j->workdir);
	key_add(k, "from", from);
	if (content)
		key_add(k, "content", digest_str(content));
	key_addv(k, "heredocs", &j->doc_bodies);
	key_end(k);
}

/* The files of the sources, and what they have in them. */
static int copy_content(struct copy_job *j, struct digest *ret, struct err *err)
{
	int rc = copy_resolve(j, err);

	return rc < 0 ? rc : copy_digest(j, ret, err);
}

static int copy_from_context(struct step_run *r, struct copy_job *j, struct key *content_key,
			     struct err *err)
{
	struct digest content = { { 0 } };
	int rc = look_at_remotes(r, j, err);

	if (rc >= 0)
		rc = copy_content(j, &content, err);
	if (rc < 0)
		return rc;
	copy_key(r->key, r, j, r->st->fs_parent, NULL, &content);
	if (j->link) {
		copy_key(content_key, r, j, "", "content", &content);
		r->content_key = content_key;
	}
	return copy_run(r, j, err);
}

/* The source's files are read, and the step is looked up by them. */
static int copy_by_content(struct step_run *r, struct copy_job *j, struct key *content_key,
			   struct err *err)
{
	struct digest content = { { 0 } };
	int rc = copy_content(j, &content, err);

	if (rc < 0)
		return rc;
	copy_key(content_key, r, j, j->link ? "" : r->st->fs_parent, "content", &content);
	r->content_key = content_key;
	return copy_run(r, j, err);
}

/* First by what the source is called, which costs nothing; then by what is in it. */
static int copy_from_tree(struct step_run *r, struct copy_job *j, struct build_tree *from,
			  struct key *content_key, struct err *err)
{
	auto_snap_mount struct snap_mount m = SNAP_MOUNT_INIT;
	auto_context struct context *tree = NULL;
	struct step found = { 0 };
	int rc;

	copy_key(r->key, r, j, r->st->fs_parent, from->result, NULL);
	rc = r->st->no_cache ? 0 : cache_find(r->b->rt, r->key, &found, err);
	step_free(&found);
	if (rc == 0)
		rc = depots_find(r, r->key, true, err);
	if (rc < 0)
		return rc;
	if (rc > 0 &&
	    !(from->stage && depots_want_content(r->b) && !stage_is_absent(r->b, from->stage)))
		return copy_run(r, j, err);
	rc = build_tree_whole(r->b, from, err);
	if (rc >= 0)
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
	auto_copy_job struct copy_job j = { .from = b->context,
					    .max_bytes = b->rt->max_layer_bytes };
	auto_str struct str text = { 0 };
	auto_key struct key key = { 0 }, content_key = { 0 };
	auto_free char *from = NULL;
	struct step_run r = { .b = b, .st = st, .inst = i, .key = &key, .copy = &j };
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
	r.link = j.link;
	step_begin(&r);
	if (other.context)
		j.from = other.context;
	return from && !other.context ? copy_from_tree(&r, &j, &other, &content_key, err)
				      : copy_from_context(&r, &j, &content_key, err);
}
