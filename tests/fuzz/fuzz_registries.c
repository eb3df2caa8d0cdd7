/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registries.conf and daemon.json: the text is both. Plain http is never allowed without the
 * registry being called insecure; whatever the files say, this machine is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>

#include "../../runner/image/remote.h"
#include "fuzz.h"

static const uint8_t *input;
static size_t input_len;

int __wrap_fd_read_file(int dir_fd, const char *name, size_t limit, char **ret, size_t *ret_len,
			struct err *err);

int __wrap_fd_read_file(int dir_fd, const char *name, size_t limit, char **ret, size_t *ret_len,
			struct err *err)
{
	(void)dir_fd;
	if (input_len > limit)
		return err_set(err, EFBIG, "%s", name);
	*ret = mem_alloc(input_len + 1);
	memcpy(*ret, input, input_len);
	*ret_len = input_len;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const registries[] = { "docker.io", "r.test:5000", "127.0.0.1:5000",
						  "[::1]:5000", "10.1.2.3" };

	static const bool is_here[] = { false, false, true, true, false };

	input = data;
	input_len = size;
	setenv("CONTAINERS_REGISTRIES_CONF", "registries.conf", 1);
	for (size_t i = 0; i < ARRAY_LEN(registries); i++) {
		struct image_registry_rules rules = { 0 };
		struct image_access a = { 0 };
		struct err err = { 0 };
		int rc = image_registry_rules(&a, registries[i], &rules, &err);

		must_tell(rc, &err);
		must(!rules.plain_http || rules.insecure || is_here[i]);
		must(rc < 0 || !is_here[i] || rules.plain_http);
		image_registry_rules_free(&rules);
	}
	return 0;
}
