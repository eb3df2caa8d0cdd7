/* SPDX-License-Identifier: Apache-2.0 */
/* commands: what shale can do, in the order of --help. */
#include "priv.h"

extern const struct command cmd_network_create, cmd_network_connect, cmd_network_disconnect,
	cmd_network_inspect, cmd_network_ls, cmd_network_prune, cmd_network_rm;
extern const struct command cmd_builder_prune, cmd_du, cmd_gc, cmd_pin, cmd_prune, cmd_trash,
	cmd_undo, cmd_unpin, cmd_untag, cmd_builds_inspect, cmd_builds_ls, cmd_builds_rm,
	cmd_cache_inspect, cmd_cache_ls, cmd_cache_rm, cmd_complete, cmd_container_inspect,
	cmd_container_prune, cmd_create, cmd_diff, cmd_exec, cmd_history, cmd_image_inspect,
	cmd_image_prune, cmd_image_tree, cmd_images, cmd_info, cmd_inspect, cmd_kill, cmd_logs,
	cmd_man, cmd_monitor, cmd_ps, cmd_rm, cmd_rmi, cmd_run, cmd_runtime, cmd_start, cmd_stop,
	cmd_tag, cmd_tidy, cmd_leave_network, cmd_version, cmd_wait, cmd_restart, cmd_pause,
	cmd_unpause, cmd_rename, cmd_top, cmd_port, cmd_attach, cmd_volume_create,
	cmd_volume_inspect, cmd_volume_ls, cmd_volume_prune, cmd_volume_rm, cmd_health,
	cmd_system_start, cmd_update, cmd_events, cmd_stats, cmd_image_exists, cmd_container_exists,
	cmd_volume_exists, cmd_network_exists;

/* shale-build has their options. */
#define HEAVY_AS(id, word, text, more)                                                             \
	static const struct command id = { .name = (word),                                         \
					   .summary = (text),                                      \
					   .max_args = -1,                                         \
					   .flags = CMD_HEAVY | CMD_ANYONE | (more) }
#define HEAVY(id, word, text) HEAVY_AS(id, word, text, 0)
HEAVY(heavy_bench, "bench", "Compare the drivers on this host");
HEAVY(heavy_build, "build", "Build an image from a Dockerfile");
HEAVY_AS(heavy_cache_export, "cache-export", "Write a cache mount as a tar archive", CMD_HIDDEN);
HEAVY_AS(heavy_cache_import, "cache-import", "Make a cache mount of a tar archive", CMD_HIDDEN);
HEAVY(heavy_export, "export", "Write a container's file system as a tar archive");
HEAVY_AS(heavy_image_diff, "image-diff",
	 "Show what differs between two images; exit 0 the same, 1 different, 2 trouble",
	 CMD_HIDDEN);
HEAVY_AS(heavy_image_mount, "image-mount", "Mount an image read-only, or list those mounted",
	 CMD_HIDDEN);
HEAVY_AS(heavy_image_unmount, "image-unmount", "Unmount images", CMD_HIDDEN);
HEAVY_AS(heavy_imagetools, "imagetools", "Put together, and look at, what registries have",
	 CMD_HIDDEN);
HEAVY(heavy_import, "import", "Make an image of a root file system's tar archive");
HEAVY(heavy_load, "load", "Load images from an archive");
HEAVY(heavy_login, "login", "Log in to a registry");
HEAVY(heavy_logout, "logout", "Log out from a registry");
HEAVY_AS(heavy_manifest_annotate, "manifest-annotate",
	 "Say for which platform an image of a manifest list is", CMD_HIDDEN);
HEAVY_AS(heavy_manifest_create, "manifest-create", "Make a manifest list of images", CMD_HIDDEN);
HEAVY_AS(heavy_manifest_inspect, "manifest-inspect", "Print a manifest or a manifest list",
	 CMD_HIDDEN);
