/* SPDX-License-Identifier: Apache-2.0 */
/* Build records of a depot: the first byte says whether they stand in an image's config. Counts
 * stay within the limits, records name layers that there are, and what is written reads the same.
 */
#include <shale/base/hash.h>

#include "../../runner/build/depot.h"
#include "fuzz.h"

static void check(const struct depot_doc *d)
{
	must(d->n_layers <= DEPOT_RECORDS_MAX && d->n_records <= DEPOT_RECORDS_MAX);
	for (size_t i = 0; i < d->n_layers; i++) {
		const struct depot_layer *l = &d->layers[i];
		struct digest chain;

		hash_chain(l->has_below ? &l->below : NULL, &l->diff_id, &chain);
		must(digest_eq(&chain, &l->chain));
	}
	for (size_t i = 0; i < d->n_records; i++) {
		const struct depot_record *r = depot_doc_find(d, &d->records[i].key);

		must(r && digest_eq(&r->key, &d->records[i].key));
		must(!d->records[i].has_layer ||
		     d->records[i].layer < (d->records[i].is_absent ? d->n_absent : d->n_layers));
	}
}

static void write_again(const struct depot_doc *d)
{
	auto_free char *text = depot_doc_text(d);
	struct depot_doc copy = { 0 };
	struct err err = { 0 };

	must(depot_doc_parse(text, strlen(text), false, &copy, &err) >= 0);
	must(copy.n_layers == d->n_layers && copy.n_absent == d->n_absent);
	must(copy.n_records == d->n_records);
	check(&copy);
	depot_doc_free(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct depot_doc d = { 0 };
	struct err err = { 0 };
	int rc;

	if (!size)
		return 0;
	rc = depot_doc_parse((const char *)data + 1, size - 1, data[0] == 'i', &d, &err);
	must_tell(rc, &err);
	if (rc < 0)
		return 0;
	check(&d);
	if (data[0] != 'i')
		write_again(&d);
	depot_doc_free(&d);
	return 0;
}
