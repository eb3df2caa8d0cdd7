/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Provenance: SLSA v1, with BuildKit's names where it has some. No credential gets in (TRAPS T25):
 * of a URL no user information, of secrets and agents their IDs, of build arguments the values only
 * where all is asked for.
 */
#include "attest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/proc.h>

#include "mount.h"
#include "remote.h"

/* --- what is asked for --- */

static int parse_provenance(const char *name, const char *v, struct build_attest *a,
			    struct err *err)
{
	if (!strcmp(name, "mode") && !strcmp(v, "min"))
		a->provenance = BUILD_PROVENANCE_MIN;
	else if (!strcmp(name, "mode") && !strcmp(v, "max"))
		a->provenance = BUILD_PROVENANCE_MAX;
	else if (!strcmp(name, "builder-id"))
		snprintf(a->builder_id, sizeof(a->builder_id), "%s", v);
	else if (strcmp(name, "version") != 0 || strcmp(v, "v1") != 0)
		return err_set(err, EINVAL,
			       "%s=%.100s: want mode=min, mode=max, version=v1 or builder-id=URI",
			       name, v);
	return strlen(v) >= sizeof(a->builder_id) ? err_set(err, EINVAL, "%s is too long", name)
						  : 0;
}

static int parse_word(bool is_sbom, char *word, struct build_attest *a, struct err *err)
{
	char *eq = strchr(word, '=');
	bool on = true;

	if (eq)
		*eq = 0;
	if (!eq || !strcmp(word, "disabled")) {
		if (bool_parse(eq ? eq + 1 : word, &on) < 0)
			return err_set(err, EINVAL, "%.100s: want true or false", word);
		on = on != !!eq;
		if (is_sbom)
			a->sbom = on;
		else
			a->provenance = on ? BUILD_PROVENANCE_MAX : BUILD_PROVENANCE_NONE;
		return 0;
	}
	if (is_sbom)
		return err_set(err, EINVAL,
			       "%.100s: packages are read by shale itself, no generator", word);
	return parse_provenance(word, eq + 1, a, err);
}

int build_attest_parse(const char *type, const char *text, struct build_attest *ret,
		       struct err *err)
{
	auto_strv struct strv words = { 0 };
	size_t first = 0;
	int rc = 0;

	strv_split(&words, text, ',');
	if (!type && words.n && str_starts(words.v[0], "type=")) {
		type = words.v[0] + strlen("type=");
		first = 1;
	}
	if (!str_eq(type, "sbom") && !str_eq(type, "provenance"))
		return err_set(err, EINVAL, "want type=provenance[,mode=min|max] or type=sbom");
	if (str_eq(type, "sbom"))
		ret->sbom = true;
	else
		ret->provenance = BUILD_PROVENANCE_MAX;
	for (size_t i = first; i < words.n && rc >= 0; i++)
		rc = parse_word(str_eq(type, "sbom"), words.v[i], ret, err);
	return rc;
}

/* --- materials --- */

void material_add(struct strv *list, const char *uri, const char *digest)
{
	auto_free char *clean = source_url_scrub(uri), *line = mem_fmt("%s\n%s", clean, digest);

	if (!strv_has(list, line))
		strv_add(list, line);
}

/* What its registry knows it by, or its ID. */
int material_image(struct build *b, const char *ref, const struct image *img, struct err *err)
{
	auto_strv struct strv digests = { 0 };
	auto_free char *full = NULL, *purl = NULL, *repo = NULL;
	struct err none = { 0 };
	const char *digest = NULL, *slash;
	size_t n;
	int rc;

	if (!b->o->attest.provenance || !*img->id)
		return 0;
	if (image_ref_normalize(ref, &full, &none) < 0) {
		material_add(&b->materials, img->id, img->id);
		return 0;
	}
	rc = image_repo_digests(b->rt, img->id, &digests, err);
	if (rc < 0)
		return rc;
	n = strcspn(full, "@");
	if (full[n])
		digest = full + n + 1;
	slash = memrchr(full, '/', n);
	n = slash ? (size_t)(slash - full) + strcspn(slash, ":@") : n;
	repo = mem_fmt("%.*s@", (int)n, full);
	for (size_t i = 0; i < digests.n && !digest; i++)
		if (str_starts(digests.v[i], repo))
			digest = digests.v[i] + strlen(repo);
	purl = image_ref_purl(full, b->plan->platform.text);
	material_add(&b->materials, purl, digest ? digest : img->id);
	return 0;
}

