/* SPDX-License-Identifier: Apache-2.0 */
/* .dockerignore: the text up to the first NUL is the file, what follows a path that is asked for.
 */
#include <errno.h>

#include <shale/build.h>

#include "../../runner/build/priv.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = mem_strn((const char *)data, size);
	size_t len = strlen(text);
	auto_free char *path = len < size ? mem_strn((const char *)data + len + 1, size - len - 1)
					  : mem_str("a/b.c");
	struct ignore *g = NULL;
	struct err err = { 0 };
	int rc = ignore_parse(text, len, &g, &err);

	must_tell(rc, &err);
	if (rc >= 0) {
		bool ignored = ignore_match(g, path);

		must(ignore_match(g, path) == ignored);
		ignore_has_negation(g);
	}
	ignore_free(g);
	return 0;
}
