/* SPDX-License-Identifier: Apache-2.0 */
/* import, save and load: what goes out comes back the same, also for others; hostile archives leave
 * nothing. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/proc.h>

/* A program with its output thrown away: its exit status. */
static int run(const char *const argv[])
{
	struct err err = { 0 };
	char *args[16] = { 0 };
	int code = -1;
	pid_t pid;

	for (size_t i = 0; argv[i] && i < ARRAY_LEN(args) - 1; i++)
		args[i] = mem_str(argv[i]);
	pid = proc_spawn(args[0], args, (const int[3]){ -1, -1, -1 }, &err);
	if (pid > 0)
		proc_wait(pid, &code, &err);
	for (size_t i = 0; args[i]; i++)
		free(args[i]);
	return code;
}
#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

static char *below(struct fix *f, const char *name)
{
	return mem_fmt("%s/%s", f->path, name);
}

/* An empty directory of the test's own inside its store. */
static int scratch(struct fix *f, const char *name)
{
	int fd;

	ok(f, fs_mkdir(f->rt.root_fd, name, 0755, &f->err));
	fd = openat(f->rt.root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int open_file(struct fix *f, const char *name, int flags)
{
	int fd = openat(f->rt.root_fd, name, flags | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static void write_text(struct fix *f, int dir, const char *name, const char *text)
{
	ok(f, fd_write_file(dir, name, text, strlen(text), 0644, &f->err));
}

static void save_to(struct fix *f, enum image_format fmt, const char *name, const char *file)
{
	auto_fd int fd = open_file(f, file, O_WRONLY | O_CREAT | O_TRUNC);
	auto_strv struct strv names = { 0 };

	strv_add(&names, name);
	ok(f, image_save(&f->rt, &(struct image_save_opts){ .format = fmt }, &names, fd, &f->err));
}

static int load_from(struct fix *from, const char *file, struct fix *to, struct strv *lines)
{
	auto_fd int fd = open_file(from, file, O_RDONLY);

	return image_load(&to->rt, fd, NULL, lines, &to->err);
}

/* The same image, whole, in both. */
static void same_image(struct fix *a, struct fix *b, const char *id)
{
	auto_image struct image *x = NULL, *y = NULL;

	ok(a, image_get(&a->rt, id, &x, &a->err));
	ok(b, image_get(&b->rt, id, &y, &b->err));
	assert_string_equal(x->config, y->config);
	assert_int_equal(x->size_bytes, y->size_bytes);
	assert_int_equal(x->created_s, y->created_s);
	has(b, y->snapshot, "a", "one");
	has(b, y->snapshot, "b", "two");
}

static int64_t two_layers(struct fix *f)
{
	return new_layer(f, new_layer(f, 0, "a", "one"), "b", "two");
}

static void test_save_load(void **state)
{
	static const struct {
		enum image_format fmt;
		const char *file;
	} formats[] = { { IMAGE_DOCKER_ARCHIVE, "docker.tar" }, { IMAGE_OCI_ARCHIVE, "oci.tar" } };
	struct fix *f = *state;
	char id[DIGEST_STR_MAX];

	new_image(f, two_layers(f), "x", "docker.io/library/app:1", id);
	ok(f, image_tag(&f->rt, id, "reg.example:5000/me/app:2", &f->err));
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		auto_strv struct strv lines = { 0 }, tags = { 0 };
		struct fix *g;

		fix_setup((void **)&g);
		save_to(f, formats[i].fmt, "app:1", formats[i].file);
		ok(g, load_from(f, formats[i].file, g, &lines));
		assert_int_equal(lines.n, 1);
		assert_string_equal(lines.v[0], "Loaded image: app:1");
		same_image(f, g, id);
		/* Our own stream: no blob but the config, and the manifest where there is one. */
		assert_int_equal(files_in(g, "blobs/sha256"), i + 1);
		assert_int_equal(files_in(g, "tmp"), 0);
		/* Once more: every layer exists. */
		ok(g, load_from(f, formats[i].file, g, &lines));
		assert_int_equal(count(g, "SELECT count(*) FROM snapshots"), 2);
		/* By ID: no name comes along. */
		save_to(f, formats[i].fmt, id, formats[i].file);
		fix_teardown((void **)&g);
		fix_setup((void **)&g);
		strv_free(&lines);
		ok(g, load_from(f, formats[i].file, g, &lines));
		assert_true(str_starts(lines.v[0], "Loaded image ID: sha256:"));
		ok(g, image_tags(&g->rt, id, &tags, &g->err));
		assert_int_equal(tags.n, 0);
		fix_teardown((void **)&g);
	}
}

/* A repository without a tag: all of its tags, as docker save does. */
static void test_save_repository(void **state)
{
	struct fix *f = *state, *g;
	auto_strv struct strv lines = { 0 };
	char a[DIGEST_STR_MAX], b[DIGEST_STR_MAX];
	int64_t top = two_layers(f);

	new_image(f, top, "x", "docker.io/library/app:1", a);
	new_image(f, top, "y", "docker.io/library/app:2", b);
	new_image(f, top, "z", "docker.io/library/application:1", b);
	save_to(f, IMAGE_DOCKER_ARCHIVE, "app", "all.tar");
	fix_setup((void **)&g);
	ok(g, load_from(f, "all.tar", g, &lines));
	assert_int_equal(lines.n, 2);
	assert_int_equal(count(g, "SELECT count(*) FROM tags"), 2);
	fix_teardown((void **)&g);
}

static void test_oci_dir(void **state)
{
	struct fix *f = *state, *g;
	auto_strv struct strv lines = { 0 }, names = { 0 };
	auto_fd int dir = scratch(f, "layout");
	char id[DIGEST_STR_MAX];

	new_image(f, two_layers(f), "x", "docker.io/library/app:1", id);
	strv_add(&names, "app:1");
	ok(f, image_save(&f->rt, &(struct image_save_opts){ .format = IMAGE_OCI_DIR }, &names, dir,
			 &f->err));
	/* Over itself: nothing is in the way, no temporary file stays. */
	ok(f, image_save(&f->rt, &(struct image_save_opts){ .format = IMAGE_OCI_DIR }, &names, dir,
			 &f->err));
	assert_int_equal(files_in(f, "layout"), 3);
	assert_int_equal(files_in(f, "layout/blobs/sha256"), 4);
	fix_setup((void **)&g);
	ok(g, image_load(&g->rt, dir, NULL, &lines, &g->err));
	same_image(f, g, id);
	fix_teardown((void **)&g);
}

/* A layer that was changed on disk does not leave as what it was. */
static void test_save_damaged(void **state)
{
	struct fix *f = *state;
	auto_strv struct strv names = { 0 };
	auto_fd int fs = -1, out = open_file(f, "out.tar", O_WRONLY | O_CREAT);
	int64_t top = two_layers(f);
	char id[DIGEST_STR_MAX];

	new_image(f, top, "x", "docker.io/library/app:1", id);
	ok(f, snap_fs_fd(f->rt.snap, top, &fs, &f->err));
	write_text(f, fs, "b", "TWO");
	strv_add(&names, "app:1");
	fails(f, EBADMSG,
	      image_save(&f->rt, &(struct image_save_opts){ .format = IMAGE_DOCKER_ARCHIVE },
			 &names, out, &f->err));
}

static void test_import(void **state)
{
	struct fix *f = *state;
	struct image_import_opts o = { .tag = "docker.io/library/imported:latest" };
	auto_fd int dir = scratch(f, "in"), tar = -1;
	auto_free char *in = below(f, "in"), *file = below(f, "in.tar");
	auto_image_config struct image_config *c = NULL;
	auto_image struct image *img = NULL;
	char id[DIGEST_STR_MAX], again[DIGEST_STR_MAX];

	write_text(f, dir, "a", "one");
	assert_int_equal(RUN("/bin/tar", "-C", in, "-cf", file, "."), 0);
	tar = open_file(f, "in.tar", O_RDONLY);
	ok(f, image_import(&f->rt, tar, &o, id, &f->err));
	ok(f, image_find(&f->rt, "imported", &img, &f->err));
	assert_string_equal(img->id, id);
	has(f, img->snapshot, "a", "one");
	ok(f, image_config_parse(img->config, strlen(img->config), &c, &f->err));
	assert_int_equal(c->n_history, 1);
	assert_string_equal(c->history[0].comment, "Imported from -");
	assert_int_equal(c->diff_ids.n, 1);

	/* The same tree with another message: another image over the same layer. */
	lseek(tar, 0, SEEK_SET);
	o.message = "mine";
	ok(f, image_import(&f->rt, tar, &o, again, &f->err));
	assert_string_not_equal(id, again);
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 1);
	assert_int_equal(count(f, "SELECT count(DISTINCT snapshot) FROM images"), 1);
}

static void test_import_damaged(void **state)
{
	struct fix *f = *state;
	struct image_import_opts o = { 0 };
	auto_fd int tar = open_file(f, "bad.tar", O_RDWR | O_CREAT);
	char id[DIGEST_STR_MAX], noise[4096];

	memset(noise, 'x', sizeof(noise));
	ok(f, fd_write_all(tar, noise, sizeof(noise), &f->err));
	lseek(tar, 0, SEEK_SET);
	assert_true(image_import(&f->rt, tar, &o, id, &f->err) < 0);
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 0);
	assert_int_equal(files_in(f, "snap"), 0);
}

/* --- archives of others --- */

static const char config_fmt[] =
	"{ \"architecture\":\"amd64\", \"os\":\"linux\",\n \"config\":{\"Cmd\":[\"x\"]},"
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]},\"x\":1 }";

