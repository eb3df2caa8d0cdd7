/* SPDX-License-Identifier: Apache-2.0 */
/* What a process sees inside. */
#include "tests.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

static const char *const applets[] = { "sh",    "cat",   "ls",    "id",    "mount",  "grep",
				       "mkdir", "touch", "sleep", "stat",  "pwd",    "mknod",
				       "true",  "echo",  "ip",    "tty",   "kill",   "hostname",
				       "ps",    "dd",    "ln",    "chmod", "umount", "readlink",
				       "sed",   "wc",    "head" };

void box_write(struct box *b, const char *path, const char *text, unsigned mode)
{
	assert_int_equal(fd_write_file(b->root_fd, path, text, strlen(text), mode, &b->err), 0);
	assert_int_equal(fchmodat(b->root_fd, path, mode, 0), 0);
}

void box_link(struct box *b, const char *target, const char *path)
{
	assert_int_equal(symlinkat(target, b->root_fd, path), 0);
}

void box_make(struct box *b)
{
	static const char *const dirs[] = { "bin", "proc", "sys", "dev", "etc", "tmp" };
	auto_free char *busybox = NULL;
	size_t len;

	*b = (struct box){ .dir = "/tmp/shale-sandbox-XXXXXX" };
	assert_non_null(mkdtemp(b->dir));
	b->root_fd = open(b->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(b->root_fd >= 0);
	chmod(b->dir, 0755);
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		assert_int_equal(mkdirat(b->root_fd, dirs[i], 0755), 0);
	assert_int_equal(fd_read_file(AT_FDCWD, "/bin/busybox", 16 << 20, &busybox, &len, &b->err),
			 0);
	assert_int_equal(fd_write_file(b->root_fd, "bin/busybox", busybox, len, 0755, &b->err), 0);
	assert_int_equal(fchmodat(b->root_fd, "bin/busybox", 0755, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(applets); i++) {
		auto_free char *path = mem_fmt("bin/%s", applets[i]);

		box_link(b, "busybox", path);
	}
	snprintf(b->cache, sizeof(b->cache), "%s-cache", b->dir);
	assert_int_equal(mkdir(b->cache, 0700), 0);
}

void box_free(struct box *b)
{
	close(b->root_fd);
	assert_int_equal(fs_remove_tree(AT_FDCWD, b->dir, &b->err), 0);
	assert_int_equal(fs_remove_tree(AT_FDCWD, b->cache, &b->err), 0);
}

struct sandbox_spec box_spec(struct box *b, char *const argv[])
{
	static char *env[] = { (char *)(uintptr_t) "PATH=/usr/bin:/bin", NULL };

	return (struct sandbox_spec){ .root_fd = b->root_fd,
				      .argv = argv,
				      .envp = env,
				      .cwd = "/",
				      .net_fd = -1,
				      .stdio = { -1, -1, -1 },
				      .cache_dir = b->cache };
}

static int run_and_read(struct box *b, const struct sandbox_plan *plan, int pipe_fds[2],
			struct str *out)
{
	auto_sandbox struct sandbox *sb = NULL;
	int status, rc = sandbox_spawn(plan, &sb, &b->err);
	char buf[4096];
	ssize_t n;

	fd_close(&pipe_fds[1]);
	if (rc == 0)
		rc = sandbox_release(sb, &b->err);
	if (rc < 0)
		return rc;
	while ((n = read(pipe_fds[0], buf, sizeof(buf))) > 0)
		str_addn(out, buf, (size_t)n);
	rc = sandbox_wait(sb, 20000, &status, &b->err);
	assert_int_equal(rc, 1);
	return proc_exit_code(status);
}

int box_run(struct box *b, const struct sandbox_spec *spec, struct str *out)
{
	auto_sandbox_plan struct sandbox_plan *plan = NULL;
	struct sandbox_spec s = *spec;
	int fds[2], rc;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	s.stdio[1] = s.stdio[2] = fds[1];
	rc = sandbox_plan(&s, &plan, &b->err);
	if (rc == 0)
		rc = run_and_read(b, plan, fds, out);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	return rc;
}

int box_sh(struct box *b, struct sandbox_spec *spec, const char *script, struct str *out)
{
	char *argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
			 (char *)(uintptr_t)script, NULL };

	spec->argv = argv;
	return box_run(b, spec, out);
}

/* Runs script in a fresh box; fails the test unless it exits with code and its output holds want.
 */
static void expect(const struct sandbox_spec *changes, const char *script, int code,
		   const char *want)
{
	auto_str struct str out = { 0 };
	struct box b;
	struct sandbox_spec s;
	int rc;

	box_make(&b);
	s = changes ? *changes : (struct sandbox_spec){ .net_fd = -1, .stdio = { -1, -1, -1 } };
	s.root_fd = b.root_fd;
	s.envp = box_spec(&b, NULL).envp;
	s.cache_dir = b.cache;
	rc = box_sh(&b, &s, script, &out);
	box_free(&b);
	if (rc < 0)
		fail_msg("%s: %s", script, b.err.msg);
	if (rc != code || !strstr(str_get(&out), want))
		fail_msg("%s: exit %d, output: %s", script, rc, str_get(&out));
}

#define SPEC(...) (&(struct sandbox_spec){ .net_fd = -1, .stdio = { -1, -1, -1 }, __VA_ARGS__ })

static void test_namespaces(void **state)
{
	(void)state;
	expect(SPEC(.hostname = "box"), "hostname; echo $$", 0, "box\n1\n");
	expect(NULL, "n=0; for p in /proc/[0-9]*; do n=$((n+1)); done; echo $n", 0, "1\n");
	expect(NULL, "exit 7", 7, "");
	expect(NULL, "kill -9 $$; echo alive", 0, "alive"); /* pid 1 has no default handlers */
}

static void test_network_none(void **state)
{
	(void)state;
	/* T35: a loopback that works, and nothing else */
	expect(NULL, "ip -o link | wc -l; ip addr show lo", 0, "1\n");
	expect(NULL, "ip addr show lo", 0, "127.0.0.1/8");
}

static void test_devices(void **state)
{
	(void)state;
	expect(NULL,
	       "echo x >/dev/null && head -c 3 /dev/zero | wc -c && readlink /dev/fd && readlink /dev/ptmx",
	       0, "3\n/proc/self/fd\npts/ptmx\n");
	/* A device that root inside makes, or that the image has, opens nothing. */
	expect(NULL, "mknod /dev/mem2 c 1 5 && head -c 1 /dev/mem2", 1, "Permission denied");
	expect(NULL, "mknod /mine c 1 5 && head -c 1 /mine", 1, "Permission denied");
	expect(SPEC(.shm_bytes = 1 << 20), "mount", 0, "size=1024k");
}

static void test_masks(void **state)
{
	(void)state;
	expect(NULL,
	       "cat /proc/keys /proc/interrupts /proc/timer_list; ls /sys/firmware; touch /sys/firmware/x",
	       1, "touch: /sys/firmware/x: ");
	expect(NULL,
	       "cat /proc/keys /proc/interrupts /proc/timer_list | wc -c; ls /sys/firmware | wc -l",
	       0, "0\n0\n");
	expect(NULL, "echo 1 >/proc/sys/kernel/printk", 1, "Read-only");
	expect(NULL, "touch /sys/x || echo no", 0, "no");
	expect(SPEC(.privileged = true), "test -s /proc/interrupts && test -b /dev/vda || ls /dev",
	       0, "");
}

static void test_cgroup_is_read_only(void **state)
{
	(void)state;
	/* T13 */
	expect(NULL, "mkdir /sys/fs/cgroup/x || echo no", 0, "no");
	expect(SPEC(.cgroup = { .name = unit_cgroup("t13"), .pids = 50 }),
	       "n=0; for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x 2>/dev/null && n=1; done; echo made $n; "
	       "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null",
	       1, "made 0\n50\n");
	assert_int_not_equal(unit_cgroup_access("unified"), 0);
	assert_int_not_equal(unit_cgroup_access("pids"), 0);
}

static void test_credentials(void **state)
{
	static const uint32_t groups[] = { 20, 1000 };
	auto_strv struct strv add = { 0 };
	auto_strv struct strv drop = { 0 };

	(void)state;
	/* T11, T12 */
	expect(NULL, "grep Cap /proc/self/status", 0, "CapInh:\t0000000000000000\n");
	expect(NULL, "grep CapBnd /proc/self/status", 0, "a80425fb");
	expect(NULL, "grep CapAmb /proc/self/status", 0, "0000000000000000");
	expect(SPEC(.uid = 1000, .gid = 1000, .groups = groups, .n_groups = 2),
	       "id -u; id -g; id -G; grep CapEff /proc/self/status", 0,
	       "1000\n1000\n1000 20\nCapEff:\t0000000000000000");
	expect(SPEC(.uid = 5, .gid = 7), "grep -E 'CapInh|CapPrm|Groups' /proc/self/status", 0,
	       "7");
	strv_add(&add, "net_admin");
	strv_add(&drop, "ALL");
	expect(SPEC(.cap_add = &add, .cap_drop = &drop), "grep CapEff /proc/self/status", 0,
	       "0000000000001000");
	expect(SPEC(.no_new_privs = true), "grep -E 'NoNew|Seccomp:' /proc/self/status", 0,
	       "NoNewPrivs:\t1\nSeccomp:\t2");
	expect(NULL, "umask; pwd; cat /proc/self/oom_score_adj", 0, "0022\n/\n0\n");
}

static void test_pipes_are_the_users(void **state)
{
	(void)state;
	expect(SPEC(.uid = 1000, .gid = 1000), "echo again >/dev/stdout", 0, "again");
}

static void test_limits(void **state)
{
	const struct sandbox_limit ok = { RLIMIT_NOFILE, 100, 200 },
				   bad = { RLIMIT_NOFILE, 1ull << 40, 1ull << 40 };
	auto_str struct str out = { 0 };
	struct sandbox_spec s;
	struct box b;

	(void)state;
	expect(SPEC(.limits = &ok, .n_limits = 1), "ulimit -n; ulimit -Hn", 0, "100\n200\n");
	box_make(&b);
	s = box_spec(&b, NULL);
	s.limits = &bad;
	s.n_limits = 1;
	assert_true(box_sh(&b, &s, "true", &out) < 0);
	assert_non_null(strstr(b.err.msg, "nofile"));
	box_free(&b);
}

static void test_mounts(void **state)
{
	auto_str struct str out = { 0 };
	struct sandbox_mount m[2] = {
		{ .kind = SANDBOX_BIND, .target = "/data/in/side", .read_only = true },
		{ .kind = SANDBOX_TMPFS,
		  .source_fd = -1,
		  .target = "/scratch",
		  .data = "size=64k,mode=1777" }
	};
	struct sandbox_spec s;
	struct box b;

	(void)state;
	box_make(&b);
	m[0].source_fd = open(b.cache, O_PATH | O_CLOEXEC);
	s = box_spec(&b, NULL);
	s.mounts = m;
	s.n_mounts = 2;
	s.read_only = true;
	/* The targets are made although the root is read-only for the program. */
	assert_int_equal(
		box_sh(&b, &s,
		       "touch /data/in/side/x; touch /y; touch /scratch/z && ls /scratch; stat -c %a /scratch",
		       &out),
		0);
	assert_non_null(strstr(str_get(&out), "/data/in/side/x: Read-only"));
	assert_non_null(strstr(str_get(&out), "/y: Read-only"));
	assert_non_null(strstr(str_get(&out), "z\n1777\n"));
	close(m[0].source_fd);
	box_free(&b);
}

/* A file whose content is in memory alone, and a part of a mount that is mounted nowhere. */
static void test_made_mounts(void **state)
{
	auto_str struct str out = { 0 };
	auto_fd int fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);
	auto_fd int tree = -1, part = -1, file = -1;
	struct sandbox_mount m[2] = {
		{ .kind = SANDBOX_FILE,
		  .target = "/run/key",
		  .content = "hush",
		  .content_len = 4,
		  .mode = 0440,
		  .uid = 7,
		  .gid = 8,
		  .read_only = true },
		{ .kind = SANDBOX_BIND, .target = "/part", .in_tree = true }
	};
	struct sandbox_spec s;
	struct box b;

	(void)state;
	box_make(&b);
	assert_int_equal(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0), 0);
	tree = sys_fsmount(fs, FSMOUNT_CLOEXEC, 0);
	assert_int_equal(mkdirat(tree, "sub", 0755), 0);
	part = openat(tree, "sub", O_PATH | O_CLOEXEC);
	file = openat(part, "inner", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(file >= 0);
	m[1].source_fd = part;
	m[1].tree_fd = tree;
	s = box_spec(&b, NULL);
	s.mounts = m;
	s.n_mounts = 2;
	if (box_sh(&b, &s,
		   "cat /run/key; stat -c ' %a %u:%g' /run/key; ls /part; echo x >/part/made; ls -A /dev;"
		   "grep -c tree /proc/mounts; echo y >/run/key",
		   &out) == 0)
		fail_msg("the file could be written");
	assert_non_null(strstr(str_get(&out), "hush 440 7:8\ninner\n"));
	assert_null(strstr(str_get(&out), ".tree"));
	assert_non_null(strstr(str_get(&out), "\n0\n"));
	assert_int_equal(faccessat(part, "made", F_OK, 0), 0);
	box_free(&b);
}

