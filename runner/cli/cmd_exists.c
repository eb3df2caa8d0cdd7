/* SPDX-License-Identifier: Apache-2.0 */
/* image, container, volume and network exists: for scripts, which look at the exit status alone. */
#include <errno.h>

#include <shale/container.h>
#include <shale/image.h>
#include <shale/network.h>

#include "priv.h"

extern const struct command cmd_image_exists, cmd_container_exists, cmd_volume_exists,
	cmd_network_exists;

enum { EXIT_ABSENT = 1, EXIT_TROUBLE = 125 };

typedef int find_fn(struct runtime *rt, const char *name, struct err *err);

static int find_image(struct runtime *rt, const char *name, struct err *err)
{
	auto_image struct image *img = NULL;
	int rc = image_find(rt, name, &img, err);

	/* A build step is none. */
	return rc >= 0 && !img->id[0] ? err_set(err, ENOENT, "a build step") : rc;
}

static int find_container(struct runtime *rt, const char *name, struct err *err)
{
	auto_container struct container *ct = NULL;

	return container_find(rt, name, &ct, err);
}

static int find_volume(struct runtime *rt, const char *name, struct err *err)
{
	auto_volume_info struct container_volume_info v = { 0 };

	return container_volume_find(rt, name, &v, err);
}

static int find_network(struct runtime *rt, const char *name, struct err *err)
{
	auto_network struct network *n = NULL;

	return network_find(rt, name, &n, err);
}

static int exists(struct cli *c, find_fn *find, const char *name)
{
	struct err err = { 0 };
	int rc = cli_open(c, &err);

	if (rc >= 0) {
		rc = find(&c->rt, name, &err);
		if (rc == -ENOENT)
			return EXIT_ABSENT;
	}
	if (rc >= 0)
		return cli_done(c);
	cli_fail(c, &err);
	return EXIT_TROUBLE;
}

#define EXISTS(id, word, what, place, find_it, complete_it)                                        \
	static int id##_main(struct cli *c, void *args, int argc, char **argv)                     \
	{                                                                                          \
		(void)args;                                                                        \
		(void)argc;                                                                        \
		return exists(c, find_it, argv[0]);                                                \
	}                                                                                          \
	const struct command cmd_##id = {                                                          \
		.name = (word),                                                                    \
		.args = (place),                                                                   \
		.summary = "Exit 0 if there is that " what ", 1 if not, 125 in trouble",           \
		.main = id##_main,                                                                 \
		.min_args = 1,                                                                     \
		.max_args = 1,                                                                     \
		.complete = (complete_it),                                                         \
		.flags = CMD_HIDDEN,                                                               \
	}

EXISTS(container_exists, "container-exists", "container", "CONTAINER", find_container,
       complete_containers);
EXISTS(image_exists, "image-exists", "image", "IMAGE", find_image, complete_images);
EXISTS(network_exists, "network-exists", "network", "NETWORK", find_network, complete_networks);
EXISTS(volume_exists, "volume-exists", "volume", "VOLUME", find_volume, complete_volumes);
