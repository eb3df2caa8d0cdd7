/* SPDX-License-Identifier: Apache-2.0 */
/* A RUN that failed is kept as a place: what it left, and all that is needed to stand in it. And
 * the way back: the place, repaired by hand, as the step's result. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/digest.h>
#include <shale/base/fd.h>
#include <shale/base/path.h>

#include "run.h"

void build_failure_settled(struct build_failure *f)
{
	if (f->is_leased)
		fd_close(&f->lease_fd);
	f->is_leased = false;
}

void build_result_free(struct build_result *r)
{
	struct build_failure *f = &r->failure;

	build_failure_settled(f);
	strv_free(&f->env);
	strv_free(&f->shell);
	strv_free(&f->volumes);
	strv_free(&f->mounts);
	strv_free(&f->missing);
	build_places_free(&f->places);
	free(f->text);
	free(f->user);
	free(f->workdir);
	free(f->hostname);
	json_decref(r->provenance);
	json_decref(r->sbom);
	r->provenance = r->sbom = NULL;
	*f = (struct build_failure){ 0 };
}

static char *key_text(const struct key *k)
{
	return mem_str(digest_str(&k->digest));
}

void run_failed(struct run *r, const struct step_run *s, struct build_failure *ret)
{
	auto_free char *key = key_text(s->key);

	ret->snapshot = s->kept;
	ret->step = s->st->step;
	ret->text = mem_str(s->text);
	snprintf(ret->key, sizeof(ret->key), "%s", key);
	strv_copy(&ret->env, &r->env);
	run_cdi_env(r, &ret->env);
	strv_copy(&ret->volumes, &r->b->o->volumes);
	for (size_t i = 0; i < r->cdi_volumes.n; i++)
		strv_add(&ret->volumes, r->cdi_volumes.v[i]);
	if (r->config->shell.n)
		strv_add(&ret->shell, r->config->shell.v[0]);
	else
		strv_add(&ret->shell, "/bin/sh");
	ret->user = mem_str(r->config->user);
	ret->workdir = mem_str(r->config->workdir);
	ret->network = r->net_name;
	ret->hostname = mem_str(run_host_name(r));
	ret->is_insecure = r->insecure;
	ret->mounts = r->kept.mounts;
	ret->missing = r->kept.missing;
	ret->places = r->kept.places;
	r->kept = (struct run_kept){ 0 };
}

bool step_is_resumed(const struct step_run *r)
{
	const struct build_resume *w = r->b->o->resume;
	auto_free char *key = w && !r->b->resumed ? key_text(r->key) : NULL;

	return key && str_eq(key, w->key);
}

/* target and the directories above it, as far as only the container's start can have made them. */
static void remove_stub(int before_fd, int work_fd, const char *target)
{
	auto_free char *path = mem_str(target + 1);
	char *cut = path;

	while (cut) {
		auto_fd int there = path_try_in(before_fd, path, O_PATH | O_NOFOLLOW, 0);
		auto_fd int dir = -1;
		struct err ignored;
		struct stat st;
		const char *name;

		if (there >= 0)
			return;
		cut = strrchr(path, '/');
		name = cut ? cut + 1 : path;
		if (cut)
			*cut = 0;
		dir = path_open_beneath(work_fd, cut ? path : ".",
					O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, &ignored);
		if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			unlinkat(dir, name, AT_REMOVEDIR);
		else if (S_ISREG(st.st_mode) && st.st_size == 0)
			unlinkat(dir, name, 0);
	}
}

/* Mount points that the container was given are no part of the layer. */
static int remove_stubs(struct step_run *r, int64_t snapshot, struct err *err)
{
	static const char *const targets[] = { "/proc",      "/sys",          "/dev",
					       "/etc/hosts", "/etc/hostname", "/etc/resolv.conf" };
	auto_snap_mount struct snap_mount before = SNAP_MOUNT_INIT, now = SNAP_MOUNT_INIT;
	auto_fd int work_fd = -1;
	int rc = snap_mount(r->b->rt->snap, r->st->snapshot, SNAP_RDONLY, &before, err);

	if (rc >= 0)
		rc = snap_mount(r->b->rt->snap, snapshot, SNAP_VOLATILE, &now, err);
	if (rc >= 0)
		rc = snap_work_fd(r->b->rt->snap, snapshot, now.root_fd, &work_fd, err);
	if (rc < 0)
		return rc;
	for (size_t i = r->b->o->resume->targets.n; i-- > 0;)
		remove_stub(before.root_fd, work_fd, r->b->o->resume->targets.v[i]);
	for (size_t i = 0; i < ARRAY_LEN(targets); i++)
		remove_stub(before.root_fd, work_fd, targets[i]);
	return 0;
}

int step_resume(struct step_run *r, int64_t *ret_snapshot, struct err *err)
{
	const struct build_resume *w = r->b->o->resume;
	struct snap_info info;
	int rc = snap_stat(r->b->rt->snap, w->snapshot, &info, err);

	if (rc < 0)
		return rc;
	if (info.parent != r->st->snapshot)
		return err_set(err, ESTALE, "what the failed step stood on was built anew since");
	r->b->resumed = true;
	if (w->taken) {
		rc = w->taken(w->arg, err);
		if (rc < 0)
			return rc;
	}
	*ret_snapshot = w->snapshot;
	return remove_stubs(r, w->snapshot, err);
}