/* As the snapshotter hands it over: an overlay that is mounted nowhere. Afterwards the caller's fd
 * still shows what was written. */
static void test_detached_root(void **state)
{
	static const char *const parts[] = { "upper", "work" };
	auto_str struct str out = { 0 };
	auto_fd int fs = sys_fsopen("overlay", FSOPEN_CLOEXEC);
	auto_fd int store = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);
	auto_fd int store_fd = -1, root = -1;
	auto_free char *lower = NULL, *upper = NULL, *work = NULL;
	struct sandbox_spec s;
	struct stat st;
	struct box b;

	(void)state;
	box_make(&b);
	assert_int_equal(sys_fsconfig(store, FSCONFIG_CMD_CREATE, NULL, NULL, 0), 0);
	store_fd = sys_fsmount(store, FSMOUNT_CLOEXEC, 0);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		assert_int_equal(mkdirat(store_fd, parts[i], 0755), 0);
	lower = mem_fmt("/proc/self/fd/%d", b.root_fd);
	upper = mem_fmt("/proc/self/fd/%d/upper", store_fd);
	work = mem_fmt("/proc/self/fd/%d/work", store_fd);
	assert_int_equal(sys_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0), 0);
	assert_int_equal(sys_fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", upper, 0), 0);
	assert_int_equal(sys_fsconfig(fs, FSCONFIG_SET_STRING, "workdir", work, 0), 0);
	if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
		/* Before 6.12 or so the upper of an overlay has to be attached. */
		assert_int_equal(errno, EINVAL);
		box_free(&b);
		skip();
	}
	root = sys_fsmount(fs, FSMOUNT_CLOEXEC, 0);
	assert_true(root >= 0);
	s = box_spec(&b, NULL);
	s.root_fd = root;
	for (int i = 0; i < 2; i++)
		if (box_sh(&b, &s, "echo new >>/tmp/new; cat /tmp/new", &out) != 0)
			fail_msg("%s %s", b.err.msg, str_get(&out));
	assert_string_equal(str_get(&out), "new\nnew\nnew\n");
	assert_int_equal(fstatat(root, "tmp/new", &st, 0), 0);
	assert_int_equal(fstatat(store_fd, "upper/tmp/new", &st, 0), 0);
	fd_close(&root);
	box_free(&b);
}

int test_box(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_network_none),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_masks),
		cmocka_unit_test(test_cgroup_is_read_only),
		cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_pipes_are_the_users),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_made_mounts),
		cmocka_unit_test(test_detached_root),
	};

	return cmocka_run_group_tests_name("sandbox: inside", tests, NULL, NULL);
}
