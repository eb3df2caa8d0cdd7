/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/image.h>

#include <errno.h>
#include <string.h>

#include <shale/store.h>

#include "priv.h"

int image_tag(struct runtime *rt, const char *id, const char *normalized, struct err *err)
{
	if (strchr(normalized, '@'))
		return err_set(err, EINVAL,
			       "'%.200s': a name with a digest cannot be given to an image",
			       normalized);
	return store_tag_set(rt->store, normalized, id, err);
}

static int add_name(const struct tag_info *tag, void *arg, struct err *err)
{
	(void)err;
	strv_add(arg, tag->name);
	return 0;
}

int image_tags(struct runtime *rt, const char *id, struct strv *ret, struct err *err)
{
	return store_tag_walk(rt->store, id, add_name, ret, err);
}
