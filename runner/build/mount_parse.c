/* SPDX-License-Identifier: Apache-2.0 */
/* RUN --mount: a line of CSV with keys that depend on the type. BuildKit's rules. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <shale/base/path.h>

#include "mount.h"

enum { FIELDS_MAX = 64 };

#define T(type)  (1u << (type))
#define T_ALL    (T(MOUNT_TYPES) - 1)
#define T_FILED  (T(MOUNT_CACHE) | T(MOUNT_SECRET) | T(MOUNT_SSH))
#define T_SECRET (T(MOUNT_SECRET) | T(MOUNT_SSH))
#define T_TREE   (T(MOUNT_BIND) | T(MOUNT_CACHE))

static const char *const type_names[] = { "bind", "cache", "tmpfs", "secret", "ssh", NULL };
static const char *const sharing_names[] = { "shared", "private", "locked", NULL };

typedef int set_fn(struct run_mount *m, const char *value);

static int index_of(const char *const *names, const char *value)
{
	for (int i = 0; names[i]; i++)
		if (!strcasecmp(names[i], value))
			return i;
	return -EINVAL;
}

int bool_parse(const char *text, bool *ret)
{
	static const char *const words[] = { "0",     "1",    "f",     "t",    "F",     "T",
					     "false", "true", "FALSE", "TRUE", "False", "True" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(text, words[i])) {
			*ret = i & 1;
			return 0;
		}
	return -EINVAL;
}

bool bool_is_true(const char *text)
{
	bool yes = false;

	return text && bool_parse(text, &yes) >= 0 && yes;
}

static int set_type(struct run_mount *m, const char *v)
{
	(void)m; /* taken before the others */
	return index_of(type_names, v);
}

static int set_text(char **to, const char *v)
{
	mem_cleanup(to);
	*to = mem_str(v);
	return 0;
}

/* "from=" is the build context, as no from. */
static int set_from(struct run_mount *m, const char *v)
{
	return *v ? set_text(&m->from, v) : 0;
}

static int set_source(struct run_mount *m, const char *v)
{
	return set_text(&m->source, v);
}

static int set_target(struct run_mount *m, const char *v)
{
	return *v ? set_text(&m->target, v) : -EINVAL;
}

static int set_id(struct run_mount *m, const char *v)
{
	return *v ? set_text(&m->id, v) : -EINVAL;
}

/* A name that a shell could have; nothing may smuggle a second variable in. */
static int set_env(struct run_mount *m, const char *v)
{
	if (!*v || strpbrk(v, "= \t\n"))
		return -EINVAL;
	return set_text(&m->env, v);
}

static int set_read_only(struct run_mount *m, const char *v)
{
	return bool_parse(v, &m->read_only);
}

static int set_read_write(struct run_mount *m, const char *v)
{
	bool rw;

	if (bool_parse(v, &rw) < 0)
		return -EINVAL;
	m->read_only = !rw;
	return 0;
}

static int set_required(struct run_mount *m, const char *v)
{
	return bool_parse(v, &m->required);
}

static int set_size(struct run_mount *m, const char *v)
{
	return str_to_bytes(v, &m->size_bytes);
}

static int set_sharing(struct run_mount *m, const char *v)
{
	int i = index_of(sharing_names, v);

	m->sharing = i < 0 ? SHARING_SHARED : (enum mount_sharing)i;
	return i;
}

static int set_mode(struct run_mount *m, const char *v)
{
	uint64_t n;

	if (str_to_u64(v, 8, 07777, &n) < 0)
		return -EINVAL;
	m->mode = (uint32_t)n;
	m->has_mode = true;
	return 0;
}

static int set_number(uint32_t *to, const char *v)
{
	uint64_t n;

	if (str_to_u64(v, 10, UINT32_MAX - 1, &n) < 0)
		return -EINVAL;
	*to = (uint32_t)n;
	return 0;
}

static int set_uid(struct run_mount *m, const char *v)
{
	return set_number(&m->uid, v);
}

static int set_gid(struct run_mount *m, const char *v)
{
	return set_number(&m->gid, v);
}

