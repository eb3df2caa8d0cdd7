/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/cdi.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/json.h>
#include <shale/base/path.h>

enum { FILES_MAX = 1000 };

static const char default_dirs[] = "/etc/cdi:/etc/buildkit/cdi:/var/run/cdi";

static bool is_word(const char *s, size_t n, const char *others)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && (!i || !strchr(others, s[i])))
			return false;
	return n > 0;
}

bool cdi_is_name(const char *name)
{
	const char *slash = strchr(name, '/'), *eq = strchr(name, '=');

	return slash && (!eq || eq > slash) && is_word(name, (size_t)(slash - name), "_.-") &&
	       is_word(slash + 1, eq ? (size_t)(eq - slash - 1) : strlen(slash + 1), "_.-") &&
	       (!eq || !strcmp(eq + 1, "*") || is_word(eq + 1, strlen(eq + 1), "_.:-"));
}

struct finding {
	json_t *edits; /* what was found */
	char *kind;
	const char *name; /* NULL: any one, "*": all */
	char *from;       /* the file that had it */
	bool found;
	size_t other_files; /* that are no JSON */
};

int cdi_only(const json_t *edits, const char *const *known, struct err *err)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)edits, key, value)
	{
		bool is_known = false;

		for (size_t i = 0; known[i] && !is_known; i++)
			is_known = !strcmp(known[i], key);
		if (!is_known && (json_array_size(value) || !json_is_array(value)))
			return err_set(err, ENOTSUP, "containerEdits: %.60s is not done", key);
	}
	return 0;
}

static void add_edits(struct finding *f, const json_t *edits)
{
	json_array_append_new(f->edits, edits ? json_deep_copy(edits) : json_object());
}

static bool is_meant(const struct finding *f, const char *name)
{
	return name && (!f->name || !strcmp(f->name, "*") || !strcmp(f->name, name));
}

static int take_spec(struct finding *f, const json_t *spec, const char *file, struct err *err)
{
	const json_t *common = json_object_get(spec, "containerEdits"), *one;
	bool before = f->found;
	size_t i;

	if (!str_eq(json_get_str(spec, "kind"), f->kind))
		return 0;
	json_array_foreach(json_object_get(spec, "devices"), i, one)
	{
		if (!is_meant(f, json_get_str(one, "name")) || (f->found && !f->name))
			continue;
		if (before && !str_eq(f->name, "*"))
			return err_set(err, EINVAL, "%s and %s both have it", f->from, file);
		if (common && (!f->from || strcmp(f->from, file) != 0))
			add_edits(f, common);
		add_edits(f, json_object_get(one, "containerEdits"));
		f->found = true;
		free(f->from);
		f->from = mem_str(file);
	}
	return 0;
}

/* A device may do something when it is opened, and a fifo waits. */
static int read_regular(int dir_fd, const char *name, char **ret, size_t *ret_len, struct err *err)
{
	auto_fd int at = path_open_beneath(dir_fd, name, O_PATH, 0, err), fd = -1;
	char path[FD_PATH_MAX];
	struct stat st;

	if (at < 0)
		return fd_take(&at);
	if (fstat(at, &st) < 0)
		return err_sys(err, "stat");
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "no regular file");
	fd = open(fd_path(at, path), O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, "open") : fd_read_all(fd, JSON_BYTES_MAX, ret, ret_len, err);
}

static int read_spec(struct finding *f, int dir_fd, const char *name, struct err *err)
{
	auto_json json_t *spec = NULL;
	auto_free char *text = NULL;
	size_t len = 0;
	int rc = read_regular(dir_fd, name, &text, &len, err);

	if (rc >= 0)
		rc = json_parse(text, len, &spec, err);
	return rc < 0 ? rc : take_spec(f, spec, name, err);
}

static int look_in(struct finding *f, const char *dir, struct err *err)
{
	auto_fd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_strv struct strv names = { 0 };
	int rc = fd < 0 ? 0 : fs_list(fd, ".", &names, err);

	if (names.n > FILES_MAX)
		return err_set(err, E2BIG, "%s: more than %d files", dir, FILES_MAX);
	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		f->other_files += str_ends(names.v[i], ".yaml") || str_ends(names.v[i], ".yml");
		if (str_ends(names.v[i], ".json"))
			rc = read_spec(f, fd, names.v[i], err);
		if (rc < 0)
			return err_ctx(err, "%s/%s", dir, names.v[i]);
	}
	return rc;
}

static void finding_free(struct finding *f)
{
	json_decref(f->edits);
	free(f->kind);
	free(f->from);
}

int cdi_find(const char *name, json_t **ret, struct err *err)
{
	const char *eq = strchr(name, '='), *given = getenv("SHALE_CDI_DIRS");
	const char *where = given && *given ? given : default_dirs;
	cleanup(finding_free) struct finding f = { .edits = json_array(),
						   .kind = mem_strn(name, strcspn(name, "=")),
						   .name = eq ? eq + 1 : NULL };
	auto_strv struct strv dirs = { 0 };
	int rc = 0;

	strv_split(&dirs, where, ':');
	for (size_t i = dirs.n; i-- > 0 && !f.found && rc >= 0;)
		rc = look_in(&f, dirs.v[i], err);
	if (rc < 0)
		return rc;
	if (f.found) {
		*ret = take(f.edits);
		return 0;
	}
	err_set(err, ENOENT, "no such device in %s", where);
	return f.other_files ? err_hint(err, "files in YAML are not read: only in JSON") : -ENOENT;
}
