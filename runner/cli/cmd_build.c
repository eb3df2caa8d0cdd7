/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/digest.h>
#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/build.h>
#include <shale/container.h>
#include <shale/sandbox.h>

#include "deliver.h"
#include "failed.h"
#include "finish.h"
#include "platforms.h"
#include "priv.h"
#include "progress.h"
#include "run_spec.h"
#include "twice.h"

struct build_args {
	struct strv platforms, tags, build_args, labels, volumes, secrets, ssh, allow, cap_add,
		cap_drop, add_hosts, ulimits, outputs, annotations, no_cache_stages, contexts,
		cache_from, cache_to, attests, build_arg_files;
	struct limit_args limits;
	uint64_t jobs, shm;
	const char *file, *target, *network, *userns, *cgroup_parent, *iidfile, *progress, *pull,
		*call;
	const char *provenance, *sbom, *on_error, *metadata, *timestamp, *max_layer, *scope,
		*known_hosts, *builder, *isolation, *format;
	bool layers, compress, debug;
	bool squash, fold, resume, no_cache, explain, twice, check, quiet, sync, rm, force_rm, load,
		push;
};

static const struct build_args build_defaults = {
	.progress = "auto", .on_error = "keep", .layers = true, .rm = true
};

#define AT(field) offsetof(struct build_args, field)

