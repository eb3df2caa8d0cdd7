/* SPDX-License-Identifier: Apache-2.0 */
/* build_logs: what the RUN steps of a build wrote, also while it runs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/build.h>

#include "priv.h"

enum { STEPS_MAX = 100000, CHUNK = 64 << 10, FOLLOW_US = 200000 };

struct following {
	struct cli *c;
	struct build_record r;
	size_t only;  /* step, 0: all */
	off_t *shown; /* bytes, by step */
	size_t n;
	size_t at; /* the step whose text came last */
};

static const char *text_of(const struct build_record *r, size_t step)
{
	json_t *steps = json_object_get(r->info, "steps");

	for (size_t i = 0; i < json_array_size(steps); i++) {
		json_t *s = json_array_get(steps, i);

		if (json_get_int(s, "step", 0) == (int64_t)step)
			return json_get_str(s, "text");
	}
	return NULL;
}

static void title(struct following *f, size_t step)
{
	const char *text = text_of(&f->r, step);

	if (f->only || f->at == step)
		return;
	f->at = step;
	printf("#%zu %s\n", step, text ? text : "");
}

/* What came since. */
static void show(struct following *f, size_t step, int fd)
{
	auto_free char *buf = mem_alloc(CHUNK);
	ssize_t n;

	while ((n = pread(fd, buf, CHUNK, f->shown[step])) > 0) {
		title(f, step);
		fwrite(buf, 1, (size_t)n, stdout);
		f->shown[step] += n;
	}
	fflush(stdout);
}

static size_t show_all(struct following *f)
{
	size_t found = 0;

	for (size_t step = f->only ? f->only : 1; step <= (f->only ? f->only : f->n); step++) {
		struct err ignored;
		auto_fd int fd = build_record_log(&f->c->rt, &f->r, step, &ignored);

		if (fd < 0)
			continue;
		found++;
		show(f, step, fd);
	}
	return found;
}

static int again(struct following *f, const char *id, struct err *err)
{
	build_record_free(&f->r);
	return build_record_find(&f->c->rt, id, &f->r, err);
}

static int follow_until_end(struct following *f, struct err *err)
{
	char id[BUILD_ID_LEN + 1];
	int rc = 0;

	memcpy(id, f->r.id, sizeof(id));
	while (rc >= 0 && f->r.status == BUILD_RUNNING) {
		usleep(FOLLOW_US);
		rc = again(f, id, err);
		if (rc >= 0)
			show_all(f);
	}
	return rc;
}

static int logs(struct following *f, const char *build, const char *step, bool follow,
		struct err *err)
{
	uint64_t n = 0;
	int rc = build_record_find(&f->c->rt, build, &f->r, err);

	if (rc < 0)
		return rc;
	f->n = (size_t)json_get_int(f->r.info, "total", 0);
	if (step && (str_to_u64(step + (*step == '#'), 10, STEPS_MAX, &n) < 0 || !n))
		return err_set(err, EINVAL, "%s is no step's number", step);
	f->only = n;
	if (f->only > f->n)
		f->n = f->only;
	f->shown = mem_array(f->n + 1, sizeof(*f->shown));
	rc = show_all(f) > 0 || !f->only || follow ? 0 : -ENOENT;
	if (rc < 0)
		return err_set(err, ENOENT,
			       "step %zu of build %s wrote no log: it is no RUN, or was cached",
			       f->only, f->r.id);
	return follow ? follow_until_end(f, err) : 0;
}

int logs_of_build(struct cli *c, const char *build, const char *step, bool follow)
{
	struct following f = { .c = c };
	struct err err = { 0 };
	int rc = logs(&f, build, step, follow, &err);

	build_record_free(&f.r);
	mem_cleanup(&f.shown);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}
