/* SPDX-License-Identifier: Apache-2.0 */
/* which: --all, --latest and --cidfile of the commands that take containers. */
#include "which.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/container.h>

enum { CIDFILE_MAX = 4096 };

struct found {
	const struct which *w;
	enum which_of of;
	struct strv *ids;
	int64_t newest_ns;
};

static int add(struct container *ct, void *arg, struct err *err)
{
	struct found *f = arg;

	(void)err;
	if (f->w->latest && ct->created_ns <= f->newest_ns)
		return 0;
	if (f->w->latest)
		strv_free(f->ids);
	f->newest_ns = ct->created_ns;
	if (!f->w->latest && f->of == WHICH_RUNNING && ct->state != CONTAINER_RUNNING)
		return 0;
	if (!f->w->latest && f->of == WHICH_PAUSED && !container_is_paused(ct))
		return 0;
	strv_add(f->ids, ct->id);
	return 0;
}

/* With --ignore (rm, stop) a file that is not there was wanted gone. */
static int add_cidfile(const struct which *w, const char *path, struct strv *ret, struct err *err)
{
	auto_free char *text = NULL;
	int rc = fd_read_file(AT_FDCWD, path, CIDFILE_MAX, &text, NULL, err);

	if (rc == -ENOENT && w->ignore) {
		err_clear(err);
		return 0;
	}
	if (rc < 0)
		return err_ctx(err, "--cidfile");
	text[strcspn(text, " \t\r\n")] = 0;
	if (!*text)
		return err_set(err, EINVAL, "--cidfile %s: no ID is in it", path);
	strv_add(ret, text);
	return 0;
}

static int check(const struct which *w, char *const *names, struct err *err)
{
	bool many = w->all || w->latest;

	if (w->all && w->latest)
		return err_set(err, EINVAL, "--all and --latest exclude each other");
	if (many && (*names || w->cidfiles.n))
		return err_set(err, EINVAL, "--%s and names exclude each other",
			       w->all ? "all" : "latest");
	if (!many && !*names && !w->cidfiles.n)
		return err_set(err, EINVAL, "name a container, or give --all or --latest");
	return 0;
}

int which_open(struct cli *c, const struct which *w, enum which_of of, char *const *names,
	       struct strv *ret)
{
	struct found f = { w, of, ret, 0 };
	struct err err = { 0 };
	int rc = 0;

	if (check(w, names, &err) < 0)
		return cli_usage(c, &err);
	if (cli_open(c, &err) < 0)
		return cli_fail(c, &err);
	if (w->all || w->latest)
		rc = container_list(&c->rt, CONTAINER_LIST_BRIEF, add, &f, &err);
	for (size_t i = 0; i < w->cidfiles.n && rc >= 0; i++)
		rc = add_cidfile(w, w->cidfiles.v[i], ret, &err);
	for (; *names && rc >= 0; names++)
		strv_add(ret, *names);
	if (rc >= 0 && w->latest && !ret->n)
		rc = err_set(&err, ENOENT, "there is no container");
	return rc < 0 ? cli_fail(c, &err) : 0;
}

bool which_may_miss(const struct which *w)
{
	return w->ignore || w->all;
}
