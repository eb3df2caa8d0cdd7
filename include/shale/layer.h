/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layer: tar <-> directory, and what the overlay's marks mean.
 *
 * A layer on disk is an overlayfs upper directory that no longer changes. layer_diff reads it into
 * the OCI tar stream (image-spec layer.md), which exists only as bytes going into a sink;
 * layer_apply turns such a stream into an upper. Both are re-entrant: one call uses its own fds and
 * memory only, so workers run them side by side; nothing is kept between calls.
 *
 * Rules: TRAPS.md a, b, c. The stream is deterministic: lexical order by path components, parents
 * first, whiteouts before siblings, first lexical name of a hardlink is the file, mtimes in whole
 * seconds, PAX records only when needed, uname and gname empty.
 */
#ifndef SHALE_LAYER_H
#define SHALE_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/digest.h>
#include <shale/base/err.h>
#include <shale/base/sink.h>

enum layer_flag {
	LAYER_NEEDS_METACOPY = 1, /* an upper file has trusted.overlay.metacopy */
	LAYER_NEEDS_REDIRECT = 2, /* an upper directory has trusted.overlay.redirect */
};

/* What an archive had, for who unpacks it before its parents are there (parent_fd -1). */
enum layer_seen {
	LAYER_SAW_ROOT = 1,    /* an entry of the root: else its attributes are the parents' */
	LAYER_MISSES_DIRS = 2, /* paths through directories of the parents' that it has no entry
				  for: to be unpacked again with parent_fd */
	LAYER_CUTS_ROOT = 4,   /* an opaque root, which only the parents' names tell: the same */
};

struct layer_info {
	struct digest diff_id; /* SHA-256 of the stream */
	uint64_t size_bytes;   /* content of regular files: what history shows */
	uint64_t tar_bytes;    /* length of the stream */
	uint64_t entries;
	unsigned flags;     /* enum layer_flag */
	unsigned seen;      /* layer_apply: enum layer_seen */
	bool is_same;       /* layer_diff with a memo */
	struct digest blob; /* layer_apply of a range with_digest: of the bytes as they were read */
};

/*
 * Whence a diff is read. All fds stay the caller's and may be O_PATH. upper_fd: the raw upper.
 * merged_fd: the root of a mount of upper over its parents, through which metacopied data and
 * redirected directories are read; -1 when there is no parent. parent_fd: the root of the parents'
 * merged view, -1 when there is none; it decides whether a whiteout or an opaque mark has anything
 * to hide.
 */
struct layer_source {
	int upper_fd, merged_fd, parent_fd;
};

/* What layer_apply has read and written, for one layer_diff of what came of it, before anything
 * else writes there. Of what many layers at once would need, 8 MiB are kept: the rest is read
 * again. */
struct layer_memo;
int layer_memo_new(struct layer_memo **ret, struct err *err);
void layer_memo_cleanup(struct layer_memo **m);

struct layer_row;
typedef int layer_row_fn(const struct layer_row *row, void *arg, struct err *err);

struct layer_diff_opts {
	struct sink *to;      /* receives the stream, or NULL */
	int table_dir_fd;     /* write the file table "table" here (atomically), or -1 */
	bool writeback;       /* start writeback of what was read (sync_file_range) */
	layer_row_fn *on_row; /* sees each row as it would stand in a file table, or NULL */
	void *row_arg;
	bool no_hash; /* only the bytes are wanted: diff_id stays zero */
	/* Of the layer_apply that made the upper, or NULL. Its files are not read again; diff_id
	 * stays zero, but is_same tells whether the stream is that archive's. Without `to`. */
	struct layer_memo *memo;
};

/* upper -> tar stream -> DiffID, size, file table. -EINVAL for a name that a layer cannot hold
 * (".wh.*"). */
int layer_diff(const struct layer_source *src, const struct layer_diff_opts *o,
	       struct layer_info *ret, struct err *err);

