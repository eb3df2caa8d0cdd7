/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of layer share. Everything here belongs to one call and one thread. */
#ifndef SHALE_LAYER_PRIV_H
#define SHALE_LAYER_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <shale/base/err.h>
#include <shale/base/mem.h>
#include <shale/base/str.h>
#include <shale/layer.h>

#define LAYER_WH_PREFIX ".wh."
#define LAYER_WH_OPAQUE ".wh..wh..opq"
#define LAYER_WH_META ".wh..wh." /* what aufs kept for itself */

enum {
	LAYER_PATH_MAX = 4096,
	LAYER_DEPTH_MAX = 1024,
	LAYER_XATTR_MAX = 64 << 10,
	LAYER_PAX_MAX = 1 << 20,
	LAYER_ENTRIES_MAX = 10000000,
	LAYER_CHUNK = 1 << 20,
	LAYER_TAR_BLOCK = 512,
};

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
struct layer_name *layer_names_find(const struct layer_names *l, const char *name);

/* --- attrs.c: extended attributes, sorted into what a layer keeps and what overlayfs means by them --- */

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
bool layer_attrs_next(const void *packed, size_t len, size_t *at, const char **ret_name, const void **ret_value,
		      uint32_t *ret_len);

/* --- tar.c: rows to tar bytes, hashed on the way --- */

struct layer_tar;

#define auto_layer_tar cleanup(layer_tar_free)
struct layer_tar *layer_tar_new(struct sink *to);
void layer_tar_free(struct layer_tar **t);
int layer_tar_header(struct layer_tar *t, const struct layer_row *row, struct err *err);
int layer_tar_data(struct layer_tar *t, const void *p, size_t n, struct err *err);
int layer_tar_zeros(struct layer_tar *t, uint64_t n, struct err *err);
/* The rest of the last block of size bytes of content. */
int layer_tar_pad(struct layer_tar *t, uint64_t size, struct err *err);
/* Two zero blocks; diff_id and tar_bytes. */
int layer_tar_end(struct layer_tar *t, struct layer_info *ret, struct err *err);

/* --- table.c --- */

struct layer_table;

#define auto_layer_table cleanup(layer_table_free)
int layer_table_new(int dir_fd, struct layer_table **ret, struct err *err);
void layer_table_free(struct layer_table **t);
int layer_table_add(struct layer_table *t, const struct layer_row *row, struct err *err);
int layer_table_commit(struct layer_table *t, struct err *err);

/* --- inodes.c: which name of a hardlinked file came first --- */

struct layer_inodes {
	struct layer_inode {
		dev_t dev;
		ino_t ino;
		char *path;
	} *v;
	size_t n, cap;
};

#define auto_layer_inodes cleanup(layer_inodes_free)
void layer_inodes_free(struct layer_inodes *l);
/* The first path of that inode, or NULL when path is the first. */
const char *layer_inodes_first(struct layer_inodes *l, const struct stat *st, const char *path);

/* --- entry.c: one thing in a directory --- */

/* The char device 0:0, as overlayfs hides a name. */
bool layer_is_whiteout(const struct stat *st);
/* A LAYER_ kind for a mode, 0 for a socket. */
char layer_kind(mode_t mode);
/* openat(O_RDONLY | O_NOFOLLOW) for reading data or a directory; -1 and errno. */
int layer_open(int dir_fd, const char *name, int flags);
/* A symlink's target into buf (PATH_MAX bytes). */
int layer_readlink(int dir_fd, const char *name, char *buf, struct err *err);
/* Same content in two files of the same size: 1 or 0. */
int layer_same_data(int a_fd, int b_fd, uint64_t size, struct err *err);
/* Same kind, mode, owner, and for all but directories size, device and whole second of mtime. */
bool layer_same_stat(const struct stat *a, const struct stat *b);
bool layer_same_attrs(const struct layer_attrs *a, const struct layer_attrs *b);

#endif
