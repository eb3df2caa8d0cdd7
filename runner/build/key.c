/* SPDX-License-Identifier: Apache-2.0 */
/* Cache keys: SHA-256 over what a step can see, each ingredient kept by name so that a miss can be
 * explained. */
#include <stdlib.h>
#include <string.h>

#include <shale/base/hash.h>

#include "priv.h"

void key_begin(struct key *k, const struct build *b, const char *kind, const char *parent)
{
	*k = (struct key){ .h = hash_new(), .ingredients = json_object() };
	key_add(k, "key", "1"); /* raise it when the meaning of a key changes */
	key_add(k, "kind", kind);
	key_add(k, "parent", parent);
	if (b->o->scope && *b->o->scope)
		key_add(k, "scope", b->o->scope);
	/* Times in the layer depend on it. */
	if (b->epoch)
		key_add(k, "epoch", b->epoch_text);
}

void key_add(struct key *k, const char *name, const char *value)
{
	hash_field_str(k->h, name);
	hash_field_str(k->h, value);
	json_object_set_new(k->ingredients, name, value ? json_from_str(value) : json_null());
}

void key_addv(struct key *k, const char *name, const struct strv *v)
{
	json_t *list = json_array();
	uint64_t n = v->n;

	hash_field_str(k->h, name);
	hash_field(k->h, &n, sizeof(n));
	for (size_t i = 0; i < v->n; i++) {
		hash_field_str(k->h, v->v[i]);
		json_array_append_new(list, json_from_str(v->v[i]));
	}
	json_object_set_new(k->ingredients, name, list);
}

void key_end(struct key *k)
{
	hash_end(k->h, &k->digest);
}

void key_free(struct key *k)
{
	hash_free(k->h);
	json_decref(k->ingredients);
	*k = (struct key){ 0 };
}
