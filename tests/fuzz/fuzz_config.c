/* SPDX-License-Identifier: Apache-2.0 */
/* Image configs: what was read and is written anew is read as the same again. */
#include <shale/image.h>

#include "../../runner/image/priv.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_image_config struct image_config *c = NULL, *again = NULL, *copy = NULL;
	auto_free char *text = NULL, *text2 = NULL, *text3 = NULL;
	struct err err = { 0 };
	int rc = image_config_parse((const char *)data, size, &c, &err);

	must_tell(rc, &err);
	if (rc < 0)
		return 0;
	must(c->diff_ids.n <= IMAGE_LAYERS_MAX && c->created_s >= -86400);
	text = image_config_text(c);
	copy = image_config_copy(c);
	text3 = image_config_text(copy);
	must(!strcmp(text, text3));
	must(image_config_parse(text, strlen(text), &again, &err) >= 0);
	text2 = image_config_text(again);
	must(!strcmp(text, text2));
	return 0;
}