static const struct mount_key {
	const char *name;
	unsigned types;
	set_fn *set;
	bool bare; /* stands for =true when it has no value */
	const char *want;
} keys[] = {
	{ "type", T_ALL, set_type, false, "bind, cache, tmpfs, secret or ssh" },
	{ "from", T_TREE, set_from, false, "a stage or an image" },
	{ "source", T_TREE | T(MOUNT_SECRET), set_source, false, "a path" },
	{ "src", T_TREE | T(MOUNT_SECRET), set_source, false, "a path" },
	{ "target", T_ALL, set_target, false, "a path" },
	{ "dst", T_ALL, set_target, false, "a path" },
	{ "destination", T_ALL, set_target, false, "a path" },
	{ "readonly", T_ALL, set_read_only, true, "true or false" },
	{ "ro", T_ALL, set_read_only, true, "true or false" },
	{ "readwrite", T_ALL, set_read_write, true, "true or false" },
	{ "rw", T_ALL, set_read_write, true, "true or false" },
	{ "required", T_SECRET, set_required, true, "true or false" },
	{ "size", T(MOUNT_TMPFS), set_size, false, "a size like 64m" },
	{ "id", T_FILED, set_id, false, "a name" },
	{ "sharing", T(MOUNT_CACHE), set_sharing, false, "shared, private or locked" },
	{ "mode", T_FILED, set_mode, false, "an octal mode like 0755" },
	{ "uid", T_FILED, set_uid, false, "a number" },
	{ "gid", T_FILED, set_gid, false, "a number" },
	{ "env", T(MOUNT_SECRET), set_env, false, "the name of a variable" },
};

void run_mount_free(struct run_mount *m)
{
	mem_cleanup(&m->from);
	mem_cleanup(&m->source);
	mem_cleanup(&m->target);
	mem_cleanup(&m->id);
	mem_cleanup(&m->env);
	*m = (struct run_mount){ 0 };
}

/* One quoted field; *at ends behind its closing quote. */
static int csv_quoted(const char **at, struct str *ret)
{
	const char *p = *at + 1;

	for (; *p; p++) {
		if (*p == '"' && p[1] == '"')
			p++;
		else if (*p == '"')
			break;
		str_addc(ret, *p);
	}
	if (!*p || (p[1] && p[1] != ','))
		return -EINVAL;
	*at = p + 1;
	return 0;
}

int csv_split(const char *text, struct strv *ret, struct err *err)
{
	for (const char *p = text;; p++) {
		auto_str struct str field = { 0 };
		size_t n = strcspn(p, ",");

		if (ret->n == FIELDS_MAX)
			return err_set(err, EINVAL, "more than %d fields", FIELDS_MAX);
		if (*p == '"') {
			if (csv_quoted(&p, &field) < 0)
				return err_set(err, EINVAL, "a quote is not closed");
		} else {
			str_addn(&field, p, n);
			p += n;
		}
		strv_add_take(ret, str_take(&field));
		if (!*p)
			return 0;
	}
}

