/* SPDX-License-Identifier: Apache-2.0 */
/* Writing, finding, tagging and removing images, over layers made by hand. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/hash.h>

static void test_write_and_find(void **state)
{
	struct fix *f = *state;
	auto_image struct image *img = NULL, *same = NULL;
	auto_image_config struct image_config *c = NULL;
	int64_t base = new_snapshot(f, 0, "a", "one"), top = new_snapshot(f, base, "b", "three");
	auto_free struct image_layer *l = NULL;
	char id[DIGEST_STR_MAX];
	struct digest d, chain;
	size_t n;

	/* image_write hashes what is not hashed yet. */
	new_image(f, top, "x", "docker.io/library/app:1", id);
	ok(f, image_find(&f->rt, "app:1", &img, &f->err));
	assert_string_equal(img->id, id);
	assert_int_equal(img->snapshot, top);
	assert_int_equal(img->size_bytes, 8);
	hash_bytes(img->config, strlen(img->config), &d);
	assert_string_equal(digest_str(&d), id);

	ok(f, image_config_parse(img->config, strlen(img->config), &c, &f->err));
	ok(f, image_layers(&f->rt, top, &l, &n, &f->err));
	assert_int_equal(n, 2);
	assert_int_equal(l[0].snapshot, base);
	assert_string_equal(l[0].diff_id, l[0].chain_id);
	assert_string_equal(c->diff_ids.v[1], l[1].diff_id);
	assert_true(l[0].tar_bytes >= 1024);
	ok(f, digest_parse(l[1].chain_id, &chain, &f->err));
	assert_int_equal(image_layer_find(&f->rt, &chain), top);
	assert_int_equal(image_layer_find(&f->rt, &d), 0);

	/* By ID, by its beginning, with and without the algorithm. */
	for (size_t len = 12; len <= strlen(id); len += 13) {
		auto_free char *prefix = mem_strn(id, len);

		image_cleanup(&same);
		ok(f, image_find(&f->rt, prefix, &same, &f->err));
		assert_string_equal(same->id, id);
		image_cleanup(&same);
		ok(f, image_find(&f->rt, prefix + strlen("sha256:"), &same, &f->err));
	}
	fails(f, ENOENT, image_find(&f->rt, "app", &same, &f->err));
	fails(f, EINVAL, image_find(&f->rt, "App", &same, &f->err));
	fails(f, ENOENT, image_find(&f->rt, "sha256:../../x", &same, &f->err));
	assert_int_equal(image_find(&f->rt, "ap:1", &same, &f->err), -ENOENT);
	assert_non_null(strstr(f->err.msg, "did you mean app:1?"));
}

static void test_ambiguous(void **state)
{
	struct fix *f = *state;
	struct image *img = NULL;

	/* Seventeen images: two must share their first digit. */
	for (int i = 0; i < 17; i++) {
		char author[16], id[DIGEST_STR_MAX];

		snprintf(author, sizeof(author), "%d", i);
		new_image(f, 0, author, NULL, id);
	}
	for (const char *c = "0123456789abcdef"; *c; c++) {
		char prefix[2] = { *c, 0 };

		if (image_find(&f->rt, prefix, &img, &f->err) == -EINVAL)
			return;
		image_cleanup(&img);
	}
	fail();
}

/* A tag that looks like an ID does not stand in for it. */
static void test_id_wins(void **state)
{
	struct fix *f = *state;
	auto_image struct image *img = NULL;
	auto_free char *tag = NULL;
	char id[DIGEST_STR_MAX], other[DIGEST_STR_MAX];

	new_image(f, 0, "a", NULL, id);
	tag = mem_fmt("docker.io/library/%s", id);
	new_image(f, 0, "b", tag, other);
	ok(f, image_find(&f->rt, id, &img, &f->err));
	assert_string_equal(img->id, id);
}