static const struct opt build_opts[] = {
	{ 't', "tag", OPT_STRV, AT(tags), "NAME[:TAG]", "name the image (repeatable)" },
	{ 'f', "file", OPT_STR, AT(file), "FILE",
	  "Dockerfile (default PATH/Dockerfile, - for standard input)" },
	{ 0, "build-context", OPT_STRV, AT(contexts), "NAME=WHAT",
	  "more to build from: DIR, URL, docker-image://REF, oci-layout://DIR" },
	{ 'o', "output", OPT_STRV, AT(outputs), "DIR|type=...",
	  "what to make: local, tar, oci, docker, image, registry, cacheonly" },
	{ 0, "push", OPT_BOOL, AT(push), NULL, "send the image to the registries of its names" },
	{ 0, "load", OPT_BOOL, AT(load), NULL, "keep the image here, besides what -o says" },
	{ 0, "annotation", OPT_STRV, AT(annotations), "NAME=VALUE",
	  "annotation of the manifest that leaves (repeatable)" },
	{ 0, "metadata-file", OPT_STR, AT(metadata), "FILE", "write digests and names as JSON" },
	{ 0, "provenance", OPT_STR, AT(provenance), "WHAT",
	  "attest how the image was made: true, false, mode=min, mode=max",
	  "true false mode=min mode=max" },
	{ 0, "sbom", OPT_STR, AT(sbom), "WHAT", "attest what packages it has: true or false",
	  "true false" },
	{ 0, "attest", OPT_STRV, AT(attests), "type=...",
	  "the same: type=provenance[,mode=min|max], type=sbom (repeatable)" },
	{ 0, "build-arg", OPT_STRV, AT(build_args), "NAME[=VALUE]",
	  "value of an ARG; without one from the environment" },
	{ 0, "build-arg-file", OPT_STRV, AT(build_arg_files), "FILE",
	  "read such values from a file" },
	{ 0, "platform", OPT_STRV, AT(platforms), "OS/ARCH[,...]",
	  "what to build for; several become an index" },
	{ 0, "target", OPT_STR, AT(target), "STAGE", "stage to deliver (default the last)" },
	{ 0, "no-cache", OPT_BOOL, AT(no_cache), NULL, "run every step" },
	{ 0, "explain", OPT_BOOL, AT(explain), NULL, "say of each step that runs why it does" },
	{ 0, "squash", OPT_BOOL, AT(squash), NULL, "make one layer of all that the build made" },
	{ 0, "fold", OPT_BOOL, AT(fold), NULL,
	  "move changes of owner, mode and times to where the data is" },
	{ 0, "no-cache-filter", OPT_STRV, AT(no_cache_stages), "STAGE",
	  "run every step of that stage (repeatable, or a list)" },
	{ 0, "timestamp", OPT_STR, AT(timestamp), "SECONDS",
	  "time of the image and of every file that is new in it" },
	{ 0, "cache-scope", OPT_STR, AT(scope), "NAME",
	  "use and leave step records and cache mounts of this name only" },
	{ 0, "cache-from", OPT_STRV, AT(cache_from), "REF|type=...",
	  "take steps from there: registry, local (repeatable)" },
	{ 0, "cache-to", OPT_STRV, AT(cache_to), "REF|type=...",
	  "leave steps there: registry, local, inline (repeatable)" },
	{ 0, "twice", OPT_BOOL, AT(twice), NULL,
	  "build again without the cache and name every file that differs" },
	{ 0, "jobs", OPT_U64, AT(jobs), "N",
	  "RUN steps at once (default: a core each, at least 4)" },
	{ 0, "network", OPT_STR, AT(network), "MODE",
	  "network of RUN steps: default, host, none or NAME" },
	{ 0, "label", OPT_STRV, AT(labels), "NAME=VALUE", "label of the image (repeatable)" },
	{ 'v', "volume", OPT_STRV, AT(volumes), "HOST:PATH[:rw]",
	  "bind mount for RUN steps, read-only unless :rw" },
	{ 0, "secret", OPT_STRV, AT(secrets), "SPEC",
	  "for --mount=type=secret: id=ID,src=FILE or id=ID,env=NAME" },
	{ 0, "ssh", OPT_STRV, AT(ssh), "ID[=SOCKET|KEY]",
	  "keys for --mount=type=ssh and, of ID default, for git" },
	{ 0, "ssh-known-hosts", OPT_STR, AT(known_hosts), "FILE",
	  "host keys for git by ssh (default: the caller's and the system's)" },
	{ 0, "allow", OPT_STRV, AT(allow), "RIGHT",
	  "let RUN have security.insecure, device[=NAME], network.host" },
	{ 0, "add-host", OPT_STRV, AT(add_hosts), "NAME:ADDRESS",
	  "line of /etc/hosts for RUN steps" },
	{ 0, "cgroup-parent", OPT_STR, AT(cgroup_parent), "GROUP",
	  "control group that those of RUN steps are made in (default shale)" },
	{ 0, "cap-add", OPT_STRV, AT(cap_add), "CAP", "capability that RUN steps have besides" },
	{ 0, "cap-drop", OPT_STRV, AT(cap_drop), "CAP", "capability that they have not" },
	{ 0, "userns", OPT_STR, AT(userns), "MODE",
	  "users of RUN steps: host (default) or private, a range of their own" },
	{ 0, "cpus", OPT_STR, AT(limits.cpus), "N", "CPU time of each RUN step, in cores (0.5)" },
	{ 0, "cpu-period", OPT_U64, AT(limits.cpu_period), "N", NULL },
	{ 0, "cpu-quota", OPT_INT, AT(limits.cpu_quota), "N", NULL },
	{ 'c', "cpu-shares", OPT_U64, AT(limits.cpu_shares), "N",
	  "share of CPU time, 1024 is everybody's" },
	{ 0, "cpuset-cpus", OPT_STR, AT(limits.cpuset), "LIST", "CPUs to run on (0-2,4)" },
	{ 0, "cpuset-mems", OPT_STR, AT(limits.mems), "LIST", "memory nodes to use" },
	{ 'm', "memory", OPT_BYTES, AT(limits.memory), "BYTES", "memory limit of each RUN step" },
	{ 0, "memory-swap", OPT_STR, AT(limits.swap), "BYTES",
	  "limit of memory and swap, -1: none" },
	{ 0, "shm-size", OPT_BYTES, AT(shm), "BYTES", "size of their /dev/shm (default 64 MiB)" },
	{ 0, "ulimit", OPT_STRV, AT(ulimits), "NAME=SOFT[:HARD]", "resource limit of RUN steps" },
	{ 0, "iidfile", OPT_STR, AT(iidfile), "FILE", "write the image ID to FILE" },
	{ 'q', "quiet", OPT_BOOL, AT(quiet), NULL, "print the image ID only" },
	{ 0, "progress", OPT_STR, AT(progress), "KIND", "auto, tty, plain, quiet or json" },
	{ 0, "pull", OPT_STR, AT(pull), "POLICY",
	  "fetch bases: always (--pull alone), missing (default), never",
	  "always missing never true false" },
	{ 0, "on-error", OPT_STR, AT(on_error), "WHAT",
	  "what becomes of a RUN that fails: keep, shell or remove" },
	{ 0, "resume", OPT_BOOL, AT(resume), NULL,
	  "go on from the kept RUN that failed last, repaired" },
	{ 0, "check", OPT_BOOL, AT(check), NULL, "check the Dockerfile, do not build" },
	{ 0, "call", OPT_STR, AT(call), "WHAT",
	  "instead of building print: check, outline or targets (,format=json)" },
	MAX_LAYER_OPT(AT(max_layer)),
	{ 0, "sync", OPT_BOOL, AT(sync), NULL, "return when the image is on disk" },
	/* Docker's and Podman's words for what is so here anyhow: no container is left between two
	 * steps, nothing is sent to a daemon, there is one builder, nothing of an image is lost to
	 * a format. */
	{ 0, "rm", OPT_BOOL, AT(rm), NULL, NULL },
	{ 0, "force-rm", OPT_BOOL, AT(force_rm), NULL, NULL },
	{ 0, "compress", OPT_BOOL, AT(compress), NULL, NULL },
	{ 0, "disable-content-trust", OPT_TRUE, 0, NULL, NULL },
	{ 'D', "debug", OPT_BOOL, AT(debug), NULL, NULL },
	{ 0, "builder", OPT_STR, AT(builder), "NAME", NULL },
	{ 0, "isolation", OPT_STR, AT(isolation), "default", NULL },
	{ 0, "format", OPT_STR, AT(format), "oci", NULL },
	{ 0, "layers", OPT_BOOL, AT(layers), NULL, NULL },
	{ 0 },
};

