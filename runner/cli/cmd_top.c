/* SPDX-License-Identifier: Apache-2.0 */
/* top: the processes of a container as ps shows them. All is read from /proc here: no program of
 * the host or of the container is run (TRAPS T2). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/container.h>

#include "priv.h"

extern const struct command cmd_top;

enum { FILE_MAX = 1 << 20, COLUMNS_MAX = 32, DAY_S = 86400, FIELDS_OF_STAT = 52 };

struct process {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	char *name;                    /* as the kernel has it */
	char state;                    /* "S" */
	int64_t field[FIELDS_OF_STAT]; /* of stat, numbered as proc(5) does */
	char *command;
	int64_t started_s; /* since the epoch */
	int64_t used_s, lived_s;
	double percent_memory;
	const char *users; /* the host's passwd file */
};

static void process_free(struct process *p)
{
	free(p->name);
	free(p->command);
}

/* --- reading --- */

static int64_t uptime_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec;
}

/* The name is in brackets and may have blanks and brackets of its own. */
static bool read_stat(const char *dir, struct process *p)
{
	auto_free char *path = mem_fmt("%s/stat", dir), *text = NULL;
	struct err ignored;
	char *open, *close, *save = NULL;
	int n = 3;

	if (fd_read_file(AT_FDCWD, path, FILE_MAX, &text, NULL, &ignored) < 0)
		return false;
	open = strchr(text, '(');
	close = strrchr(text, ')');
	if (!open || !close || close < open || !close[1])
		return false;
	p->name = mem_strn(open + 1, (size_t)(close - open - 1));
	for (char *w = strtok_r(close + 2, " ", &save); w && n < FIELDS_OF_STAT;
	     w = strtok_r(NULL, " ", &save), n++) {
		if (n == 3)
			p->state = *w;
		else
			p->field[n] = strtoll(w, NULL, 10);
	}
	return true;
}

static void read_command(const char *dir, struct process *p)
{
	auto_free char *path = mem_fmt("%s/cmdline", dir), *text = NULL;
	struct err ignored;
	size_t len = 0;

	if (fd_read_file(AT_FDCWD, path, FILE_MAX, &text, &len, &ignored) < 0 || !len) {
		p->command = mem_fmt("[%s]", p->name);
		return;
	}
	for (size_t i = 0; i + 1 < len; i++)
		if (!text[i])
			text[i] = ' ';
	p->command = take(text);
}

enum { STAT_PPID = 4, STAT_TTY = 7, STAT_UTIME = 14, STAT_STIME = 15, STAT_PRIO = 18 };
enum { STAT_NICE = 19, STAT_THREADS = 20, STAT_START = 22, STAT_VSIZE = 23, STAT_RSS = 24 };

/* False when it has ended meanwhile. */
static bool read_process(pid_t pid, struct process *p)
{
	auto_free char *dir = mem_fmt("/proc/%d", (int)pid);
	long ticks = sysconf(_SC_CLK_TCK);
	struct stat st;

	if (stat(dir, &st) < 0 || !read_stat(dir, p))
		return false;
	p->pid = pid;
	p->uid = st.st_uid;
	p->gid = st.st_gid;
	read_command(dir, p);
	p->lived_s = uptime_s() - p->field[STAT_START] / ticks;
	p->started_s = time(NULL) - p->lived_s;
	p->used_s = (p->field[STAT_UTIME] + p->field[STAT_STIME]) / ticks;
	p->percent_memory = 100.0 * (double)p->field[STAT_RSS] / (double)sysconf(_SC_PHYS_PAGES);
	return true;
}

/* --- columns --- */

static char *text_number(int64_t v)
{
	return mem_fmt("%" PRId64, v);
}