void material_remote(struct build *b, const struct remote *r)
{
	auto_free char *uri =
		r->u.is_git && r->u.ref ? mem_fmt("%s#%s", r->u.url, r->u.ref) : mem_str(r->u.url);

	if (b->o->attest.provenance)
		material_add(&b->materials, uri, r->id);
}

static json_t *digest_set(const char *digest)
{
	json_t *o = json_object();

	if (str_starts(digest, "sha256:"))
		json_set_str(o, "sha256", digest + strlen("sha256:"));
	else
		json_set_str(o, strlen(digest) == 40 ? "sha1" : "sha256", digest);
	return o;
}

static json_t *materials(const struct strv *list)
{
	auto_strv struct strv sorted = { 0 };
	json_t *a = json_array();

	strv_copy(&sorted, list);
	strv_sort(&sorted);
	for (size_t i = 0; i < sorted.n; i++) {
		char *cut = strrchr(sorted.v[i], '\n');
		json_t *o = json_object();

		*cut = 0;
		json_set_str(o, "uri", sorted.v[i]);
		json_object_set_new(o, "digest", digest_set(cut + 1));
		json_array_append_new(a, o);
	}
	return a;
}

/* --- the predicate --- */

static void add_pairs(json_t *args, const char *prefix, const struct strv *pairs)
{
	for (size_t i = 0; i < pairs->n; i++) {
		const char *pair = pairs->v[i], *eq = strchr(pair, '=');
		auto_free char *name = mem_fmt(
			"%s:%.*s", prefix, (int)(eq ? (size_t)(eq - pair) : strlen(pair)), pair);
		auto_free char *value = source_url_scrub(eq ? eq + 1 : "");

		json_object_set_new(args, name, json_from_str(value));
	}
}

static void add_ids(json_t *request, const char *key, const struct strv *ids)
{
	json_t *a = json_array();

	for (size_t i = 0; i < ids->n; i++) {
		json_t *o = json_object();

		json_set_str(o, "id", ids->v[i]);
		json_array_append_new(a, o);
	}
	if (ids->n)
		json_object_set(request, key, a);
	json_decref(a);
}

static json_t *request(const struct provenance *p)
{
	json_t *o = json_object(), *args = json_object(), *locals = json_array();

	json_set_str(o, "frontend", "dockerfile.v0");
	json_set_str(args, "target", p->target);
	json_set_str(args, "platform", p->platform);
	if (p->is_max) {
		add_pairs(args, "build-arg", p->build_args);
		add_pairs(args, "label", p->labels);
	}
	json_object_set_new(o, "args", args);
	if (p->is_max) {
		add_ids(o, "secrets", p->secrets);
		add_ids(o, "ssh", p->ssh);
	}
	json_array_append_new(locals, json_pack("{s:s}", "name", "context"));
	json_array_append_new(locals, json_pack("{s:s}", "name", "dockerfile"));
	if (!p->context_uri)
		json_object_set(o, "locals", locals);
	json_decref(locals);
	return o;
}

