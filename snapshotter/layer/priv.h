/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of layer share. Everything here belongs to one call and one thread. */
#ifndef SHALE_LAYER_PRIV_H
#define SHALE_LAYER_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* By what the processor has, where the library can tell. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>
#include <shale/layer.h>

#define LAYER_WH_PREFIX ".wh."
#define LAYER_WH_OPAQUE ".wh..wh..opq"
#define LAYER_WH_META   ".wh..wh." /* what aufs kept for itself */

#define LAYER_ACL_ACCESS  "system.posix_acl_access"
#define LAYER_ACL_DEFAULT "system.posix_acl_default"

enum {
	LAYER_PATH_MAX = 4096,
	LAYER_DEPTH_MAX = 1024,
	LAYER_XATTR_MAX = 64 << 10,
	LAYER_PAX_MAX = 1 << 20,
	LAYER_ENTRIES_MAX = 10000000,
	LAYER_CHUNK = 1 << 17,
	LAYER_TAR_BLOCK = 512,
	LAYER_PARTS_MAX = 1 << 20,
};

#define LAYER_ID_MAX (UINT32_MAX - 1) /* the last one means "no change" to chown */

/* --- names.c: a directory's entries --- */

struct layer_name {
	const char *s;
	unsigned char type; /* DT_*, never DT_UNKNOWN */
};

struct layer_names {
	struct layer_name *v;
	size_t n, cap;
	struct str text;
};

#define auto_layer_names cleanup(layer_names_free)
void layer_names_free(struct layer_names *l);
/* Sorted bytewise; is_sorted false leaves the order of the directory. dir_fd must be readable. */
int layer_names_read(int dir_fd, bool is_sorted, struct layer_names *ret, struct err *err);

/* --- attrs.c: extended attributes, sorted into what a layer keeps and what overlayfs means by them
 * --- */

struct layer_attrs {
	struct str kept; /* as layer_row.xattrs */
	char opaque;     /* 'y', 'x' or 0 */
	bool is_metacopy, is_whiteout;
	char *redirect; /* or NULL */
};

#define auto_layer_attrs cleanup(layer_attrs_free)
void layer_attrs_free(struct layer_attrs *a);
void layer_attrs_reset(struct layer_attrs *a);
/* Of an open file. */
int layer_attrs_read(int fd, struct layer_attrs *a, struct err *err);
/* Of dir_fd/name, never followed. */
int layer_attrs_read_at(int dir_fd, const char *name, struct layer_attrs *a, struct err *err);
/* Does a layer carry this attribute (TRAPS c)? */
bool layer_attr_is_kept(const char *name);
/* One attribute at the end of a packed list. */
void layer_attrs_pack(struct str *to, const char *name, const void *value, size_t len);
/* The next of a packed list: false at the end or when it is damaged (*at < len then). */
bool layer_attrs_next(const void *packed, size_t len, size_t *at, const char **ret_name,
		      const void **ret_value, uint32_t *ret_len);

/* --- ahead.c: files, opened and read ahead of their turn --- */

enum { LAYER_SMALL = 32 << 10 };

struct layer_file {
	int fd; /* -1: all that is needed of it is here */
	struct stat st;
	struct layer_attrs attrs;
	char *data; /* LAYER_SMALL bytes */
	bool has_data;
	const struct layer_memo *memo; /* what it knows is not read; may be NULL */
	bool has_hash;
	uint64_t hash[2];
	struct err err;
};

#define auto_layer_file cleanup(layer_file_free)
void layer_file_free(struct layer_file *f);
void layer_file_reset(struct layer_file *f);
/* A regular file, its attributes and, when it is small, its content; then its fd is closed unless
 * keep_fd. */
int layer_file_load(struct layer_file *f, int dir_fd, const char *name, bool keep_fd,
		    struct err *err);

struct layer_ahead;

struct layer_ahead *layer_ahead_new(const struct layer_memo *memo);
void layer_ahead_free(struct layer_ahead **a);
/* A run of regular files. The one before must be at its end; dir_fd and names stay until this one
 * is. */
void layer_ahead_begin(struct layer_ahead *a, int dir_fd, const struct layer_name *names, size_t n,
		       bool keep_fd);
bool layer_ahead_has(const struct layer_ahead *a);
/* In order, valid until the next call; err tells whether it failed. */
struct layer_file *layer_ahead_next(struct layer_ahead *a);