static char *col_uid(const struct process *p)
{
	auto_free char *want = mem_fmt(":%u:", (unsigned)p->uid);

	for (const char *line = p->users; line && *line; line += *line ? 1 : 0) {
		size_t n = strcspn(line, "\n"), name = strcspn(line, ":\n");
		const char *second = name < n ? memchr(line + name + 1, ':', n - name - 1) : NULL;

		if (second && str_starts(second, want))
			return mem_strn(line, name);
		line += n;
	}
	return text_number(p->uid);
}

static char *col_pid(const struct process *p)
{
	return text_number(p->pid);
}

static char *col_ppid(const struct process *p)
{
	return text_number(p->field[STAT_PPID]);
}

static char *col_gid(const struct process *p)
{
	return text_number(p->gid);
}

static double percent_cpu(const struct process *p)
{
	return p->lived_s > 0 ? 100.0 * (double)p->used_s / (double)p->lived_s : 0;
}

static char *col_c(const struct process *p)
{
	return text_number((int64_t)percent_cpu(p));
}

static char *col_cpu(const struct process *p)
{
	return mem_fmt("%.1f", percent_cpu(p));
}

static char *col_mem(const struct process *p)
{
	return mem_fmt("%.1f", p->percent_memory);
}

static char *col_start(const struct process *p)
{
	time_t t = p->started_s;
	char text[16];
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(text, sizeof(text), p->lived_s < DAY_S ? "%H:%M" : "%b%d", &tm);
	return mem_str(text);
}

static char *col_tty(const struct process *p)
{
	unsigned major = (unsigned)(p->field[STAT_TTY] >> 8 & 0xfff);
	unsigned minor =
		(unsigned)((p->field[STAT_TTY] & 0xff) | (p->field[STAT_TTY] >> 12 & 0xfff00));

	if (!p->field[STAT_TTY])
		return mem_str("?");
	return mem_fmt(major >= 136 && major <= 143 ? "pts/%u" : "tty%u", minor);
}

static char *col_time(const struct process *p)
{
	int64_t s = p->used_s;

	return mem_fmt("%02" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60, s % 60);
}

static char *col_elapsed(const struct process *p)
{
	int64_t s = p->lived_s;

	return s < 3600 ? mem_fmt("%02" PRId64 ":%02" PRId64, s / 60, s % 60)
			: mem_fmt("%02" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60,
				  s % 60);
}

static char *col_command(const struct process *p)
{
	return mem_str(p->command);
}

static char *col_comm(const struct process *p)
{
	return mem_str(p->name);
}

static char *col_state(const struct process *p)
{
	return mem_fmt("%c", p->state);
}

static char *col_nice(const struct process *p)
{
	return text_number(p->field[STAT_NICE]);
}

static char *col_threads(const struct process *p)
{
	return text_number(p->field[STAT_THREADS]);
}

static char *col_vsz(const struct process *p)
{
	return text_number(p->field[STAT_VSIZE] / 1024);
}

static char *col_rss(const struct process *p)
{
	return text_number(p->field[STAT_RSS] * (sysconf(_SC_PAGESIZE) / 1024));
}

static const struct column {
	const char *names; /* of ps, and podman's descriptors: blank-separated */
	const char *header;
	char *(*text)(const struct process *p);
} all_columns[] = {
	{ "uid", "UID", col_uid },
	{ "user euser uname huser", "USER", col_uid },
	{ "pid hpid tgid", "PID", col_pid },
	{ "ppid", "PPID", col_ppid },
	{ "gid egid", "GID", col_gid },
	{ "c", "C", col_c },
	{ "%cpu pcpu", "%CPU", col_cpu },
	{ "%mem pmem", "%MEM", col_mem },
	{ "stime start start_time bsdstart", "STIME", col_start },
	{ "tty tt tname", "TTY", col_tty },
	{ "time cputime", "TIME", col_time },
	{ "etime", "ELAPSED", col_elapsed },
	{ "cmd args command", "CMD", col_command },
	{ "comm ucmd ucomm", "COMMAND", col_comm },
	{ "s state stat", "S", col_state },
	{ "ni nice", "NI", col_nice },
	{ "nlwp thcount", "NLWP", col_threads },
	{ "vsz vsize", "VSZ", col_vsz },
	{ "rss rssize", "RSS", col_rss },
};