static void test_steps(void **state)
{
	struct fix *f = *state;
	auto_image_config struct image_config *c = image_config_new(), *back = NULL;
	auto_image struct image *img = NULL;
	int64_t top = new_layer(f, 0, "a", "one");
	char id[DIGEST_STR_MAX];

	new_step(f, "00112233445566778899aabbccddeeff", top);
	ok(f, image_find(&f->rt, "00112233", &img, &f->err));
	assert_string_equal(img->id, "");
	assert_int_equal(img->snapshot, top);
	assert_int_equal(img->size_bytes, 3);
	assert_string_equal(img->config, "{\"os\":\"linux\"}");
	image_cleanup(&img);

	image_config_add_history(c, 1, "FROM x", true);
	image_config_add_history(c, 1, "RUN x", false)->step_id = mem_str("0011");
	ok(f, image_write(&f->rt, c, top, NULL, id, &f->err));
	ok(f, image_get(&f->rt, id, &img, &f->err));
	assert_string_equal(img->history, "[\"\",\"0011\"]");
	assert_null(strstr(img->config, "0011"));
	ok(f, image_config_of(img, &back, &f->err));
	assert_int_equal(back->n_history, 2);
	assert_null(back->history[0].step_id);
	assert_string_equal(back->history[1].step_id, "0011");
}

static void test_tags(void **state)
{
	struct fix *f = *state;
	auto_strv struct strv names = { 0 };
	char a[DIGEST_STR_MAX], b[DIGEST_STR_MAX];

	new_image(f, 0, "a", "docker.io/library/app:1", a);
	ok(f, image_tag(&f->rt, a, "docker.io/library/app:0", &f->err));
	ok(f, image_tags(&f->rt, a, &names, &f->err));
	assert_int_equal(names.n, 2);
	assert_string_equal(names.v[0], "docker.io/library/app:0");
	/* A tag that moves leaves its image. */
	new_image(f, 0, "b", "docker.io/library/app:1", b);
	assert_int_equal(count(f, "SELECT count(*) FROM images"), 2);
	strv_free(&names);
	ok(f, image_tags(&f->rt, a, &names, &f->err));
	assert_int_equal(names.n, 1);
	fails(f, EINVAL, image_tag(&f->rt, a, "docker.io/library/app@sha256:0", &f->err));
	a[10] = 'x';
	fails(f, ENOENT, image_tag(&f->rt, a, "docker.io/library/app:1", &f->err));
}

/* What removal says it freed is what the disk says. */
static void test_remove_frees(void **state)
{
	struct fix *f = *state;
	auto_image_removal struct image_removal r = { 0 };
	auto_free char *big = mem_alloc((1 << 20) + 1);
	char id[DIGEST_STR_MAX];
	uint64_t before;
	int64_t top;

	memset(big, 'x', 1 << 20);
	top = new_layer(f, new_layer(f, 0, "a", big), "b", "two");
	new_image(f, top, "x", "docker.io/library/app:latest", id);
	before = disk_use(f);
	ok(f, image_remove(&f->rt, "app", IMAGE_NOW, &r, &f->err));
	assert_int_equal(r.untagged.n, 1);
	assert_string_equal(r.untagged.v[0], "app:latest");
	assert_int_equal(r.deleted.n, 3);
	assert_string_equal(r.deleted.v[0], id);
	assert_int_equal(before - disk_use(f), r.freed_bytes);
	assert_true(r.freed_bytes > 1 << 20);
	assert_int_equal(r.kept_layers, 0);
	assert_int_equal(files_in(f, "snap"), 0);
	assert_int_equal(files_in(f, "trash"), 0);
	assert_int_equal(files_in(f, "blobs/sha256"), 0);
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 0);
	assert_int_equal(count(f, "SELECT count(*) FROM layers"), 0);
	fails(f, ENOENT, image_remove(&f->rt, "app", IMAGE_NOW, &r, &f->err));
}

static void test_remove_shared(void **state)
{
	struct fix *f = *state;
	auto_image_removal struct image_removal r = { 0 };
	int64_t base = new_layer(f, 0, "a", "one"), top = new_layer(f, base, "b", "two");
	char a[DIGEST_STR_MAX], b[DIGEST_STR_MAX];

	new_image(f, base, "a", "docker.io/library/base:latest", a);
	new_image(f, top, "b", "docker.io/library/top:latest", b);
	/* The base is needed by top. */
	ok(f, image_remove(&f->rt, "base", IMAGE_NOW, &r, &f->err));
	assert_int_equal(r.deleted.n, 1);
	assert_int_equal(r.kept_layers, 0);
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 2);
	has(f, top, "a", "one");
	ok(f, image_remove(&f->rt, b, IMAGE_NOW, &r, &f->err));
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 0);
}

