/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file table against the directory: two streams of rows in the same order, merged. So a layer
 * of any size is compared in constant memory, in the one pass that computes its DiffID.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/path.h>

#include "priv.h"

struct verify {
	const struct layer_source *src;
	struct layer_rows *rows;
	struct layer_row want; /* the table's next row */
	bool has_want;
	layer_fault_fn *fn;
	void *arg;
	struct str text;
};

/* --- the order of the stream --- */

static size_t name_len(const char *s)
{
	return strcspn(s, "/");
}

/* At the same directory: whiteouts first, then names bytewise. */
static int order_names(const struct layer_row *a, const char *pa, const struct layer_row *b,
		       const char *pb)
{
	size_t la = name_len(pa), lb = name_len(pb);
	bool wa = a->kind == LAYER_WHITEOUT && !pa[la], wb = b->kind == LAYER_WHITEOUT && !pb[lb];
	int rc = memcmp(pa, pb, la < lb ? la : lb);

	if (wa != wb)
		return wa ? -1 : 1;
	if (rc)
		return rc;
	return la < lb ? -1 : la > lb;
}

static int order(const struct layer_row *a, const struct layer_row *b)
{
	const char *pa = a->path, *pb = b->path;

	while (*pa && *pb) {
		size_t la = name_len(pa), lb = name_len(pb);
		int rc = order_names(a, pa, b, pb);

		if (rc)
			return rc;
		pa += la + (pa[la] == '/');
		pb += lb + (pb[lb] == '/');
	}
	if (*pa || *pb)
		return *pa ? 1 : -1;
	return (a->kind == LAYER_OPAQUE) - (b->kind == LAYER_OPAQUE);
}

/* --- what differs --- */

static const char *kind_name(char kind)
{
	static const struct {
		char kind;
		const char *name;
	} names[] = {
		{ LAYER_FILE, "file" },          { LAYER_DIR, "directory" },
		{ LAYER_SYMLINK, "symlink" },    { LAYER_HARDLINK, "hard link" },
		{ LAYER_FIFO, "fifo" },          { LAYER_CHAR, "character device" },
		{ LAYER_BLOCK, "block device" }, { LAYER_WHITEOUT, "whiteout" },
		{ LAYER_OPAQUE, "opaque mark" },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i].kind == kind)
			return names[i].name;
	return "entry";
}

static int tell(struct verify *v, const struct layer_row *row, unsigned damage, struct err *err)
{
	return v->fn(&(struct layer_fault){ row->path, damage, str_get(&v->text) }, v->arg, err);
}

static void add(struct str *to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct str *to, const char *fmt, ...)
{
	va_list ap;

	if (to->len)
		str_add(to, ", ");
	va_start(ap, fmt);
	str_vaddf(to, fmt, ap);
	va_end(ap);
}

static bool find_xattr(const struct layer_row *row, const char *name, const void **ret,
		       uint32_t *ret_len)
{
	const char *have;
	size_t at = 0;

	while (layer_attrs_next(row->xattrs, row->xattrs_len, &at, &have, ret, ret_len))
		if (!strcmp(have, name))
			return true;
	return false;
}

/* Of a's attributes those that b lacks, or has with another value. */
static void compare_xattrs(struct str *text, const struct layer_row *a, const struct layer_row *b,
			   bool is_new)
{
	const void *va, *vb;
	const char *name;
	uint32_t na, nb;
	size_t at = 0;

	while (layer_attrs_next(a->xattrs, a->xattrs_len, &at, &name, &va, &na)) {
		bool there = find_xattr(b, name, &vb, &nb);

		if (!there)
			add(text, "xattr %s is %s", name, is_new ? "extra" : "missing");
		else if (!is_new && (na != nb || memcmp(va, vb, na) != 0))
			add(text, "xattr %s changed", name);
	}
}

static unsigned compare_content(struct str *text, const struct layer_row *want,
				const struct layer_row *have)
{
	unsigned damage = 0;

	if (want->size != have->size) {
		add(text, "size %" PRIu64 " instead of %" PRIu64, have->size, want->size);
		damage |= LAYER_HAS_SIZE;
	} else if (want->content[0] != have->content[0] || want->content[1] != have->content[1]) {
		add(text, "content changed");
		damage |= LAYER_HAS_CONTENT;
	}
	if (!str_eq(want->target, have->target)) {
		add(text, "leads to another place");
		damage |= LAYER_HAS_TARGET;
	}
	if (want->rdev != have->rdev) {
		add(text, "another device");
		damage |= LAYER_HAS_DEVICE;
	}
	return damage;
}