struct chosen {
	const struct column *v[COLUMNS_MAX];
	size_t n;
};

static int choose(struct chosen *ret, const char *list, struct err *err)
{
	auto_strv struct strv words = { 0 };

	strv_split(&words, list, ',');
	for (size_t i = 0; i < words.n; i++) {
		const struct column *hit = NULL;

		for (size_t k = 0; k < ARRAY_LEN(all_columns) && !hit; k++) {
			auto_strv struct strv names = { 0 };

			strv_split(&names, all_columns[k].names, ' ');
			if (strv_has(&names, words.v[i]))
				hit = &all_columns[k];
		}
		if (!hit || ret->n == COLUMNS_MAX)
			return err_set(err, EINVAL, "%s: no column of this name", words.v[i]);
		ret->v[ret->n++] = hit;
	}
	return 0;
}

/* "-ef", "aux", "-o pid,args", "-eo pid,args", "pid args": what people ask ps for. */
static int choose_by_words(struct chosen *ret, char **words, struct err *err)
{
	int rc = 0;

	for (; rc >= 0 && *words; words++) {
		const char *w = *words, *o = *w == '-' ? strchr(w, 'o') : NULL;

		if (o && (o[1] || words[1]))
			rc = choose(ret, o[1] ? o + 1 + (o[1] == '=') : *++words, err);
		else if (str_eq(w, "aux") || str_eq(w, "-aux"))
			rc = choose(ret, "user,pid,%cpu,%mem,vsz,rss,tty,stat,start,time,command",
				    err);
		else if (*w == '-' && strspn(w + 1, "eAfaxw") == strlen(w + 1))
			continue;
		else
			rc = choose(ret, w, err);
	}
	if (rc >= 0 && !ret->n)
		rc = choose(ret, "uid,pid,ppid,c,stime,tty,time,cmd", err);
	return rc;
}

static int show(const struct chosen *cols, const pid_t *pids, size_t n, struct err *err)
{
	struct out_column table[COLUMNS_MAX + 1] = { 0 };
	auto_free char *users = NULL;
	auto_json json_t *rows = json_array();
	struct err ignored;

	fd_read_file(AT_FDCWD, "/etc/passwd", FILE_MAX, &users, NULL, &ignored);
	for (size_t i = 0; i < cols->n; i++)
		table[i] = (struct out_column){ cols->v[i]->header, cols->v[i]->header, false };
	for (size_t i = 0; i < n; i++) {
		cleanup(process_free) struct process p = { .users = users };
		json_t *row;

		if (!read_process(pids[i], &p))
			continue;
		row = out_row_new();
		for (size_t k = 0; k < cols->n; k++)
			out_row_take(row, cols->v[k]->header, cols->v[k]->text(&p));
		json_array_append_new(rows, row);
	}
	return out_list(&(struct out_list){ .cols = table }, rows, err);
}

static int top_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_container struct container *ct = NULL;
	struct chosen cols = { .n = 0 };
	auto_free pid_t *pids = NULL;
	struct err err = { 0 };
	size_t n = 0;
	int rc;

	(void)args, (void)argc;
	if (choose_by_words(&cols, argv + 1, &err) < 0)
		return cli_usage(c, &err);
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = container_find(&c->rt, argv[0], &ct, &err);
	if (rc >= 0)
		rc = container_pids(ct, &pids, &n, &err);
	if (rc >= 0)
		rc = show(&cols, pids, n, &err);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_top = {
	.name = "top",
	.args = "CONTAINER [PS OPTIONS]",
	.summary = "Show the processes of a container",
	.main = top_main,
	.min_args = 1,
	.max_args = -1,
	.flags = CMD_STOP_AT_ARG,
	.complete = complete_containers,
};
