/* SPDX-License-Identifier: Apache-2.0 */
/* The stage graph: what each stage starts from, which stages the target needs, and whether this
 * version can do what they ask. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <shale/image.h>

#include "mount.h"
#include "priv.h"

/* The platform that this program was compiled for. */
#if defined(__x86_64__)
#define HOST_ARCH    "amd64"
#define HOST_VARIANT ""
#elif defined(__aarch64__)
#define HOST_ARCH    "arm64"
#define HOST_VARIANT ""
#elif defined(__arm__)
#define HOST_ARCH    "arm"
#define HOST_VARIANT "v7"
#elif defined(__riscv)
#define HOST_ARCH    "riscv64"
#define HOST_VARIANT ""
#elif defined(__powerpc64__)
#define HOST_ARCH    "ppc64le"
#define HOST_VARIANT ""
#elif defined(__s390x__)
#define HOST_ARCH    "s390x"
#define HOST_VARIANT ""
#else
#error "the OCI name of this architecture is missing"
#endif
#if defined(__arm__)
#define HOST_PLATFORM "linux/" HOST_ARCH "/" HOST_VARIANT
#else
#define HOST_PLATFORM "linux/" HOST_ARCH
#endif

/* The state of one plan_make. */
struct make {
	const struct dockerfile *d;
	const struct plan_opts *o;
	const char *file;
	struct plan *p;
	size_t arg_bytes; /* of global_args */
	struct err *err;
};

static const struct plan_platform host_platform = { HOST_PLATFORM, "linux", HOST_ARCH,
						    HOST_VARIANT };

void plan_platform_set(struct plan_platform *p, const char *text)
{
	auto_strv struct strv part = { 0 };

	*p = host_platform;
	if (!text)
		return;
	strv_split(&part, text, '/');
	snprintf(p->text, sizeof(p->text), "%s", text);
	snprintf(p->os, sizeof(p->os), "%s", part.n ? part.v[0] : "");
	snprintf(p->arch, sizeof(p->arch), "%s", part.n > 1 ? part.v[1] : "");
	snprintf(p->variant, sizeof(p->variant), "%s", part.n > 2 ? part.v[2] : "");
}

bool plan_platform_is_host(const char *text)
{
	return !text || !strcmp(text, HOST_PLATFORM);
}

const char *plan_builtin_arg(const char *name, const char *target, const struct plan_platform *p)
{
	const struct plan_platform *of = &host_platform;

	if (!strcmp(name, "TARGETSTAGE"))
		return target ? target : "default";
	if (!str_starts(name, "TARGET") && !str_starts(name, "BUILD"))
		return NULL;
	if (*name == 'T' && p && *p->text)
		of = p;
	name += *name == 'T' ? 6 : 5;
	if (!strcmp(name, "PLATFORM"))
		return of->text;
	if (!strcmp(name, "OS"))
		return of->os;
	if (!strcmp(name, "ARCH"))
		return of->arch;
	return !strcmp(name, "VARIANT") ? of->variant : NULL;
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++) {
		mem_cleanup(&p->stages[i].name);
		mem_cleanup(&p->stages[i].base_ref);
		mem_cleanup(&p->stages[i].platform);
	}
	mem_cleanup(&p->stages);
	strv_free(&p->global_args);
	mem_cleanup(&p);
}

void plan_cleanup(struct plan **p)
{
	plan_free(*p);
}

/* The last stage of that name below before: a later one of the same name hides it. */
static int find_name(const struct plan *p, const char *name, size_t before)
{
	for (size_t i = before < p->n ? before : p->n; i-- > 0;)
		if (p->stages[i].name && !strcasecmp(p->stages[i].name, name))
			return (int)i;
	return -ENOENT;
}

int plan_stage_find(const struct plan *p, const char *name, size_t before)
{
	uint64_t index;
	int i = find_name(p, name, before);

	if (i >= 0)
		return i;
	if (before > p->n)
		before = p->n;
	if (before && str_to_u64(name, 10, before - 1, &index) == 0)
		return (int)index;
	return -ENOENT;
}

/* --- named contexts --- */

static char *lower(const char *s)
{
	char *copy = mem_str(s);

	for (char *c = copy; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + 'a' - 'A');
	return copy;
}

char *plan_context_name(const char *ref)
{
	auto_free char *text = lower(ref), *full = NULL;
	struct err ignored = { 0 };
	char *name;

	if (image_ref_normalize(text, &full, &ignored) < 0)
		return NULL;
	name = image_ref_familiar(full);
	if (str_ends(name, ":latest"))
		name[strlen(name) - strlen(":latest")] = 0;
	return name;
}