/* A docker-archive directory with one layer, written by GNU tar so that its bytes are not ours. */
static int foreign(struct fix *f, const char *name, const char *diff_id, bool gzip)
{
	auto_free char *in = below(f, "tree"), *dir = below(f, name),
		       *layer = mem_fmt("%s/l.tar", dir);
	auto_fd int tree = scratch(f, "tree"), tar = -1;
	auto_free char *config = NULL;
	struct digest d;
	int out = scratch(f, name);

	write_text(f, tree, "a", "one");
	write_text(f, tree, "b", "two");
	assert_int_equal(RUN("/bin/tar", "--format=gnu", "-C", in, "-cf", layer, "b", "a"), 0);
	tar = openat(out, "l.tar", O_RDONLY | O_CLOEXEC);
	ok(f, hash_fd(tar, &d, &f->err));
	if (gzip) {
		assert_int_equal(RUN("/bin/gzip", "-9", layer), 0);
		assert_int_equal(renameat(out, "l.tar.gz", out, "l.tar"), 0);
	}
	config = mem_fmt(config_fmt, diff_id ? diff_id : digest_str(&d));
	write_text(f, out, "c.json", config);
	write_text(
		f, out, "manifest.json",
		"[{\"Config\":\"c.json\",\"RepoTags\":[\"them/app:9\"],\"Layers\":[\"l.tar\"]}]");
	return out;
}

