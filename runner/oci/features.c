/* SPDX-License-Identifier: Apache-2.0 */
/* features and spec: what this runtime can, and a config to begin with. */
#include <string.h>
#include <unistd.h>

#include "priv.h"

static json_t *words(const char *const *v)
{
	json_t *list = json_array();

	for (; *v; v++)
		json_array_append_new(list, json_string(*v));
	return list;
}

static json_t *seccomp_features(void)
{
	static const char *const actions[] = { "SCMP_ACT_ALLOW",       "SCMP_ACT_ERRNO",
					       "SCMP_ACT_KILL",        "SCMP_ACT_KILL_PROCESS",
					       "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG",
					       "SCMP_ACT_NOTIFY",      "SCMP_ACT_TRACE",
					       "SCMP_ACT_TRAP",        NULL };
	static const char *const operators[] = { "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
						 "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
						 "SCMP_CMP_NE", NULL };
	static const char *const archs[] = { "SCMP_ARCH_AARCH64",   "SCMP_ARCH_ARM",
					     "SCMP_ARCH_MIPS",      "SCMP_ARCH_MIPS64",
					     "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL",
					     "SCMP_ARCH_MIPSEL64",  "SCMP_ARCH_MIPSEL64N32",
					     "SCMP_ARCH_PARISC",    "SCMP_ARCH_PARISC64",
					     "SCMP_ARCH_PPC",       "SCMP_ARCH_PPC64",
					     "SCMP_ARCH_PPC64LE",   "SCMP_ARCH_RISCV64",
					     "SCMP_ARCH_S390",      "SCMP_ARCH_S390X",
					     "SCMP_ARCH_X32",       "SCMP_ARCH_X86",
					     "SCMP_ARCH_X86_64",    NULL };
	static const char *const flags[] = { "SECCOMP_FILTER_FLAG_LOG",
					     "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
					     "SECCOMP_FILTER_FLAG_TSYNC",
					     "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL };
	json_t *j = json_object();

	json_object_set_new(j, "enabled", json_true());
	json_object_set_new(j, "actions", words(actions));
	json_object_set_new(j, "operators", words(operators));
	json_object_set_new(j, "archs", words(archs));
	json_object_set_new(j, "knownFlags", words(flags));
	json_object_set_new(j, "supportedFlags", words(flags));
	return j;
}

static json_t *enabled(bool yes)
{
	return json_pack("{s:b}", "enabled", yes);
}

json_t *oci_features(void)
{
	static const char *const hooks[] = { "prestart",
					     "createRuntime",
					     "createContainer",
					     "startContainer",
					     "poststart",
					     "poststop",
					     NULL };
	static const char *const namespaces[] = { "cgroup", "ipc",  "mount", "network", "pid",
						  "time",   "user", "uts",   NULL };
	json_t *j = json_object(), *l = json_object();
	json_t *caps = json_array();

	for (int n = 0; n < 64; n++) {
		auto_free char *name = sandbox_cap_name(n);

		if (name)
			json_array_append_new(caps, json_string(name));
	}
	json_object_set_new(j, "ociVersionMin", json_string("1.0.0"));
	json_object_set_new(j, "ociVersionMax", json_string(OCI_VERSION));
	json_object_set_new(j, "hooks", words(hooks));
	json_object_set_new(j, "mountOptions", oci_mount_words());
	json_object_set_new(l, "namespaces", words(namespaces));
	json_object_set_new(l, "capabilities", caps);
	json_object_set_new(l, "cgroup",
			    json_pack("{s:b,s:b,s:b,s:b,s:b}", "v1", 1, "v2", 1, "systemd", 1,
				      "systemdUser", 0, "rdma", 1));
	json_object_set_new(l, "seccomp", seccomp_features());
	json_object_set_new(l, "apparmor", enabled(true));
	json_object_set_new(l, "selinux", enabled(true));
	json_object_set_new(l, "intelRdt", enabled(false));
	json_object_set_new(l, "mountExtensions", json_pack("{s:{s:b}}", "idmap", "enabled", 1));
	json_object_set_new(j, "linux", l);
	json_object_set_new(j, "potentiallyUnsafeConfigAnnotations",
			    json_pack("[s]", "org.systemd.property."));
	return j;
}

static const char spec_text[] =
	"{\"ociVersion\":\"" OCI_VERSION "\",\"process\":{\"terminal\":true,\"user\":{\"uid\":0,"
	"\"gid\":0},\"args\":[\"sh\"],\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:"
	"/usr/bin:/sbin:/bin\",\"TERM=xterm\"],\"cwd\":\"/\",\"capabilities\":{\"bounding\":["
	"\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],\"effective\":["
	"\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"],\"permitted\":["
	"\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"]},\"rlimits\":[{\"type\":"
	"\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1024}],\"noNewPrivileges\":true},\"root\":{"
	"\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"shale\",\"mounts\":[{\"destination\":"
	"\"/proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"noexec\","
	"\"nodev\"]},{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":["
	"\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},{\"destination\":\"/dev/pts\","
	"\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\","
	"\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},{\"destination\":\"/dev/shm\","
	"\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"noexec\",\"nodev\","
	"\"mode=1777\",\"size=65536k\"]},{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\","
	"\"source\":\"mqueue\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},{\"destination\":"
	"\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\","
	"\"nodev\",\"ro\"]},{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":"
	"\"cgroup\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}],\"linux\":{"
	"\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]},\"namespaces\":[{"
	"\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":"
	"\"cgroup\"},{\"type\":\"mount\"}],\"maskedPaths\":[\"/proc/acpi\",\"/proc/asound\","
	"\"/proc/kcore\",\"/proc/keys\",\"/proc/latency_stats\",\"/proc/timer_list\","
	"\"/proc/timer_stats\",\"/proc/sched_debug\",\"/sys/firmware\",\"/proc/scsi\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\",\"/proc/sys\","
	"\"/proc/sysrq-trigger\"]}}";

json_t *oci_spec(void)
{
	struct err ignored;
	json_t *j = NULL;

	json_parse(spec_text, sizeof(spec_text) - 1, &j, &ignored);
	return j;
}