int plan_context_find(const struct strv *contexts, const char *ref)
{
	auto_free char *name = contexts && contexts->n ? plan_context_name(ref) : NULL;

	for (size_t i = 0; name && i < contexts->n; i++)
		if (!strcmp(contexts->v[i], name))
			return (int)i;
	return -ENOENT;
}

/* --- global arguments --- */

static const char *lookup_global(const char *name, void *arg)
{
	struct make *m = arg;
	const char *value = strv_env_get(&m->p->global_args, name);

	return value ? value : plan_builtin_arg(name, m->o->target, &m->p->platform);
}

/* One word of a global ARG or a FROM, expanded; the message gets its line. */
static int expand(struct make *m, const struct df_inst *i, const char *word, char **ret)
{
	struct err e = { 0 };
	int rc = expand_word(word, m->d->escape, lookup_global, m, ret, &e);

	return rc < 0 ? df_fail_inst_word(m->file, i, word, e.code, m->err, "%s", e.msg) : 0;
}

static int global_arg(struct make *m, const struct df_inst *i, const char *word)
{
	const char *eq = strchr(word, '='), *given;
	auto_free char *raw = mem_strn(word, eq ? (size_t)(eq - word) : strlen(word));
	auto_free char *name = NULL, *value = NULL;
	int rc;

	rc = expand(m, i, raw, &name);
	if (rc < 0)
		return rc;
	given = m->o->build_args ? strv_env_get(m->o->build_args, name) : NULL;
	if (!given && eq) {
		rc = expand(m, i, eq + 1, &value);
		if (rc < 0)
			return rc;
	} else if (!given) {
		given = plan_builtin_arg(name, m->o->target, &m->p->platform);
	}
	/* ARG without a value declares the name and leaves it unset. */
	if (!given)
		given = value;
	if (!given)
		return 0;
	m->arg_bytes += strlen(name) + strlen(given);
	if (m->arg_bytes > ARG_BYTES_MAX)
		return df_fail_inst(m->file, i, EINVAL, m->err,
				    "the arguments before the first FROM are longer than %d bytes",
				    ARG_BYTES_MAX);
	strv_env_set(&m->p->global_args, name, given);
	return 0;
}

/* --- stages --- */

static int stage_platform(struct make *m, struct plan_stage *s)
{
	const struct df_flag *f = inst_flag(s->from, "platform");
	int rc;

	if (!f)
		return 0;
	rc = expand(m, s->from, f->value, &s->platform);
	if (rc == 0 && !*s->platform)
		return df_fail_inst_word(m->file, s->from, f->value, EINVAL, m->err,
					 "--platform=%.60s is empty after expansion", f->value);
	return rc;
}

/* A context takes the place of the stage or the image that bears its name: 1, or 0. */
static int stage_context(struct make *m, struct plan_stage *s, const char *name)
{
	int i = name ? plan_context_find(m->o->contexts, name) : -ENOENT;

	if (i < 0)
		return 0;
	free(s->base_ref);
	s->base_ref = mem_str(m->o->contexts->v[i]);
	s->base = PLAN_CONTEXT;
	return 1;
}

static int stage_base(struct make *m, struct plan_stage *s)
{
	const char *word = s->from->args.v[0];
	size_t self = (size_t)(s - m->p->stages);
	int rc, i;

	if (stage_context(m, s, s->name)) {
		s->is_replaced = true;
		return 0;
	}
	rc = expand(m, s->from, word, &s->base_ref);
	if (rc < 0)
		return rc;
	if (!*s->base_ref)
		return df_fail_inst_word(
			m->file, s->from, word, EINVAL, m->err,
			"FROM %.60s: the base is empty (is an ARG before the first FROM missing?)",
			word);
	if (!strcmp(s->base_ref, "scratch")) {
		s->base = PLAN_SCRATCH;
		return 0;
	}
	i = plan_stage_find(m->p, s->base_ref, self);
	if (i >= 0) {
		s->base = PLAN_STAGE;
		s->base_stage = (size_t)i;
		return 0;
	}
	if (!stage_context(m, s, s->base_ref))
		s->base = PLAN_IMAGE;
	return 0;
}

/*
 * "FROM alpine AS alpine" means the image, and people write it. A name that only a later stage
 * bears is taken for a mistake: whoever means an image of that name can say so with a tag.
 */
static int check_later(struct make *m, const struct plan_stage *s)
{
	size_t self = (size_t)(s - m->p->stages);
	int i;

	if (s->base != PLAN_IMAGE || str_eq(s->name, s->base_ref))
		return 0;
	i = find_name(m->p, s->base_ref, SIZE_MAX);
	if (i < 0 || (size_t)i <= self)
		return 0;
	return df_fail_inst_word(
		m->file, s->from, s->from->args.v[0], EINVAL, m->err,
		"FROM %.60s: a cyclic or later stage (line %d); for an image write %.60s:latest",
		s->base_ref, m->p->stages[i].from->line, s->base_ref);
}

