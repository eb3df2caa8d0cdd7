/* SPDX-License-Identifier: Apache-2.0 */
/* A file from a web server for who builds nothing: import. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "remote.h"

static int get(struct runtime *rt, const struct source_url *u, const struct image_pull_opts *o,
	       int to_fd, struct err *err)
{
	auto_image_url struct image_url file = { .url = u->url,
						 .user = u->user,
						 .password = u->password };
	struct statvfs v;

	if (u->is_git)
		return err_set(err, EINVAL, "it is a git repository");
	if (fstatvfs(rt->root_fd, &v) < 0)
		return err_sys(err, "free space of the store");
	return image_url_get(&file, o, to_fd, (uint64_t)v.f_bavail * v.f_frsize, err);
}

int build_url_get(struct runtime *rt, const char *url, const struct image_pull_opts *o, int to_fd,
		  char **ret_shown, struct err *err)
{
	auto_free char *shown = source_url_scrub(url);
	struct source_url u = { 0 };
	int rc = source_url_parse(url, &u, err);

	if (rc == 0)
		rc = err_set(err, EINVAL, "not a URL of http or https");
	if (rc > 0)
		rc = get(rt, &u, o, to_fd, err);
	source_url_free(&u);
	if (rc < 0)
		return err_ctx(err, "%.200s", shown);
	*ret_shown = take(shown);
	return 0;
}
