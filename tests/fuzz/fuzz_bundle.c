/* SPDX-License-Identifier: Apache-2.0 */
/* config.json of a bundle, as far as it is read before anything is opened. */
#include "../../runner/oci/priv.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct oci_runtime runtime = { .root = "/" };
	auto_oci_config struct oci_config c = { 0 };
	const struct sandbox_hook *hooks;
	struct err err = { 0 };
	size_t n;
	int rc = oci_config_parse(&runtime, (const char *)data, size, &c, &err);

	must_tell(rc, &err);
	if (rc < 0)
		return 0;
	c.spec.root_fd = -1;
	c.spec.layout = &c.layout;
	rc = oci_process_make(&c, oci_at(&c, "process", NULL), &err);
	must_tell(rc, &err);
	if (rc == 0)
		must(c.spec.argv[0] && c.spec.cwd[0] == '/' && c.spec.uid != UINT32_MAX);
	for (int v2 = 0; v2 < 2; v2++) {
		err = (struct err){ 0 };
		rc = oci_resources_make(&c, oci_at(&c, "linux", "resources"), v2, &err);
		must_tell(rc, &err);
	}
	err = (struct err){ 0 };
	rc = oci_hooks_make(&c, "poststop", &hooks, &n, &err);
	must_tell(rc, &err);
	return 0;
}