static int stage_add(struct make *m, const struct df_inst *from, size_t *cap)
{
	struct plan *p = m->p;
	struct plan_stage *s;
	int rc;

	mem_room(p->stages, p->n, *cap);
	s = &p->stages[p->n];
	*s = (struct plan_stage){ .from = from, .inst = from + 1 };
	p->n++;
	if (from->args.n == 3)
		s->name = lower(from->args.v[2]);
	rc = stage_platform(m, s);
	if (rc == 0)
		rc = stage_base(m, s);
	return rc;
}

static int stages(struct make *m)
{
	size_t cap = 0;
	int rc = 0;

	for (size_t k = 0; rc == 0 && k < m->d->n; k++) {
		const struct df_inst *i = &m->d->inst[k];

		if (i->kind == DF_FROM)
			rc = stage_add(m, i, &cap);
		else if (m->p->n)
			m->p->stages[m->p->n - 1].n_inst += !m->p->stages[m->p->n - 1].is_replaced;
		else
			for (size_t a = 0; rc == 0 && a < i->args.n; a++)
				rc = global_arg(m, i, i->args.v[a]);
	}
	for (size_t k = 0; rc == 0 && k < m->p->n; k++)
		rc = check_later(m, &m->p->stages[k]);
	if (rc == 0 && !m->p->n)
		return err_set(m->err, EINVAL, "%.200s: no FROM", m->file);
	return rc;
}

