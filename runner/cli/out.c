/* SPDX-License-Identifier: Apache-2.0 */
/* out: what commands print. The text of images and containers is foreign: it reaches a terminal
 * without its control characters. */
#include "priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>

enum { COLUMN_MIN = 10, COLUMN_GAP = 3, COLUMNS_MAX = 64 };

/* An escape sequence in a label or an instruction must not move the reader's cursor or retitle the
 * window. */
static void add_clean(struct str *to, const char *s, bool is_cell)
{
	for (; *s; s++) {
		size_t n = 0;

		while ((unsigned char)s[n] >= 0x20 && s[n] != 0x7f && (unsigned char)s[n] != 0xc2)
			n++;
		str_addn(to, s, n);
		s += n;
		if (!*s)
			return;
		if ((unsigned char)*s == 0xc2 && ((unsigned char)s[1] & 0xe0) != 0x80) {
			str_addc(to, *s);
		} else if (*s == '\n' || *s == '\t') {
			str_addc(to, (char)(is_cell ? ' ' : *s));
		} else {
			s += (unsigned char)*s == 0xc2; /* a control character of two bytes */
			str_addc(to, '?');
		}
	}
}

void out_clean(FILE *to, const char *s, bool is_cell)
{
	auto_str struct str text = { 0 };

	add_clean(&text, s, is_cell);
	fputs(str_get(&text), to);
}

static void print_text(const char *s)
{
	if (isatty(STDOUT_FILENO))
		out_clean(stdout, s, false);
	else
		fputs(s, stdout);
}

static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80; /* not in the middle of a character */
	return n;
}

static void add_blanks(struct str *to, size_t n)
{
	static const char blanks[] = "                                ";

	for (; n > sizeof(blanks) - 1; n -= sizeof(blanks) - 1)
		str_addn(to, blanks, sizeof(blanks) - 1);
	str_addn(to, blanks, n);
}

/* Tabs become ends: how many cells there are. */
static size_t cut(char *line)
{
	size_t n = 1;

	for (; (line = strchr(line, '\t')); n++)
		*line++ = 0;
	return n;
}

static void widen(const char *cell, size_t n, size_t width[COLUMNS_MAX])
{
	for (size_t k = 0; k < n && k < COLUMNS_MAX; k++) {
		size_t len = strlen(cell), w = len > width[k] ? width_of(cell) : 0;

		if (w > width[k])
			width[k] = w;
		cell += len + 1;
	}
}

static void add_line(struct str *out, const char *cell, size_t n, const size_t width[COLUMNS_MAX])
{
	for (size_t k = 0; k < n; k++, cell += strlen(cell) + 1) {
		size_t room = k < COLUMNS_MAX ? width[k] + COLUMN_GAP : 0;
		size_t w = k + 1 < n ? width_of(cell) : 0;

		add_clean(out, cell, true);
		if (room < COLUMN_MIN)
			room = COLUMN_MIN;
		if (k + 1 < n)
			add_blanks(out, room > w ? room - w : 1);
	}
	str_addc(out, '\n');
}

/* Lines of cells separated by tabs, aligned as docker's tabwriter does: at least ten wide, three
 * apart. */
void out_aligned(struct strv *lines)
{
	size_t width[COLUMNS_MAX] = { 0 };
	auto_free size_t *n = mem_array(lines->n + 1, sizeof(*n));
	auto_str struct str out = { 0 };

	for (size_t i = 0; i < lines->n; i++) {
		n[i] = cut(lines->v[i]);
		widen(lines->v[i], n[i], width);
	}
	for (size_t i = 0; i < lines->n; i++)
		add_line(&out, lines->v[i], n[i], width);
	fwrite(str_get(&out), 1, out.len, stdout);
}

void out_cell(struct str *line, const char *text)
{
	size_t from = line->len;

	str_add(line, text);
	for (size_t i = from; i < line->len; i++)
		if (line->s[i] == '\t' || line->s[i] == '\n')
			line->s[i] = ' ';
}

void out_heads(const struct out_column *cols, struct strv *lines)
{
	struct str line = { 0 };

	for (const struct out_column *c = cols; c->header; c++)
		if (!c->hidden)
			str_addf(&line, "%s%s", line.len ? "\t" : "", c->header);
	strv_add_take(lines, str_take(&line));
}

/* A cell may hold no tab, or it would be two. */
static void add_cell(struct str *line, const json_t *row, const char *key)
{
	const json_t *v = json_object_get(row, key);
	size_t from = line->len;

	if (v)
		template_print(v, line);
	for (size_t i = from; i < line->len; i++)
		if (line->s[i] == '\t' || line->s[i] == '\n')
			line->s[i] = ' ';
}

static void list_default(const struct out_list *o, const json_t *rows)
{
	auto_strv struct strv lines = { 0 };
	struct str line = { 0 };
	json_t *row;
	size_t i;

	if (!o->no_heads)
		out_heads(o->cols, &lines);
	json_array_foreach((json_t *)(uintptr_t)rows, i, row)
	{
		bool first = true;

		for (const struct out_column *c = o->cols; c->header; c++) {
			if (c->hidden)
				continue;
			if (!first)
				str_addc(&line, '\t');
			first = false;
			add_cell(&line, row, c->key);
		}
		strv_add_take(&lines, str_take(&line));
	}
	out_aligned(&lines);
}

/* The heads are what the template makes of the columns' names. */
static int list_table(const struct out_list *o, const struct template *t, const json_t *rows,
		      struct err *err)
{
	auto_strv struct strv lines = { 0 };
	auto_json json_t *heads = out_row_new();
	auto_str struct str line = { 0 };
	json_t *row;
	size_t i;
	int rc;