static volatile int interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

static const int caught[] = { SIGINT, SIGTERM, SIGHUP };

/* ^C, SIGTERM and SIGHUP end the step, not the program: what is half done is taken back first. */
static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_LEN(caught); i++)
		sigaction(caught[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* "check", "outline,format=json". */
static int parse_call(const struct build_args *a, struct build_call *ret, struct err *err)
{
	static const char *const names[] = { [BUILD_CALL_CHECK] = "check",
					     [BUILD_CALL_OUTLINE] = "outline",
					     [BUILD_CALL_TARGETS] = "targets" };
	const char *text = a->call ? a->call : "check", *comma = strchr(text, ',');
	auto_free char *name = mem_strn(text, comma ? (size_t)(comma - text) : strlen(text));

	if (a->check && a->call && strcmp(name, "check") != 0)
		return err_set(err, EINVAL, "--check and --call %s exclude each other", name);
	ret->json = comma && !strcmp(comma, ",format=json");
	if (comma && !ret->json && strcmp(comma, ",format=text") != 0)
		return err_set(err, EINVAL, "--call %s: the format is text or json", text);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(name, names[i])) {
			ret->kind = (enum build_call_kind)i;
			return 0;
		}
	return err_set(err, EINVAL, "--call %s: want build, check, outline or targets", name);
}

static bool is_call(const struct build_args *a)
{
	return a->check || (a->call && strcmp(a->call, "build") != 0);
}

/* 1: the check had warnings. */
static int call(struct cli *c, const struct build_args *a, const struct build_opts *o,
		struct err *err)
{
	auto_free char *text = NULL;
	struct build_call what = { 0 };
	size_t warnings = 0;
	int rc = parse_call(a, &what, err);

	if (rc >= 0)
		rc = build_call(&c->rt, o, &what, &text, &warnings, err);
	if (rc < 0)
		return rc;
	printf("%s%s", text, what.json ? "\n" : "");
	return warnings > 0;
}

enum on_error { ON_ERROR_KEEP, ON_ERROR_SHELL, ON_ERROR_REMOVE, ON_ERROR_COUNT };

static int on_error_of(const char *text, struct err *err)
{
	static const char *const words[ON_ERROR_COUNT] = { "keep", "shell", "remove" };

	for (int i = 0; i < ON_ERROR_COUNT; i++)
		if (str_eq(text, words[i]))
			return i;
	return err_set(err, EINVAL, "--on-error %s: want keep, shell or remove", text);
}

/* Whoever asked for a shell gets it where the step stopped. */
static void enter(struct container *ct)
{
	struct err err = { 0 };
	int code;

	for (size_t i = 0; i < ARRAY_LEN(caught); i++)
		signal(caught[i], SIG_DFL);
	fprintf(stderr, "shale: a shell where the step failed; the container is %s\n", ct->name);
	if (container_start_here(ct, true, &code, &err) < 0)
		fprintf(stderr, "shale: %s\n", err.msg);
}

/* What could not be kept is named: a repair that needs it is made some other way. */
static void tell_missing(const struct strv *missing)
{
	for (size_t i = 0; i < missing->n; i++)
		fprintf(stderr, "%s%s%s", i ? ", " : "  not there: ", missing->v[i],
			i + 1 < missing->n ? "" : " (it ended with the step)\n");
}

/* The step that failed is a place: how to get there, and back. */
static void after_failure(struct cli *c, const struct build_args *a, struct build_result *r,
			  enum on_error what)
{
	struct container_spec rights = { .cap_add = a->cap_add,
					 .cap_drop = a->cap_drop,
					 .ulimits = a->ulimits,
					 .shm_bytes = a->shm };
	auto_container_spec struct container_spec limits = { 0 };
	auto_container struct container *ct = NULL;
	struct err err = { 0 };

	if (!r->failure.snapshot)
		return;
	run_limits_make(&a->limits, &limits, &err);
	rights.memory_bytes = limits.memory_bytes;
	rights.swap_bytes = limits.swap_bytes;
	rights.cpu_quota_us = limits.cpu_quota_us;
	rights.cpu_shares = limits.cpu_shares;
	rights.cpus = limits.cpus;
	rights.mems = limits.mems;
	if (what == ON_ERROR_REMOVE || failed_keep(c, r, &rights, &ct, &err) < 0) {
		if (err.code)
			fprintf(stderr, "shale: %s\n", err.msg);
		failed_drop(c, r);
		return;
	}
	if (what == ON_ERROR_SHELL)
		enter(ct);
	fprintf(stderr,
		"  shale start -ai %s  a shell where it stopped\n"
		"  shale build --resume ...            goes on from there, once that is repaired\n"
		"  shale logs %s %-3zu         what it wrote\n",
		ct->name, r->build_id, r->failure.step);
	tell_missing(&r->failure.missing);
}

/* What RUN steps have besides. */
struct box {
	struct str hosts;
	struct sandbox_limit *limits;
	struct container_spec spec;
	struct sandbox_cgroup cgroup; /* of spec */
	char *group;
};

static void box_free(struct box *b)
{
	str_free(&b->hosts);
	free(b->limits);
	free(b->group);
	container_spec_free(&b->spec);
}

/* buildah's words, too. */
static int take_userns(const char *text, bool *ret, struct err *err)
{
	static const char *const own[] = { "private", "container", "auto" };

	*ret = false;
	if (!text || str_eq(text, "host"))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(own) && !*ret; i++)
		*ret = str_eq(text, own[i]);
	return *ret ? 0 : err_set(err, EINVAL, "--userns %s: want host or private", text);
}

