/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failed: where a build failed, as a container to enter, and the way back into a build. The build's
 * record says which container that is: labels would not do, since an image may bring any.
 */
#include "failed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A build's volumes are read-only unless they say rw, a container's the other way round. */
static void add_volumes(struct container_spec *s, const struct strv *volumes)
{
	for (size_t i = 0; i < volumes->n; i++)
		strv_addf(&s->volumes, "%s%s", volumes->v[i],
			  str_ends(volumes->v[i], ":rw") || str_ends(volumes->v[i], ":ro") ? ""
											   : ":ro");
}

static void add_rights(struct container_spec *s, const struct container_spec *rights)
{
	strv_copy(&s->cap_add, &rights->cap_add);
	strv_copy(&s->cap_drop, &rights->cap_drop);
	strv_copy(&s->ulimits, &rights->ulimits);
	s->shm_bytes = rights->shm_bytes;
	s->cpu_quota_us = rights->cpu_quota_us;
	s->memory_bytes = rights->memory_bytes;
	s->swap_bytes = rights->swap_bytes;
	s->cpu_shares = rights->cpu_shares;
	s->cpus = mem_str(rights->cpus);
	s->mems = mem_str(rights->mems);
}

static void make_spec(const struct build_result *r, const struct container_spec *rights,
		      struct container_spec *s)
{
	const struct build_failure *f = &r->failure;

	add_rights(s, rights);
	s->name = mem_fmt("failed-%s", r->build_id);
	s->image = mem_fmt("build:%s/%zu", r->build_id, f->step);
	strv_copy(&s->command, &f->shell);
	strv_copy(&s->env, &f->env);
	if (!strv_env_get(&s->env, "TERM"))
		strv_env_set(&s->env, "TERM", "xterm");
	if (f->user && *f->user)
		s->user = mem_str(f->user);
	s->workdir = mem_str(f->workdir && *f->workdir ? f->workdir : "/");
	s->network = mem_str(f->network);
	if (!str_eq(f->network, "host") && !str_eq(f->network, "none"))
		strv_addf(&s->networks, "name=%s", f->network);
	s->hostname = mem_str(f->hostname);
	s->privileged = f->is_insecure;
	add_volumes(s, &f->volumes);
	strv_copy(&s->mounts, &f->mounts);
	s->tty = s->interactive = true;
}

void failed_drop(struct cli *c, struct build_result *r)
{
	struct err ignored;

	snap_remove(c->rt.snap, r->failure.snapshot, &ignored);
	build_places_drop(&r->failure.places, c->rt.snap);
}

int failed_keep(struct cli *c, const struct build_result *r, const struct container_spec *rights,
		struct container **ret, struct err *err)
{
	auto_container_spec struct container_spec s = { 0 };
	auto_container struct container *ct = NULL;
	int rc;

	make_spec(r, rights, &s);
	rc = container_adopt(&c->rt, &s, r->failure.snapshot, &ct, err);
	if (rc >= 0)
		rc = build_record_keep(&c->rt, r->build_id, ct->id, r->failure.key, err);
	if (rc < 0)
		return err_ctx(err, "keep the failed step");
	*ret = take(ct);
	return 0;
}

/* The container of a record, NULL when it is gone. */
static struct container *container_of(struct cli *c, const struct build_record *r)
{
	const char *id = json_get_str(r->info, "container");
	struct container *ct = NULL;
	struct err ignored = { 0 };

	if (!id || container_find(&c->rt, id, &ct, &ignored) < 0)
		return NULL;
	return ct;
}

struct looking {
	struct cli *c;
	const char *context, *file;
	struct failed *found;
};

static int look(const struct build_record *r, void *arg, struct err *err)
{
	struct looking *l = arg;
	const char *key = json_get_str(r->info, "key");
	struct container *ct;

	(void)err;
	if (l->found->ct || !key || !str_eq(json_get_str(r->info, "context"), l->context) ||
	    !str_eq(json_get_str(r->info, "file"), l->file))
		return 0;
	ct = container_of(l->c, r);
	if (!ct)
		return 0;
	l->found->ct = ct;
	snprintf(l->found->resume.key, sizeof(l->found->resume.key), "%s", key);
	return 0;
}

/* The build has come to the step: from here on the layer is its. */
static int taken(void *arg, struct err *err)
{
	struct failed *p = arg;
	int64_t snapshot;

	return container_give_up(p->ct, &snapshot, err);
}

int failed_find(struct cli *c, const char *context, const char *file, struct failed *ret,
		struct err *err)
{
	auto_free char *name = build_context_name(context);
	struct looking l = { c, name, file ? file : "Dockerfile", ret };
	int rc = build_record_walk(&c->rt, look, &l, err);

	if (rc < 0)
		return rc;
	if (!ret->ct)
		return err_set(err, ENOENT,
			       "no failed build of %s is kept: there is nothing to resume", name);
	if (ret->ct->state == CONTAINER_RUNNING)
		return err_set(err, EBUSY, "container %s is running: leave it first",
			       ret->ct->name);
	ret->resume.snapshot = ret->ct->snapshot;
	container_spec_targets(&ret->ct->spec, &ret->resume.targets);
	ret->resume.taken = taken;
	ret->resume.arg = ret;
	return 0;
}

void failed_free(struct failed *p)
{
	container_free(p->ct);
	strv_free(&p->resume.targets);
	*p = (struct failed){ 0 };
}

int failed_remove(struct cli *c, const struct build_record *r, struct err *err)
{
	auto_container struct container *ct = container_of(c, r), *still = NULL;
	int rc = ct ? container_remove(ct, false, err) : 0;

	if (rc != -ENOENT)
		return rc;
	still = container_of(c, r); /* none: another gc was faster */
	if (!still)
		err_clear(err);
	return still ? rc : 0;
}

struct trimming {
	struct cli *c;
	size_t left;
};

static int trim_one(const struct build_record *r, void *arg, struct err *err)
{
	struct trimming *t = arg;
	auto_container struct container *ct = container_of(t->c, r);
	int rc;

	if (!ct || t->left-- > 0)
		return 0;
	t->left = 0;
	rc = failed_remove(t->c, r, err);
	if (rc == -EBUSY) { /* somebody is in it */
		err_clear(err);
		rc = 0;
	}
	return rc;
}

int failed_trim(struct cli *c, size_t keep, struct err *err)
{
	struct trimming t = { c, keep };

	return build_record_walk(&c->rt, trim_one, &t, err);
}