static int target(struct make *m)
{
	struct plan *p = m->p;
	const char *want = m->o->target, *near;
	const char **names;
	size_t n = 0;
	int i;

	p->target = p->n - 1;
	if (!want || !*want)
		return 0;
	i = plan_stage_find(p, want, SIZE_MAX);
	if (i >= 0) {
		p->target = (size_t)i;
		return 0;
	}
	names = mem_array(p->n + 1, sizeof(*names));
	for (size_t k = 0; k < p->n; k++)
		if (p->stages[k].name)
			names[n++] = p->stages[k].name;
	near = str_nearest(want, names);
	i = err_set(m->err, ENOENT, "%.200s: no stage %.60s%s%.60s%s", m->file, want,
		    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
	mem_cleanup(&names);
	return i;
}

/* --- what the target needs --- */

/* Calls fn for each instruction that the stage executes: its own, and the triggers of the stage it
 * starts from. */
typedef int each_fn(struct make *m, size_t stage, const struct df_inst *i);
static int each_inst(struct make *m, size_t stage, each_fn *fn)
{
	const struct plan_stage *s = &m->p->stages[stage], *base;
	int rc = 0;

	for (size_t k = 0; rc == 0 && k < s->n_inst; k++)
		rc = fn(m, stage, &s->inst[k]);
	if (s->base != PLAN_STAGE)
		return rc;
	base = &m->p->stages[s->base_stage];
	for (size_t k = 0; rc == 0 && k < base->n_inst; k++)
		if (base->inst[k].kind == DF_ONBUILD)
			rc = fn(m, stage, base->inst[k].onbuild);
	return rc;
}

static int need_name(struct make *m, size_t stage, const struct df_inst *i, const char *name)
{
	uint64_t index;
	int k;

	if (plan_context_find(m->o->contexts, name) >= 0)
		return 0;
	k = plan_stage_find(m->p, name, stage);
	if (k >= 0) {
		m->p->stages[k].needed = true;
		return 0;
	}
	if (str_to_u64(name, 10, UINT64_MAX, &index) == 0)
		return df_fail_inst_word(m->file, i, name, EINVAL, m->err,
					 "--from=%.60s: no earlier stage of that number", name);
	k = find_name(m->p, name, SIZE_MAX);
	if (k < 0)
		return 0;
	return df_fail_inst_word(
		m->file, i, name, EINVAL, m->err,
		"--from=%.60s: a cyclic or later stage (line %d); only earlier ones can be used",
		name, m->p->stages[k].from->line);
}

static int need_mount(struct make *m, size_t stage, const struct df_inst *i, const char *text)
{
	auto_run_mount struct run_mount mount = { 0 };
	struct err e = { 0 };

	if (mount_parse(text, NULL, &mount, &e) < 0)
		return df_fail_inst_word(m->file, i, text, e.code, m->err, "RUN --mount=%.100s: %s",
					 text, e.msg);
	return mount.from ? need_name(m, stage, i, mount.from) : 0;
}

static int need_from(struct make *m, size_t stage, const struct df_inst *i)
{
	int rc = 0;

	for (size_t k = 0; rc == 0 && k < i->n_flags; k++) {
		const struct df_flag *f = &i->flags[k];

		if (i->kind == DF_COPY && !strcmp(f->name, "from"))
			rc = need_name(m, stage, i, f->value);
		else if (i->kind == DF_RUN && !strcmp(f->name, "mount"))
			rc = need_mount(m, stage, i, f->value ? f->value : "");
	}
	return rc;
}

static int check_flags(struct make *m, size_t stage, const struct df_inst *i)
{
	const char *kind = df_kind_name(i->kind);
	struct err e = { 0 };

	(void)stage;
	for (size_t k = 0; k < i->n_flags; k++)
		if (!inst_flag_is_executed(i->kind, &i->flags[k]))
			return df_fail_inst_word(m->file, i, i->flags[k].name, ENOTSUP, m->err,
						 "%s --%s is not executed by this version of shale",
						 kind, i->flags[k].name);
	if (allow_inst(m->o->allow, m->o->network, i, &e) < 0)
		return df_fail_inst(m->file, i, e.code, m->err, "RUN %s", e.msg);
	return 0;
}

/* References go downwards only, so one pass from the target to the first stage is the closure. */
static int needed(struct make *m)
{
	int rc = 0;

	m->p->stages[m->p->target].needed = true;
	for (size_t k = m->p->target + 1; rc == 0 && k-- > 0;) {
		struct plan_stage *s = &m->p->stages[k];

		if (!s->needed)
			continue;
		if (s->base == PLAN_STAGE)
			m->p->stages[s->base_stage].needed = true;
		rc = each_inst(m, k, need_from);
		if (rc == 0 && !m->o->look_only)
			rc = each_inst(m, k, check_flags);
	}
	return rc;
}

int plan_make(const struct dockerfile *d, const struct plan_opts *o, struct plan **ret,
	      struct err *err)
{
	auto_plan struct plan *p = mem_alloc(sizeof(*p));
	struct make m = { d, o, o->file_name ? o->file_name : "Dockerfile", p, 0, err };
	int rc;

	plan_platform_set(&p->platform, o->platform);
	rc = stages(&m);
	if (rc == 0)
		rc = target(&m);
	if (rc == 0)
		rc = needed(&m);
	if (rc < 0)
		return rc;
	*ret = take(p);
	return 0;
}

/* --- as text, for tests and --debug --- */

static void quote(struct str *b, const char *s)
{
	str_addc(b, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			str_addf(b, "\\%c", *s);
		else if (*s == '\n')
			str_add(b, "\\n");
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			str_addf(b, "\\x%02x", (unsigned char)*s);
		else
			str_addc(b, *s);
	}
	str_addc(b, '"');
}

static void inst_text(struct str *b, const struct df_inst *i)
{
	str_add(b, df_kind_name(i->kind));
	for (size_t k = 0; k < i->n_flags; k++) {
		str_addf(b, " --%s", i->flags[k].name);
		if (i->flags[k].value)
			str_addf(b, "=%s", i->flags[k].value);
	}
	if (i->is_json)
		str_add(b, " json");
	for (size_t k = 0; k < i->args.n; k++) {
		str_addc(b, ' ');
		quote(b, i->args.v[k]);
	}
	for (size_t k = 0; k < i->n_heredocs; k++) {
		const struct df_heredoc *h = &i->heredocs[k];

		str_addf(b, " <<%s%s%s ", h->strip ? "-" : "", h->name,
			 h->expand ? "" : " (as is)");
		quote(b, h->body);
	}
	if (i->onbuild) {
		str_addc(b, ' ');
		inst_text(b, i->onbuild);
	}
}

static void stage_text(struct str *b, const struct plan *p, size_t k)
{
	const struct plan_stage *s = &p->stages[k];

	str_addf(b, "stage %zu%s%s from ", k, s->name ? " " : "", s->name ? s->name : "");
	if (s->base == PLAN_STAGE)
		str_addf(b, "stage %zu", s->base_stage);
	else
		str_addf(b, "%s%s",
			 s->base == PLAN_IMAGE     ? "image "
			 : s->base == PLAN_CONTEXT ? "context "
						   : "",
			 s->base_ref);
	if (s->platform)
		str_addf(b, " platform %s", s->platform);
	str_addf(b, "%s%s\n", k == p->target ? " target" : "", s->needed ? "" : " skipped");
	for (size_t i = 0; i < s->n_inst; i++) {
		str_addf(b, "  %d ", s->inst[i].line);
		inst_text(b, &s->inst[i]);
		str_addc(b, '\n');
	}
}

char *plan_text(const struct plan *p)
{
	auto_str struct str b = { 0 };

	for (size_t i = 0; i < p->global_args.n; i++) {
		str_add(&b, "arg ");
		quote(&b, p->global_args.v[i]);
		str_addc(&b, '\n');
	}
	for (size_t k = 0; k < p->n; k++)
		stage_text(&b, p, k);
	return str_take(&b);
}