static void test_remove_names(void **state)
{
	struct fix *f = *state;
	auto_image_removal struct image_removal r = { 0 }, forced = { 0 };
	char id[DIGEST_STR_MAX];

	new_image(f, new_layer(f, 0, "a", "one"), "a", "docker.io/library/app:1", id);
	ok(f, image_tag(&f->rt, id, "docker.io/library/app:2", &f->err));
	ok(f, image_tag(&f->rt, id, "docker.io/library/app:3", &f->err));
	ok(f, image_remove(&f->rt, "app:3", IMAGE_NOW, &r, &f->err));
	assert_int_equal(r.untagged.n, 1);
	assert_int_equal(r.deleted.n, 0);
	fails(f, EBUSY, image_remove(&f->rt, id, IMAGE_NOW, &r, &f->err));
	assert_int_equal(count(f, "SELECT count(*) FROM tags"), 2);
	ok(f, image_remove(&f->rt, id, IMAGE_FORCE | IMAGE_NOW, &forced, &f->err));
	assert_int_equal(forced.untagged.n, 2);
	assert_int_equal(count(f, "SELECT count(*) FROM images"), 0);
}

static const struct image_prune_opts prune_dangling = { .now = true },
				     prune_all = { .now = true, .all = true };
static const struct image_cache_policy any = { 0 };

static void test_remove_used(void **state)
{
	struct fix *f = *state;
	auto_image_removal struct image_removal r = { 0 };
	int64_t top = new_layer(f, 0, "a", "one");
	char id[DIGEST_STR_MAX];

	new_image(f, top, "a", "docker.io/library/app:latest", id);
	new_container(f, "abcdef0123456789", id, 0);
	assert_int_equal(image_remove(&f->rt, "app", IMAGE_NOW, &r, &f->err), -EBUSY);
	assert_non_null(strstr(f->err.msg, "container web (abcdef012345, exited)"));
	/* An ID is refused also with force; a name is taken away. */
	fails(f, EBUSY, image_remove(&f->rt, id, IMAGE_FORCE | IMAGE_NOW, &r, &f->err));
	assert_int_equal(count(f, "SELECT count(*) FROM tags"), 1);
	ok(f, image_remove(&f->rt, "app", IMAGE_FORCE | IMAGE_NOW, &r, &f->err));
	assert_int_equal(r.deleted.n, 0);
	assert_int_equal(count(f, "SELECT count(*) FROM tags"), 0);
	assert_int_equal(count(f, "SELECT count(*) FROM images"), 1);
	ok(f, image_prune(&f->rt, &prune_all, &r, &f->err));
	assert_int_equal(count(f, "SELECT count(*) FROM images"), 1);
	has(f, top, "a", "one");
}

/* What steps refer to stays as build cache, is counted, and goes with builder prune. */
static void test_cache(void **state)
{
	struct fix *f = *state;
	auto_image_removal struct image_removal r = { 0 }, pruned = { 0 };
	int64_t base = new_layer(f, 0, "a", "one"), top = new_layer(f, base, "b", "two"),
		over = new_layer(f, top, "c", "three"), other = new_layer(f, 0, "d", "four");
	uint64_t usage = 0, before, bytes;
	char id[DIGEST_STR_MAX], kept[DIGEST_STR_MAX];
	int lease;

	new_step(f, "aaaa", base);
	new_step(f, "bbbb", top);
	new_step(f, "cccc", 0);
	new_image(f, over, "a", "docker.io/library/app:latest", id);
	new_image(f, other, "b", "docker.io/library/kept:latest", kept);
	new_step(f, "dddd", other);
	ok(f, image_remove(&f->rt, "app", IMAGE_NOW, &r, &f->err));
	assert_int_equal(r.deleted.n, 2); /* the image and the layer over the steps' */
	assert_int_equal(r.kept_layers, 2);
	ok(f, image_layer_disk(&f->rt, base, &bytes, &f->err));
	usage += bytes;
	ok(f, image_layer_disk(&f->rt, top, &bytes, &f->err));
	assert_int_equal(r.kept_bytes, usage + bytes);

	lease = ok(f, image_lease(&f->rt, &f->err));
	fails(f, EBUSY, image_cache_prune(&f->rt, &any, &pruned, &f->err));
	close(lease);
	before = disk_use(f);
	ok(f, image_cache_prune(&f->rt, &any, &pruned, &f->err));
	assert_int_equal(before - disk_use(f), pruned.freed_bytes);
	assert_int_equal(count(f, "SELECT count(*) FROM steps"), 1);
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 1);
	has(f, other, "d", "four");
}