/* Those of files come first: who says it on the command line has the last word. */
static int take_build_args(const struct build_args *a, struct strv *ret, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < a->build_arg_files.n && rc >= 0; i++)
		rc = run_env_file(a->build_arg_files.v[i], ret, err);
	for (size_t i = 0; i < a->build_args.n; i++)
		strv_add(ret, a->build_args.v[i]);
	return rc;
}

/* Other tools' words that say what is so here: another value is told, not passed over. */
static int check_words(const struct build_args *a, struct err *err)
{
	if (a->isolation && *a->isolation && !str_eq(a->isolation, "default"))
		return err_set(err, ENOTSUP, "--isolation %s: there is only default", a->isolation);
	if (a->format && !str_eq(a->format, "oci") && !str_eq(a->format, "docker"))
		return err_set(err, EINVAL, "--format %s: want oci or docker", a->format);
	return 0;
}

static int box_make(const struct build_args *a, struct box *b, struct build_opts *o,
		    struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < a->add_hosts.n && rc >= 0; i++) {
		auto_free char *line = NULL;

		rc = container_host_parse(a->add_hosts.v[i], &line, err);
		if (rc >= 0)
			str_add(&b->hosts, line);
	}
	b->limits = mem_array(a->ulimits.n + 1, sizeof(*b->limits));
	for (size_t i = 0; i < a->ulimits.n && rc >= 0; i++)
		rc = container_ulimit_parse(a->ulimits.v[i], &b->limits[i], err);
	o->hosts = a->add_hosts.n ? str_get(&b->hosts) : NULL;
	o->limits = b->limits;
	o->n_limits = a->ulimits.n;
	o->allow = a->allow;
	o->cap_add = a->cap_add;
	o->cap_drop = a->cap_drop;
	o->shm_bytes = a->shm;
	if (rc >= 0)
		rc = take_userns(a->userns, &o->user_ns, err);
	if (rc >= 0)
		rc = run_limits_make(&a->limits, &b->spec, err);
	b->spec.cgroup_parent = a->cgroup_parent ? mem_str(a->cgroup_parent) : NULL;
	if (rc >= 0)
		rc = container_limits_check(&b->spec, err);
	if (rc < 0)
		return rc;
	container_limits(&b->spec, &b->cgroup);
	b->group = container_cgroup_below(a->cgroup_parent, "build");
	b->cgroup.name = b->group;
	o->cgroup = a->cgroup_parent || container_limits_any(&b->cgroup) ? &b->cgroup : NULL;
	return 0;
}

