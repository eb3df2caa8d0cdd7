/* SPDX-License-Identifier: Apache-2.0 */
/* template: the text of a --format into a tree. */
#include "priv.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 64 << 10, DEPTH_MAX = 40 };

struct parser {
	const char *text, *p;
	int depth;
	bool trim; /* the last action ended with " -}}" */
	struct err *err;
};

static int parse_list(struct parser *s, struct template_list *list, const char **ret_end);
static int parse_pipe(struct parser *s, struct template_pipe *pipe);

static int fail(struct parser *s, const char *what)
{
	return err_set(s->err, EINVAL, "template: %s at character %zu", what,
		       (size_t)(s->p - s->text) + 1);
}

/* --- memory
 * ---------------------------------------------------------------------------------------- */

static void list_free(struct template_list *list);

static void pipe_free(struct template_pipe *pipe)
{
	for (size_t i = 0; i < pipe->n; i++) {
		struct template_command *cmd = &pipe->commands[i];

		for (size_t k = 0; k < cmd->n; k++) {
			struct template_expr *e = &cmd->args[k];

			free(e->name);
			json_decref(e->value);
			if (e->pipe)
				pipe_free(e->pipe);
			free(e->pipe);
			strv_free(&e->fields);
		}
		free(cmd->args);
	}
	free(pipe->commands);
	strv_free(&pipe->vars);
}

static void list_free(struct template_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct template_node *n = &list->v[i];

		free(n->text);
		pipe_free(&n->pipe);
		list_free(&n->body);
		list_free(&n->other);
	}
	free(list->v);
}

void template_free(struct template *t)
{
	if (!t)
		return;
	list_free(&t->list);
	free(t);
}

void template_cleanup(struct template **t)
{
	template_free(*t);
	*t = NULL;
}

/* --- words inside {{ }}
 * ------------------------------------------------------------------------------ */