/* --- acl.c: ACLs as the kernel has them and as tar programs write them --- */

/* False for bytes that are no ACL. */
bool layer_acl_text(const void *acl, size_t len, struct str *ret);
/* Empty when nothing is left of it; -EINVAL, -E2BIG. */
int layer_acl_parse(const char *text, struct str *ret);

/* --- tar.c: rows to tar bytes, hashed on the way --- */

struct layer_tar;

#define auto_layer_tar cleanup(layer_tar_free)
/* memo: takes the bytes instead of hash and sink. May be NULL. */
struct layer_tar *layer_tar_new(struct sink *to, bool with_hash, struct layer_memo *memo);
void layer_tar_free(struct layer_tar **t);
int layer_tar_header(struct layer_tar *t, const struct layer_row *row, struct err *err);
int layer_tar_data(struct layer_tar *t, const void *p, size_t n, struct err *err);
/* With a memo: a file's content, by its hash. */
int layer_tar_content(struct layer_tar *t, uint64_t size, const uint64_t hash[2], struct err *err);
int layer_tar_zeros(struct layer_tar *t, uint64_t n, struct err *err);
/* The rest of the last block of size bytes of content. */
int layer_tar_pad(struct layer_tar *t, uint64_t size, struct err *err);
/* Two zero blocks; diff_id and tar_bytes. */
int layer_tar_end(struct layer_tar *t, struct layer_info *ret, struct err *err);

/* --- memo.c --- */

void layer_memo_begin(struct layer_memo *m);
/* The stream, of an archive or of a tree: bytes that are no content, and what stands for content.
 */
void layer_memo_bytes(struct layer_memo *m, const void *p, size_t n);
void layer_memo_content(struct layer_memo *m, const uint64_t hash[2]);
/* The archive's is whole; what comes now is the tree's. */
void layer_memo_end(struct layer_memo *m);
bool layer_memo_is_same(struct layer_memo *m); /* the tree's is whole */
/* A file was written; something was removed. */
void layer_memo_file(struct layer_memo *m, const struct stat *st, const uint64_t hash[2]);
void layer_memo_void(struct layer_memo *m);
bool layer_memo_find(const struct layer_memo *m, const struct stat *st, uint64_t ret_hash[2]);

/* --- table.c --- */

struct layer_table;

#define auto_layer_table cleanup(layer_table_free)
int layer_table_new(int dir_fd, struct layer_table **ret, struct err *err);
void layer_table_free(struct layer_table **t);
int layer_table_add(struct layer_table *t, const struct layer_row *row, struct err *err);
int layer_table_commit(struct layer_table *t, struct err *err);

/* A table row by row: its checksum is right when open returns. -ENOENT, -EBADMSG. */
struct layer_rows;

#define auto_layer_rows cleanup(layer_rows_free)
int layer_rows_open(int dir_fd, struct layer_rows **ret, struct err *err);
void layer_rows_free(struct layer_rows **r);
/* 1 a row, valid until the next call; 0 the end. */
int layer_rows_next(struct layer_rows *r, struct layer_row *ret, struct err *err);

/* --- inodes.c: which name of a hardlinked file came first --- */

struct layer_inodes {
	struct layer_inode {
		dev_t dev;
		ino_t ino;
		char *path;
	} * v;
	size_t n, cap;
};

#define auto_layer_inodes cleanup(layer_inodes_free)
void layer_inodes_free(struct layer_inodes *l);
/* The first path of that inode, or NULL when path is the first. */
const char *layer_inodes_first(struct layer_inodes *l, const struct stat *st, const char *path);
bool layer_inodes_has(const struct layer_inodes *l, const struct stat *st);

/* --- entry.c: one thing in a directory --- */

/* The char device 0:0, as overlayfs hides a name. */
bool layer_is_whiteout(const struct stat *st);
/* A LAYER_ kind for a mode, 0 for a socket. */
char layer_kind(mode_t mode);
/* openat(O_RDONLY | O_NOFOLLOW) for reading data or a directory; -1 and errno. */
int layer_open(int dir_fd, const char *name, int flags);
/* A symlink's target into buf (PATH_MAX bytes). */
int layer_readlink(int dir_fd, const char *name, char *buf, struct err *err);
/* Same kind, mode, owner, and for all but directories size, device and whole second of mtime. */
bool layer_same_stat(const struct stat *a, const struct stat *b);
bool layer_same_attrs(const struct layer_attrs *a, const struct layer_attrs *b);