/* A part of a file, read by pread: several threads may read one fd. */
struct layer_range {
	uint64_t at, len;
	bool with_digest; /* of the range's own bytes, compressed as they are */
	/* Of a file that is being written: waits until it has the bytes up to `upto` or no more
	 * come, and tells how many it has. May be NULL. */
	uint64_t (*wait)(uint64_t upto, void *arg);
	void *wait_arg;
};
typedef void layer_progress_fn(uint64_t bytes, void *arg); /* of the archive, read so far */
struct layer_apply_opts {
	const struct layer_range *range; /* of tar_fd; NULL: from where it stands */
	bool foreign; /* made elsewhere: trusted.*, user.overlay.* and 0:0 devices are dropped
			 (TRAPS a) */
	bool rootfs; /* import, ADD: a plain tree, ".wh." names are no whiteouts but refused; dir_fd
			keeps its attributes */
	uint64_t max_bytes;    /* of regular content, which the free space limits in any case; 0: no
				  other limit */
	const uint32_t *owner; /* uid and gid of all that is written instead of the archive's; or
				  NULL */
	const volatile int *stop; /* set by a signal handler: -EINTR. May be NULL */
	int parent_fd; /* the same directory in the parents' merged view, or -1: directories that
			* the archive goes through without an entry get their attributes from it,
			* and with rootfs its symlinks on the way are followed */
	struct layer_memo *memo;     /* is filled anew; may be NULL */
	layer_progress_fn *progress; /* from the thread that unpacks; may be NULL */
	void *progress_arg;
};

/* A tar stream, compressed (gzip, zstd, xz, bzip2) or not, from tar_fd into the empty directory
 * dir_fd. ret may be NULL; its diff_id is that of the uncompressed bytes read, flags 0. What is
 * made is as layer_freeze leaves a layer. -EBADMSG for a damaged stream, -EPERM for an entry that
 * would leave dir_fd, -ENOTSUP for an unknown type, -EFBIG above max_bytes, the free space or what
 * codecs may take of memory, -E2BIG and -ENAMETOOLONG above the limits of T17. Nothing is undone.
 */
int layer_apply(int tar_fd, int dir_fd, const struct layer_apply_opts *o, struct layer_info *ret,
		struct err *err);

/*
 * Where the files of a tar are in it, from its headers alone: the last entry of each name, hard and
 * symbolic links followed in it. find: -ENOENT; -EPERM for a name that leaves the root, -ELOOP.
 * layer_index_new: -ENOTSUP for what is compressed or has a sparse file: to be unpacked instead.
 */
struct layer_index;
int layer_index_new(int fd, uint64_t size, struct layer_index **ret, struct err *err);
void layer_index_cleanup(struct layer_index **ix);
int layer_index_find(const struct layer_index *ix, const char *path, struct layer_range *ret,
		     struct err *err);

/* ADD of a local archive: is the content of fd (offset 0) a tar, compressed or not? 1, 0 or an
 * error. Offset is reset. */
int layer_is_tar(int fd, struct err *err);

/* --- compression --- */

enum layer_codec { LAYER_PLAIN, LAYER_GZIP, LAYER_ZSTD };
const char *layer_codec_name(enum layer_codec c); /* "none", "gzip", "zstd" */
int layer_codec_find(const char *name, enum layer_codec *ret, struct err *err); /* -EINVAL */
/* 0 becomes the codec's default (gzip 7 of 12, zstd 3 of 19). -EINVAL. */
int layer_codec_level(enum layer_codec c, int *level, struct err *err);

struct layer_pack_opts {
	enum layer_codec codec; /* not LAYER_PLAIN */
	int level;              /* 0: the default */
	int threads;            /* the caller's is one of them; 0: as many as cores */
};
/*
 * What is written into its sink goes on to `to` compressed, from the thread that writes. The bytes
 * depend on input, codec and level alone, not on CPU and threads. end writes what is left. to stays
 * the caller's. Takes about 8 MiB of memory a thread, of which there are six at most.
 */
struct layer_pack;
int layer_pack_new(const struct layer_pack_opts *o, struct sink *to, struct layer_pack **ret,
		   struct err *err);