/* What happens to it once it is made. */
static int hand_out(const struct build_args *a, struct deliver *d, const struct build_result *r,
		    struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < d->written.n; i++)
		fprintf(stderr, "shale: %s\n", d->written.v[i]);
	if (r->image_id[0])
		rc = a->iidfile ? out_write_file("--iidfile", a->iidfile, r->image_id, err) : 0;
	if (rc >= 0)
		rc = deliver_image(d, r->image_id, err);
	if (rc >= 0 && a->metadata)
		rc = deliver_metadata(d, r, a->metadata, err);
	return rc;
}

static int take_outputs(const struct build_args *a, struct deliver *d, struct build_opts *o,
			struct err *err)
{
	const struct deliver_asked asked = { &a->outputs, &a->tags, &a->annotations, a->push,
					     a->load };
	int rc = deliver_parse(d, &asked, err);

	if (rc >= 0 && a->quiet && d->has_stdout && d->wants_image)
		rc = err_set(err, EINVAL, "-q prints the ID where -o writes an archive");
	if (rc < 0)
		return rc;
	o->tags = d->names;
	o->no_image = !d->wants_image;
	if (!d->wants_tree)
		return 0;
	o->on_tree = deliver_tree;
	o->on_tree_arg = d;
	return 0;
}

/* What the cache and the registries are asked for, and what time it is. */
static int take_sources(struct cli *c, struct build_args *a, struct build_opts *o,
			int64_t *timestamp, struct err *err)
{
	const char *pull = a->pull ? a->pull : c->settings.v[SETTING_REGISTRY_PULL].value;
	auto_strv struct strv stages = { 0 };
	uint64_t s = 0;

	/* docker build --pull is a switch. */
	if (str_eq(pull, "true"))
		pull = "always";
	else if (str_eq(pull, "false"))
		pull = "missing";
	for (size_t i = 0; i < a->no_cache_stages.n; i++)
		strv_split(&stages, a->no_cache_stages.v[i], ',');
	strv_copy(&a->no_cache_stages, &stages);
	o->no_cache_stages = a->no_cache_stages;
	if (a->timestamp && str_to_u64(a->timestamp, 10, INT64_MAX / 1000000000, &s) < 0)
		return err_set(err, EINVAL, "--timestamp %s: want seconds since 1970",
			       a->timestamp);
	*timestamp = (int64_t)s;
	o->timestamp = a->timestamp ? timestamp : NULL;
	return image_pull_policy(pull, &o->pull_always, &o->pull_never, err);
}