static void test_foreign(void **state)
{
	for (int gzip = 0; gzip < 2; gzip++) {
		struct fix *f = *state, *g, *h;
		auto_fd int dir = foreign(f, gzip ? "gz" : "plain", NULL, gzip);
		auto_strv struct strv lines = { 0 };
		auto_image_removal struct image_removal r = { 0 };
		auto_image struct image *img = NULL;
		auto_free char *config = NULL;
		struct digest d;
		uint64_t before;
		size_t len;

		fix_setup((void **)&g);
		fix_setup((void **)&h);
		ok(g, image_load(&g->rt, dir, NULL, &lines, &g->err));
		assert_string_equal(lines.v[0], "Loaded image: them/app:9");
		ok(g, image_find(&g->rt, "them/app:9", &img, &g->err));
		/* The config is what it was, byte for byte. */
		ok(g, fd_read_file(dir, "c.json", 4096, &config, &len, &g->err));
		assert_string_equal(img->config, config);
		hash_bytes(config, len, &d);
		assert_string_equal(img->id, digest_str(&d));
		/* The layer's own bytes are kept, and go on to others. */
		assert_int_equal(files_in(g, "blobs/sha256"), 2);
		save_to(g, IMAGE_DOCKER_ARCHIVE, "them/app:9", "d.tar");
		ok(h, load_from(g, "d.tar", h, &lines));
		same_image(g, h, img->id);
		ok(h, image_remove(&h->rt, "them/app:9", IMAGE_NOW, &r, &h->err));
		save_to(g, IMAGE_OCI_ARCHIVE, "them/app:9", "o.tar");
		ok(h, load_from(g, "o.tar", h, &lines));
		same_image(g, h, img->id);

		before = disk_use(h);
		image_removal_free(&r);
		ok(h, image_remove(&h->rt, "them/app:9", IMAGE_NOW, &r, &h->err));
		assert_int_equal(before - disk_use(h), r.freed_bytes);
		assert_int_equal(files_in(h, "blobs/sha256"), 0);
		fix_teardown((void **)&g);
		fix_teardown((void **)&h);
	}
}