/* What killed builds leave goes; what is being made, or belongs to others, stays. */
static void test_cache_orphans(void **state)
{
	struct fix *f = *state;
	auto_image_removal struct image_removal r = { 0 };
	struct snap_new n = { .kind = SNAP_ACTIVE },
			named = { .kind = SNAP_ACTIVE, .key = "theirs" };
	struct snap_info killed, mounted, other;
	struct snap_mount m = SNAP_MOUNT_INIT;

	new_layer(f, new_layer(f, 0, "a", "one"), "b", "two");
	ok(f, snap_prepare(f->rt.snap, &n, &killed, &f->err));
	ok(f, snap_prepare(f->rt.snap, &n, &mounted, &f->err));
	ok(f, snap_prepare(f->rt.snap, &named, &other, &f->err));
	ok(f, snap_mount(f->rt.snap, mounted.id, 0, &m, &f->err));
	ok(f, image_cache_prune(&f->rt, &any, &r, &f->err));
	snap_mount_close(&m);
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 2);
	fails(f, ENOENT, snap_stat(f->rt.snap, killed.id, &killed, &f->err));
	ok(f, snap_stat(f->rt.snap, mounted.id, &mounted, &f->err));
	ok(f, snap_stat(f->rt.snap, other.id, &other, &f->err));
}

/* To the trash and back; a name that was taken meanwhile stays where it is. */
static void test_trash(void **state)
{
	struct fix *f = *state;
	auto_image_removal struct image_removal r = { 0 }, gone = { 0 };
	auto_strv struct strv back = { 0 }, again = { 0 };
	char id[DIGEST_STR_MAX], other[DIGEST_STR_MAX];
	int64_t layer = new_layer(f, 0, "a", "one");
	uint64_t before;

	new_image(f, layer, "a", "docker.io/library/app:latest", id);
	ok(f, image_tag(&f->rt, id, "docker.io/library/app:2", &f->err));
	ok(f, image_remove(&f->rt, id, IMAGE_FORCE, &r, &f->err));
	assert_int_equal(r.untagged.n, 2);
	assert_int_equal(r.deleted.n, 2);
	assert_int_equal(r.freed_bytes, 0);
	assert_int_equal(r.trash_bytes, 3);
	fails(f, ENOENT, image_remove(&f->rt, "app", 0, &r, &f->err));
	new_image(f, new_layer(f, 0, "b", "two"), "b", "docker.io/library/app:2", other);
	fails(f, ENOENT, image_trash_restore(&f->rt, "nosuch", &back, &f->err));
	ok(f, image_trash_restore(&f->rt, NULL, &back, &f->err));
	assert_int_equal(back.n, 1);
	assert_string_equal(back.v[0], "app:latest");
	has(f, layer, "a", "one");
	fails(f, ENOENT, image_trash_restore(&f->rt, NULL, &back, &f->err));
	assert_int_equal(count(f, "SELECT count(*) FROM tags"), 2);

	ok(f, image_remove(&f->rt, "app", 0, &r, &f->err));
	ok(f, image_trash_empty(&f->rt, 3600, 1 << 20, &gone, &f->err));
	assert_int_equal(gone.deleted.n, 0);
	ok(f, image_trash_restore(&f->rt, "app", &again, &f->err));
	ok(f, image_remove(&f->rt, "app", 0, &r, &f->err));
	before = disk_use(f);
	ok(f, image_trash_empty(&f->rt, 3600, 0, &gone, &f->err)); /* too much of it */
	assert_int_equal(gone.deleted.n, 2);
	assert_int_equal(before - disk_use(f), gone.freed_bytes);
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 1);
	fails(f, ENOENT, image_trash_restore(&f->rt, "app", &again, &f->err));
}

