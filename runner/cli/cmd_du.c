/* SPDX-License-Identifier: Apache-2.0 */
/* du (system df) */
#include <shale/container.h>
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_du;

struct du_args {
	bool verbose;
	const char *format;
};

#define OFF(field) offsetof(struct du_args, field)
static const struct opt du_opts[] = {
	{ 'v', "verbose", OPT_BOOL, OFF(verbose), NULL, "also each image and each orphan" },
	{ 0, "format", OPT_STR, OFF(format), "FORMAT", "table, json, or a Go template" },
	{ 0 },
};

static const struct out_column columns[] = {
	{ "TYPE", "Type", false },
	{ "TOTAL", "TotalCount", false },
	{ "ACTIVE", "Active", false },
	{ "LAYERS", "Layers", false },
	{ "OCI SIZE", "OCISize", false },
	{ "DISK", "Size", false },
	{ "RECLAIMABLE", "Reclaimable", false },
	{ "BYTES", "Bytes", true },
	{ 0 },
};

/* The first four as docker system df calls them. */
static const struct {
	enum image_part part;
	const char *type;
	bool counted, layered;
} rows[] = {
	{ IMAGE_PART_IMAGES, "Images", true, true },
	{ IMAGE_PART_CONTAINERS, "Containers", true, false },
	{ IMAGE_PART_VOLUMES, "Local Volumes", true, false },
	{ IMAGE_PART_CACHE, "Build Cache", true, true },
	{ IMAGE_PART_MOUNTS, "Cache Mounts", true, false },
	{ IMAGE_PART_LOGS, "Build Logs", false, false },
	{ IMAGE_PART_TRASH, "Trash", true, true },
	{ IMAGE_PART_UNFINISHED, "Unfinished", false, false },
	{ IMAGE_PART_OTHER, "Database, Indexes", false, false },
	{ IMAGE_PART_ORPHANS, "Orphans", true, false },
};

static void set_count(json_t *row, const char *key, bool shown, size_t n)
{
	if (shown)
		out_row_take(row, key, mem_fmt("%zu", n));
	else
		out_row_set(row, key, "");
}

static char *share(uint64_t part, uint64_t whole)
{
	auto_free char *size = out_size(part);

	return mem_fmt("%s (%d%%)", size, whole ? (int)(part * 100 / whole) : 0);
}

static json_t *part_row(const char *type, const struct image_audit_part *p, bool counted,
			bool layered)
{
	json_t *row = out_row_new();

	out_row_set(row, "Type", type);
	set_count(row, "TotalCount", counted, p->count);
	set_count(row, "Active", counted, p->active);
	set_count(row, "Layers", layered, p->layers);
	out_row_take(row, "OCISize", layered ? out_size(p->oci_bytes) : mem_str(""));
	out_row_take(row, "Size", out_size(p->bytes));
	out_row_take(row, "Reclaimable", share(p->reclaimable_bytes, p->bytes));
	out_row_take(row, "Bytes", mem_fmt("%llu", (unsigned long long)p->bytes));
	return row;
}

static int print_parts(const struct image_audit *a, const char *format, struct err *err)
{
	struct out_list list = { columns, format, NULL };
	auto_json json_t *table = json_array();
	struct image_audit_part all = { .bytes = a->total_bytes };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct image_audit_part *p = &a->part[rows[i].part];

		json_array_append_new(table,
				      part_row(rows[i].type, p, rows[i].counted, rows[i].layered));
		all.reclaimable_bytes += p->reclaimable_bytes;
	}
	json_array_append_new(table, part_row("All", &all, false, false));
	return out_list(&list, table, err);
}

/* --- -v: what each image has to itself --- */

static const struct out_column image_columns[] = {
	{ "IMAGE ID", "ID", false },   { "NAME", "Name", false },
	{ "OCI SIZE", "Size", false }, { "DISK", "Disk", false },
	{ "SHARED", "Shared", false }, { "UNIQUE", "Unique", false },
	{ "LAYERS", "Layers", false }, { 0 },
};

