/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials as Docker's config.json and the containers tools' auth.json keep them, or the helper
 * program that these name. Files are read by us; a helper runs as the user whose they are.
 */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

#define HUB_KEY       "https://index.docker.io/v1/"
#define HELPER_PREFIX "docker-credential-"

enum { FILE_MAX = 1 << 20, ANSWER_MAX = 64 << 10, FIELD_MAX = 32 << 10 };

const char *image_auth_key(const char *registry)
{
	return str_eq(registry, "docker.io") ? HUB_KEY : registry;
}

static const char *home_of(const struct image_access *a)
{
	const char *home = a->home ? a->home : getenv("HOME");

	return home && *home ? home : "/root";
}

char *image_auth_docker_file(const struct image_access *a)
{
	const char *dir = getenv("DOCKER_CONFIG");

	return dir && *dir ? mem_fmt("%s/config.json", dir)
			   : mem_fmt("%s/.docker/config.json", home_of(a));
}

const char *image_auth_only(const struct image_access *a)
{
	const char *only = a->auth_file ? a->auth_file : getenv("REGISTRY_AUTH_FILE");

	return only && *only ? only : NULL;
}

/* In the order in which they are asked. */
static void list_files(const struct image_access *a, struct strv *ret)
{
	const char *only = image_auth_only(a), *run = getenv("XDG_RUNTIME_DIR");

	if (only) {
		strv_add(ret, only);
		return;
	}
	strv_add_take(ret, image_auth_docker_file(a));
	if (run && *run)
		strv_addf(ret, "%s/containers/auth.json", run);
	strv_addf(ret, "/run/containers/%u/auth.json", (unsigned)a->uid);
	strv_addf(ret, "%s/.config/containers/auth.json", home_of(a));
}

/* NULL in *ret where there is no file. A broken one is an error: without it the wrong account
 * would be used. */
int image_auth_read(const char *path, json_t **ret, struct err *err)
{
	auto_free char *text = NULL;
	size_t len = 0;
	int rc = fd_read_file(AT_FDCWD, path, FILE_MAX, &text, &len, err);

	if (rc == -ENOENT || rc == -ENOTDIR) {
		err_clear(err);
		return 0;
	}
	if (rc >= 0)
		rc = json_parse(text, len, ret, err);
	if (rc >= 0 && !json_is_object(*ret))
		rc = err_set(err, EINVAL, "no JSON object");
	if (text)
		explicit_bzero(text, len);
	return rc < 0 ? err_ctx(err, "%s", path) : 0;
}

/* --- helpers --- */

static void become_helper(const struct image_access *a, const int in[2], const int out[2],
			  char *const argv[])
{
	sigset_t none;

	if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0)
		_exit(126);
	sys_close_range(3, ~0u, 0);
	if (a->uid &&
	    (sys_setgroups(0, NULL) < 0 || sys_setresgid(a->gid) < 0 || sys_setresuid(a->uid) < 0))
		_exit(126);
	if (a->home)
		setenv("HOME", a->home, 1);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	_exit(127);
}

static void close_pair(int (*p)[2])
{
	fd_close(&(*p)[0]);
	fd_close(&(*p)[1]);
}

/* The input is small enough for a pipe, so nobody waits for each other. */
int image_auth_helper(const struct image_access *a, const char *helper, const char *verb,
		      const char *input, char **ret, struct err *err)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	cleanup(close_pair) int in[2] = { -1, -1 };
	cleanup(close_pair) int out[2] = { -1, -1 };
	auto_strv struct strv argv = { 0 };
	struct err why = { 0 };
	size_t len = 0;
	int rc, code = 0;
	pid_t pid;

	if (!*helper || helper[strspn(helper, allowed)] || *helper == '.')
		return err_set(err, EINVAL, "'%.60s' is no name of a credential helper", helper);
	strv_addf(&argv, HELPER_PREFIX "%s", helper);
	strv_add(&argv, verb);
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return err_sys(err, "pipe");
	pid = fork();
	if (pid < 0)
		return err_sys(err, "fork");
	if (pid == 0)
		become_helper(a, in, out, strv_args(&argv));
	fd_close(&in[0]);
	fd_close(&out[1]);
	fd_write_str(in[1], input, &why); /* it may not read it */
	fd_close(&in[1]);
	rc = fd_read_all(out[0], ANSWER_MAX, ret, &len, err);
	if (proc_wait(pid, &code, &why) < 0 && rc >= 0)
		rc = err_set(err, why.code, "%s", why.msg);
	if (rc >= 0 && code == 127)
		rc = err_set(err, ENOENT, HELPER_PREFIX "%s is not installed", helper);
	if (rc >= 0 && code) /* its output is the reason, as the protocol has it */
		rc = err_set(err, EACCES, HELPER_PREFIX "%s: %.200s", helper,
			     *ret ? str_trim(*ret) : "failed");
	return rc;
}

