/* SPDX-License-Identifier: Apache-2.0 */
/* COPY and ADD, the pure side: which sources there are, and the digest of all that the copy can
 * see. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/path.h>

#include "remote.h"

enum { LINKS_MAX = 40, MATCHES_MAX = 1 << 20 };

void copy_job_free(struct copy_job *j)
{
	for (size_t i = 0; i < j->n_items; i++) {
		free(j->items[i].path);
		free(j->items[i].name);
		free(j->items[i].keep);
		ignore_free(j->items[i].only);
	}
	for (size_t i = 0; j->remotes && i < j->sources.n; i++)
		remote_free(j->remotes[i]);
	free(j->remotes);
	free(j->items);
	free(j->dest);
	free(j->chown);
	free(j->chmod);
	free(j->checksum);
	free(j->changed);
	strv_free(&j->sources);
	strv_free(&j->excludes);
	ignore_free(j->exclude);
	strv_free(&j->doc_names);
	strv_free(&j->doc_bodies);
	*j = (struct copy_job){ 0 };
}

/* Replaces the symlink that ends at done by its target, in front of the rest. 1 when there was one.
 */
static int follow(int root_fd, const char *done, const char *rest, char **ret_path)
{
	char target[PATH_MAX];
	auto_free char *parent = path_join("/", done), *joined = NULL;
	auto_fd int fd = path_try_in(root_fd, done, O_PATH | O_NOFOLLOW, 0);
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof(target) - 1);
	char *slash = strrchr(parent, '/');

	if (n < 0)
		return 0;
	target[n] = 0;
	slash[slash == parent] = 0;
	joined = path_join(parent, target);
	*ret_path = mem_fmt("%s/%s", joined, rest);
	return 1;
}

/* path with every symlink in it resolved beneath root_fd, the last one too: what a chrooted process
 * would reach. */
int copy_canonical(int root_fd, const char *path, char **ret, struct err *err)
{
	auto_free char *p = path_join("/", path);
	int links = 0;

	for (size_t at = 1; p[at];) {
		char *slash = strchr(p + at, '/');
		auto_free char *done = NULL, *next = NULL;

		done = slash ? mem_strn(p, (size_t)(slash - p)) : mem_str(p);
		if (follow(root_fd, done, slash ? slash + 1 : "", &next)) {
			if (++links > LINKS_MAX)
				return err_set(err, ELOOP, "%s: more than %d symlinks", path,
					       LINKS_MAX);
			free(p);
			p = path_clean(next);
			at = 1;
			continue;
		}
		at = slash ? (size_t)(slash - p) + 1 : strlen(p);
	}
	*ret = mem_str(p + 1);
	return 0;
}

static bool has_wildcard(const char *s)
{
	return strpbrk(s, "*?[\\") != NULL;
}

/* One level of a pattern: names of dir that match, or the one name. */
static int expand_level(int root_fd, const char *dir, const char *part, struct strv *ret,
			struct err *err)
{
	auto_strv struct strv names = { 0 };
	auto_fd int fd = -1;
	struct stat st;
	int rc;

	if (!has_wildcard(part)) {
		auto_free char *path = *dir ? mem_fmt("%s/%s", dir, part) : mem_str(part);

		fd = path_try_in(root_fd, path, O_PATH | O_NOFOLLOW, 0);
		if (fd >= 0)
			strv_add_take(ret, take(path));
		return 0;
	}
	fd = path_try_in(root_fd, *dir ? dir : ".", O_PATH | O_DIRECTORY, 0);
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	rc = fs_list(fd, ".", &names, err);
	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		rc = glob_match(part, names.v[i]);
		if (rc < 0)
			return err_set(err, EINVAL, "bad pattern %s", part);
		if (rc > 0)
			strv_addf(ret, "%s%s%s", dir, *dir ? "/" : "", names.v[i]);
		if (ret->n > MATCHES_MAX)
			return err_set(err, E2BIG, "%s matches more than %d names", part,
				       MATCHES_MAX);
	}
	return rc < 0 ? rc : 0;
}

static int expand_pattern(int root_fd, const char *pattern, struct strv *ret, struct err *err)
{
	auto_strv struct strv parts = { 0 }, level = { 0 };

	strv_split(&parts, pattern, '/');
	strv_add(&level, "");
	for (size_t i = 0; i < parts.n; i++) {
		struct strv next = { 0 };
		int rc = 0;

		for (size_t k = 0; k < level.n && rc >= 0; k++)
			rc = expand_level(root_fd, level.v[k], parts.v[i], &next, err);
		strv_free(&level);
		level = next;
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < level.n; i++)
		strv_add(ret, level.v[i]);
	return 0;
}

