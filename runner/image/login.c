/* SPDX-License-Identifier: Apache-2.0 */
/* login and logout: credentials are tried, then kept where the next pull looks for them. */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/path.h>
#include <shale/registry.h>

#include "priv.h"

static char *encode(const char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strlen(text);
	auto_str struct str out = { 0 };

	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)(unsigned char)text[i] << 16;

		if (i + 1 < n)
			v |= (unsigned)(unsigned char)text[i + 1] << 8;
		if (i + 2 < n)
			v |= (unsigned char)text[i + 2];
		str_addc(&out, digits[v >> 18]);
		str_addc(&out, digits[v >> 12 & 63]);
		str_addc(&out, (char)(i + 1 < n ? digits[v >> 6 & 63] : '='));
		str_addc(&out, (char)(i + 2 < n ? digits[v & 63] : '='));
	}
	return str_take(&out);
}

static char *auth_file(const struct image_access *a)
{
	const char *only = image_auth_only(a);

	return only ? mem_str(only) : image_auth_docker_file(a);
}

/* Whole, mode 0600, and whose it was or whose the directory is; others read it meanwhile. */
static int write_file(const char *path, const json_t *file, struct err *err)
{
	auto_free char *dir = path_join(path, ".."), *text = json_text_indent(file);
	auto_fd int fd = -1;
	struct stat st, was;
	int rc = fs_mkdirs(dir, 0700, err);

	if (rc < 0)
		return rc;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, "open %s", dir);
	if (fstatat(fd, path_base(path), &was, 0) == 0)
		st = was;
	rc = fs_write_atomic(fd, path_base(path), text, strlen(text), true, err);
	explicit_bzero(text, strlen(text));
	if (rc >= 0 && fchownat(fd, path_base(path), st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		rc = err_sys(err, "owner of %s", path);
	return rc;
}

/* The helper that keeps this registry's credentials, or NULL. */
static const char *helper_of(const json_t *file, const char *registry)
{
	const char *one = json_get_str(json_object_get(file, "credHelpers"), registry);
	const char *all = json_get_str(file, "credsStore");

	return one ? one : all && *all ? all : NULL;
}

static int store_by_helper(const struct image_access *a, const char *helper, const char *registry,
			   const char *user, const char *secret, struct err *err)
{
	auto_json json_t *o = json_object();
	auto_free char *text = NULL, *said = NULL;
	int rc;

	json_set_str(o, "ServerURL", image_auth_key(registry));
	json_set_str(o, "Username", user);
	json_set_str(o, "Secret", secret);
	text = json_text(o);
	rc = image_auth_helper(a, helper, "store", text, &said, err);
	explicit_bzero(text, strlen(text));
	return rc;
}

static int keep(const struct image_access *a, const char *registry, const json_t *req,
		const char *token, char **ret_where, struct err *err)
{
	const char *user = json_get_str(req, "user"), *secret = json_get_str(req, "password");
	auto_free char *path = auth_file(a), *plain = NULL, *auth = NULL;
	auto_json json_t *file = NULL, *entry = json_object();
	const char *helper;
	json_t *auths;
	int rc = image_auth_read(path, &file, err);

	if (rc < 0)
		return rc;
	if (!file)
		file = json_object();
	helper = helper_of(file, image_auth_key(registry));
	if (helper)
		return store_by_helper(a, helper, registry, token ? "<token>" : user,
				       token ? token : secret, err);
	plain = mem_fmt("%s:%s", user, token ? "" : secret);
	auth = encode(plain);
	json_set_str(entry, "auth", auth);
	json_set_str(entry, "identitytoken", token);
	auths = json_object_get(file, "auths");
	if (!json_is_object(auths)) {
		auths = json_object();
		json_object_set_new(file, "auths", auths);
	}
	json_object_set(auths, image_auth_key(registry), entry);
	explicit_bzero(plain, strlen(plain));
	explicit_bzero(auth, strlen(auth));
	rc = write_file(path, file, err);
	if (rc >= 0)
		*ret_where = take(path);
	return rc;
}

int image_login(const struct image_access *a, const char *registry, const char *user,
		const char *password, char **ret_where, struct err *err)
{
	auto_image_remote struct image_remote r = { .registry = mem_str(registry) };
	auto_json json_t *req = json_object(), *answer = NULL;
	const char *token;
	int rc;

	json_set_str(req, "user", user);
	json_set_str(req, "password", password);
	json_object_set_new(req, "verify", json_true());
	rc = image_remote_open_request(a, &r, req, err);
	if (rc >= 0 && !json_get_str(req, "user") && !json_get_str(req, "identity_token"))
		return err_set(err, ENOENT,
			       "no credentials for %s are known: give -u and a password", registry);
	if (rc >= 0)
		rc = image_transfer_start(NULL, &r.t, err);
	if (rc >= 0)
		rc = image_transfer_call(r.t, req, -1, &answer, err);
	if (rc < 0)
		return err_ctx(err, "log in to %s", registry);
	token = json_get_str(answer, "identity_token");
	return user ? keep(a, registry, req, token && *token ? token : NULL, ret_where, err) : 0;
}

int image_logout(const struct image_access *a, const char *registry, struct err *err)
{
	auto_free char *path = auth_file(a), *said = NULL;
	auto_json json_t *file = NULL;
	const char *helper, *key = image_auth_key(registry);
	struct err ignored = { 0 };
	int rc = image_auth_read(path, &file, err), had;

	image_tokens_forget();
	if (rc < 0 || !file)
		return rc;
	had = json_object_del(json_object_get(file, "auths"), key) == 0;
	helper = helper_of(file, key);
	if (helper)
		had |= image_auth_helper(a, helper, "erase", key, &said, &ignored) >= 0;
	if (had)
		rc = write_file(path, file, err);
	return rc < 0 ? rc : had;
}
