/* SPDX-License-Identifier: Apache-2.0 */
/*
 * {"layers":[{"diff_id":…,"below":ChainID,"size":n}],"absent":[{"chain":ChainID,"below":…,"size":n}],
 *  "records":[{"key":…,"layer":i,"created":s},{"key":…,"absent":i,"created":s}]}
 *
 * layers are those of the manifest, in its order; absent, those that are only told of. In an
 * image's config there are no layers: they are counted in rootfs.diff_ids.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/hash.h>

#include "depot.h"

void depot_doc_free(struct depot_doc *d)
{
	free(d->layers);
	free(d->absent);
	free(d->records);
	*d = (struct depot_doc){ 0 };
}

/* --- reading --- */

static int read_digest(const json_t *o, const char *key, struct digest *ret, struct err *err)
{
	const char *text = json_get_str(o, key);

	return text ? digest_parse(text, ret, err) : err_set(err, EINVAL, "no %s", key);
}

static int read_below(const json_t *o, struct depot_layer *ret, struct err *err)
{
	int64_t size = json_get_int(o, "size", 0);

	ret->has_below = json_object_get(o, "below") != NULL;
	ret->size_bytes = size > 0 ? (uint64_t)size : 0;
	return ret->has_below ? read_digest(o, "below", &ret->below, err) : 0;
}

static int read_layer(const json_t *o, struct depot_layer *ret, struct err *err)
{
	int rc = read_digest(o, "diff_id", &ret->diff_id, err);

	if (rc >= 0)
		rc = read_below(o, ret, err);
	if (rc >= 0)
		hash_chain(ret->has_below ? &ret->below : NULL, &ret->diff_id, &ret->chain);
	return rc;
}

static int read_layers(const json_t *list, struct depot_doc *d, struct err *err)
{
	const json_t *o;
	size_t i, n = json_array_size(list);

	if (n > DEPOT_RECORDS_MAX)
		return err_set(err, E2BIG, "%zu layers, at most %d", n, DEPOT_RECORDS_MAX);
	d->layers = mem_array(n + 1, sizeof(*d->layers));
	d->n_layers = n;
	json_array_foreach(list, i, o)
	{
		int rc = read_layer(o, &d->layers[i], err);

		if (rc < 0)
			return err_ctx(err, "layer %zu", i);
	}
	return 0;
}

static int read_absent(const json_t *list, struct depot_doc *d, struct err *err)
{
	const json_t *o;
	size_t i, n = json_array_size(list);
	int rc = 0;

	if (n > DEPOT_RECORDS_MAX)
		return err_set(err, E2BIG, "%zu absent layers, at most %d", n, DEPOT_RECORDS_MAX);
	d->absent = mem_array(n + 1, sizeof(*d->absent));
	d->n_absent = n;
	json_array_foreach(list, i, o)
	{
		struct depot_layer *l = &d->absent[i];

		rc = rc < 0 ? rc : read_below(o, l, err);
		if (rc >= 0)
			rc = read_digest(o, "chain", &l->chain, err);
	}
	return rc < 0 ? err_ctx(err, "absent layers") : 0;
}

static int read_rootfs(const json_t *config, struct depot_doc *d, struct err *err)
{
	const json_t *list = json_object_get(json_object_get(config, "rootfs"), "diff_ids"), *o;
	size_t i, n = json_array_size(list);

	if (n > DEPOT_RECORDS_MAX)
		return err_set(err, E2BIG, "%zu layers, at most %d", n, DEPOT_RECORDS_MAX);
	d->layers = mem_array(n + 1, sizeof(*d->layers));
	d->n_layers = n;
	json_array_foreach(list, i, o)
	{
		struct depot_layer *l = &d->layers[i];
		const char *text = json_string_value(o);
		int rc = text ? digest_parse(text, &l->diff_id, err)
			      : err_set(err, EINVAL, "no DiffID");

		if (rc < 0)
			return err_ctx(err, "layer %zu", i);
		l->has_below = i > 0;
		if (i)
			l->below = l[-1].chain;
		hash_chain(i ? &l->below : NULL, &l->diff_id, &l->chain);
	}
	return 0;
}

static int read_record(const json_t *o, const struct depot_doc *d, struct depot_record *ret,
		       struct err *err)
{
	const char *list = json_object_get(o, "absent") ? "absent" : "layer";
	int64_t layer = json_get_int(o, list, -1);