/* 1 when it knows the registry. */
static int ask_helper(const struct image_access *a, const char *helper, const char *registry,
		      json_t *request, struct err *err)
{
	auto_free char *text = NULL;
	auto_json json_t *answer = NULL;
	const char *user, *secret;
	int rc = image_auth_helper(a, helper, "get", image_auth_key(registry), &text, err);

	if (rc < 0 && text && strstr(text, "credentials not found")) {
		err_clear(err);
		return 0;
	}
	if (rc >= 0)
		rc = json_parse(text ? text : "", text ? strlen(text) : 0, &answer, err);
	if (text)
		explicit_bzero(text, strlen(text));
	if (rc < 0)
		return err_ctx(err, "credentials for %s", registry);
	user = json_get_str(answer, "Username");
	secret = json_get_str(answer, "Secret");
	if (!secret)
		return 0;
	if (str_eq(user, "<token>")) {
		json_set_str(request, "identity_token", secret);
		return 1;
	}
	json_set_str(request, "user", user);
	json_set_str(request, "password", secret);
	return 1;
}

/* --- files --- */

static int take_entry(const json_t *entry, json_t *request)
{
	const char *auth = json_get_str(entry, "auth"),
		   *token = json_get_str(entry, "identitytoken");
	const char *user = json_get_str(entry, "username"), *pass = json_get_str(entry, "password");
	auto_free char *plain = NULL;
	size_t len = 0;
	char *colon;
	bool is_text = auth && strlen(auth) <= FIELD_MAX &&
		       str_from_base64(auth, &plain, &len) == 0 && strlen(plain) == len;

	colon = is_text ? strchr(plain, ':') : NULL;

	if (colon) {
		*colon = 0;
		user = plain;
		pass = colon + 1;
	}
	if (user && pass) {
		json_set_str(request, "user", user);
		json_set_str(request, "password", pass);
	}
	if (token && *token)
		json_set_str(request, "identity_token", token);
	if (plain)
		explicit_bzero(plain, len);
	return (user && pass) || (token && *token);
}

/* The registry as people and tools have written it: with a scheme, /v1/ or /v2/ behind it. */
static bool is_key_of(const char *key, const char *registry)
{
	auto_free char *host = NULL;
	const char *p = str_starts(key, "https://")  ? key + 8
			: str_starts(key, "http://") ? key + 7
						     : key;

	host = mem_strn(p, strcspn(p, "/"));
	if (p[strlen(host)] == '/' && p == key)
		return false; /* of one repository only */
	if (str_eq(registry, "docker.io"))
		return str_eq(host, "docker.io") || str_eq(host, "index.docker.io") ||
		       str_eq(host, "registry-1.docker.io");
	return str_eq(host, registry);
}

static int search_file(const struct image_access *a, const json_t *file, const char *registry,
		       json_t *request, struct err *err)
{
	const char *store = json_get_str(file, "credsStore");
	json_t *entry;
	const char *key;
	int rc = 0;

	json_object_foreach(
		json_object_get(file, "credHelpers"), key,
		entry) if (is_key_of(key, registry) &&
			   json_is_string(entry)) return ask_helper(a, json_string_value(entry),
								    registry, request, err);
	if (store && *store)
		rc = ask_helper(a, store, registry, request, err);
	if (rc)
		return rc;
	json_object_foreach(json_object_get(file, "auths"), key,
			    entry) if (is_key_of(key, registry) &&
				       take_entry(entry, request)) return 1;
	return 0;
}

int image_auth_add(const struct image_access *a, const char *registry, json_t *request,
		   struct err *err)
{
	auto_strv struct strv files = { 0 };
	int rc = 0;

	if (json_object_get(request, "user"))
		return 0; /* login brings its own */
	list_files(a, &files);
	for (size_t i = 0; rc == 0 && i < files.n; i++) {
		auto_json json_t *file = NULL;

		rc = image_auth_read(files.v[i], &file, err);
		if (rc >= 0 && file)
			rc = search_file(a, file, registry, request, err);
	}
	return rc;
}
