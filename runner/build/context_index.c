/* SPDX-License-Identifier: Apache-2.0 */
/*
 * context/<id>: path, inode, size, mtime, ctime -> SHA-256 of the content and of the extended
 * attributes, whose change is one of ctime: one file for each context directory,
 * mapped when it is read. It is only a memory: a damaged, missing or stale one costs reading the
 * files again, nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/path.h>

#include "context.h"

enum { THREADS = 2, CHUNK = 128 << 10, INDEX_BYTES_MAX = 1 << 30, TICK_NS = 20000000 };

static const char magic[8] = "shaleix2";

struct head {
	char magic[8];
	int64_t written_ns;
	uint64_t n, strings; /* bytes of the string table after the entries */
};

struct entry {
	uint64_t path; /* offset into the string table */
	uint64_t ino, size;
	int64_t mtime_ns, ctime_ns;
	struct digest digest, xattrs;
};

static void index_name(const struct context *c, char buf[DIGEST_HEX_MAX])
{
	struct digest d;

	hash_bytes(c->name, strlen(c->name), &d);
	digest_format_hex(&d, buf);
}

void context_index_close(struct context_index *ix)
{
	if (ix->map)
		munmap((void *)(uintptr_t)ix->map, ix->len);
	*ix = (struct context_index){ 0 };
}

static bool index_is_whole(const char *map, size_t len)
{
	struct head h;

	if (len < sizeof(h))
		return false;
	memcpy(&h, map, sizeof(h));
	if (memcmp(h.magic, magic, sizeof(magic)) != 0 || h.n > len / sizeof(struct entry))
		return false;
	return h.strings > 0 && sizeof(h) + h.n * sizeof(struct entry) + h.strings == len &&
	       !map[len - 1];
}

static void index_open(struct context *c)
{
	char name[DIGEST_HEX_MAX];
	auto_free char *path = NULL;
	auto_fd int fd = -1;
	struct stat st;
	struct head h;
	void *map;

	index_name(c, name);
	path = mem_fmt("context/%s", name);
	fd = openat(c->rt->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > INDEX_BYTES_MAX)
		return;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		return;
	if (!index_is_whole(map, (size_t)st.st_size)) {
		munmap(map, (size_t)st.st_size);
		return;
	}
	memcpy(&h, map, sizeof(h));
	c->index = (struct context_index){ map, (size_t)st.st_size, h.n, 0, h.written_ns };
}

static const struct entry *entry_at(const struct context_index *ix, size_t i)
{
	return (const struct entry *)(const void *)(ix->map + sizeof(struct head)) + i;
}

static const char *entry_path(const struct context_index *ix, const struct entry *e)
{
	size_t base = sizeof(struct head) + ix->n * sizeof(struct entry);

	return e->path < ix->len - base ? ix->map + base + e->path : "";
}

