/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References: what is accepted is normal (its own normal form), its familiar form means the same,
 * and nothing in it can be taken for a path, a URL or an option.
 */
#include <shale/image.h>

#include "../../runner/image/priv.h"
#include "../../runner/image/remote.h"
#include "fuzz.h"

static void check_names(const char *normal)
{
	auto_free char *repo = NULL, *tag = NULL;
	struct image_remote r = { 0 };

	image_ref_split(normal, &repo, &tag);
	must(*repo && *tag && !strchr(tag, '/') && !strchr(repo, '@'));
	image_remote_name(normal, &r);
	must(r.registry && *r.registry && !strchr(r.registry, '/'));
	must(r.path && *r.path && *r.path != '/' && !strstr(r.path, "..") && !strchr(r.path, ':'));
	must(!r.tag != !r.digest);
	image_remote_names_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = mem_strn((const char *)data, size);
	auto_free char *normal = NULL, *again = NULL, *familiar = NULL, *meant = NULL;
	struct image_platform p = { 0 };
	struct err err = { 0 }, err2 = { 0 };
	int rc = image_ref_normalize(text, &normal, &err);

	image_ref_is_bare(text);
	must_tell(rc, &err);
	if (rc >= 0) {
		must(!strpbrk(normal, " \t\r\n\\?#%<>\"'") && *normal != '-' && *normal != '/');
		must(image_ref_normalize(normal, &again, &err2) >= 0 && !strcmp(normal, again));
		familiar = image_ref_familiar(normal);
		must(image_ref_normalize(familiar, &meant, &err2) >= 0 && !strcmp(normal, meant));
		check_names(normal);
	}
	rc = image_platform_parse(text, &p, &err2);
	must_tell(rc, &err2);
	if (rc >= 0)
		image_platform_free(&p);
	return 0;
}