	for (const struct out_column *c = o->cols; c->header; c++)
		out_row_set(heads, c->key, c->header);
	rc = template_run(t, heads, &line, err);
	if (rc < 0)
		return rc;
	if (o->no_heads)
		str_reset(&line);
	else
		strv_add_take(&lines, str_take(&line));
	json_array_foreach((json_t *)(uintptr_t)rows, i, row)
	{
		rc = template_run(t, row, &line, err);
		if (rc < 0)
			return rc;
		strv_add_take(&lines, str_take(&line));
	}
	out_aligned(&lines);
	return 0;
}

static int list_template(const struct template *t, const json_t *rows, struct err *err)
{
	auto_str struct str out = { 0 };
	json_t *row;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)rows, i, row)
	{
		int rc = template_run(t, row, &out, err);

		if (rc < 0)
			return rc;
		print_text(str_get(&out));
		putchar('\n');
		str_reset(&out);
	}
	return 0;
}

static const char *table_template(const char *format)
{
	if (!str_starts(format, "table") || !strchr(" \t\\", format[5]))
		return NULL;
	return format[5] == '\\' ? format + 5 : format + 6;
}

int out_list(const struct out_list *o, const json_t *rows, struct err *err)
{

	auto_template struct template *t = NULL;
	const char *format = o->format, *table;
	json_t *row;
	size_t i;
	int rc;

	if (o->quiet_key) {
		json_array_foreach((json_t *)(uintptr_t)rows, i, row)
			puts(json_get_str(row, o->quiet_key));
		return 0;
	}
	if (!format || !*format || str_eq(format, "table")) {
		list_default(o, rows);
		return 0;
	}
	if (str_eq(format, "json"))
		format = "{{json .}}";
	table = table_template(format);
	rc = template_parse(table ? table : format, &t, err);
	if (rc < 0)
		return rc;
	return table ? list_table(o, t, rows, err) : list_template(t, rows, err);
}

int out_value(const char *format, const json_t *value, struct err *err)
{
	auto_template struct template *t = NULL;
	auto_str struct str out = { 0 };
	int rc;

	rc = template_parse(str_eq(format, "json") ? "{{json .}}" : format, &t, err);
	if (rc >= 0)
		rc = template_run(t, value, &out, err);
	if (rc < 0)
		return rc;
	print_text(str_get(&out));
	putchar('\n');
	return 0;
}

char *out_time(int64_t t_s)
{
	time_t t = (time_t)t_s;
	struct tm tm;
	char buf[64];

	if (!gmtime_r(&t, &tm) || !strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return mem_str("0001-01-01T00:00:00Z");
	return mem_str(buf);
}

char *out_short_id(const char *id)
{
	static const char prefix[] = "sha256:";

	if (str_starts(id, prefix))
		id += strlen(prefix);
	return mem_strn(id, strnlen(id, 12));
}

const char *out_plural(size_t n)
{
	return n == 1 ? "" : "s";
}

char *out_shortened(const char *text, size_t room)
{
	size_t n = 0;

	if (width_of(text) <= room)
		return mem_str(text);
	for (size_t shown = 1; shown < room; shown++)
		do
			n++;
		while (((unsigned char)text[n] & 0xc0) == 0x80);
	return mem_fmt("%.*s…", (int)n, text);
}

char *out_size(uint64_t bytes)
{
	char buf[STR_SIZE_MAX];

	return mem_str(str_size(bytes, buf));
}

json_t *out_row_new(void)
{
	return json_object();
}

void out_row_set(json_t *row, const char *key, const char *value)
{
	json_object_set_new(row, key, json_from_str(value ? value : ""));
}

void out_row_take(json_t *row, const char *key, char *value)
{
	out_row_set(row, key, value);
	free(value);
}

/* SUDO_UID is only heeded by root, who could give files away anyhow. */
bool out_user(uint32_t *ret_uid, uint32_t *ret_gid)
{
	const char *uid_text = secure_getenv("SUDO_UID"), *gid_text = secure_getenv("SUDO_GID");
	uint64_t uid, gid;

	*ret_uid = geteuid();
	*ret_gid = getegid();
	if (*ret_uid != 0 || str_to_u64(uid_text, 10, UINT32_MAX - 1, &uid) < 0 ||
	    str_to_u64(gid_text, 10, UINT32_MAX - 1, &gid) < 0)
		return false;
	*ret_uid = (uint32_t)uid;
	*ret_gid = (uint32_t)gid;
	return true;
}

int out_give_to_user(int fd, struct err *err)
{
	uint32_t uid, gid;

	if (out_user(&uid, &gid) && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		return err_sys(err, "give a file to uid %u", uid);
	return 0;
}

int out_create_file(const char *path, struct err *err)
{
	auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0644);
	int rc;

	if (fd < 0 && errno == EEXIST) {
		/* A file that was there keeps its owner; so does a pipe or /dev/stdout. */
		fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return err_sys(err, "open %s", path);
		return fd_take(&fd);
	}
	if (fd < 0)
		return err_sys(err, "create %s", path);
	rc = out_give_to_user(fd, err);
	return rc < 0 ? rc : fd_take(&fd);
}

int out_write_file(const char *option, const char *path, const char *text, struct err *err)
{
	auto_fd int fd = out_create_file(path, err);
	int rc = fd < 0 ? fd : fd_write_str(fd, text, err);

	return rc < 0 ? err_ctx(err, "%s %s", option, path) : 0;
}