static struct copy_item *item_new(struct copy_job *j, struct context *from)
{
	mem_room(j->items, j->n_items, j->cap_items);
	j->items[j->n_items] =
		(struct copy_item){ .from = from, .is_owned = j->is_tree, .unpack = j->unpack };
	return &j->items[j->n_items++];
}

/* A file is meant by the path that it has in the source and by its name alone. */
static bool is_excluded(const struct copy_job *j, const char *path)
{
	return ignore_match(j->exclude, path) || ignore_match(j->exclude, path_base(path));
}

/* 1 when the match counts (it is there and not ignored). */
static int add_item(struct copy_job *j, const char *match, struct err *err)
{
	auto_free char *path = NULL;
	struct context_file *file;
	struct copy_item *item;
	size_t first, n;
	bool is_dir;
	int rc = copy_canonical(context_fd(j->from), match, &path, err);

	if (rc >= 0 && j->is_tree)
		rc = context_walk_beneath(j->from, path, err);
	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	if (rc < 0)
		return rc;
	file = context_find(j->from, path);
	context_slice(j->from, path, &first, &n);
	is_dir = !*path || (file ? S_ISDIR(file->mode) : n > 0);
	if (!file && !is_dir)
		return 0;
	if (!is_dir && is_excluded(j, match))
		return 1;
	item = item_new(j, j->from);
	item->file = file;
	item->is_dir = is_dir;
	item->name = mem_str(path_base(match));
	item->path = take(path);
	return 1;
}

/* Which files of the slice are meant, and the directories on the way to them. */
static void find_kept(const struct copy_job *j, struct copy_item *item)
{
	size_t first, n, skip = *item->path ? strlen(item->path) + 1 : 0;

	context_slice(item->from, item->path, &first, &n);
	free(item->keep);
	item->keep = mem_array(n + 1, sizeof(*item->keep));
	for (size_t k = 0; k < n; k++) {
		const char *rel = context_at(item->from, first + k)->path + skip;

		item->keep[k] = (!item->only || ignore_match(item->only, rel)) &&
				!ignore_match(j->exclude, rel);
	}
	/* From the end: a directory comes before what is in it, and counts then itself. */
	for (size_t k = n; k-- > 0;) {
		auto_free char *dir = mem_str(context_at(item->from, first + k)->path);
		char *slash = strrchr(dir, '/');
		const struct context_file *f;

		if (!item->keep[k] || !slash || (size_t)(slash - dir) < skip)
			continue;
		*slash = 0;
		f = context_find(item->from, dir);
		if (f)
			item->keep[f - context_at(item->from, first)] = true;
	}
}

/* Walks of a tree move the array of files: look the items up when all walks are done. */
static void refresh(struct copy_job *j)
{
	for (size_t i = 0; i < j->n_items; i++) {
		struct copy_item *item = &j->items[i];

		if (item->remote)
			continue;
		if (!item->is_dir)
			item->file = context_find(item->from, item->path);
		else if (item->only || j->exclude)
			find_kept(j, item);
	}
}

/* A tree is walked beneath the part of the pattern that has no wildcard. -ENOENT. */
static int walk_parents(struct copy_job *j, const char *root, const char *pattern, struct err *err)
{
	auto_free char *at = *root ? mem_fmt("%s/%s", root, pattern) : mem_str(pattern);
	size_t skip = *root ? strlen(root) + 1 : 0;
	char *wild = strpbrk(at + skip, "*?[\\"), *slash;
	int rc = 1;

	if (wild) {
		*wild = 0;
		slash = strrchr(at + skip, '/');
		*(slash ? slash : at + (skip ? skip - 1 : 0)) = 0;
	}
	for (slash = strchr(at + skip, '/'); slash && rc > 0; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		rc = context_add_dir(j->from, at, err);
		*slash = '/';
	}
	return rc > 0 ? context_walk_beneath(j->from, at, err) : rc;
}

/* 1: root is a directory that may hold what is meant. */
static int add_parents_item(struct copy_job *j, const char *match, const char *pattern,
			    struct err *err)
{
	auto_free char *path = NULL;
	auto_fd int fd = -1;
	struct copy_item *item;
	int rc = copy_canonical(context_fd(j->from), match, &path, err);