static void skip_blanks(struct parser *s)
{
	while (isspace((unsigned char)*s->p))
		s->p++;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static size_t word_len(const char *p)
{
	size_t n = 0;

	while (is_word(p[n]))
		n++;
	return n;
}

static bool accept(struct parser *s, const char *what)
{
	size_t n = strlen(what);

	skip_blanks(s);
	if (strncmp(s->p, what, n) != 0 || (isalpha((unsigned char)*what) && is_word(s->p[n])))
		return false;
	s->p += n;
	return true;
}

/* "}}" or " -}}", not consumed */
static bool at_end(struct parser *s)
{
	skip_blanks(s);
	return str_starts(s->p, "}}") || str_starts(s->p, "-}}");
}

static int close_action(struct parser *s)
{
	skip_blanks(s);
	s->trim = str_starts(s->p, "-}}");
	if (!s->trim && !str_starts(s->p, "}}"))
		return fail(s, *s->p ? "unexpected text" : "{{ without }}");
	s->p += s->trim ? 3 : 2;
	return 0;
}

static int parse_string(struct parser *s, struct template_expr *e)
{
	static const char from[] = "ntr\"\\'", to[] = "\n\t\r\"\\'";
	auto_str struct str text = { 0 };
	char quote = *s->p++;

	while (*s->p && *s->p != quote) {
		if (*s->p == '\\' && quote == '"') {
			const char *hit = s->p[1] ? strchr(from, s->p[1]) : NULL;

			if (!hit)
				return fail(s, "unknown escape");
			str_addc(&text, to[hit - from]);
			s->p += 2;
			continue;
		}
		str_addc(&text, *s->p++);
	}
	if (!*s->p)
		return fail(s, "unterminated string");
	s->p++;
	e->value = json_from_str(str_get(&text));
	return 0;
}

static int parse_number(struct parser *s, struct template_expr *e)
{
	size_t n = strspn(s->p, "+-0123456789.eE");
	auto_free char *text = mem_strn(s->p, n);
	char *end = NULL;

	errno = 0;
	if (strpbrk(text, ".eE"))
		e->value = json_real(strtod(text, &end));
	else
		e->value = json_integer(strtoll(text, &end, 10));
	if (errno || !end || *end || !e->value)
		return fail(s, "bad number");
	s->p += n;
	return 0;
}

static int parse_name(struct parser *s, struct template_expr *e)
{
	static const struct {
		const char *name;
		json_t *(*make)(void);
	} constants[] = { { "true", json_true }, { "false", json_false }, { "nil", json_null } };
	size_t n = word_len(s->p);
	auto_free char *name = mem_strn(s->p, n);

	for (size_t i = 0; i < ARRAY_LEN(constants); i++) {
		if (str_eq(name, constants[i].name)) {
			e->value = constants[i].make();
			e->kind = EXPR_VALUE;
		}
	}
	if (!e->value) {
		if (!template_has_func(name)) {
			err_set(s->err, EINVAL, "template: there is no function %s", name);
			return -EINVAL;
		}
		e->name = take(name);
		e->kind = EXPR_FUNC;
	}
	s->p += n;
	return 0;
}

static int parse_paren(struct parser *s, struct template_expr *e)
{
	int rc;

	s->p++;
	if (++s->depth > DEPTH_MAX)
		return fail(s, "too deeply nested");
	e->kind = EXPR_PIPE;
	e->pipe = mem_alloc(sizeof(*e->pipe));
	rc = parse_pipe(s, e->pipe);
	if (rc < 0)
		return rc;
	s->depth--;
	return accept(s, ")") ? 0 : fail(s, "missing )");
}

static int parse_operand(struct parser *s, struct template_expr *e)
{
	char c = *s->p;

	if (c == '(')
		return parse_paren(s, e);
	if (c == '$') {
		size_t n = word_len(s->p + 1);

		e->kind = EXPR_VAR;
		e->name = mem_strn(s->p + 1, n);
		s->p += n + 1;
		return 0;
	}
	if (c == '.' && !isdigit((unsigned char)s->p[1])) {
		/* The dot belongs to the first field, if there is one. */
		e->kind = EXPR_DOT;
		if (!is_word(s->p[1]))
			s->p++;
		return 0;
	}
	e->kind = EXPR_VALUE;
	if (c == '"' || c == '`')
		return parse_string(s, e);
	if (isdigit((unsigned char)c) ||
	    ((c == '-' || c == '+') && isdigit((unsigned char)s->p[1])))
		return parse_number(s, e);
	return is_word(c) ? parse_name(s, e)
			  : fail(s, *s->p ? "unexpected character" : "{{ without }}");
}

static int parse_expr(struct parser *s, struct template_expr *e)
{
	int rc = parse_operand(s, e);

	while (rc >= 0 && *s->p == '.' && e->kind != EXPR_FUNC && is_word(s->p[1])) {
		size_t n = word_len(s->p + 1);

		strv_add_take(&e->fields, mem_strn(s->p + 1, n));
		s->p += n + 1;
	}
	return rc;
}

static int parse_command(struct parser *s, struct template_command *cmd)
{
	for (;;) {
		int rc;

		skip_blanks(s);
		if (at_end(s) || *s->p == '|' || *s->p == ')')
			break;
		mem_room(cmd->args, cmd->n, cmd->cap);
		cmd->args[cmd->n] = (struct template_expr){ 0 };
		rc = parse_expr(s, &cmd->args[cmd->n++]);
		if (rc < 0)
			return rc;
	}
	return cmd->n ? 0 : fail(s, "empty command");
}

/* "$x :=", "$i, $v :=" or "$x =", if it stands there. */
static void parse_vars(struct parser *s, struct template_pipe *pipe)
{
	const char *start = s->p;

	while (skip_blanks(s), *s->p == '$') {
		size_t n = word_len(s->p + 1);

		strv_add_take(&pipe->vars, mem_strn(s->p + 1, n));
		s->p += n + 1;
		if (!accept(s, ","))
			break;
	}
	if (pipe->vars.n && pipe->vars.n <= 2) {
		if (accept(s, ":="))
			return;
		pipe->assign = accept(s, "=");
		if (pipe->assign)
			return;
	}
	strv_free(&pipe->vars);
	pipe->vars = (struct strv){ 0 };
	s->p = start;
}

static int parse_pipe(struct parser *s, struct template_pipe *pipe)
{
	parse_vars(s, pipe);
	do {
		int rc;

		mem_room(pipe->commands, pipe->n, pipe->cap);
		pipe->commands[pipe->n] = (struct template_command){ 0 };
		rc = parse_command(s, &pipe->commands[pipe->n++]);
		if (rc < 0)
			return rc;
	} while (accept(s, "|"));
	return 0;
}

/* --- actions and text
 * ---------------------------------------------------------------------------------- */

static struct template_node *add_node(struct template_list *list, enum node_kind kind)
{
	mem_room(list->v, list->n, list->cap);
	list->v[list->n] = (struct template_node){ .kind = kind };
	return &list->v[list->n++];
}

/* As docker: \t and \n in the text are a tab and a newline, since a shell does not make them. */
static void add_text(struct template_list *list, const char *p, size_t n)
{
	auto_str struct str text = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\\' && i + 1 < n && (p[i + 1] == 't' || p[i + 1] == 'n'))
			str_add(&text, p[++i] == 't' ? "\t" : "\n");
		else
			str_addc(&text, p[i]);
	}
	if (text.len)
		add_node(list, NODE_TEXT)->text = str_take(&text);
}