HEAVY_AS(heavy_manifest_push, "manifest-push", "Send a manifest list to a registry", CMD_HIDDEN);
HEAVY_AS(heavy_manifest_rm, "manifest-rm", "Forget manifest lists", CMD_HIDDEN);
HEAVY(heavy_pull, "pull", "Fetch an image from a registry");
HEAVY(heavy_push, "push", "Send an image to a registry");
HEAVY(heavy_recover, "recover", "Make a damaged or lost database anew from the rest of the store");
HEAVY(heavy_search, "search", "List the tags that a registry has of a repository");
HEAVY(heavy_save, "save", "Save images to an archive");
HEAVY(heavy_verify, "verify", "Read layers and configs again and name what is damaged");
HEAVY_AS(heavy_container_mount, "container-mount",
	 "Mount a container's file system, or list those mounted", CMD_HIDDEN);
HEAVY_AS(heavy_container_unmount, "container-unmount", "Unmount containers", CMD_HIDDEN);
HEAVY(heavy_cp, "cp", "Copy files between a container and the host");
HEAVY(heavy_commit, "commit", "Make an image of a container");

const struct command *const cli_commands[] = {
	&cmd_attach,
	&heavy_bench,
	&heavy_build,
	&cmd_builder_prune,
	&cmd_builds_inspect,
	&cmd_builds_ls,
	&cmd_builds_rm,
	&heavy_cache_export,
	&heavy_cache_import,
	&cmd_cache_inspect,
	&cmd_cache_ls,
	&cmd_cache_rm,
	&heavy_commit,
	&cmd_container_exists,
	&cmd_container_inspect,
	&heavy_container_mount,
	&cmd_container_prune,
	&heavy_container_unmount,
	&heavy_cp,
	&cmd_create,
	&cmd_diff,
	&cmd_du,
	&cmd_events,
	&cmd_exec,
	&heavy_export,
	&cmd_gc,
	&cmd_health,
	&cmd_history,
	&heavy_image_diff,
	&cmd_image_exists,
	&cmd_image_inspect,
	&heavy_image_mount,
	&cmd_image_prune,
	&cmd_image_tree,
	&heavy_image_unmount,
	&cmd_images,
	&heavy_imagetools,
	&heavy_import,
	&cmd_info,
	&cmd_inspect,
	&cmd_kill,
	&cmd_leave_network,
	&heavy_load,
	&heavy_login,
	&heavy_logout,
	&cmd_logs,
	&heavy_manifest_annotate,
	&heavy_manifest_create,
	&heavy_manifest_inspect,
	&heavy_manifest_push,
	&heavy_manifest_rm,
	&cmd_network_connect,
	&cmd_network_create,
	&cmd_network_disconnect,
	&cmd_network_exists,
	&cmd_network_inspect,
	&cmd_network_ls,
	&cmd_network_prune,
	&cmd_network_rm,
	&cmd_pause,
	&cmd_pin,
	&cmd_port,
	&cmd_prune,
	&cmd_ps,
	&heavy_pull,
	&heavy_push,
	&heavy_recover,
	&cmd_rename,
	&cmd_restart,
	&cmd_rm,
	&cmd_rmi,
	&cmd_run,
	&cmd_runtime,
	&heavy_save,
	&heavy_search,
	&cmd_start,
	&cmd_stats,
	&cmd_stop,
	&cmd_system_start,
	&cmd_tag,
	&cmd_top,
	&cmd_trash,
	&cmd_undo,
	&cmd_unpause,
	&cmd_unpin,
	&cmd_untag,
	&cmd_update,
	&heavy_verify,
	&cmd_version,
	&cmd_volume_create,
	&cmd_volume_exists,
	&cmd_volume_inspect,
	&cmd_volume_ls,
	&cmd_volume_prune,
	&cmd_volume_rm,
	&cmd_wait,
	&cmd_complete,
	&cmd_man,
	&cmd_monitor,
	&cmd_tidy,
	NULL,
};