	if (rc >= 0 && j->is_tree)
		rc = walk_parents(j, path, pattern, err);
	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	if (rc < 0)
		return rc;
	fd = path_try_in(context_fd(j->from), path, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return 0;
	item = item_new(j, j->from);
	item->is_dir = true;
	item->path = take(path);
	item->name = mem_str("");
	return *pattern ? ignore_add(&item->only, pattern, false, err) : 0;
}

static bool has_kept(struct copy_job *j, size_t from)
{
	for (size_t i = from; i < j->n_items; i++) {
		size_t first, n;

		if (!j->items[i].only)
			return true;
		context_slice(j->items[i].from, j->items[i].path, &first, &n);
		find_kept(j, &j->items[i]);
		while (n-- > 0)
			if (j->items[i].keep[n])
				return true;
	}
	return false;
}

static int not_found(const struct copy_job *j, const char *source, bool is_pattern, struct err *err)
{
	return err_set(err, ENOENT, "%s: %s in %s", source,
		       is_pattern ? "matches nothing" : "not found",
		       j->is_tree ? "the source stage"
				  : "the build context, or .dockerignore excludes it");
}

/* "a/./b/c" is b/c beneath a; without the pivot all of it stands beneath the root. */
static int resolve_parents(struct copy_job *j, const char *source, struct err *err)
{
	const char *pivot = strstr(source, "/./");
	auto_free char *before = pivot ? mem_strn(source, (size_t)(pivot - source)) : mem_str("");
	auto_free char *root = path_join("/", before);
	auto_free char *pattern = path_join("/", pivot ? pivot + 3 : source);
	auto_strv struct strv matches = { 0 };
	size_t n = j->n_items;
	int rc = 0;

	if (has_wildcard(root))
		rc = expand_pattern(context_fd(j->from), root + 1, &matches, err);
	else
		strv_add(&matches, root + 1);
	for (size_t i = 0; i < matches.n && rc >= 0; i++)
		rc = add_parents_item(j, matches.v[i], pattern + 1, err);
	if (rc < 0)
		return rc;
	j->many = true;
	/* As BuildKit has it: a pattern may match nothing, a name may not. */
	if (has_wildcard(source) || j->exclude || has_kept(j, n))
		return 0;
	return not_found(j, source, false, err);
}

static int resolve_source(struct copy_job *j, const char *source, struct err *err)
{
	auto_free char *clean = path_join("/", source);
	auto_strv struct strv matches = { 0 };
	size_t found = 0;
	int rc = 0;

	if (has_wildcard(clean))
		rc = expand_pattern(context_fd(j->from), clean + 1, &matches, err);
	else
		strv_add(&matches, clean + 1);
	for (size_t i = 0; i < matches.n && rc >= 0; i++) {
		rc = add_item(j, matches.v[i], err);
		found += rc > 0;
	}
	if (rc < 0)
		return rc;
	/* "COPY package.json yarn.lock* ./": a wildcard may match nothing beside what matches. */
	if (!found && (!has_wildcard(clean) || j->sources.n == 1))
		return not_found(j, source, has_wildcard(clean), err);
	j->many = j->many || matches.n > 1;
	return 0;
}

static bool has_local(const struct copy_job *j)
{
	for (size_t i = 0; i < j->sources.n; i++)
		if (!j->remotes || !j->remotes[i])
			return true;
	return false;
}

/* What it is, is known; where it is, when it has been fetched. */
static void add_remote(struct copy_job *j, struct remote *r)
{
	struct copy_item *item = item_new(j, NULL);

	item->remote = r;
	item->is_dir = r->u.is_git;
	item->path = mem_str(r->u.is_git ? "" : r->file.path);
	item->name = mem_str(r->name);
	item->file = r->u.is_git ? NULL : &r->file;
	/* Archives of URLs are unpacked when that is asked for. */
	item->unpack = inst_flag_bool(j->inst, "unpack", false);
}

int copy_fetch(struct build *b, struct copy_job *j, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < j->n_items && rc >= 0; i++) {
		struct copy_item *item = &j->items[i];

		if (!item->remote)
			continue;
		rc = remote_fetch(b, item->remote, err);
		if (rc < 0)
			return rc;
		item->from = item->remote->tree;
		if (item->is_dir)
			rc = context_walk_beneath(item->from, "", err);
		if (rc >= 0 && item->is_dir && j->exclude)
			find_kept(j, item);
	}
	return rc;
}

