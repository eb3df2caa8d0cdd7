/* SPDX-License-Identifier: Apache-2.0 */
/* template_run: walks the tree. Every value is a counted reference to JSON; variables are a stack.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

enum { ARGS_MAX = 32, OUT_MAX = 16 << 20 };

struct var {
	const char *name;
	json_t *value;
};

struct run {
	json_t *dot;
	struct var *vars;
	size_t n_vars, cap_vars;
	struct str *out;
	struct err *err;
};

static int run_list(struct run *r, const struct template_list *list);
static int eval_pipe(struct run *r, const struct template_pipe *pipe, json_t **ret);

/* --- variables
 * --------------------------------------------------------------------------------------- */

static void push_var(struct run *r, const char *name, json_t *value)
{
	mem_room(r->vars, r->n_vars, r->cap_vars);
	r->vars[r->n_vars++] = (struct var){ name, json_incref(value) };
}

static void pop_vars(struct run *r, size_t to)
{
	while (r->n_vars > to)
		json_decref(r->vars[--r->n_vars].value);
}

static struct var *find_var(struct run *r, const char *name)
{
	for (size_t i = r->n_vars; i-- > 0;)
		if (str_eq(r->vars[i].name, name))
			return &r->vars[i];
	return NULL;
}

/* --- expressions
 * --------------------------------------------------------------------------------------- */

static int no_field(const json_t *obj, const char *name, struct err *err)
{
	auto_strv struct strv keys = { 0 };
	const char *key, *near;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)obj, key, value) strv_add(&keys, key);
	near = str_nearest(name, (const char *const *)strv_args(&keys));
	err_set(err, EINVAL, "template: there is no field %s", name);
	return near ? err_hint(err, "did you mean %s?", near) : -EINVAL;
}

static int get_field(json_t *from, const char *name, json_t **ret, struct err *err)
{
	json_t *v = json_object_get(from, name);

	/* A Go field's name, where JSON has it with a small letter. */
	if (!v && isupper((unsigned char)*name)) {
		auto_free char *small = mem_str(name);

		*small = (char)tolower((unsigned char)*small);
		v = json_object_get(from, small);
	}
	if (v) {
		*ret = json_incref(v);
		return 0;
	}
	if (!json_is_object(from))
		return err_set(err, EINVAL, "template: .%s: its left side has no fields", name);
	if (isupper((unsigned char)*name))
		return no_field(from, name, err);
	*ret = json_string("");
	return 0;
}

static int eval_base(struct run *r, const struct template_expr *e, json_t **ret)
{
	const struct var *var;

	switch (e->kind) {
	case EXPR_DOT:
		*ret = json_incref(r->dot);
		return 0;
	case EXPR_VAR:
		var = find_var(r, e->name);
		if (!var)
			return err_set(r->err, EINVAL, "template: there is no variable $%s",
				       e->name);
		*ret = json_incref(var->value);
		return 0;
	case EXPR_PIPE:
		return eval_pipe(r, e->pipe, ret);
	case EXPR_FUNC:
		return template_call(e->name, NULL, 0, ret, r->err);
	default:
		*ret = json_incref(e->value);
		return 0;
	}
}

static int eval_expr(struct run *r, const struct template_expr *e, json_t **ret)
{
	auto_json json_t *v = NULL;
	int rc = eval_base(r, e, &v);

	for (size_t i = 0; rc >= 0 && i < e->fields.n; i++) {
		json_t *next = NULL;

		rc = get_field(v, e->fields.v[i], &next, r->err);
		if (rc >= 0) {
			json_decref(v);
			v = next;
		}
	}
	if (rc < 0)
		return rc;
	*ret = take(v);
	return 0;
}

/* {{.Label "name"}} of docker's rows, whose Labels are "k=v,k=v". */
static int eval_label(struct run *r, json_t *const *args, json_t **ret)
{
	const char *labels = json_get_str(r->dot, "Labels");
	const char *name = json_string_value(args[0]);
	auto_strv struct strv list = { 0 };
	const char *value;

	if (!labels || !name)
		return err_set(r->err, EINVAL,
			       "template: Label needs a row with labels and a name");
	strv_split(&list, labels, ',');
	value = strv_env_get(&list, name);
	*ret = json_from_str(value ? value : "");
	return 0;
}

static int call(struct run *r, const struct template_command *cmd, json_t *const *args, size_t n,
		json_t **ret)
{
	const struct template_expr *first = &cmd->args[0];

	if (first->kind == EXPR_FUNC)
		return template_call(first->name, args, n, ret, r->err);
	if (first->kind == EXPR_DOT && first->fields.n == 1 && n == 1 &&
	    str_eq(first->fields.v[0], "Label"))
		return eval_label(r, args, ret);
	if (n)
		return err_set(r->err, EINVAL, "template: arguments after what is no function");
	return eval_expr(r, first, ret);
}