struct verbose {
	struct cli *c;
	json_t *rows;
};

/* A layer is shared when some other image has it as well. */
static const char shared_sql[] =
	"WITH RECURSIVE d(id) AS (SELECT ?1 UNION SELECT s.id FROM snapshots s JOIN d ON s.parent=d.id)"
	" SELECT count(*) FROM images WHERE snapshot IN (SELECT id FROM d)";

static int image_row(const struct image *img, void *arg, struct err *err)
{
	struct verbose *v = arg;
	auto_free struct image_layer *l = NULL;
	auto_strv struct strv tags = { 0 };
	uint64_t disk = 0, shared = 0;
	json_t *row;
	size_t n = 0;
	int rc = image_layers(&v->c->rt, img->snapshot, &l, &n, err);

	if (rc >= 0)
		rc = image_tags(&v->c->rt, img->id, &tags, err);
	for (size_t i = 0; rc >= 0 && i < n; i++) {
		uint64_t bytes = 0;
		int64_t users = 0;

		rc = image_layer_disk(&v->c->rt, l[i].snapshot, &bytes, err);
		if (rc >= 0)
			rc = db_get_int(v->c->rt.db, shared_sql, DB_ARGS(DB_I(l[i].snapshot)),
					&users, err);
		disk += bytes;
		shared += users > 1 ? bytes : 0;
	}
	if (rc < 0)
		return rc;
	row = out_row_new();
	out_row_take(row, "ID", out_short_id(img->id));
	out_row_take(row, "Name", tags.n ? image_ref_familiar(tags.v[0]) : mem_str("<none>"));
	out_row_take(row, "Size", out_size(img->size_bytes));
	out_row_take(row, "Disk", out_size(disk));
	out_row_take(row, "Shared", out_size(shared));
	out_row_take(row, "Unique", out_size(disk - shared));
	out_row_take(row, "Layers", mem_fmt("%zu", n));
	json_array_append_new(v->rows, row);
	return 0;
}

static int print_verbose(struct cli *c, const struct image_audit *a, struct err *err)
{
	struct out_list list = { image_columns, NULL, NULL };
	auto_json json_t *table = json_array();
	struct verbose v = { c, table };
	int rc = image_walk(&c->rt, image_row, &v, err);

	putchar('\n');
	if (rc >= 0)
		rc = out_list(&list, table, err);
	for (size_t i = 0; rc >= 0 && i < a->orphans.n; i++)
		printf("%sorphan: %s\n", i ? "" : "\n", a->orphans.v[i]);
	return rc;
}

struct volumes {
	struct cli *c;
	struct image_audit_part *part;
};

static int add_volume(const struct container_volume_info *v, void *arg, struct err *err)
{
	struct volumes *l = arg;
	uint64_t bytes = 0;
	int rc = v->is_used ? 0 : container_volume_usage(&l->c->rt, v->name, &bytes, err);

	l->part->count++;
	l->part->active += v->is_used;
	l->part->reclaimable_bytes += bytes;
	return rc;
}

static int du_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_image_audit struct image_audit audit = { 0 };
	const struct du_args *a = args;
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	struct volumes volumes = { c, &audit.part[IMAGE_PART_VOLUMES] };

	(void)argc;
	(void)argv;
	if (rc >= 0)
		rc = image_audit(&c->rt, &audit, &err);
	if (rc >= 0)
		rc = container_volume_walk(&c->rt, add_volume, &volumes, &err);
	if (rc >= 0)
		rc = print_parts(&audit, a->format, &err);
	if (rc >= 0 && a->verbose && !a->format)
		rc = print_verbose(c, &audit, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_du = {
	.name = "du",
	.args = "",
	.summary = "Show to what every byte of the store belongs",
	.opts = du_opts,
	.args_size = sizeof(struct du_args),
	.main = du_main,
};