static json_t *definition(const struct provenance *p)
{
	json_t *o = json_object(), *outer = json_object(), *inner = json_object();
	json_t *source = json_object();

	json_set_str(source, "uri", p->context_uri);
	if (p->context_uri && p->context_digest)
		json_object_set_new(source, "digest", digest_set(p->context_digest));
	json_set_str(source, "path", p->file_name);
	json_object_set_new(outer, "configSource", source);
	json_object_set_new(outer, "request", request(p));
	json_set_str(inner, "builderPlatform", p->here);
	if (p->is_max) {
		auto_strv struct strv lines = { 0 };
		auto_free char *plan = source_url_scrub(p->plan);
		size_t n = strlen(plan);

		if (n)
			plan[n - 1] = 0;
		strv_split(&lines, plan, '\n');
		json_set_strv(inner, "plan", &lines);
	}
	json_set_str(o, "buildType", "urn:shale:dockerfile:1");
	json_object_set_new(o, "externalParameters", outer);
	json_object_set_new(o, "internalParameters", inner);
	json_object_set_new(o, "resolvedDependencies", materials(p->materials));
	return o;
}

/* The Dockerfile, where BuildKit's readers look for it. */
static json_t *source_of(const struct provenance *p)
{
	auto_free char *text = source_url_scrub(p->dockerfile);
	auto_str struct str data = { 0 };
	json_t *info = json_object();

	str_add_base64(&data, text, strlen(text));
	json_set_str(info, "filename", p->file_name);
	json_set_str(info, "language", "Dockerfile");
	json_set_str(info, "data", str_get(&data));
	return json_pack("{s:{s:[o]}}", "source", "infos", info);
}

static json_t *details(const struct provenance *p)
{
	json_t *o = json_object(), *builder = json_object(), *meta = json_object();

	json_set_str(builder, "id", p->builder_id ? p->builder_id : "urn:shale:builder");
	if (p->tool)
		json_object_set_new(builder, "version", json_pack("{s:s}", "shale", p->tool));
	json_set_str(meta, "invocationId", p->build_id);
	image_time_set(meta, "startedOn", p->started_s);
	image_time_set(meta, "finishedOn", p->finished_s);
	json_object_set_new(meta, "buildkit_reproducible", json_false());
	/* What a RUN fetches nobody sees. */
	json_object_set_new(
		meta, "buildkit_completeness",
		json_pack("{s:b,s:b}", "request", p->is_max, "resolvedDependencies", false));
	json_object_set_new(meta, "buildkit_metadata", p->is_max ? source_of(p) : json_object());
	json_object_set_new(o, "builder", builder);
	json_object_set_new(o, "metadata", meta);
	return o;
}

json_t *provenance_make(const struct provenance *p)
{
	json_t *o = json_object();

	json_object_set_new(o, "buildDefinition", definition(p));
	json_object_set_new(o, "runDetails", details(p));
	return o;
}

static void ids_of(const struct givens *g, struct strv *ret)
{
	for (size_t i = 0; i < g->n; i++)
		strv_add(ret, g->v[i].id);
}

int build_provenance(struct build *b, json_t **ret, struct err *err)
{
	const struct build_attest *a = &b->o->attest;
	const struct remote *from = b->origin.remote;
	auto_strv struct strv secrets = { 0 }, ssh = { 0 };
	auto_free char *here = NULL, *plan = plan_text(b->plan);
	struct provenance p = { .is_max = a->provenance == BUILD_PROVENANCE_MAX,
				.builder_id = *a->builder_id ? a->builder_id : NULL,
				.tool = b->o->tool,
				.platform = b->o->platform,
				.target = b->o->target,
				.context_uri = from ? from->u.url : NULL,
				.context_digest = from ? from->id : NULL,
				.file_name = b->file_name,
				.dockerfile = b->text,
				.plan = plan,
				.build_args = &b->build_args,
				.labels = &b->o->labels,
				.secrets = &secrets,
				.ssh = &ssh,
				.materials = &b->materials,
				.build_id = b->epoch ? NULL : b->record.id,
				.started_s = b->now_s };
	int rc = image_platform_text(NULL, &here, err);

	if (rc < 0)
		return rc;
	ids_of(&b->secrets, &secrets);
	ids_of(&b->ssh, &ssh);
	p.here = here;
	p.finished_s = b->epoch ? b->now_s : proc_now_ns() / 1000000000;
	*ret = provenance_make(&p);
	return 0;
}