static const struct mount_key *key_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (!strcasecmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static int key_unknown(const char *name, struct err *err)
{
	const char *list[ARRAY_LEN(keys) + 1] = { 0 }, *near;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		list[i] = keys[i].name;
	near = str_nearest(name, list);
	return err_set(err, EINVAL, "unknown key %.40s%s%s%s", name, near ? " (did you mean " : "",
		       near ? near : "", near ? "?)" : "");
}

/* Its variables replaced. 1: it has some and vars are not there yet. */
static int value_expand(const char *value, const struct vars *vars, char **ret, struct err *err)
{
	if (!vars && strchr(value, '$'))
		return 1;
	if (!vars) {
		*ret = mem_str(value);
		return 0;
	}
	return expand_word(value, vars->escape, vars->lookup, vars->arg, ret, err);
}

static int field_set(struct run_mount *m, const char *field, const struct vars *vars,
		     unsigned *later, struct err *err)
{
	const char *eq = strchr(field, '=');
	auto_free char *name = mem_strn(field, eq ? (size_t)(eq - field) : strlen(field));
	auto_free char *value = NULL;
	const struct mount_key *k = key_find(name);
	int rc;

	if (!k)
		return key_unknown(name, err);
	if (!(k->types & T(m->type)))
		return err_set(err, EINVAL, "%s has no %s", type_names[m->type], k->name);
	if (!eq && !k->bare)
		return err_set(err, EINVAL, "%s needs a value: %s=%s", k->name, k->name, k->want);
	/* The stage graph is made before there are variables. */
	if (k->set == set_from && eq && strchr(eq, '$'))
		return err_set(err, EINVAL,
			       "from=%.60s: variables are not expanded here; name a stage with AS",
			       eq + 1);
	rc = value_expand(eq ? eq + 1 : "true", vars, &value, err);
	if (rc == 1 && (k->set == set_target || k->set == set_source || k->set == set_id))
		*later = 1;
	if (rc)
		return rc < 0 ? rc : 0;
	return k->set(m, value) < 0
		       ? err_set(err, EINVAL, "%s=%.60s: want %s", k->name, value, k->want)
		       : 0;
}

/* The type decides which other keys there are. */
static int find_type(const struct strv *fields, const struct vars *vars, struct run_mount *m,
		     struct err *err)
{
	for (size_t i = 0; i < fields->n; i++) {
		auto_free char *value = NULL;
		int rc;

		if (strncasecmp(fields->v[i], "type=", 5) != 0)
			continue;
		rc = value_expand(fields->v[i] + 5, vars, &value, err);
		if (rc == 1)
			return err_set(err, EINVAL, "type=%.60s: variables are not expanded here",
				       fields->v[i] + 5);
		if (rc < 0)
			return rc;
		rc = index_of(type_names, value);
		if (rc < 0)
			return err_set(err, EINVAL,
				       "type=%.60s: want bind, cache, tmpfs, secret or ssh", value);
		m->type = (enum mount_type)rc;
	}
	m->read_only = m->type != MOUNT_CACHE && m->type != MOUNT_TMPFS;
	return 0;
}

static int check(const struct run_mount *m, struct err *err)
{
	if ((m->type == MOUNT_CACHE || m->type == MOUNT_TMPFS) && !m->target)
		return err_set(err, EINVAL, "%s needs a target", type_names[m->type]);
	if (m->type == MOUNT_SECRET && m->source && m->id)
		return err_set(err, EINVAL, "secret: source and id are the same, give one");
	if (m->type == MOUNT_SECRET && !m->source && !m->id && !m->target)
		return err_set(err, EINVAL, "secret needs an id or a target");
	return 0;
}

static void fill_in(struct run_mount *m)
{
	/* BuildKit joins it to the working directory: "--mount=ro" is the context there. */
	if (m->type == MOUNT_BIND && !m->target)
		m->target = mem_str(".");
	if (m->type == MOUNT_CACHE && !m->id)
		m->id = path_clean(m->target);
	if (m->type == MOUNT_SECRET && !m->id)
		m->id = mem_str(m->source ? m->source : path_base(m->target));
	if (m->type == MOUNT_SECRET && !m->target && !m->env)
		m->target = mem_fmt("/run/secrets/%s", path_base(m->id));
	if (m->type == MOUNT_SSH && !m->id)
		m->id = mem_str("default");
	if (!m->has_mode)
		m->mode = m->type == MOUNT_SECRET ? 0400 : m->type == MOUNT_SSH ? 0600 : 0755;
}

int mount_parse(const char *text, const struct vars *vars, struct run_mount *ret, struct err *err)
{
	auto_run_mount struct run_mount m = { 0 };
	auto_strv struct strv fields = { 0 };
	unsigned later = 0;
	int rc = csv_split(text, &fields, err);

	if (rc >= 0)
		rc = find_type(&fields, vars, &m, err);
	for (size_t i = 0; i < fields.n && rc >= 0; i++)
		rc = field_set(&m, fields.v[i], vars, &later, err);
	if (rc >= 0 && !later)
		rc = check(&m, err);
	if (rc < 0)
		return rc;
	if (vars)
		fill_in(&m);
	*ret = m;
	m = (struct run_mount){ 0 };
	return 0;
}

static void add_field(struct str *b, const char *name, const char *value)
{
	if (value)
		str_addf(b, ",%s=%s", name, value);
}

void mount_text(const struct run_mount *m, struct str *ret)
{
	str_addf(ret, "type=%s", type_names[m->type]);
	add_field(ret, "from", m->from);
	add_field(ret, "source", m->type == MOUNT_SECRET ? NULL : m->source);
	add_field(ret, "target", m->target);
	add_field(ret, "id", m->id);
	add_field(ret, "env", m->env);
	if (m->type == MOUNT_CACHE)
		add_field(ret, "sharing", sharing_names[m->sharing]);
	if (m->size_bytes)
		str_addf(ret, ",size=%llu", (unsigned long long)m->size_bytes);
	if (T(m->type) & T_FILED)
		str_addf(ret, ",mode=%04o,uid=%u,gid=%u", m->mode, m->uid, m->gid);
	else
		str_add(ret, m->read_only ? ",ro" : ",rw");
}