/* Old archives give a layer that two images share as a link to its other place. */
static void test_linked_layer(void **state)
{
	struct fix *f = *state;
	auto_fd int dir = foreign(f, "d", NULL, false);
	auto_strv struct strv lines = { 0 };

	ok(f, fs_mkdir(dir, "x", 0755, &f->err));
	assert_int_equal(symlinkat("../l.tar", dir, "x/layer.tar"), 0);
	write_text(f, dir, "manifest.json",
		   "[{\"Config\":\"c.json\",\"RepoTags\":null,\"Layers\":[\"x/layer.tar\"]}]");
	ok(f, image_load(&f->rt, dir, NULL, &lines, &f->err));
	assert_int_equal(lines.n, 1);
}

/* Whatever is wrong with it: an error, and the store as it was. */
static void refused(struct fix *f, int dir, int code)
{
	auto_strv struct strv lines = { 0 };
	int rc = image_load(&f->rt, dir, NULL, &lines, &f->err);

	if (code)
		fails(f, code, rc);
	assert_true(rc < 0);
	assert_int_equal(lines.n, 0);
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 0);
	assert_int_equal(count(f, "SELECT count(*) FROM images"), 0);
	assert_int_equal(files_in(f, "snap"), 0);
}

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_hostile_docker(void **state)
{
	static const char *const manifests[] = {
		"[]",
		"{}",
		"[7]",
		"[{\"Layers\":[]}]",
		"[{\"Config\":\"/etc/passwd\",\"Layers\":[\"l.tar\"]}]",
		"[{\"Config\":\"../../../../etc/passwd\",\"Layers\":[\"l.tar\"]}]",
		"[{\"Config\":\"link\",\"Layers\":[\"l.tar\"]}]",
		"[{\"Config\":\"fifo\",\"Layers\":[\"l.tar\"]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[\"/etc/passwd\"]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[\"l.tar\",\"l.tar\"]}]",
		"[{\"Config\":\"c.json\",\"Layers\":[\"c.json\"]}]",
		"[{\"Config\":\"c.json\",\"RepoTags\":[\"../x\"],\"Layers\":[\"l.tar\"]}]",
		"[{\"Config\":\"c.json\",\"RepoTags\":[7],\"Layers\":[\"l.tar\"]}]",
	};
	struct fix *f = *state;
	auto_fd int dir = foreign(f, "d", NULL, false), other = -1, empty = scratch(f, "empty");

	assert_int_equal(symlinkat("/etc/passwd", dir, "link"), 0);
	assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
	for (size_t i = 0; i < ARRAY_LEN(manifests); i++) {
		write_text(f, dir, "manifest.json", manifests[i]);
		refused(f, dir, 0);
		err_clear(&f->err);
	}
	/* The layer is not what the config says. */
	other = foreign(f, "e", "sha256:" HEX64, false);
	refused(f, other, EBADMSG);
	refused(f, empty, EINVAL);
}

static void test_hostile_oci(void **state)
{
	static const char *const indexes[] = {
		"{\"manifests\":[]}",
		"{\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:../../x\"}]}",
		"{\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:" HEX64
		"\"}]}",
		"{\"manifests\":[{\"mediaType\":\"text/plain\",\"digest\":\"sha256:" HEX64 "\"}]}",
		"{\"manifests\":[{}],\"layers\":[]}",
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"manifests\":[{}]}",
	};
	struct fix *f = *state;
	auto_fd int dir = scratch(f, "d");

	ok(f, fs_mkdir(dir, "blobs", 0755, &f->err));
	ok(f, fs_mkdir(dir, "blobs/sha256", 0755, &f->err));
	/* Not the content of that digest. */
	write_text(f, dir, "blobs/sha256/" HEX64, "{\"config\":{},\"layers\":[]}");
	for (size_t i = 0; i < ARRAY_LEN(indexes); i++) {
		write_text(f, dir, "index.json", indexes[i]);
		refused(f, dir, 0);
		err_clear(&f->err);
	}
}

/* A layout of many platforms and attestations: the index in the index, and of it the image for this
 * machine. */