static int take_attests(const struct build_args *a, struct build_opts *o, struct err *err)
{
	struct build_attest *to = &o->attest;
	int rc = 0;

	for (size_t i = 0; i < a->attests.n && rc >= 0; i++)
		rc = build_attest_parse(NULL, a->attests.v[i], to, err);
	if (rc < 0)
		return err_ctx(err, "--attest");
	if (a->provenance && build_attest_parse("provenance", a->provenance, to, err) < 0)
		return err_ctx(err, "--provenance");
	if (a->sbom && build_attest_parse("sbom", a->sbom, to, err) < 0)
		return err_ctx(err, "--sbom");
	if ((to->provenance || to->sbom) && o->no_image)
		return err_set(err, EINVAL, "attestations are of an image, and -o makes none here");
	o->tool = shale_version;
	return 0;
}

/* Of whoever called us, by sudo or not, as ssh itself has it. */
static int take_known_hosts(const struct build_args *a, struct strv *ret, struct err *err)
{
	const struct passwd *pw;
	uint32_t uid, gid;

	if (a->known_hosts) {
		strv_add(ret, a->known_hosts);
		return access(a->known_hosts, R_OK) < 0
			       ? err_sys(err, "--ssh-known-hosts %s", a->known_hosts)
			       : 0;
	}
	out_user(&uid, &gid);
	pw = getpwuid(uid);
	if (pw)
		strv_addf(ret, "%s/.ssh/known_hosts", pw->pw_dir);
	strv_add(ret, "/etc/ssh/ssh_known_hosts");
	return 0;
}

/* Once, twice, or for several platforms. */
static int build_all(const struct build_args *a, struct deliver *d, const struct build_opts *o,
		     const struct strv *platforms, struct build_result *r, struct err *err)
{
	const char *progress = a->quiet ? "quiet" : a->progress;
	bool is_index = platforms_is_index(o, platforms);
	int rc;

	for (size_t i = 0; i < d->n && !is_index; i++)
		if (d->v[i].index_annotations.n)
			return err_set(err, EINVAL,
				       "annotations of an index: there is one with several "
				       "platforms or attestations");
	if (a->twice && is_index)
		return err_set(err, EINVAL, "--twice compares images, not indexes");
	if (is_index)
		return platforms_run(d, o, platforms, progress, r, err);
	if (a->twice)
		return twice_run(d->c, o, progress, r, err);
	rc = build_run(&d->c->rt, o, r, err);
	progress_end(o->event_arg, rc < 0 ? NULL : r);
	return rc;
}