	ret->is_absent = list[0] == 'a';
	ret->has_layer = json_object_get(o, list) != NULL;
	ret->created_s = json_get_int(o, "created", 0);
	if (ret->has_layer &&
	    (layer < 0 || (uint64_t)layer >= (ret->is_absent ? d->n_absent : d->n_layers)))
		return err_set(err, EINVAL, "it has no layer %lld", (long long)layer);
	ret->layer = ret->has_layer ? (size_t)layer : 0;
	return read_digest(o, "key", &ret->key, err);
}

static int by_key(const void *a, const void *b)
{
	const struct depot_record *x = a, *y = b;

	return memcmp(x->key.b, y->key.b, DIGEST_LEN);
}

static int read_records(const json_t *list, struct depot_doc *d, struct err *err)
{
	size_t i, n = json_array_size(list);
	const json_t *o;

	if (n > DEPOT_RECORDS_MAX)
		return err_set(err, E2BIG, "%zu records, at most %d", n, DEPOT_RECORDS_MAX);
	d->records = mem_array(n + 1, sizeof(*d->records));
	d->n_records = n;
	json_array_foreach(list, i, o)
	{
		int rc = read_record(o, d, &d->records[i], err);

		if (rc < 0)
			return err_ctx(err, "record %zu", i);
	}
	qsort(d->records, n, sizeof(*d->records), by_key);
	return 0;
}

int depot_doc_parse(const char *text, size_t len, bool is_image, struct depot_doc *ret,
		    struct err *err)
{
	auto_json json_t *doc = NULL;
	struct depot_doc d = { 0 };
	const json_t *from;
	int rc = json_parse(text, len, &doc, err);

	if (rc < 0)
		return rc;
	from = is_image ? json_object_get(doc, IMAGE_DEPOT_FIELD) : doc;
	rc = is_image ? read_rootfs(doc, &d, err)
		      : read_layers(json_object_get(doc, "layers"), &d, err);
	if (rc >= 0)
		rc = read_absent(json_object_get(from, "absent"), &d, err);
	if (rc >= 0)
		rc = read_records(json_object_get(from, "records"), &d, err);
	if (rc < 0) {
		depot_doc_free(&d);
		return rc;
	}
	*ret = d;
	return 0;
}

const struct depot_record *depot_doc_find(const struct depot_doc *d, const struct digest *key)
{
	struct depot_record want = { .key = *key };

	return d->n_records ? bsearch(&want, d->records, d->n_records, sizeof(want), by_key) : NULL;
}

const struct depot_layer *depot_doc_layer(const struct depot_doc *d, const struct depot_record *r)
{
	return r->is_absent ? &d->absent[r->layer] : &d->layers[r->layer];
}

/* --- writing --- */

static json_t *layers_json(const struct depot_layer *v, size_t n, bool is_absent)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct depot_layer *l = &v[i];
		json_t *o = json_object();

		json_object_set_new(o, is_absent ? "chain" : "diff_id",
				    json_string(digest_str(is_absent ? &l->chain : &l->diff_id)));
		if (l->has_below)
			json_object_set_new(o, "below", json_string(digest_str(&l->below)));
		json_object_set_new(o, "size", json_integer((json_int_t)l->size_bytes));
		json_array_append_new(list, o);
	}
	return list;
}

static void add_absent(json_t *o, const struct depot_doc *d)
{
	if (d->n_absent)
		json_object_set_new(o, "absent", layers_json(d->absent, d->n_absent, true));
}

static json_t *records_json(const struct depot_doc *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->n_records; i++) {
		const struct depot_record *r = &d->records[i];
		json_t *o = json_object();

		json_object_set_new(o, "key", json_string(digest_str(&r->key)));
		if (r->has_layer)
			json_object_set_new(o, r->is_absent ? "absent" : "layer",
					    json_integer((json_int_t)r->layer));
		json_object_set_new(o, "created", json_integer(r->created_s));
		json_array_append_new(list, o);
	}
	return list;
}

char *depot_doc_text(const struct depot_doc *d)
{
	auto_json json_t *o = json_object();

	json_object_set_new(o, "layers", layers_json(d->layers, d->n_layers, false));
	add_absent(o, d);
	json_object_set_new(o, "records", records_json(d));
	return json_text(o);
}

char *depot_doc_records(const struct depot_doc *d)
{
	auto_json json_t *o = json_object();

	add_absent(o, d);
	json_object_set_new(o, "records", records_json(d));
	return json_text(o);
}
