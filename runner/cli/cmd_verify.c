/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include <shale/base/proc.h>
#include <shale/image.h>

#include "priv.h"

extern const struct command cmd_verify;

struct verify_args {
	const char *format;
	bool repair;
};

static const struct opt verify_opts[] = {
	{ 0, "format", OPT_STR, offsetof(struct verify_args, format), "FORMAT",
	  "json, or a template for each damage" },
	{ 0, "repair", OPT_BOOL, offsetof(struct verify_args, repair), NULL,
	  "restore what can be, say what to do about the rest" },
	{ 0 },
};

struct show {
	int64_t start_ns;
	bool shown;
};

enum { QUIET_NS = 1000000000 };

static void on_progress(size_t done, size_t total, uint64_t bytes, void *arg)
{
	struct show *s = arg;
	auto_free char *size = NULL;

	if (proc_mono_ns() - s->start_ns < QUIET_NS)
		return;
	size = out_size(bytes);
	fprintf(stderr, "\rverified %zu of %zu, %s \033[K", done, total, size);
	s->shown = true;
}

static const char *kind_of(const struct image_damaged *d)
{
	static const char *const names[] = { [IMAGE_DAMAGED_LAYER] = "layer",
					     [IMAGE_DAMAGED_CONFIG] = "config",
					     [IMAGE_DAMAGED_BLOB] = "blob" };

	return names[d->kind];
}

static char *object_of(const struct image_damaged *d)
{
	auto_free char *id = out_short_id(d->id);

	return d->snapshot ? mem_fmt("%s %lld", kind_of(d), (long long)d->snapshot)
			   : mem_fmt("%s %s", kind_of(d), id);
}

static void add_fault(json_t *rows, const struct image_damaged *d, const char *path,
		      const char *what)
{
	json_t *row = out_row_new(), *users = json_array();
	auto_str struct str text = { 0 };

	for (size_t i = 0; i < d->used_by.n; i++) {
		str_addf(&text, "%s%s", i ? ", " : "", d->used_by.v[i]);
		json_array_append_new(users, json_from_str(d->used_by.v[i]));
	}
	out_row_set(row, "Kind", kind_of(d));
	out_row_take(row, "Object", object_of(d));
	out_row_set(row, "Digest", d->id);
	out_row_set(row, "Path", path);
	out_row_set(row, "Damage", what);
	out_row_set(row, "Users", *str_get(&text) ? str_get(&text) : "nothing");
	out_row_set(row, "Repair", d->advice);
	json_object_set_new(row, "UsedBy", users);
	json_array_append_new(rows, row);
}

static json_t *rows_of(const struct image_verified *r)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < r->n; i++) {
		const struct image_damaged *d = &r->v[i];

		for (size_t k = 0; k < d->n; k++)
			add_fault(rows, d, d->faults[k].path, d->faults[k].what);
		if (d->more) {
			auto_free char *more = mem_fmt("%zu more files", d->more);

			add_fault(rows, d, NULL, more);
		}
	}
	return rows;
}

static int print_json(const struct image_verified *r, json_t *rows, struct err *err)
{
	auto_json json_t *o = json_object();

	json_object_set_new(o, "OK", json_boolean(r->n == 0));
	json_object_set_new(o, "Images", json_integer((json_int_t)r->images));
	json_object_set_new(o, "DamagedImages", json_integer((json_int_t)r->bad_images));
	json_object_set_new(o, "Layers", json_integer((json_int_t)r->layers));
	json_object_set_new(o, "DamagedLayers", json_integer((json_int_t)r->bad_layers));
	json_object_set_new(o, "Bytes", json_integer((json_int_t)r->bytes));
	json_object_set(o, "Damage", rows);
	return out_value("json", o, err);
}

static int print_result(const struct verify_args *a, const struct image_verified *r,
			struct err *err)
{
	static const struct out_column cols[] = {
		{ "OBJECT", "Object", false }, { "FILE", "Path", false },
		{ "DAMAGE", "Damage", false }, { "USED BY", "Users", false },
		{ "KIND", "Kind", true },      { "DIGEST", "Digest", true },
		{ "USERS", "UsedBy", true },   { NULL, NULL, false },
	};
	auto_json json_t *rows = rows_of(r);
	auto_free char *size = out_size(r->bytes);
	int rc = 0;

	if (a->format && str_eq(a->format, "json"))
		return print_json(r, rows, err);
	if (r->n || a->format)
		rc = out_list(&(struct out_list){ .cols = cols, .format = a->format }, rows, err);
	if (rc < 0 || a->format)
		return rc;
	if (r->n)
		printf("DAMAGED %zu of %zu images, %zu of %zu layers\n", r->bad_images, r->images,
		       r->bad_layers, r->layers);
	else
		printf("OK: %zu image%s, %zu layer%s, %s\n", r->images, out_plural(r->images),
		       r->layers, out_plural(r->layers), size);
	return 0;
}

/* True when nothing is damaged any more. */
static bool print_repair(const struct image_verified *r, bool quiet)
{
	size_t left = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct image_damaged *d = &r->v[i];
		auto_free char *object = object_of(d);

		left += !d->is_repaired;
		if (!quiet)
			printf("%s: %s\n", object, d->advice);
	}
	if (r->n && !quiet)
		printf("REPAIRED %zu of %zu\n", r->n - left, r->n);
	return left == 0;
}

static int verify_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct verify_args *a = args;
	struct show show = { .start_ns = proc_mono_ns() };
	auto_image_verified struct image_verified r = { 0 };
	struct image_verify_opts o = { .arg = &show };
	auto_strv struct strv names = { 0 };
	struct err err = { 0 };
	bool is_right;
	int rc;

	for (int i = 0; i < argc; i++)
		strv_add(&names, argv[i]);
	o.names = &names;
	if (isatty(STDERR_FILENO))
		o.progress = on_progress;
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = image_verify(&c->rt, &o, &r, &err);
	if (show.shown)
		fputs("\r\033[K", stderr);
	if (rc >= 0 && a->repair && r.n)
		rc = image_repair(&c->rt, &r, &err);
	if (rc >= 0)
		rc = print_result(a, &r, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	is_right = a->repair ? print_repair(&r, a->format) : r.n == 0;
	rc = cli_done(c);
	return rc ? rc : !is_right;
}

const struct command cmd_verify = {
	.name = "verify",
	.args = "[IMAGE...]",
	.summary = "Read layers and configs again and name what is damaged",
	.opts = verify_opts,
	.args_size = sizeof(struct verify_args),
	.main = verify_main,
	.max_args = -1,
	.complete = complete_images,
};