/* --- far.c: the turn of what looks back far; *has: whether it is ours --- */
void layer_far_take(bool *has);
void layer_far_give(bool *has);
bool layer_far_zstd(const uint8_t *p, size_t n); /* a frame that begins at p */

/* --- stream.c: bytes of an archive, decompressed, hashed and counted --- */

struct layer_stream;

#define auto_layer_stream cleanup(layer_stream_free)
enum layer_how {
	LAYER_HASHED = 1,
	LAYER_NARROW = 2, /* of a layer: little memory for the codec */
};
int layer_stream_new(int fd, unsigned how, struct layer_stream **ret, struct err *err);
/* A part of a file; NULL: what fd gives. */
int layer_stream_range(int fd, const struct layer_range *range, unsigned how,
		       struct layer_stream **ret, struct err *err);
/* Past n bytes without reading them: of a part of a file, neither compressed nor hashed. */
bool layer_stream_can_skip(const struct layer_stream *s);
int layer_stream_skip(struct layer_stream *s, uint64_t n, struct err *err);
/* fn (may be NULL) hears of what is read from now on. */
void layer_stream_watch(struct layer_stream *s, layer_progress_fn *fn, void *arg);
/* All that is read from now on goes into the memo, but what layer_stream_content reads. */
void layer_stream_note(struct layer_stream *s, struct layer_memo *memo);
void layer_stream_free(struct layer_stream **s);
/* Up to n bytes, fewer only at the end: the count. -EBADMSG for damage. */
ssize_t layer_stream_read(struct layer_stream *s, void *p, size_t n, struct err *err);
ssize_t layer_stream_content(struct layer_stream *s, void *p, size_t n, struct err *err);
/* So many have been read. */
uint64_t layer_stream_bytes(const struct layer_stream *s);
/* The rest to the end, limit bytes at most; then diff_id and tar_bytes. */
int layer_stream_end(struct layer_stream *s, uint64_t limit, struct layer_info *ret,
		     struct err *err);

/* --- untar.c: tar bytes to entries --- */

/* A part of a file that has data; the rest of a sparse file is hole. */
struct layer_part {
	uint64_t at, len;
};

struct layer_entry {
	char kind;                       /* enum layer_kind */
	struct str path, target, xattrs; /* as the archive says */
	uint32_t mode, uid, gid, major, minor;
	uint64_t size; /* of the file as it will be */
	int64_t mtime_s;
	struct layer_part *parts;
	size_t n_parts, parts_cap;
};

struct layer_untar {
	struct layer_stream *from;
	struct layer_entry e;
	uint64_t left, pad; /* of the entry's bytes in the archive */
	size_t part;        /* which part comes next, and how much of it was read */
	uint64_t part_done;
	char *buf; /* LAYER_CHUNK */
};

#define auto_layer_untar cleanup(layer_untar_free)
void layer_untar_free(struct layer_untar *u);
/* 1 an entry (in u->e), 0 the end. */
int layer_untar_next(struct layer_untar *u, struct err *err);
/* The next piece of the entry's data and where in the file it belongs: its length, 0 at the end. */
ssize_t layer_untar_data(struct layer_untar *u, const void **ret, uint64_t *ret_at,
			 struct err *err);
/* Is this block a tar header by its checksum? */
bool layer_untar_probe(const void *block);
/* One block of the archive: 1, 0 at the end. */
int layer_untar_block(struct layer_untar *u, void *ret, struct err *err);

struct layer_block {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8], type;
	char linkname[100], magic[8], uname[32], gname[32], major[8], minor[8];
	char prefix[155], pad[12];
};
_Static_assert(sizeof(struct layer_block) == LAYER_TAR_BLOCK, "a tar block");

/* Numbers of a header: octal, or base-256 (GNU). False when they are neither. */
bool layer_tar_octal(const char *field, size_t width, uint64_t *ret);
bool layer_tar_number(const char *field, size_t width, uint64_t *ret);
bool layer_tar_signed(const char *field, size_t width, int64_t *ret);