/* Which steps a policy takes: the least recently used first, never below what is reserved. */
static void test_cache_policy(void **state)
{
	struct fix *f = *state;
	auto_image_victims struct image_victims old = { 0 }, big = { 0 }, spare = { 0 },
						pinned = { 0 };
	uint64_t each = 0;
	struct image_cache_policy p = { .keep_s = 1000 };

	for (int i = 0; i < 4; i++) {
		char name[16];
		int64_t layer;

		snprintf(name, sizeof(name), "s%d", i);
		layer = new_layer(f, 0, name, "one");
		new_step(f, name, layer);
		ok(f, db_run(f->rt.db, "UPDATE steps SET used=?2 WHERE id=?1",
			     DB_ARGS(DB_T(name), DB_I(i < 2 ? i : time(NULL) + i)), &f->err));
		ok(f, image_layer_disk(&f->rt, layer, &each, &f->err));
	}
	ok(f, image_cache_plan(&f->rt, &p, &old, &f->err));
	assert_int_equal(old.n, 2);
	assert_string_equal(old.v[0].id, "s0");
	assert_int_equal(old.bytes, 2 * each);
	assert_int_equal(old.steps_left, 2);
	p = (struct image_cache_policy){ .max_used_bytes = each };
	ok(f, image_cache_plan(&f->rt, &p, &big, &f->err));
	assert_int_equal(big.n, 3);
	p = (struct image_cache_policy){ .min_free_bytes = UINT64_MAX, .reserved_bytes = 3 * each };
	ok(f, image_cache_plan(&f->rt, &p, &spare, &f->err));
	assert_int_equal(spare.n, 1);
	ok(f, image_pin(&f->rt, "s0", true, &f->err));
	ok(f, image_cache_plan(&f->rt, &any, &pinned, &f->err));
	assert_int_equal(pinned.n, 3);
}

static void test_prune(void **state)
{
	struct fix *f = *state;
	auto_image_removal struct image_removal r = { 0 }, all = { 0 };
	char a[DIGEST_STR_MAX], b[DIGEST_STR_MAX];
	uint64_t before;

	new_image(f, new_layer(f, 0, "a", "one"), "a", "docker.io/library/app:latest", a);
	new_image(f, new_layer(f, 0, "b", "two"), "b", "docker.io/library/app:latest", b);
	before = disk_use(f);
	ok(f, image_prune(&f->rt, &prune_dangling, &r, &f->err));
	assert_int_equal(r.deleted.n, 2);
	assert_string_equal(r.deleted.v[0], a);
	assert_int_equal(before - disk_use(f), r.freed_bytes);
	ok(f, image_prune(&f->rt, &prune_all, &all, &f->err));
	assert_int_equal(all.untagged.n, 1);
	assert_string_equal(all.deleted.v[0], b);
	assert_int_equal(count(f, "SELECT count(*) FROM snapshots"), 0);
}

static int collect(const struct image *img, void *arg, struct err *err)
{
	(void)err;
	strv_add(arg, img->id);
	return 0;
}

static void test_walk(void **state)
{
	struct fix *f = *state;
	auto_image_config struct image_config *c = image_config_new();
	auto_strv struct strv ids = { 0 };
	char old[DIGEST_STR_MAX], young[DIGEST_STR_MAX];

	new_image(f, 0, "a", NULL, old);
	c->created_s = 1800000000;
	ok(f, image_write(&f->rt, c, 0, NULL, young, &f->err));
	ok(f, image_walk(&f->rt, collect, &ids, &f->err));
	assert_int_equal(ids.n, 2);
	assert_string_equal(ids.v[0], young);
	assert_string_equal(ids.v[1], old);
}

const struct CMUnitTest store_tests[] = {
	IMAGE_TEST(test_write_and_find), IMAGE_TEST(test_ambiguous),
	IMAGE_TEST(test_id_wins),        IMAGE_TEST(test_steps),
	IMAGE_TEST(test_tags),           IMAGE_TEST(test_remove_frees),
	IMAGE_TEST(test_remove_shared),  IMAGE_TEST(test_remove_names),
	IMAGE_TEST(test_remove_used),    IMAGE_TEST(test_cache),
	IMAGE_TEST(test_cache_orphans),  IMAGE_TEST(test_trash),
	IMAGE_TEST(test_cache_policy),   IMAGE_TEST(test_prune),
	IMAGE_TEST(test_walk),
};
const size_t store_tests_n = ARRAY_LEN(store_tests);
