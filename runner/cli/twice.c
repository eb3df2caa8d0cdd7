/* SPDX-License-Identifier: Apache-2.0 */
#include "twice.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shale/image.h>

#include "one_build.h"

struct differences {
	size_t n;
	bool only_times;
};

static int tell(const struct image_change *ch, void *arg, struct err *err)
{
	struct differences *d = arg;

	(void)err;
	if (!ch->path && str_eq(ch->field, "created"))
		return 0; /* of the image, when it was made */
	d->n++;
	d->only_times = d->only_times && ch->what.n == 1 && !strcmp(ch->what.v[0], "time");
	fprintf(stderr, "shale: differs: ");
	for (const char *s = ch->path ? ch->path : ch->field; *s; s++)
		fputc((unsigned char)*s < ' ' || *s == 0x7f ? '?' : *s, stderr);
	for (size_t i = 0; i < ch->text.n; i++)
		fprintf(stderr, "%s%s", i ? ", " : " (", ch->text.v[i]);
	fputs(ch->text.n ? ")\n" : "\n", stderr);
	return 0;
}

static int compare(struct cli *c, const struct build_opts *o, const char *first,
		   const struct build_result *r, struct err *err)
{
	const struct image_compare_opts how = { .times = true };
	const char *const names[2] = { first, r->image_id };
	struct differences d = { .only_times = true };
	int rc = image_compare(&c->rt, names, &how, tell, &d, err);

	if (rc < 0 || !d.n)
		return rc < 0 ? rc : 0;
	err_set(err, EUCLEAN, "the two builds differ in %zu places, no name was given: %.19s %.19s",
		d.n, first, r->image_id);
	return d.only_times && !o->timestamp && !getenv("SOURCE_DATE_EPOCH")
		       ? err_hint(err, "in times only: --timestamp makes them the same")
		       : -EUCLEAN;
}

static int tag(struct cli *c, const struct strv *tags, const char *id, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < tags->n && rc >= 0; i++) {
		auto_free char *name = NULL;

		rc = image_ref_normalize(tags->v[i], &name, err);
		if (rc >= 0)
			rc = image_tag(&c->rt, id, name, err);
	}
	return rc;
}

/* The first image has done its duty, unless somebody had it before. */
static void drop(struct cli *c, const char *id)
{
	auto_image_removal struct image_removal gone = { 0 };
	auto_strv struct strv tags = { 0 };
	struct err ignored = { 0 };

	if (image_tags(&c->rt, id, &tags, &ignored) >= 0 && !tags.n)
		image_remove(&c->rt, id, 0, &gone, &ignored);
}

int twice_run(struct cli *c, const struct build_opts *o, const char *progress,
	      struct build_result *r, struct err *err)
{
	struct build_opts once = *o;
	char first[DIGEST_STR_MAX];
	int rc;

	if (o->no_image || o->on_tree || o->resume || str_eq(o->file, "-") ||
	    !strcmp(o->context, "-"))
		return err_set(
			err, EINVAL,
			"--twice compares images: not with standard input, --resume, -o local or tar");
	once.tags = (struct strv){ 0 };
	rc = one_build_run(&c->rt, &once, &(struct one_build){ .progress = progress }, r, err);
	if (rc < 0)
		return rc;
	memcpy(first, r->image_id, sizeof(first));
	build_result_free(r);
	*r = (struct build_result){ 0 };
	once.no_cache = true;
	once.cache_to = (struct strv){ 0 };
	rc = one_build_run(&c->rt, &once,
			   &(struct one_build){ .progress = progress, .says_id = true }, r, err);
	if (rc >= 0)
		rc = compare(c, o, first, r, err);
	if (rc >= 0)
		rc = tag(c, &o->tags, r->image_id, err);
	if (rc >= 0 && !str_eq(first, r->image_id))
		drop(c, first);
	return rc;
}
