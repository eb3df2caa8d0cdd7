/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/sys.h>
#include <shale/network.h>

#include "priv.h"

extern const struct command cmd_info;

enum { CGROUP2_MAGIC = 0x63677270, MOUNTINFO_MAX = 4 << 20 };

struct info_args {
	const char *format;
};

static const struct opt info_opts[] = {
	{ 'f', "format", OPT_STR, offsetof(struct info_args, format), "FORMAT",
	  "json, or a Go template" },
	{ 0 },
};

/* Its line of mountinfo: "ID … - TYPE SOURCE …". */
static char *type_of_mount(const char *table, uint64_t mount_id)
{
	auto_strv struct strv lines = { 0 };
	auto_free char *start = mem_fmt("%llu ", (unsigned long long)mount_id);

	strv_split(&lines, table, '\n');
	for (size_t i = 0; i < lines.n; i++) {
		const char *type = strstr(lines.v[i], " - ");

		if (str_starts(lines.v[i], start) && type)
			return mem_strn(type + 3, strcspn(type + 3, " "));
	}
	return mem_str("unknown");
}

static char *file_system(int root_fd)
{
	auto_free char *table = NULL;
	struct err ignored;
	struct statx st;
	size_t len;

	if (statx(root_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0 ||
	    fd_read_file(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &table, &len, &ignored) <
		    0)
		return mem_str("unknown");
	return type_of_mount(table, st.stx_mnt_id);
}

static const char *cgroup_version(void)
{
	struct statfs sfs;

	if (statfs("/sys/fs/cgroup", &sfs) == 0 && (unsigned)sfs.f_type == CGROUP2_MAGIC)
		return "2";
	return access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) == 0 ? "1 (hybrid)" : "1";
}

/* Found by trying: what a kernel has says neither its version nor its configuration for sure. */
static json_t *overlay_features(void)
{
	static const struct {
		const char *key, *value;
	} options[] = { { "lowerdir+", "/" }, { "metacopy", "on" }, { "redirect_dir", "on" },
			{ "volatile", NULL }, { "index", "off" },   { "xino", "off" } };
	json_t *list = json_array();
	auto_fd int probe = sys_fsopen("overlay", FSOPEN_CLOEXEC);

	/* Before 6.5 overlayfs takes every word here and judges it later: only trying
	 * at the mount would tell. */
	if (probe >= 0 && sys_fsconfig(probe, FSCONFIG_SET_FLAG, "no such option", NULL, 0) == 0) {
		json_array_append_new(list, json_string("by mount(2)"));
		return list;
	}
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		unsigned cmd = options[i].value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
		auto_fd int fd = sys_fsopen("overlay", FSOPEN_CLOEXEC);

		if (fd >= 0 && sys_fsconfig(fd, cmd, options[i].key, options[i].value, 0) == 0)
			json_array_append_new(list, json_string(options[i].key));
	}
	return list;
}

static int set_count(struct cli *c, json_t *o, const char *key, const char *sql, struct err *err)
{
	int64_t n = 0;
	int rc = db_get_int(c->rt.db, sql, NULL, &n, err);

	json_object_set_new(o, key, json_integer(n));
	return rc;
}

static int set_counts(struct cli *c, json_t *o, struct err *err)
{
	static const struct {
		const char *key, *sql;
	} counts[] = { { "Containers", "SELECT count(*) FROM containers" },
		       { "ContainersRunning", "SELECT count(*) FROM containers WHERE state=2" },
		       { "Images", "SELECT count(*) FROM images" },
		       { "BuildSteps", "SELECT count(*) FROM steps" },
		       { "Layers", "SELECT count(*) FROM snapshots WHERE kind=3" } };
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(counts); i++)
		rc = set_count(c, o, counts[i].key, counts[i].sql, err);
	return rc;
}

