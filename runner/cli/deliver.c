/* SPDX-License-Identifier: Apache-2.0 */
#include "deliver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/sink.h>

void deliver_free(struct deliver *d)
{
	for (size_t i = 0; i < d->n; i++)
		build_output_free(&d->v[i]);
	free(d->v);
	strv_free(&d->names);
	strv_free(&d->written);
}

static bool is_tree(const struct build_output *o)
{
	return o->kind == BUILD_OUT_LOCAL || o->kind == BUILD_OUT_TAR;
}

static int pack_of(const struct build_output *o, struct image_pack *ret, struct err *err)
{
	int rc = image_pack_parse(o->codec, o->level, ret, err);

	if (rc < 0)
		return err_ctx(err, "--output compression");
	ret->docker_types = o->docker_types;
	ret->annotations = &o->annotations;
	return 0;
}

static int note(struct deliver *d, const struct build_output *o, struct err *err)
{
	struct image_pack ignored = { 0 };

	d->wants_tree |= is_tree(o);
	d->wants_image |= !is_tree(o) && o->kind != BUILD_OUT_NOTHING;
	for (size_t i = 0; i < o->names.n; i++)
		if (!strv_has(&d->names, o->names.v[i]))
			strv_add(&d->names, o->names.v[i]);
	if (o->push && !o->names.n && !d->names.n)
		return err_set(err, EINVAL, "nothing says where to push: give -t NAME or name=");
	if (str_eq(o->dest, "-") && d->has_stdout)
		return err_set(err, EINVAL, "two outputs go to standard output");
	if (str_eq(o->dest, "-") && isatty(STDOUT_FILENO))
		return err_set(err, EINVAL,
			       "an archive is not for a terminal: name a file or use a pipe");
	d->has_stdout |= str_eq(o->dest, "-");
	return pack_of(o, &ignored, err);
}

static bool is_image(const struct build_output *o)
{
	return o->kind == BUILD_OUT_IMAGE;
}

static bool takes_annotations(const struct build_output *o)
{
	return o->kind == BUILD_OUT_OCI || (is_image(o) && o->push);
}

static int annotate(struct deliver *d, const struct strv *annotations, struct err *err)
{
	bool taken = !annotations->n;

	for (size_t i = 0; i < d->n; i++) {
		struct build_output *o = &d->v[i];

		if (!takes_annotations(o) && (o->annotations.n || o->index_annotations.n))
			return err_set(err, EINVAL,
				       "annotations are of the manifest, which an image has where "
				       "it leaves: push=true is missing");
		for (size_t k = 0; k < annotations->n && takes_annotations(o); k++) {
			int rc = build_annotation_parse(annotations->v[k], o, err);

			if (rc < 0)
				return rc;
			taken = true;
		}
	}
	return taken ? 0
		     : err_set(err, EINVAL,
			       "--annotation is of the manifest, which an image has where it "
			       "leaves: give --push or -o type=oci as well");
}

static struct build_output *add(struct deliver *d)
{
	d->v[d->n] = (struct build_output){ .kind = BUILD_OUT_IMAGE };
	return &d->v[d->n++];
}

int deliver_parse(struct deliver *d, const struct deliver_asked *a, struct err *err)
{
	bool pushed = !a->push;
	int rc = 0;

	strv_copy(&d->names, a->tags);
	d->v = mem_array(a->outputs->n + 2, sizeof(*d->v));
	for (size_t i = 0; i < a->outputs->n; i++) {
		rc = build_output_parse(a->outputs->v[i], &d->v[d->n], err);
		if (rc < 0)
			return rc;
		if (a->push && is_image(&d->v[d->n]))
			pushed = d->v[d->n].push = true;
		d->n++;
	}
	if (!pushed)
		add(d)->push = true;
	if (a->load || !d->n)
		add(d);
	for (size_t i = 0; i < d->n && rc >= 0; i++)
		rc = note(d, &d->v[i], err);
	return rc < 0 ? rc : annotate(d, a->annotations, err);
}

/* --- trees --- */