static int build(struct cli *c, struct build_args *a, const char *context, struct build_result *r,
		 struct err *err)
{
	auto_failed struct failed place = { 0 };
	auto_strv struct strv platforms = { 0 }, known_hosts = { 0 }, build_args = { 0 };
	cleanup(box_free) struct box box = { 0 };
	struct build_opts o = { .context = context,
				.file = a->file,
				.contexts = a->contexts,
				.target = a->target,
				.network = a->network,
				.labels = a->labels,
				.volumes = a->volumes,
				.secrets = a->secrets,
				.ssh = a->ssh,
				.no_cache = a->no_cache,
				.squash = a->squash || !a->layers,
				.fold = a->fold,
				.explain = a->explain,
				.scope = a->scope,
				.cache_from = a->cache_from,
				.cache_to = a->cache_to,
				.jobs = (size_t)a->jobs,
				.interrupted = &interrupted };
	cleanup(transfer_access_free) struct transfer_access access = { 0 };
	auto_deliver struct deliver deliver = { .c = c,
						.access = &access,
						.interrupted = &interrupted };
	struct progress p = { 0 };
	int64_t timestamp = 0;
	int rc;

	rc = platforms_parse(&a->platforms, &platforms, err);
	if (rc >= 0)
		rc = take_known_hosts(a, &known_hosts, err);
	if (rc >= 0)
		rc = check_words(a, err);
	if (rc >= 0)
		rc = take_build_args(a, &build_args, err);
	if (rc < 0)
		return rc;
	o.known_hosts = known_hosts;
	o.build_args = build_args;
	o.platform = platforms.n ? platforms.v[0] : NULL;
	if (is_call(a))
		return call(c, a, &o, err);
	rc = progress_begin(&p, a->quiet ? "quiet" : a->progress, err);
	deliver.kind = p.kind;
	if (rc >= 0)
		rc = take_outputs(a, &deliver, &o, err);
	if (rc >= 0)
		rc = take_attests(a, &o, err);
	if (rc >= 0)
		rc = box_make(a, &box, &o, err);
	if (rc >= 0)
		rc = take_sources(c, a, &o, &timestamp, err);
	if (rc >= 0 && a->resume)
		rc = failed_find(c, context, a->file, &place, err);
	if (rc < 0)
		return rc;
	o.resume = a->resume ? &place.resume : NULL;
	transfer_access_make(c, true, &access);
	o.access = &access.access;
	o.event = progress_event;
	o.event_arg = &p;
	rc = build_all(a, &deliver, &o, &platforms, r, err);
	if (rc >= 0 && place.ct && !r->resumed)
		fprintf(stderr,
			"shale: nothing was resumed: no step of this build is the one that %s is of\n",
			place.ct->name);
	return rc < 0 ? rc : hand_out(a, &deliver, r, err);
}

static int build_main(struct cli *c, void *args, int argc, char **argv)
{
	struct build_args *a = args;
	struct finish finish = FINISH_INIT;
	auto_build_result struct build_result r = { 0 };
	struct err err = { 0 };
	int on_error = on_error_of(a->on_error, &err), rc = on_error;
	bool warned;

	(void)argc;
	if (rc < 0)
		return cli_usage(c, &err);
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = cli_limit_layers(c, a->max_layer, &err);
	if (rc >= 0)
		rc = finish_begin(&finish, c, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	catch_signals();
	rc = build(c, a, argv[0], &r, &err);
	if (rc < 0) {
		cli_fail(c, &err);
		after_failure(c, a, &r, (enum on_error)on_error);
		build_failure_settled(&r.failure);
		finish_end(&finish, c, false);
		return rc == -EINTR && interrupted ? 128 + interrupted : 1;
	}
	warned = is_call(a) && rc > 0;
	rc = cli_done(c);
	finish_end(&finish, c, a->sync || settings_bool(&c->settings, SETTING_SYNC));
	return warned ? 1 : rc;
}

const struct command cmd_build = {
	.name = "build",
	.args = "PATH|URL|-",
	.summary = "Build an image from a Dockerfile",
	.opts = build_opts,
	.args_size = sizeof(struct build_args),
	.main = build_main,
	.min_args = 1,
	.max_args = 1,
	.defaults = &build_defaults,
};