static void set_host(json_t *o)
{
	struct utsname host;
	struct sysinfo mem;

	if (uname(&host) == 0) {
		out_row_set(o, "KernelVersion", host.release);
		out_row_set(o, "Architecture", host.machine);
		out_row_set(o, "Name", host.nodename);
	}
	out_row_set(o, "OSType", "linux");
	json_object_set_new(o, "NCPU", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	if (sysinfo(&mem) == 0)
		json_object_set_new(o, "MemTotal",
				    json_integer((json_int_t)mem.totalram * mem.mem_unit));
	out_row_set(o, "CgroupVersion", cgroup_version());
}

static void set_space(json_t *o, int root_fd)
{
	struct statfs sfs;

	if (fstatfs(root_fd, &sfs) == 0)
		out_row_take(o, "SpaceAvailable",
			     out_size((uint64_t)sfs.f_bavail * (uint64_t)sfs.f_bsize));
}

enum { SETTING_SHOWN = 40 }; /* a longer value pushes what stands behind it */

static void print_settings(const json_t *list)
{
	int width = 0;
	size_t i;
	json_t *row;

	json_array_foreach(list, i, row)
	{
		int len = (int)strnlen(json_get_str(row, "Value"), SETTING_SHOWN);

		width = len > width ? len : width;
	}
	puts("Settings");
	json_array_foreach(list, i, row)
		printf("  %-22s %-*s  %s\n", json_get_str(row, "Name"), width,
		       json_get_str(row, "Value"), json_get_str(row, "Source"));
}

static void print_info(const json_t *o)
{
	static const struct {
		const char *label, *key;
	} rows[] = { { "Version", "ServerVersion" },
		     { "Store", "DockerRootDir" },
		     { "File system", "BackingFilesystem" },
		     { "Space available", "SpaceAvailable" },
		     { "Driver", "Driver" },
		     { "Overlay options", "OverlayOptions" },
		     { "Kernel", "KernelVersion" },
		     { "Architecture", "Architecture" },
		     { "CPUs", "NCPU" },
		     { "Cgroup version", "CgroupVersion" },
		     { "Default network", "DefaultNetwork" },
		     { "Bridge networks", "BridgeNetworks" },
		     { "Containers", "Containers" },
		     { "  running", "ContainersRunning" },
		     { "Images", "Images" },
		     { "Build steps", "BuildSteps" },
		     { "Layers", "Layers" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const json_t *v = json_object_get(o, rows[i].key);
		auto_str struct str text = { 0 };

		for (size_t k = 0; k < json_array_size(v); k++)
			str_addf(&text, "%s%s", k ? " " : "",
				 json_string_value(json_array_get(v, k)));
		if (v && !json_is_array(v))
			template_print(v, &text);
		printf("%-16s %s\n", rows[i].label, str_get(&text));
	}
	print_settings(json_object_get(o, "Settings"));
}

static void set_settings(const struct cli *c, json_t *o)
{
	json_t *list = json_array();

	for (int i = 0; i < SETTING_COUNT; i++) {
		json_t *row = json_object();

		out_row_set(row, "Name", setting_name((enum setting)i));
		out_row_set(row, "Value", c->settings.v[i].value);
		out_row_set(row, "Source", c->settings.v[i].source);
		out_row_set(row, "Help", setting_help((enum setting)i));
		json_array_append_new(list, row);
	}
	json_object_set_new(o, "Settings", list);
}

static int collect(struct cli *c, json_t *o, struct err *err)
{
	out_row_set(o, "ServerVersion", shale_version);
	out_row_set(o, "Driver", c->driver ? snap_driver_name(c->driver) : "overlayfs");
	out_row_set(o, "DockerRootDir", c->rt.root);
	out_row_take(o, "BackingFilesystem", file_system(c->rt.root_fd));
	json_object_set_new(o, "OverlayOptions", overlay_features());
	out_row_set(o, "DefaultNetwork", c->rt.network);
	out_row_set(o, "BridgeNetworks", network_missing() ? network_missing() : "yes");
	set_space(o, c->rt.root_fd);
	set_settings(c, o);
	set_host(o);
	return set_counts(c, o, err);
}

static int info_main(struct cli *c, void *args, int argc, char **argv)
{
	const struct info_args *a = args;
	auto_json json_t *o = json_object();
	struct err err = { 0 };
	int rc;

	(void)argc;
	(void)argv;
	rc = cli_open(c, &err);
	if (rc >= 0)
		rc = collect(c, o, &err);
	if (rc >= 0 && a->format)
		rc = out_value(a->format, o, &err);
	else if (rc >= 0)
		print_info(o);
	return rc < 0 ? cli_fail(c, &err) : cli_done(c);
}

const struct command cmd_info = {
	.name = "info",
	.args = "",
	.summary = "Show the store, the host and what the kernel can do",
	.opts = info_opts,
	.args_size = sizeof(struct info_args),
	.main = info_main,
};