struct sink *layer_pack_sink(struct layer_pack *p);
int layer_pack_end(struct layer_pack *p, struct err *err);
void layer_pack_cleanup(struct layer_pack **p);

/* The other way round, whatever it is compressed with: what fd holds from offset 0, uncompressed.
 * diff_id and tar_bytes. -EBADMSG for damage. */
int layer_unpack(int fd, struct sink *to, struct layer_info *ret, struct err *err);

/* After a step: truncate the mtimes of everything new in the upper to whole seconds, and set those
 * after *epoch (SOURCE_DATE_EPOCH; NULL: none) to it, so that the layer is the same here and where
 * it is unpacked; finds the flags and sums size_bytes (content, metacopied files count in full) in
 * the same pass. */
int layer_freeze(int upper_fd, const int64_t *epoch, struct layer_info *ret, struct err *err);
/* The same, but every mtime becomes mtime_s. */
int layer_freeze_at(int upper_fd, int64_t mtime_s, struct layer_info *ret, struct err *err);

/* One row of a file table, valid during the callback. */
enum layer_kind {
	LAYER_FILE = 'f',
	LAYER_DIR = 'd',
	LAYER_SYMLINK = 'l',
	LAYER_HARDLINK = 'h',
	LAYER_FIFO = 'p',
	LAYER_CHAR = 'c',
	LAYER_BLOCK = 'b',
	LAYER_WHITEOUT = 'w',
	LAYER_OPAQUE = 'o'
};
struct layer_row {
	char kind;          /* enum layer_kind */
	const char *path;   /* "etc/passwd", no leading slash; "" is the root */
	const char *target; /* symlink, hardlink; NULL otherwise */
	uint32_t mode, uid, gid;
	uint64_t size, rdev;
	int64_t mtime_s;
	uint64_t content[2]; /* XXH3-128 of a regular file: locates damage, is no proof; 0 where a
				layer beneath has the data (metacopy) */
	const void *xattrs;  /* name NUL u32-length value …; xattrs_len bytes */
	uint32_t xattrs_len;
};
/* Rows of dir_fd/table in stream order. -EBADMSG when it is damaged. */
int layer_table_walk(int dir_fd, layer_row_fn *fn, void *arg, struct err *err);

/*
 * What an upper has become since its file table was written. One fault a path, in stream order;
 * damage says which kinds, text says it in words.
 */
enum layer_damage {
	LAYER_IS_MISSING = 1,
	LAYER_IS_EXTRA = 2,
	LAYER_HAS_TYPE = 4,
	LAYER_HAS_SIZE = 8,
	LAYER_HAS_CONTENT = 16,
	LAYER_HAS_MODE = 32,
	LAYER_HAS_OWNER = 64,
	LAYER_HAS_MTIME = 128,
	LAYER_HAS_XATTR = 256,
	LAYER_HAS_TARGET = 512,
	LAYER_HAS_DEVICE = 1024,
};
struct layer_fault {
	const char *path;
	unsigned damage; /* enum layer_damage */
	const char *text;
};
typedef int layer_fault_fn(const struct layer_fault *f, void *arg, struct err *err);
struct layer_check {
	struct layer_info info; /* as layer_diff computes it now */
	struct err table; /* code 0: compared; ENOENT: there is no table; EBADMSG: it is damaged */
};
/* dir_fd: where the table is. The caller compares info.diff_id with the one that it knows. */
int layer_verify(const struct layer_source *src, int dir_fd, layer_fault_fn *fn, void *arg,
		 struct layer_check *ret, struct err *err);

/* What changed against the parent, as docker diff: 'A', 'C' or 'D' and a path ("/etc/x"), in
 * lexical order. */
typedef int layer_change_fn(char what, const char *path, void *arg, struct err *err);
int layer_changes(const struct layer_source *src, layer_change_fn *fn, void *arg, struct err *err);

/* The mark that an upper uses to hide a name: char device 0:0 (whiteout) and
 * trusted.overlay.opaque=y. */
int layer_whiteout(int dir_fd, const char *name, struct err *err);
int layer_set_opaque(int dir_fd, struct err *err);

#endif