/* piped: the value from the left, which becomes the last argument; NULL for the first command. */
static int eval_command(struct run *r, const struct template_command *cmd, json_t *piped,
			json_t **ret)
{
	json_t *args[ARGS_MAX];
	size_t n = 0;
	int rc = 0;

	if (cmd->n >= ARGS_MAX)
		return err_set(r->err, EINVAL, "template: more than %d arguments", ARGS_MAX - 2);
	for (size_t i = 1; rc >= 0 && i < cmd->n; i++) {
		rc = eval_expr(r, &cmd->args[i], &args[n]);
		n += rc >= 0;
	}
	if (rc >= 0 && piped)
		args[n++] = json_incref(piped);
	if (rc >= 0)
		rc = call(r, cmd, args, n, ret);
	while (n-- > 0)
		json_decref(args[n]);
	return rc;
}

static int eval_pipe(struct run *r, const struct template_pipe *pipe, json_t **ret)
{
	auto_json json_t *v = NULL;

	for (size_t i = 0; i < pipe->n; i++) {
		json_t *next = NULL;
		int rc = eval_command(r, &pipe->commands[i], v, &next);

		if (rc < 0)
			return rc;
		json_decref(v);
		v = next;
	}
	*ret = take(v);
	return 0;
}

static int declare(struct run *r, const struct template_pipe *pipe, json_t *value)
{
	struct var *var;

	if (!pipe->assign) {
		push_var(r, pipe->vars.v[0], value);
		return 0;
	}
	var = find_var(r, pipe->vars.v[0]);
	if (!var)
		return err_set(r->err, EINVAL, "template: there is no variable $%s",
			       pipe->vars.v[0]);
	json_decref(var->value);
	var->value = json_incref(value);
	return 0;
}

/* --- actions
 * -------------------------------------------------------------------------------------------- */

static int run_with_dot(struct run *r, json_t *dot, const struct template_list *list)
{
	json_t *saved = r->dot;
	int rc;

	r->dot = dot;
	rc = run_list(r, list);
	r->dot = saved;
	return rc;
}

static int run_item(struct run *r, const struct template_node *n, json_t *key, json_t *value)
{
	size_t mark = r->n_vars;
	int rc;

	if (n->pipe.vars.n == 2)
		push_var(r, n->pipe.vars.v[0], key);
	if (n->pipe.vars.n)
		push_var(r, n->pipe.vars.v[n->pipe.vars.n - 1], value);
	rc = run_with_dot(r, value, &n->body);
	pop_vars(r, mark);
	return rc;
}

static int range_object(struct run *r, const struct template_node *n, json_t *v)
{
	auto_strv struct strv keys = { 0 };
	const char *key;
	json_t *value;
	int rc = 0;

	json_object_foreach(v, key, value) strv_add(&keys, key);
	strv_sort(&keys);
	for (size_t i = 0; rc >= 0 && i < keys.n; i++) {
		auto_json json_t *name = json_from_str(keys.v[i]);

		rc = run_item(r, n, name, json_object_get(v, keys.v[i]));
	}
	return rc;
}

static int run_range(struct run *r, const struct template_node *n, json_t *v)
{
	json_t *value;
	size_t i;
	int rc = 0;

	if (!template_is_true(v))
		return run_list(r, &n->other);
	if (json_is_object(v))
		return range_object(r, n, v);
	if (!json_is_array(v))
		return err_set(r->err, EINVAL, "template: range over what is no list");
	json_array_foreach(v, i, value)
	{
		auto_json json_t *index = json_integer((json_int_t)i);

		rc = run_item(r, n, index, value);
		if (rc < 0)
			break;
	}
	return rc;
}

static int run_value(struct run *r, const struct template_node *n, json_t *v)
{
	int rc = 0;

	if (n->kind == NODE_RANGE)
		return run_range(r, n, v);
	if (n->pipe.vars.n)
		rc = declare(r, &n->pipe, v);
	if (rc < 0)
		return rc;
	if (n->kind == NODE_PRINT) {
		if (!n->pipe.vars.n)
			template_print(v, r->out);
		return 0;
	}
	if (!template_is_true(v))
		return run_list(r, &n->other);
	return n->kind == NODE_WITH ? run_with_dot(r, v, &n->body) : run_list(r, &n->body);
}

static int run_node(struct run *r, const struct template_node *n)
{
	auto_json json_t *v = NULL;
	size_t mark = r->n_vars;
	int rc;

	if (n->kind == NODE_TEXT) {
		str_add(r->out, n->text);
		return 0;
	}
	rc = eval_pipe(r, &n->pipe, &v);
	if (rc >= 0)
		rc = run_value(r, n, v);
	/* What {{$x := …}} declares lives until the end of the list around it. */
	if (n->kind != NODE_PRINT)
		pop_vars(r, mark);
	return rc;
}

static int run_list(struct run *r, const struct template_list *list)
{
	size_t mark = r->n_vars;
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < list->n; i++) {
		rc = run_node(r, &list->v[i]);
		/* Nested ranges multiply. */
		if (rc >= 0 && r->out->len > OUT_MAX)
			rc = err_set(r->err, EFBIG, "template: more than %d bytes of output",
				     OUT_MAX);
	}
	pop_vars(r, mark);
	return rc;
}

int template_run(const struct template *t, const json_t *value, struct str *out, struct err *err)
{
	struct run r = { .dot = (json_t *)(uintptr_t)value, .out = out, .err = err };
	int rc;

	push_var(&r, "", r.dot);
	rc = run_list(&r, &t->list);
	pop_vars(&r, 0);
	free(r.vars);
	return rc;
}
