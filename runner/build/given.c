/* SPDX-License-Identifier: Apache-2.0 */
/* --secret id=…,src=…|env=… and --ssh id[=SOCKET|KEY[,KEY]], as buildx takes them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mount.h"
#include "ssh.h"

static void given_free(struct given *g)
{
	ssh_agent_free(g->agent);
	strv_free(&g->keys);
	free(g->id);
	free(g->path);
	free(g->env);
}

void givens_free(struct givens *g)
{
	for (size_t i = 0; i < g->n; i++)
		given_free(&g->v[i]);
	free(g->v);
	*g = (struct givens){ 0 };
}

const struct given *givens_find(const struct givens *g, const char *id)
{
	for (size_t i = 0; i < g->n; i++)
		if (!strcmp(g->v[i].id, id))
			return &g->v[i];
	return NULL;
}

/* Ownership of what is in it goes along. */
static int add(struct givens *g, struct given *one, const char *text, struct err *err)
{
	if (givens_find(g, one->id))
		return err_set(err, EINVAL, "%.100s: %s is given twice", text, one->id);
	mem_room(g->v, g->n, g->cap);
	g->v[g->n++] = *one;
	*one = (struct given){ 0 };
	return 0;
}

static int secret_field(struct given *g, const char *field, const char **ret_type, struct err *err)
{
	const char *eq = strchr(field, '=');
	char **to = NULL;

	if (!eq)
		return err_set(err, EINVAL, "%s: want KEY=VALUE", field);
	if (str_starts(field, "type="))
		*ret_type = eq + 1;
	else if (str_starts(field, "id="))
		to = &g->id;
	else if (str_starts(field, "src=") || str_starts(field, "source="))
		to = &g->path;
	else if (str_starts(field, "env="))
		to = &g->env;
	else
		return err_set(err, EINVAL, "%s: not one of id=, src=, env=, type=", field);
	if (to) {
		mem_cleanup(to);
		*to = mem_str(eq + 1);
	}
	return 0;
}

/* Without a source: the variable of that name, else the file. */
static int secret_source(struct given *g, const char *type, struct err *err)
{
	bool is_env = type && !strcmp(type, "env");
	struct stat st;

	if (type && !is_env && strcmp(type, "file") != 0)
		return err_set(err, EINVAL, "type=%s: want file or env", type);
	if (!g->id || !*g->id)
		return err_set(err, EINVAL, "an id is missing");
	if (g->path && g->env)
		return err_set(err, EINVAL, "src and env exclude each other");
	if (is_env && g->path)
		g->env = take(g->path);
	if (!g->path && !g->env) {
		bool in_env = is_env || (!type && getenv(g->id));

		*(in_env ? &g->env : &g->path) = mem_str(g->id);
	}
	if (!g->path)
		return getenv(g->env) ? 0
				      : err_set(err, ENOENT, "the environment has no %s", g->env);
	if (stat(g->path, &st) < 0)
		return err_sys(err, "%s", g->path);
	return S_ISDIR(st.st_mode) ? err_set(err, EISDIR, "%s is a directory", g->path) : 0;
}

int givens_secrets(const struct strv *texts, struct givens *ret, struct err *err)
{
	for (size_t i = 0; i < texts->n; i++) {
		cleanup(given_free) struct given g = { 0 };
		auto_strv struct strv fields = { 0 };
		const char *type = NULL;
		int rc = csv_split(texts->v[i], &fields, err);

		for (size_t k = 0; k < fields.n && rc >= 0; k++)
			rc = secret_field(&g, fields.v[k], &type, err);
		if (rc >= 0)
			rc = secret_source(&g, type, err);
		if (rc >= 0)
			rc = add(ret, &g, texts->v[i], err);
		if (rc < 0)
			return err_ctx(err, "--secret %.100s", texts->v[i]);
	}
	return 0;
}

/* The agent's socket, or files that hold keys: 1. */
static int is_key_file(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(err, "%s", path);
	if (!S_ISSOCK(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s is neither an agent's socket nor a key", path);
	return S_ISREG(st.st_mode);
}

static int ssh_source(struct given *g, const char *text, struct err *err)
{
	int rc = 0, n_keys = 0;

	if (!text)
		text = getenv("SSH_AUTH_SOCK");
	if (!text || !*text)
		return err_set(err, ENOENT,
			       "SSH_AUTH_SOCK is not set: start an ssh-agent (sudo passes it on "
			       "with --preserve-env=SSH_AUTH_SOCK), or name its socket or a key");
	strv_split(&g->keys, text, ',');
	for (size_t i = 0; i < g->keys.n && rc >= 0; i++) {
		rc = is_key_file(g->keys.v[i], err);
		n_keys += rc > 0;
	}
	if (rc < 0)
		return rc;
	if (n_keys == 0 && g->keys.n == 1) {
		g->path = mem_str(text);
		strv_free(&g->keys);
	} else if (n_keys != (int)g->keys.n) {
		return err_set(err, EINVAL, "want one socket, or keys alone");
	}
	return 0;
}

int givens_ssh(const struct strv *texts, struct givens *ret, struct err *err)
{
	for (size_t i = 0; i < texts->n; i++) {
		cleanup(given_free) struct given g = { 0 };
		const char *text = texts->v[i], *eq = strchr(text, '=');
		int rc;

		g.id = eq ? mem_strn(text, (size_t)(eq - text)) : mem_str(text);
		if (!*g.id)
			g.id = (mem_cleanup(&g.id), mem_str("default"));
		rc = ssh_source(&g, eq ? eq + 1 : NULL, err);
		if (rc >= 0)
			rc = add(ret, &g, text, err);
		if (rc < 0)
			return err_ctx(err, "--ssh %.100s", text);
	}
	return 0;
}
