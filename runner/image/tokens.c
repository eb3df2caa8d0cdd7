/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bearer tokens outlive the process that got them, until they expire: in the run state, for root
 * alone. A file is of one repository of a registry and of one account there: its name is a hash of
 * all that, so that no other account is ever given its tokens. It is a cache: whatever is wrong
 * with it, the registry is asked again. Needs libcrypto.
 */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/registry.h>

#include "mounted.h"

#define TOKENS_DIR IMAGE_RUN_DIR "/tokens"

enum {
	FILE_MAX = 64 << 10,
	SCOPE_MAX = 1024,
	OF_ONE_MAX = 6,      /* tokens of a file */
	OFFERED_MAX = 48000, /* bytes of them in a request */
	FILES_MAX = 1000,
	LIFE_MAX_S = 3600,
	MARGIN_S = 5, /* a request takes a while */
};

/* --- the directory --- */

static int open_dir(bool make, struct err *err)
{
	auto_fd int fd = -1;
	struct stat st;
	int rc = make ? fs_mkdirs(TOKENS_DIR, 0700, err) : 0;

	if (rc < 0)
		return rc;
	fd = open(TOKENS_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open " TOKENS_DIR);
	if (st.st_uid != geteuid() || st.st_mode & 077)
		return err_set(err, EPERM, TOKENS_DIR " is not root's alone");
	return fd_take(&fd);
}

/* Files in which nothing can be good any more, also what a killed process was writing. */
static size_t sweep(int dir, int64_t now)
{
	auto_strv struct strv names = { 0 };
	struct err ignored = { 0 };
	size_t left = 0;

	if (fs_list(dir, ".", &names, &ignored) < 0)
		return FILES_MAX;
	for (size_t i = 0; i < names.n; i++) {
		struct stat st;

		if (fstatat(dir, names.v[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtime + LIFE_MAX_S < now)
			unlinkat(dir, names.v[i], 0);
		else
			left++;
	}
	return left;
}

void image_tokens_forget(void)
{
	auto_strv struct strv names = { 0 };
	struct err ignored = { 0 };
	auto_fd int dir = open_dir(false, &ignored);

	if (dir < 0 || fs_list(dir, ".", &names, &ignored) < 0)
		return;
	for (size_t i = 0; i < names.n; i++)
		unlinkat(dir, names.v[i], 0);
}

/* --- files --- */

/* All that says who asks whom, and in what way. */
static void add_name(const json_t *endpoint, struct strv *ret)
{
	static const char *const of[] = { "registry", "repo", "user", "password",
					  "identity_token" };
	static const char *const how[] = { "plain_http", "insecure" };
	auto_hash struct hash *h = hash_new();
	struct digest d;

	for (size_t i = 0; i < ARRAY_LEN(of); i++)
		hash_field_str(h, json_get_str(endpoint, of[i]));
	for (size_t i = 0; i < ARRAY_LEN(how); i++)
		hash_field_str(h, json_get_bool(endpoint, how[i]) ? how[i] : NULL);
	hash_end(h, &d);
	strv_add(ret, digest_hex(&d));
}

/* A list of {scope, token, until}; an empty one where nothing can be read. */
static json_t *load(int dir, const char *name)
{
	auto_json json_t *o = NULL;
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	json_t *list = NULL;
	size_t len = 0;

	if (fd_read_file(dir, name, FILE_MAX, &text, &len, &ignored) >= 0 &&
	    json_parse(text, len, &o, &ignored) >= 0)
		list = json_incref(json_object_get(o, "tokens"));
	if (text)
		explicit_bzero(text, len);
	if (json_is_array(list))
		return list;
	json_decref(list);
	return json_array();
}

static void save(int dir, const char *name, const json_t *list)
{
	auto_json json_t *o = json_object();
	auto_free char *text = NULL;
	struct err ignored = { 0 };

	json_object_set_new(o, "tokens", json_deep_copy(list));
	text = json_text(o);
	if (strlen(text) <= FILE_MAX)
		fs_write_atomic(dir, name, text, strlen(text), false, &ignored);
	explicit_bzero(text, strlen(text));
}

static bool is_good(const json_t *entry, int64_t now)
{
	int64_t left = json_get_int(entry, "until", 0) - now;

	/* The clock may have been set back. */
	return left > MARGIN_S && left <= LIFE_MAX_S && json_get_str(entry, "scope") &&
	       json_get_str(entry, "token");
}

/* --- to shale-transfer and back --- */

static void offer(json_t *endpoint, int dir, const char *name, size_t *room)
{
	auto_json json_t *list = load(dir, name);
	json_t *given = json_array(), *e;
	int64_t now = time(NULL);
	size_t i;

	json_array_foreach(list, i, e)
	{
		const char *scope = json_get_str(e, "scope"), *token = json_get_str(e, "token");
		size_t n = is_good(e, now) ? strlen(scope) + strlen(token) + 64 : *room + 1;
		json_t *one;

		if (n > *room)
			continue;
		*room -= n;
		one = json_object();
		json_set_str(one, "scope", scope);
		json_set_str(one, "token", token);
		json_object_set_new(one, "seconds",
				    json_integer(json_get_int(e, "until", 0) - now));
		json_array_append_new(given, one);
	}
	json_object_set_new(endpoint, "tokens", given);
}

/* Certificates go into the same packet, and come first; a quote in a token takes two bytes. */
static size_t find_room(const json_t *request)
{
	auto_free char *text = json_text(request);
	size_t used = strlen(text) + SCOPE_MAX;

	explicit_bzero(text, strlen(text));
	if (used >= REGISTRY_PACKET_MAX)
		return 0;
	used = (REGISTRY_PACKET_MAX - used) / 2;
	return used < OFFERED_MAX ? used : OFFERED_MAX;
}

void image_tokens_offer(json_t *request, struct strv *ret_names)
{
	json_t *mirrors = json_object_get(request, "mirrors"), *m;
	struct err ignored = { 0 };
	auto_fd int dir = open_dir(false, &ignored);
	size_t room = find_room(request), i;

	json_array_foreach(mirrors, i, m) add_name(m, ret_names);
	add_name(request, ret_names);
	if (dir < 0)
		return;
	json_array_foreach(mirrors, i, m) offer(m, dir, ret_names->v[i], &room);
	offer(request, dir, ret_names->v[ret_names->n - 1], &room);
}

static bool is_clean(const char *s, size_t max)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (s[i] < ' ' || s[i] == 0x7f)
			return false;
	return n <= max;
}

/* In place of what there is for the scope; what has expired goes, and then the oldest. */
static void put(json_t *list, json_t *fresh, int64_t now)
{
	size_t i = 0;

	while (i < json_array_size(list)) {
		const json_t *e = json_array_get(list, i);

		if (is_good(e, now) &&
		    !str_eq(json_get_str(e, "scope"), json_get_str(fresh, "scope")))
			i++;
		else
			json_array_remove(list, i);
	}
	json_array_append(list, fresh);
	while (json_array_size(list) > OF_ONE_MAX)
		json_array_remove(list, 0);
}

void image_tokens_keep(const struct strv *names, const json_t *event)
{
	int64_t of = json_get_int(event, "endpoint", -1), s = json_get_int(event, "seconds", 0);
	const char *scope = json_get_str(event, "scope"), *token = json_get_str(event, "token");
	auto_json json_t *fresh = json_object(), *list = NULL;
	struct err ignored = { 0 };
	auto_fd int dir = -1;
	int64_t now = time(NULL);

	if (of < 0 || (uint64_t)of >= names->n || !scope || !token || s <= MARGIN_S ||
	    !is_clean(scope, SCOPE_MAX) || !is_clean(token, REGISTRY_TOKEN_MAX))
		return;
	dir = open_dir(true, &ignored);
	if (dir < 0 || sweep(dir, now) >= FILES_MAX)
		return;
	json_set_str(fresh, "scope", scope);
	json_set_str(fresh, "token", token);
	json_object_set_new(fresh, "until", json_integer(now + (s < LIFE_MAX_S ? s : LIFE_MAX_S)));
	list = load(dir, names->v[of]);
	put(list, fresh, now);
	save(dir, names->v[of], list);
}
