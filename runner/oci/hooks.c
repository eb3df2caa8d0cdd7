/* SPDX-License-Identifier: Apache-2.0 */
/* hooks: made into what the sandbox runs, and run by the runtime itself. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

bool oci_hooks_has(const struct oci_config *c, const char *kind)
{
	return json_array_size(oci_at(c, "hooks", kind)) > 0;
}

static char **strings(struct oci_config *c, json_t *list, const char *first)
{
	char **v = oci_block(c, json_array_size(list) + 2, sizeof(*v));
	json_t *one;
	size_t i, n = 0;

	json_array_foreach(list, i, one) v[n++] = (char *)(uintptr_t)json_string_value(one);
	if (!n && first)
		v[n++] = (char *)(uintptr_t)first;
	return v;
}

int oci_hooks_make(struct oci_config *c, const char *kind, const struct sandbox_hook **ret,
		   size_t *ret_n, struct err *err)
{
	json_t *list = oci_at(c, "hooks", kind), *one;
	struct sandbox_hook *h = oci_block(c, json_array_size(list), sizeof(*h));
	size_t i;

	json_array_foreach(list, i, one)
	{
		json_t *timeout = json_object_get(one, "timeout");
		int64_t seconds = json_integer_value(timeout);

		h[i].path = json_get_str(one, "path");
		if (!h[i].path || h[i].path[0] != '/')
			return err_set(err, EINVAL, "hooks.%s[%zu].path is not absolute", kind, i);
		if (timeout && (seconds <= 0 || seconds > INT_MAX / 1000))
			return err_set(err, EINVAL, "hooks.%s[%zu].timeout is not above 0", kind,
				       i);
		h[i].argv = strings(c, json_object_get(one, "args"), h[i].path);
		h[i].envp = strings(c, json_object_get(one, "env"), NULL);
		h[i].timeout_ms = (int)seconds * 1000;
	}
	*ret = h;
	*ret_n = i;
	return 0;
}

static int run_one(const struct sandbox_hook *h, const char *kind, size_t at, int state_fd,
		   struct err *err)
{
	int status = 0, rc = sandbox_hook_run(h, state_fd, &status);

	if (rc == -ECHILD)
		return err_set(err, ECHILD, "hooks.%s[%zu]: %s ended with status %d", kind, at,
			       h->path, proc_exit_code(status));
	return rc < 0 ? err_errno(err, -rc, "hooks.%s[%zu]: %s", kind, at, h->path) : 0;
}

static int run_all(struct oci_config *c, const char *kind, const json_t *state,
		   const struct oci_runtime *teller, struct err *err)
{
	auto_free char *text = json_text(state);
	const struct sandbox_hook *h = NULL;
	auto_fd int fd = -1;
	size_t n = 0;
	int rc = oci_hooks_make(c, kind, &h, &n, err);

	if (rc < 0 || !n)
		return rc;
	fd = memfd_create("state", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "memfd");
	rc = fd_write_str(fd, text, err);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = run_one(&h[i], kind, i, fd, err);
		if (rc == 0 || !teller)
			continue;
		if (teller->warn)
			teller->warn(err->msg);
		err_clear(err);
		rc = 0;
	}
	return rc;
}

int oci_hooks_run(struct oci_config *c, const char *kind, const json_t *state, struct err *err)
{
	return run_all(c, kind, state, NULL, err);
}

void oci_hooks_poststop(struct oci_config *c, const json_t *state, const struct oci_runtime *r)
{
	struct err why = { 0 };

	if (run_all(c, "poststop", state, r, &why) < 0 && r->warn)
		r->warn(why.msg);
}
