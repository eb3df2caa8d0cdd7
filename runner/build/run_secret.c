/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets: read when a step needs them, in memory alone, and wiped after it (TRAPS T34). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "run.h"

enum { SECRET_MAX = 500 * 1024 }; /* BuildKit's */

int given_read(const struct given *g, char **ret, size_t *ret_len, struct err *err)
{
	auto_fd int fd = -1;
	const char *v;
	int rc;

	if (g->env) {
		v = getenv(g->env);
		if (!v)
			return err_set(err, ENOENT, "the environment has no %s", g->env);
		if (strlen(v) > SECRET_MAX)
			return err_set(err, EFBIG, "more than %d bytes", SECRET_MAX);
		*ret = mem_str(v);
		*ret_len = strlen(v);
		return 0;
	}
	fd = open(g->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_sys(err, "%s", g->path);
	rc = fd_read_all(fd, SECRET_MAX, ret, ret_len, err);
	return rc < 0 ? err_ctx(err, "%s", g->path) : 0;
}

int given_line(const struct given *g, char **ret, struct err *err)
{
	auto_free char *text = NULL;
	bool is_good;
	const char *line;
	size_t len = 0;
	int rc = given_read(g, &text, &len, err);

	if (rc < 0 || !text)
		return err_ctx(err, "secret %s", g->id);
	is_good = !memchr(text, 0, len);
	line = str_trim(text);
	for (const char *p = line; *p; p++)
		is_good = is_good && (unsigned char)*p >= ' ' && *p != 0x7f;
	if (is_good)
		*ret = mem_str(line);
	explicit_bzero(text, len);
	return is_good ? 0 : err_set(err, EINVAL, "secret %s: no header can hold it", g->id);
}

int secret_source_open(struct run *r, struct run_source *s, struct err *err)
{
	const struct given *g = givens_find(&r->b->secrets, s->m.id);
	int rc;

	if (!g)
		return s->m.required ? err_set(err, ENOENT,
					       "no secret %s: give it with --secret id=%s,src=FILE",
					       s->m.id, s->m.id)
				     : 0;
	rc = given_read(g, &s->content, &s->content_len, err);
	if (rc < 0)
		return err_ctx(err, "secret %s", s->m.id);
	if (s->m.env && memchr(s->content, 0, s->content_len))
		return err_set(err, EINVAL, "secret %s has a NUL byte: no variable holds that",
			       s->m.id);
	if (s->m.env)
		strv_addf(&r->secret_env, "%s=%s", s->m.env, s->content);
	return 1;
}
