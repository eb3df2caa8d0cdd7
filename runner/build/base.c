/* SPDX-License-Identifier: Apache-2.0 */
/* What a Dockerfile names: stages, images that are here, and those that are fetched for it. */
#include <errno.h>
#include <string.h>

#include "attest.h"

static void on_transfer(const struct image_transfer_event *e, void *arg)
{
	struct build_event bytes = { .kind = BUILD_TRANSFER, .transfer = e };
	struct build_event out = { .kind = BUILD_OUTPUT };
	auto_free char *line = NULL;

	if (e->id && e->kind != IMAGE_TRANSFER_RETRY)
		build_emit(arg, &bytes);
	if (!e->text)
		return;
	line = e->id ? mem_fmt("%s: %s\n", e->id, e->text) : mem_fmt("%s\n", e->text);
	out.text = line;
	out.len = strlen(line);
	build_emit(arg, &out);
}

void build_transfer_opts(struct build *b, struct image_pull_opts *ret)
{
	*ret = (struct image_pull_opts){ .event = on_transfer,
					 .arg = b,
					 .interrupted = b->o->interrupted };
	if (b->o->access)
		ret->access = *b->o->access;
}

static int pull(struct build *b, const char *ref, const char *platform, struct image **ret,
		struct err *err)
{
	struct image_pull_opts o = { 0 };
	auto_free char *full = NULL;
	char id[DIGEST_STR_MAX];
	int rc = image_ref_normalize(ref, &full, err);

	build_transfer_opts(b, &o);
	o.platform = platform;
	/* A name that is here goes on meaning what it does. */
	if (rc >= 0 && !plan_platform_is_host(platform))
		o.untagged = image_is_named(b->rt, full);
	if (rc >= 0)
		rc = image_pull(b->rt, full, &o, id, err);
	return rc < 0 ? rc : image_get(b->rt, id, ret, err);
}

static int find_or_pull(struct build *b, const char *ref, const char *platform, struct image **ret,
			struct err *err)
{
	struct err missing = { 0 };
	int rc;

	if (b->o->pull_always)
		return pull(b, ref, platform, ret, err);
	rc = platform ? image_find_platform(b->rt, ref, platform, ret, &missing)
		      : image_find(b->rt, ref, ret, &missing);
	if (rc == -ENOENT && !b->o->pull_never) {
		rc = pull(b, ref, platform, ret, err);
		return rc < 0 ? err_ctx(err, "%s", missing.msg) : 0;
	}
	if (rc < 0)
		*err = missing;
	return rc == -ENOENT ? err_hint(err, "nothing is pulled with --pull never") : rc;
}

int build_find_tree(struct build *b, struct stage_state *st, const char *name,
		    struct build_tree *ret, struct err *err)
{
	auto_image struct image *img = NULL;
	struct image_layer *layers = NULL;
	struct named *named = named_find(b, name);
	int rc, stage = named ? -ENOENT : plan_stage_find(b->plan, name, st->index);
	size_t n;

	if (named && named->kind == NAMED_TREE)
		return named_tree(b, named, &ret->context, err);
	if (stage >= 0) {
		rc = stage_wait(b, (size_t)stage, err);
		if (rc < 0)
			return rc;
		ret->stage = &b->stages[stage];
		snprintf(ret->result, sizeof(ret->result), "%s", b->stages[stage].fs_parent);
		return 0;
	}
	rc = build_find_image(b, name, st->platform, &img, err);
	if (rc < 0)
		return rc == -ENOENT
			       ? err_hint(err,
					  "no stage before this one and no image has the name %s",
					  name)
			       : rc;
	rc = image_layers(b->rt, img->snapshot, &layers, &n, err);
	if (rc < 0)
		return rc;
	ret->snapshot = img->snapshot;
	snprintf(ret->result, sizeof(ret->result), "%s", n ? layers[n - 1].chain_id : "scratch");
	mem_cleanup(&layers);
	return 0;
}

int build_find_image(struct build *b, const char *ref, const char *platform, struct image **ret,
		     struct err *err)
{
	auto_image struct image *img = NULL;
	struct named *named = named_find(b, ref);
	bool is_layout = named && named->kind == NAMED_LAYOUT;
	int rc;

	if (named && named->kind == NAMED_IMAGE)
		ref = named->value;
	rc = is_layout ? named_layout(b, named, &img, err)
		       : find_or_pull(b, ref, platform, &img, err);
	if (rc >= 0 && !is_layout)
		rc = image_trust_pinned(b->rt, b->o->access, ref, img, err);
	if (rc >= 0)
		rc = material_image(b, ref, img, err);
	if (rc < 0)
		return rc;
	*ret = take(img);
	return 0;
}