static unsigned compare_attrs(struct str *text, const struct layer_row *want,
			      const struct layer_row *have)
{
	unsigned damage = 0;
	size_t before;

	if (want->mode != have->mode) {
		add(text, "mode %04o instead of %04o", have->mode, want->mode);
		damage |= LAYER_HAS_MODE;
	}
	if (want->uid != have->uid || want->gid != have->gid) {
		add(text, "owner %u:%u instead of %u:%u", have->uid, have->gid, want->uid,
		    want->gid);
		damage |= LAYER_HAS_OWNER;
	}
	if (want->mtime_s != have->mtime_s) {
		add(text, "mtime %" PRId64 " instead of %" PRId64, have->mtime_s, want->mtime_s);
		damage |= LAYER_HAS_MTIME;
	}
	before = text->len;
	compare_xattrs(text, want, have, false);
	compare_xattrs(text, have, want, true);
	return damage | (text->len > before ? LAYER_HAS_XATTR : 0);
}

static int compare(struct verify *v, const struct layer_row *have, struct err *err)
{
	const struct layer_row *want = &v->want;
	unsigned damage;

	str_reset(&v->text);
	if (want->kind != have->kind) {
		add(&v->text, "%s instead of %s", kind_name(have->kind), kind_name(want->kind));
		return tell(v, have, LAYER_HAS_TYPE, err);
	}
	damage = compare_content(&v->text, want, have) | compare_attrs(&v->text, want, have);
	return damage ? tell(v, have, damage, err) : 0;
}

/* What became again as the parent has it is no part of the layer any more, and still there. */
static int missing(struct verify *v, struct err *err)
{
	struct err ignored = { 0 };
	auto_fd int there = -1;

	str_reset(&v->text);
	if (v->want.kind != LAYER_WHITEOUT && v->want.kind != LAYER_OPAQUE)
		there = path_open_beneath(v->src->upper_fd, *v->want.path ? v->want.path : ".",
					  O_PATH | O_NOFOLLOW, 0, &ignored);
	if (there >= 0)
		add(&v->text, "%s no longer differs from the layer beneath",
		    kind_name(v->want.kind));
	else
		add(&v->text, "%s is missing", kind_name(v->want.kind));
	return tell(v, &v->want, LAYER_IS_MISSING, err);
}

static int extra(struct verify *v, const struct layer_row *have, struct err *err)
{
	str_reset(&v->text);
	add(&v->text, "%s is extra", kind_name(have->kind));
	return tell(v, have, LAYER_IS_EXTRA, err);
}

/* --- the merge --- */

static int next_want(struct verify *v, struct err *err)
{
	int rc = layer_rows_next(v->rows, &v->want, err);

	v->has_want = rc > 0;
	return rc < 0 ? rc : 0;
}

static int on_row(const struct layer_row *have, void *arg, struct err *err)
{
	struct verify *v = arg;
	int rc = 0, cmp = 1;

	while (rc >= 0 && v->has_want && (cmp = order(&v->want, have)) < 0) {
		rc = missing(v, err);
		if (rc >= 0)
			rc = next_want(v, err);
	}
	if (rc < 0)
		return rc;
	if (!v->has_want || cmp > 0)
		return extra(v, have, err);
	rc = compare(v, have, err);
	return rc < 0 ? rc : next_want(v, err);
}

static int drain(struct verify *v, struct err *err)
{
	int rc = 0;

	while (rc >= 0 && v->has_want) {
		rc = missing(v, err);
		if (rc >= 0)
			rc = next_want(v, err);
	}
	return rc;
}

static void verify_free(struct verify *v)
{
	layer_rows_free(&v->rows);
	str_free(&v->text);
}

int layer_verify(const struct layer_source *src, int dir_fd, layer_fault_fn *fn, void *arg,
		 struct layer_check *ret, struct err *err)
{
	cleanup(verify_free) struct verify v = { .src = src, .fn = fn, .arg = arg };
	struct layer_diff_opts o = { .table_dir_fd = -1, .row_arg = &v };
	struct layer_check check = { 0 };
	int rc;

	if (layer_rows_open(dir_fd, &v.rows, &check.table) >= 0) {
		o.on_row = on_row;
		rc = next_want(&v, err);
		if (rc < 0)
			return rc;
	}
	rc = layer_diff(src, &o, &check.info, err);
	if (rc >= 0)
		rc = drain(&v, err);
	if (rc < 0)
		return rc;
	*ret = check;
	return 0;
}
