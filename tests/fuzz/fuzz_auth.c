/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of credentials. The text is each of the files that are asked; no helper program runs (fork
 * fails). What is found is whole: a user comes with a password, and nothing of it ends in a
 * message.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "../../runner/image/remote.h"
#include "fuzz.h"

static const uint8_t *input;
static size_t input_len;

int __wrap_fd_read_file(int dir_fd, const char *name, size_t limit, char **ret, size_t *ret_len,
			struct err *err);
pid_t __wrap_fork(void);

int __wrap_fd_read_file(int dir_fd, const char *name, size_t limit, char **ret, size_t *ret_len,
			struct err *err)
{
	(void)dir_fd;
	if (input_len > limit)
		return err_set(err, EFBIG, "%s", name);
	*ret = mem_strn("", 0);
	*ret = mem_grow(*ret, input_len + 1, 1);
	memcpy(*ret, input, input_len);
	(*ret)[input_len] = 0;
	*ret_len = input_len;
	return 0;
}

pid_t __wrap_fork(void)
{
	errno = EAGAIN;
	return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const registries[] = { "docker.io", "r.test:5000", "127.0.0.1:5000" };

	input = data;
	input_len = size;
	for (size_t i = 0; i < ARRAY_LEN(registries); i++) {
		struct image_access a = { .home = "/nonexistent", .uid = 1000, .gid = 1000 };
		auto_json json_t *request = json_object();
		struct err err = { 0 };
		int rc = image_auth_add(&a, registries[i], request, &err);

		must_tell(rc < 0 ? rc : 0, &err);
		must(!json_get_str(request, "user") == !json_get_str(request, "password") ||
		     json_object_size(request) > 0);
	}
	return 0;
}
