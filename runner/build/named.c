/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --build-context NAME=…: another directory, archive, repository or image that FROM, COPY --from
 * and RUN --mount=from= know by that name. It stands before the stage and the image that are called
 * so. Nothing of it is fetched before something asks for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "remote.h"

#define IMAGE_PREFIX  "docker-image://"
#define LAYOUT_PREFIX "oci-layout://"

void nameds_free(struct nameds *l)
{
	for (size_t i = 0; i < l->n; i++) {
		origin_close(&l->v[i].origin);
		free(l->v[i].value);
		free(l->v[i].which);
	}
	free(l->v);
	strv_free(&l->names);
	*l = (struct nameds){ 0 };
}

/* "PATH", "PATH:tag", "PATH@sha256:…" */
static void split_layout(struct named *n)
{
	char *slash = strrchr(n->value, '/'), *name = slash ? slash : n->value;
	char *cut = strchr(name, '@');

	if (!cut)
		cut = strrchr(name, ':');
	if (!cut)
		return;
	*cut = 0;
	n->which = mem_str(cut + 1);
}

static int check_dir(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(err, "%s", path);
	return S_ISDIR(st.st_mode) ? 0 : err_set(err, ENOTDIR, "%s is no directory", path);
}

static int parse_value(struct named *n, const char *value, struct err *err)
{
	struct source_url u = { 0 };
	auto_free char *full = NULL;
	int rc;

	if (str_starts(value, IMAGE_PREFIX)) {
		n->kind = NAMED_IMAGE;
		n->value = mem_str(value + strlen(IMAGE_PREFIX));
		return image_ref_normalize(n->value, &full, err);
	}
	if (str_starts(value, LAYOUT_PREFIX)) {
		n->kind = NAMED_LAYOUT;
		n->value = mem_str(value + strlen(LAYOUT_PREFIX));
		split_layout(n);
		return check_dir(n->value, err);
	}
	n->kind = NAMED_TREE;
	n->value = mem_str(value);
	if (!strcmp(value, "-"))
		return err_set(err, EINVAL, "standard input is for the build context alone");
	rc = source_url_parse(value, &u, err);
	source_url_free(&u);
	return rc == 0 ? check_dir(value, err) : rc;
}

/* The last of a name counts, as with docker buildx. */
static struct named *place_of(struct nameds *l, const char *name)
{
	struct named *n;

	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->names.v[i], name)) {
			free(l->v[i].value);
			free(l->v[i].which);
			l->v[i] = (struct named){ .origin = ORIGIN_INIT };
			return &l->v[i];
		}
	strv_add(&l->names, name);
	mem_room(l->v, l->n, l->cap);
	n = &l->v[l->n++];
	*n = (struct named){ .origin = ORIGIN_INIT };
	return n;
}

static int parse_one(struct nameds *l, const char *text, struct err *err)
{
	const char *eq = strchr(text, '=');
	auto_free char *given = mem_strn(text, eq ? (size_t)(eq - text) : strlen(text));
	auto_free char *name = plan_context_name(given), *clean = source_url_scrub(text);
	int rc;

	if (!eq || !eq[1])
		rc = err_set(err, EINVAL, "want NAME=DIR|URL|docker-image://REF|oci-layout://DIR");
	else if (!name)
		rc = err_set(err, EINVAL, "the name has to look like that of an image");
	else if (!strcmp(name, "scratch") || !strcmp(name, "context"))
		rc = err_set(err, EINVAL, "%s means something of its own", name);
	else
		rc = parse_value(place_of(l, name), eq + 1, err);
	return rc < 0 ? err_ctx(err, "--build-context %s", clean) : 0;
}

int nameds_parse(const struct strv *texts, struct nameds *ret, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < texts->n && rc >= 0; i++)
		rc = parse_one(ret, texts->v[i], err);
	return rc;
}

struct named *named_find(struct build *b, const char *name)
{
	int i = plan_context_find(&b->contexts.names, name);

	return i < 0 ? NULL : &b->contexts.v[i];
}

static int open_tree(struct build *b, struct named *n, struct err *err)
{
	int rc = origin_open(b, n->value, &n->origin, err);

	if (rc >= 0 && n->origin.text)
		rc = err_set(err, EINVAL, "%s is no archive", n->origin.name);
	/* What came by an archive or from a repository is all meant. */
	if (rc >= 0 && n->origin.is_dir)
		rc = context_ignore(n->origin.tree, -1, NULL, err);
	if (rc < 0)
		origin_close(&n->origin);
	return rc;
}

/* While one stage fetches it, others come by. */
int named_tree(struct build *b, struct named *n, struct context **ret, struct err *err)
{
	int rc = 0;

	while (n->opening) {
		if (build_is_interrupted(b))
			return err_set(err, EINTR, "interrupted");
		build_wait(b, -1, 0);
	}
	if (!n->origin.tree) {
		n->opening = true;
		rc = open_tree(b, n, err);
		n->opening = false;
	}
	if (rc < 0)
		return err_ctx(err, "--build-context %s", b->contexts.names.v[n - b->contexts.v]);
	*ret = n->origin.tree;
	return 0;
}

int named_layout(struct build *b, struct named *n, struct image **ret, struct err *err)
{
	auto_fd int fd = -1;
	int rc = 0;

	if (!n->id[0]) {
		fd = open(n->value, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return err_sys(err, "%s", n->value);
		rc = image_load_layout(b->rt, fd, n->which, n->id, err);
	}
	if (rc >= 0)
		rc = image_get(b->rt, n->id, ret, err);
	return rc < 0 ? err_ctx(err, "OCI layout %s", n->value) : 0;
}