int copy_resolve(struct copy_job *j, struct err *err)
{
	struct context_file *files;
	size_t n;
	int rc = 0;

	for (size_t i = 0; i < j->excludes.n && rc >= 0; i++)
		rc = ignore_add(&j->exclude, j->excludes.v[i], true, err);
	if (rc < 0)
		return err_ctx(err, "--exclude");
	if (!j->is_tree && has_local(j))
		rc = context_files(j->from, &files, &n, err);
	j->many = j->sources.n + j->doc_names.n > 1;
	for (size_t i = 0; i < j->sources.n && rc >= 0; i++)
		if (j->remotes && j->remotes[i])
			add_remote(j, j->remotes[i]);
		else
			rc = j->parents ? resolve_parents(j, j->sources.v[i], err)
					: resolve_source(j, j->sources.v[i], err);
	if (rc < 0)
		return rc;
	if (!j->n_items && j->sources.n > 1 && !j->parents && !j->doc_names.n)
		return not_found(j, j->sources.v[0], true, err);
	refresh(j);
	if (j->many && (!j->parents || j->sources.n + j->doc_names.n > 1) &&
	    !str_ends(j->dest, "/") && strcmp(j->dest, ".") != 0)
		return err_set(err, EINVAL,
			       "several sources need a destination that ends with /, not %s",
			       j->dest);
	return 0;
}

static void digest_file(const struct copy_item *item, struct hash *h, const struct context_file *f,
			const char *rel)
{
	uint64_t v[5] = { f->mode, 0, 0, 0, S_ISREG(f->mode) ? f->size : 0 };

	if (item->is_owned) {
		v[1] = f->uid;
		v[2] = f->gid;
		v[3] = f->rdev;
	}
	hash_field_str(h, rel);
	hash_add(h, v, sizeof(v));
	hash_field_str(h, f->link);
	if (S_ISREG(f->mode))
		hash_add(h, f->digest.b, DIGEST_LEN);
	if (!digest_is_zero(&f->xattrs))
		hash_add(h, f->xattrs.b, DIGEST_LEN);
}

/* The kept files of a directory, from one gap to the next. */
static int digest_dir(const struct copy_item *item, struct err *err)
{
	size_t first, n, k = 0;
	int rc = 0;

	context_slice(item->from, item->path, &first, &n);
	while (k < n && rc >= 0) {
		size_t from = k;

		while (k < n && (!item->keep || item->keep[k]))
			k++;
		if (k > from)
			rc = context_digest(item->from, context_at(item->from, first + from),
					    k - from, err);
		while (k < n && item->keep && !item->keep[k])
			k++;
	}
	return rc;
}

/* All files of the items whose digests are needed. */
static int digest_contents(struct copy_job *j, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < j->n_items && rc >= 0; i++)
		rc = j->items[i].remote ? 0
		     : j->items[i].is_dir
			     ? digest_dir(&j->items[i], err)
			     : context_digest(j->items[i].from, j->items[i].file, 1, err);
	return rc;
}

static void digest_git(struct hash *h, const struct remote *r)
{
	hash_field_str(h, r->id);
	hash_field_str(h, r->u.subdir);
	hash_field_str(h, r->keep_git ? "git" : "");
	hash_field_str(h, r->u.no_submodules ? "alone" : "");
}

int copy_digest(struct copy_job *j, struct digest *ret, struct err *err)
{
	auto_hash struct hash *h = hash_new();
	int rc = digest_contents(j, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < j->n_items; i++) {
		const struct copy_item *item = &j->items[i];
		size_t first = 0, n = 0, skip = *item->path ? strlen(item->path) + 1 : 0;

		hash_field_str(h, item->is_dir ? "" : item->name);
		if (item->remote && item->is_dir) {
			digest_git(h, item->remote);
			continue;
		}
		if (!item->is_dir) {
			digest_file(item, h, item->file, "");
			continue;
		}
		context_slice(item->from, item->path, &first, &n);
		for (size_t k = 0; k < n; k++) {
			const struct context_file *f = context_at(item->from, first + k);

			if (!item->keep || item->keep[k])
				digest_file(item, h, f, f->path + skip);
		}
	}
	for (size_t i = 0; i < j->doc_names.n; i++) {
		hash_field_str(h, j->doc_names.v[i]);
		hash_field_str(h, j->doc_bodies.v[i]);
	}
	hash_end(h, ret);
	return 0;
}