/* What PAX and GNU headers say of the entry that follows. */
enum layer_pax_has {
	PAX_SIZE = 1,
	PAX_UID = 2,
	PAX_GID = 4,
	PAX_MTIME = 8,
	PAX_MAJOR = 16,
	PAX_MINOR = 32,
	PAX_REALSIZE = 64
};
struct layer_pax {
	struct str path, target, xattrs, sparse_name;
	struct str acl_access, acl_default; /* as xattrs */
	unsigned has;                       /* enum layer_pax_has */
	uint64_t size, uid, gid, major, minor, realsize, sparse_version;
	int64_t mtime_s;
	bool is_sparse;
	struct layer_part *parts;
	size_t n_parts, parts_cap;
};

#define auto_layer_pax cleanup(layer_pax_free)
void layer_pax_free(struct layer_pax *x);
int layer_pax_parse(struct layer_pax *x, const struct str *body, struct err *err);
void layer_pax_apply(const struct layer_pax *x, struct layer_entry *e);
/* The map of a sparse file, from wherever its format keeps it; checked. */
int layer_untar_sparse(struct layer_untar *u, const struct layer_block *h,
		       const struct layer_pax *x, struct err *err);

/* --- times.c: mtimes that are set last, in little memory however many there are --- */

struct layer_times {
	struct str text;
	uint64_t in_file;
	int fd;
	bool has_file;
};
typedef int layer_time_fn(const char *path, int64_t mtime_s, void *arg, struct err *err);
void layer_times_free(struct layer_times *t);
/* dir_fd: in whose file system they are kept when there are many. */
void layer_times_add(struct layer_times *t, int dir_fd, const char *path, int64_t mtime_s);
/* In the order in which they were added. */
int layer_times_each(struct layer_times *t, layer_time_fn *fn, void *arg, struct err *err);

/* --- apply.c, write.c: entries to things on disk --- */

struct layer_apply {
	const struct layer_apply_opts *o;
	int root_fd;
	struct layer_untar tar;
	struct str path, target; /* of the entry, cleaned */
	int dir_fd;              /* its parent, O_PATH; -1 when it must be looked up again */
	struct str dir_path;
	unsigned n_links;            /* symlinks copied up for this entry */
	struct layer_inodes dropped; /* by hash of the path */
	bool has_default_acl;        /* some directory has one: what is made in it inherits */
	bool is_root_cut;            /* the root is opaque */
	bool is_stale;               /* dir_fd may no longer be what dir_path leads to */
	struct layer_times times;    /* of directories, set last */
	uint64_t limit, bytes;       /* of content, holes and all */
	uint64_t stored;             /* of content as the archive has it */
	XXH3_state_t *xxh;           /* for a memo: of the file at hand */
	struct stat made;            /* what is new, before it gets its attributes */
	uint64_t unasked;            /* of it since the file system was asked what is free */
	struct layer_info info;
};

/* "./a//b/../c" -> "a/c"; -EPERM for a path that leaves the root. */
int layer_clean(const struct str *path, struct str *ret, struct err *err);
/* Opens the parent of a->path in a->dir_fd, making what is missing of it. */
int layer_enter(struct layer_apply *a, struct err *err);
/* mkdir -p of a path, which is changed meanwhile: an O_PATH fd of the directory. */
int layer_make_parents(struct layer_apply *a, char *path, struct err *err);
/* A regular file of the parents' at path, if this layer lets it show, into this layer: 1, or 0 when
 * there is none. */
int layer_copy_up(struct layer_apply *a, char *path, struct err *err);
/* Remembers the mtime of a directory until the end. */
void layer_time_add(struct layer_apply *a, const char *path, int64_t mtime_s);
/* Makes a->tar.e as a->dir_fd/name. */
int layer_write(struct layer_apply *a, const char *name, struct err *err);
/* Owner, attributes, mode of an entry that is a directory or file, through its fd. is_new: nobody
 * gave it attributes before. */
int layer_write_attrs(struct layer_apply *a, int fd, const struct layer_entry *e, bool is_new,
		      struct err *err);
/* An entry that was passed over, so that links to it are as well. */
int layer_drop(struct layer_apply *a, const char *path, struct err *err);
bool layer_is_dropped(const struct layer_apply *a, const char *path);
/* Version 3 of security.capability to 2, in place: the new length. */
size_t layer_plain_capability(char *value, size_t len);

#endif