static void test_nested_index(void **state)
{
	struct fix *f = *state, *g;
	auto_strv struct strv lines = { 0 }, names = { 0 };
	auto_fd int dir = scratch(f, "layout");
	auto_image_config struct image_config *here = image_config_new();
	auto_free char *text = NULL, *inner = NULL, *outer = NULL, *path = NULL;
	auto_json json_t *index = NULL;
	char id[DIGEST_STR_MAX];
	const char *digest;
	struct digest d;
	size_t len;

	new_image(f, two_layers(f), "x", "docker.io/library/app:1", id);
	strv_add(&names, id);
	ok(f, image_save(&f->rt, &(struct image_save_opts){ .format = IMAGE_OCI_DIR }, &names, dir,
			 &f->err));
	ok(f, fd_read_file(dir, "index.json", 1 << 20, &text, &len, &f->err));
	ok(f, json_parse(text, len, &index, &f->err));
	digest = json_get_str(json_array_get(json_object_get(index, "manifests"), 0), "digest");
	inner = mem_fmt(
		"{\"manifests\":["
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:" HEX64
		"\",\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}},"
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:" HEX64
		"\",\"platform\":{\"os\":\"linux\",\"architecture\":\"vax\"}},"
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\","
		"\"platform\":{\"os\":\"linux\",\"architecture\":\"%s\"}}]}",
		digest, here->architecture);
	hash_bytes(inner, strlen(inner), &d);
	path = mem_fmt("blobs/sha256/%s", digest_hex(&d));
	write_text(f, dir, path, inner);
	outer = mem_fmt(
		"{\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"digest\":\"%s\","
		"\"annotations\":{\"org.opencontainers.image.ref.name\":\"example.org/a:1\"}}]}",
		digest_str(&d));
	write_text(f, dir, "index.json", outer);
	fix_setup((void **)&g);
	ok(g, image_load(&g->rt, dir, NULL, &lines, &g->err));
	assert_string_equal(lines.v[0], "Loaded image: example.org/a:1");
	same_image(f, g, id);
	fix_teardown((void **)&g);
}

/* Others read what we write. */
static void test_skopeo(void **state)
{
	static const char skopeo[] = "/usr/bin/skopeo";
	struct fix *f = *state;
	auto_fd int dir = scratch(f, "layout");
	auto_strv struct strv names = { 0 };
	auto_free char *oci = mem_fmt("oci:%s/layout:1", f->path),
		       *to = mem_fmt("dir:%s/out", f->path),
		       *docker = mem_fmt("docker-archive:%s/d.tar", f->path),
		       *oci_tar = mem_fmt("oci-archive:%s/o.tar:1", f->path),
		       *back = mem_fmt("docker-archive:%s/back.tar:x.y/back:1", f->path);
	auto_strv struct strv lines = { 0 };
	char id[DIGEST_STR_MAX];
	struct fix *g;

	if (access(skopeo, X_OK) < 0) {
		print_message(
			"skopeo is not installed: that others read our archives is not tested\n");
		skip();
	}
	new_image(f, two_layers(f), "x", "docker.io/library/app:1", id);
	strv_add(&names, "app:1");
	ok(f, image_save(&f->rt, &(struct image_save_opts){ .format = IMAGE_OCI_DIR }, &names, dir,
			 &f->err));
	save_to(f, IMAGE_DOCKER_ARCHIVE, "app:1", "d.tar");
	save_to(f, IMAGE_OCI_ARCHIVE, "app:1", "o.tar");
	assert_int_equal(RUN(skopeo, "inspect", oci), 0);
	assert_int_equal(RUN(skopeo, "inspect", "--config", oci), 0);
	assert_int_equal(RUN(skopeo, "--insecure-policy", "copy", docker, to), 0);
	assert_int_equal(RUN(skopeo, "--insecure-policy", "copy", oci_tar, to), 0);
	/* And back from skopeo's own docker-archive. */
	assert_int_equal(RUN(skopeo, "--insecure-policy", "copy", oci, back), 0);
	fix_setup((void **)&g);
	ok(g, load_from(f, "back.tar", g, &lines));
	assert_string_equal(lines.v[0], "Loaded image: x.y/back:1");
	same_image(f, g, id);
	fix_teardown((void **)&g);
}

const struct CMUnitTest archive_tests[] = {
	IMAGE_TEST(test_save_load),      IMAGE_TEST(test_save_repository),
	IMAGE_TEST(test_oci_dir),        IMAGE_TEST(test_save_damaged),
	IMAGE_TEST(test_import),         IMAGE_TEST(test_import_damaged),
	IMAGE_TEST(test_foreign),        IMAGE_TEST(test_linked_layer),
	IMAGE_TEST(test_hostile_docker), IMAGE_TEST(test_hostile_oci),
	IMAGE_TEST(test_nested_index),   IMAGE_TEST(test_skopeo),
};
const size_t archive_tests_n = ARRAY_LEN(archive_tests);
