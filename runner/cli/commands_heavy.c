/* SPDX-License-Identifier: Apache-2.0 */
/* commands_heavy: what shale-build runs. Each has a row in commands.c too, which the unit test
 * compares. */
#include "priv.h"

extern const struct command cmd_bench, cmd_build, cmd_cache_export, cmd_cache_import, cmd_complete,
	cmd_export, cmd_history_platform, cmd_image_inspect_platform, cmd_image_diff,
	cmd_image_mount, cmd_image_unmount, cmd_import, cmd_leave_network, cmd_load, cmd_login,
	cmd_logout, cmd_man, cmd_manifest_annotate, cmd_manifest_create, cmd_manifest_inspect,
	cmd_manifest_push, cmd_manifest_rm, cmd_pull, cmd_push, cmd_recover, cmd_save, cmd_tag_step,
	cmd_verify, cmd_cp, cmd_commit, cmd_container_mount, cmd_container_unmount, cmd_imagetools;

const struct command *const cli_commands_heavy[] = {
	&cmd_bench,
	&cmd_build,
	&cmd_cache_export,
	&cmd_cache_import,
	&cmd_commit,
	&cmd_complete,
	&cmd_container_mount,
	&cmd_container_unmount,
	&cmd_cp,
	&cmd_export,
	&cmd_history_platform,
	&cmd_image_diff,
	&cmd_image_inspect_platform,
	&cmd_image_mount,
	&cmd_image_unmount,
	&cmd_imagetools,
	&cmd_import,
	&cmd_leave_network,
	&cmd_load,
	&cmd_login,
	&cmd_logout,
	&cmd_man,
	&cmd_manifest_annotate,
	&cmd_manifest_create,
	&cmd_manifest_inspect,
	&cmd_manifest_push,
	&cmd_manifest_rm,
	&cmd_pull,
	&cmd_push,
	&cmd_recover,
	&cmd_save,
	&cmd_tag_step,
	&cmd_verify,
	NULL,
};