/* mkdir -p; what is made belongs to the user. */
static int open_dest(const char *path, struct err *err)
{
	auto_free char *p = mem_str(path);
	auto_fd int fd = -1;
	int rc = 0;

	for (char *at = p + 1; rc >= 0; at++) {
		char c = *at;

		if (c && c != '/')
			continue;
		*at = 0;
		if (mkdir(p, 0755) == 0) {
			fd = open(p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			rc = fd < 0 ? err_sys(err, "open %s", p) : out_give_to_user(fd, err);
			fd_close(&fd);
		} else if (errno != EEXIST) {
			rc = err_sys(err, "make directory %s", p);
		}
		*at = c;
		if (!c)
			break;
	}
	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open directory %s", path) : fd_take(&fd);
}

static int write_local(struct deliver *d, const struct build_output *o, int root_fd,
		       struct err *err)
{
	struct build_owner owner;
	auto_free char *path =
		d->sub && !o->is_merged ? mem_fmt("%s/%s", o->dest, d->sub) : mem_str(o->dest);
	auto_fd int dest = open_dest(path, err);
	size_t left_out = 0;
	int rc;

	if (dest < 0)
		return fd_take(&dest);
	out_user(&owner.uid, &owner.gid);
	rc = build_tree_write(root_fd, dest, &owner, &left_out, err);
	if (rc >= 0 && left_out)
		strv_addf(&d->written, "%s: left out: %zu devices or sockets", o->dest, left_out);
	return rc;
}

static int write_tar(const struct build_output *o, int root_fd, struct err *err)
{
	auto_output struct output out = { .path = o->dest, .fd = -1 };
	struct sink_fd to = SINK_FD(STDOUT_FILENO);
	bool is_file = !str_eq(o->dest, "-");
	int rc = is_file ? output_open(&out, err) : 0;

	if (is_file)
		to.fd = out.fd;
	if (rc >= 0)
		rc = build_tree_tar(root_fd, &to.sink, err);
	return rc < 0 || !is_file ? rc : output_commit(&out, err);
}

int deliver_tree(int root_fd, void *deliver, struct err *err)
{
	struct deliver *d = deliver;
	int rc = 0;

	for (size_t i = 0; i < d->n && rc >= 0; i++) {
		const struct build_output *o = &d->v[i];

		if (o->kind == BUILD_OUT_LOCAL)
			rc = write_local(d, o, root_fd, err);
		else if (o->kind == BUILD_OUT_TAR)
			rc = write_tar(o, root_fd, err);
		if (rc < 0)
			err_ctx(err, "--output %s", o->dest);
	}
	return rc < 0 ? rc : 0;
}

/* --- images --- */

static int save_image(struct deliver *d, const struct build_output *o, const char *id,
		      struct err *err)
{
	struct image_save_opts s = { .format = o->kind == BUILD_OUT_DOCKER ? IMAGE_DOCKER_ARCHIVE
					       : o->is_dir                 ? IMAGE_OCI_DIR
									   : IMAGE_OCI_ARCHIVE,
				     .ret_digest = d->digest };
	const struct strv *names = o->names.n ? &o->names : &d->names;
	auto_strv struct strv wanted = { 0 };
	int rc = d->is_index ? 0 : pack_of(o, &s.pack, err);

	/* A name without a tag would be all tags of its repository. */
	for (size_t i = 0; i < names->n && rc >= 0; i++) {
		char *full = NULL;

		rc = image_ref_normalize(names->v[i], &full, err);
		if (rc >= 0)
			strv_add_take(&wanted, full);
	}
	if (!names->n)
		strv_add(&wanted, id);
	return rc < 0 ? rc : save_write(d->c, &s, &wanted, o->dest, err);
}

static int push_name(struct deliver *d, const struct build_output *o, const char *name,
		     struct err *err)
{
	cleanup(transfer_view_end) struct transfer_view view = { 0 };
	struct image_pull_opts p = { .access = d->access->access,
				     .by_digest = o->by_digest,
				     .event = transfer_view_event,
				     .arg = &view,
				     .interrupted = d->interrupted };
	auto_free char *full = NULL;
	int rc = image_ref_normalize(name, &full, err);

	/* An index was written as it leaves. */
	if (rc >= 0 && !d->is_index)
		rc = pack_of(o, &p.pack, err);
	if (rc < 0)
		return rc;
	transfer_view_begin(&view, stderr, d->kind, "Pushing");
	return image_push(&d->c->rt, full, &p, d->digest, err);
}

int deliver_image(struct deliver *d, const char *image_id, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < d->n && rc >= 0; i++) {
		const struct build_output *o = &d->v[i];
		const struct strv *names = o->names.n ? &o->names : &d->names;

		if (is_tree(o) || o->kind == BUILD_OUT_NOTHING)
			continue;
		if (o->dest)
			rc = save_image(d, o, image_id, err);
		for (size_t k = 0; k < names->n && o->push && rc >= 0; k++)
			rc = push_name(d, o, names->v[k], err);
	}
	return rc < 0 ? rc : 0;
}

int deliver_metadata(const struct deliver *d, const struct build_result *r, const char *path,
		     struct err *err)
{
	auto_json json_t *j = json_object();
	auto_str struct str names = { 0 };
	auto_free char *text = NULL;
	auto_fd int fd = -1;
	int rc;

	json_set_str(j, "buildx.build.ref", r->build_id);
	json_set_str(j, "containerimage.config.digest", r->image_id);
	json_set_str(j, "containerimage.digest", d->digest[0] ? d->digest : r->image_id);
	for (size_t i = 0; i < d->names.n && r->image_id[0]; i++) {
		auto_free char *full = NULL;

		rc = image_ref_normalize(d->names.v[i], &full, err);
		if (rc < 0)
			return rc;
		str_addf(&names, "%s%s", i ? "," : "", full);
	}
	json_set_str(j, "image.name", str_get(&names));
	if (r->provenance)
		json_object_set(j, "buildx.build.provenance", r->provenance);
	text = json_text_indent(j);
	fd = out_create_file(path, err);
	if (fd < 0)
		return fd_take(&fd);
	rc = fd_write_str(fd, text, err);
	if (rc >= 0)
		rc = fd_write_str(fd, "\n", err);
	return rc < 0 ? err_ctx(err, "--metadata-file %s", path) : 0;
}