static int parse_else(struct parser *s, struct template_node *node, enum node_kind kind);

/* The lists of an if, range or with, whose keyword has been read. */
static int parse_block(struct parser *s, struct template_node *node)
{
	const char *end;
	int rc;

	if (++s->depth > DEPTH_MAX)
		return fail(s, "too deeply nested");
	rc = parse_pipe(s, &node->pipe);
	if (rc >= 0)
		rc = close_action(s);
	if (rc >= 0)
		rc = parse_list(s, &node->body, &end);
	if (rc < 0)
		return rc;
	if (!*end)
		return fail(s, "missing {{end}}");
	if (*end == 'e' && end[1] == 'l')
		rc = parse_else(s, node, node->kind);
	s->depth--;
	return rc;
}

static int parse_else(struct parser *s, struct template_node *node, enum node_kind kind)
{
	const char *end;
	int rc;

	if (kind == NODE_IF && accept(s, "if"))
		return parse_block(s, add_node(&node->other, NODE_IF));
	if (kind == NODE_WITH && accept(s, "with"))
		return parse_block(s, add_node(&node->other, NODE_WITH));
	rc = close_action(s);
	if (rc >= 0)
		rc = parse_list(s, &node->other, &end);
	if (rc < 0)
		return rc;
	return str_eq(end, "end") ? 0 : fail(s, "missing {{end}}");
}

/* After "{{". *ret_end: "end" or "else" when that was it (else not closed). */
static int parse_action(struct parser *s, struct template_list *list, const char **ret_end)
{
	static const struct {
		const char *word;
		enum node_kind kind;
	} blocks[] = { { "if", NODE_IF }, { "range", NODE_RANGE }, { "with", NODE_WITH } };
	int rc;

	if (accept(s, "/*")) {
		const char *end = strstr(s->p, "*/");

		if (!end)
			return fail(s, "unterminated comment");
		s->p = end + 2;
		return close_action(s);
	}
	if (accept(s, "else")) {
		*ret_end = "else";
		return 0;
	}
	if (accept(s, "end")) {
		*ret_end = "end";
		return close_action(s);
	}
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
		if (accept(s, blocks[i].word))
			return parse_block(s, add_node(list, blocks[i].kind));
	rc = parse_pipe(s, &add_node(list, NODE_PRINT)->pipe);
	return rc < 0 ? rc : close_action(s);
}

/* Up to {{end}}, {{else or the end of the text (""). */
static int parse_list(struct parser *s, struct template_list *list, const char **ret_end)
{
	*ret_end = NULL;
	while (!*ret_end) {
		const char *open, *stop;
		int rc;

		if (s->trim)
			skip_blanks(s);
		s->trim = false;
		open = strstr(s->p, "{{");
		stop = open ? open : s->p + strlen(s->p);
		/* "{{- " takes the blanks before it; "{{-3}}" is a number. */
		if (open && open[2] == '-' && isspace((unsigned char)open[3]))
			while (stop > s->p && isspace((unsigned char)stop[-1]))
				stop--;
		add_text(list, s->p, (size_t)(stop - s->p));
		if (!open) {
			s->p = stop;
			*ret_end = "";
			return 0;
		}
		s->p = open + (open[2] == '-' && isspace((unsigned char)open[3]) ? 3 : 2);
		rc = parse_action(s, list, ret_end);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int template_parse(const char *text, struct template **ret, struct err *err)
{
	auto_template struct template *t = mem_alloc(sizeof(*t));
	struct parser s = { .text = text, .p = text, .err = err };
	const char *end;
	int rc;

	if (strlen(text) > TEXT_MAX)
		return err_set(err, EINVAL, "template: longer than %d bytes", TEXT_MAX);
	rc = parse_list(&s, &t->list, &end);
	if (rc < 0)
		return rc;
	if (*end)
		return fail(&s, *end == 'e' && end[1] == 'n' ? "unexpected {{end}}"
							     : "unexpected {{else}}");
	*ret = take(t);
	return 0;
}