/* Who asks goes through the paths in their order, as the index has them: mostly it is the next. */
static const struct entry *entry_of(struct context_index *ix, const char *path)
{
	size_t lo = 0, hi = ix->n;

	if (ix->next < ix->n && !strcmp(entry_path(ix, entry_at(ix, ix->next)), path))
		return entry_at(ix, ix->next++);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct entry *e = entry_at(ix, mid);
		int cmp = strcmp(entry_path(ix, e), path);

		if (!cmp) {
			ix->next = mid + 1;
			return e;
		}
		if (cmp < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static bool index_find(struct context_index *ix, struct context_file *f)
{
	const struct entry *e = entry_of(ix, f->path);

	if (!e || e->ino != f->ino || e->size != f->size || e->mtime_ns != f->mtime_ns ||
	    e->ctime_ns != f->ctime_ns)
		return false;
	/* Changed in the very tick in which the index was written: its times cannot tell. */
	if (f->mtime_ns >= ix->written_ns || f->ctime_ns >= ix->written_ns)
		return false;
	f->digest = e->digest;
	f->xattrs = e->xattrs;
	f->has_digest = true;
	return true;
}

/* Files to hash, shared by the threads: each takes the next. */
struct work {
	struct context *c;
	struct context_file **files;
	size_t n;
	atomic_size_t next;
	atomic_bool failed;
	struct err err; /* of the first that failed */
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In one order, whatever the file system's. */
static int hash_xattrs(int fd, const char *path, struct hash *h, struct digest *ret,
		       struct err *err)
{
	auto_free const char **kept = NULL;
	auto_free char *names = NULL;
	size_t len, n = 0;
	int rc = fs_xattr_list(fd, &names, &len, err);

	if (rc < 0 || !len)
		return rc;
	kept = mem_array(len, sizeof(*kept));
	for (const char *at = names; at < names + len; at += strlen(at) + 1)
		if (copy_keeps_xattr(at))
			kept[n++] = at;
	if (!n)
		return 0;
	qsort(kept, n, sizeof(*kept), by_name);
	for (size_t i = 0; i < n; i++) {
		auto_free char *value = NULL;
		size_t size;

		rc = fs_xattr_get(fd, kept[i], &value, &size, err);
		if (rc < 0)
			return err_ctx(err, "%s", path);
		hash_field_str(h, kept[i]);
		hash_field(h, value, size);
	}
	hash_end(h, ret);
	return 0;
}

void reader_open(struct reader *r, const atomic_bool *stop)
{
	*r = (struct reader){ hash_new(), mem_alloc(CHUNK), stop };
}

void reader_close(struct reader *r)
{
	hash_cleanup(&r->h);
	free(r->buf);
}

int context_hash_one(const struct context *c, const struct context_file *f, struct reader *r,
		     struct context_seen *ret, struct err *err)
{
	auto_fd int fd = path_open_beneath(c->fd, f->path,
					   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, err);
	ssize_t n;

	if (fd < 0)
		return fd_take(&fd);
	while ((n = read(fd, r->buf, CHUNK)) > 0) {
		hash_add(r->h, r->buf, (size_t)n);
		if (r->stop && atomic_load(r->stop))
			return err_set(err, EINTR, "interrupted");
	}
	if (n < 0)
		return err_sys(err, "read %s", f->path);
	hash_end(r->h, &ret->content);
	ret->xattrs = (struct digest){ { 0 } };
	return hash_xattrs(fd, f->path, r->h, &ret->xattrs, err);
}

void context_file_seen(struct context_file *f, const struct context_seen *s)
{
	f->digest = s->content;
	f->xattrs = s->xattrs;
	f->has_digest = true;
}

static void *hash_main(void *arg)
{
	struct work *w = arg;
	cleanup(reader_close) struct reader r = { 0 };
	struct err err;
	size_t i;

	reader_open(&r, NULL);
	while ((i = atomic_fetch_add(&w->next, 1)) < w->n && !atomic_load(&w->failed)) {
		struct context_file *f = w->files[i];
		struct context_seen seen;

		if (context_hash_one(w->c, f, &r, &seen, &err) >= 0)
			context_file_seen(f, &seen);
		else if (!atomic_exchange(&w->failed, true))
			w->err = err;
	}
	return NULL;
}

static int hash_files(struct work *w, struct err *err)
{
	pthread_t t[THREADS];
	size_t n = 0;

	while (w->n > 1 && n < THREADS - 1 && pthread_create(&t[n], NULL, hash_main, w) == 0)
		n++;
	hash_main(w);
	while (n)
		pthread_join(t[--n], NULL);
	if (!atomic_load(&w->failed))
		return 0;
	*err = w->err;
	return err_ctx(err, "build context");
}

bool context_is_unread(struct context *c, struct context_file *f)
{
	if (!c->index.map && !c->is_tree)
		index_open(c);
	return S_ISREG(f->mode) && !f->has_digest && !(c->index.map && index_find(&c->index, f));
}

int context_digest(struct context *c, struct context_file *files, size_t n, struct err *err)
{
	auto_free struct context_file **todo = mem_array(n, sizeof(void *));
	struct work w = { .c = c, .files = todo };

	context_ahead_end(c);
	for (size_t i = 0; i < n; i++)
		if (context_is_unread(c, &files[i]))
			todo[w.n++] = &files[i];
	if (!w.n)
		return 0;
	c->learned = true;
	return hash_files(&w, err);
}

/* What the old index knew of files that this build did not look at is kept, if they are still the
 * same. */
void context_index_write(struct context *c)
{
	auto_str struct str entries = { 0 }, strings = { 0 }, all = { 0 };
	/* A change after the walk began has a ctime no older than that, less one tick of the
	 * kernel's coarse clock. */
	struct head h = { .written_ns = c->walk_ns - TICK_NS };
	char name[DIGEST_HEX_MAX];
	auto_fd int dir = -1;
	struct err ignored;

	memcpy(h.magic, magic, sizeof(magic));
	if (!c->index.map)
		index_open(c);
	for (size_t i = 0; i < c->n; i++) {
		struct context_file *f = &c->files[i];
		struct entry e;

		if (!S_ISREG(f->mode) ||
		    (!f->has_digest && !(c->index.map && index_find(&c->index, f))))
			continue;
		e = (struct entry){ strings.len, f->ino,    f->size,  f->mtime_ns,
				    f->ctime_ns, f->digest, f->xattrs };
		str_addn(&entries, &e, sizeof(e));
		str_addn(&strings, f->path, strlen(f->path) + 1);
		h.n++;
	}
	str_addc(&strings, 0);
	h.strings = strings.len;
	str_addn(&all, &h, sizeof(h));
	str_addn(&all, str_get(&entries), entries.len);
	str_addn(&all, strings.s, strings.len);
	dir = openat(c->rt->root_fd, "context", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	index_name(c, name);
	if (dir >= 0)
		fs_write_atomic(dir, name, all.s, all.len, false, &ignored);
}
