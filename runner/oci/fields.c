/* SPDX-License-Identifier: Apache-2.0 */
/* Every field of config.json that the specification has: of which type it is, and which are
 * refused. */
#include <errno.h>
#include <string.h>

#include "priv.h"

#define END                                                                                        \
	{                                                                                          \
		NULL, 0, NULL, NULL                                                                \
	}

static const struct oci_field id_map[] = {
	{ "containerID", OCI_UINT32 }, { "hostID", OCI_UINT32 }, { "size", OCI_UINT32 }, END
};
static const struct oci_field mount[] = { { "destination", OCI_STR },
					  { "type", OCI_STR },
					  { "source", OCI_STR },
					  { "options", OCI_STRS },
					  { "uidMappings", OCI_ARRAY, id_map },
					  { "gidMappings", OCI_ARRAY, id_map },
					  END };
static const struct oci_field box[] = { { "height", OCI_UINT }, { "width", OCI_UINT }, END };
static const struct oci_field user[] = { { "uid", OCI_UINT32 },
					 { "gid", OCI_UINT32 },
					 { "umask", OCI_UINT32 },
					 { "additionalGids", OCI_UINTS },
					 { "username", OCI_STR, NULL, "it is of Windows" },
					 END };
static const struct oci_field capabilities[] = {
	{ "bounding", OCI_STRS },  { "effective", OCI_STRS }, { "inheritable", OCI_STRS },
	{ "permitted", OCI_STRS }, { "ambient", OCI_STRS },   END
};
static const struct oci_field rlimit[] = {
	{ "type", OCI_STR }, { "hard", OCI_UINT }, { "soft", OCI_UINT }, END
};
static const struct oci_field scheduler[] = { { "policy", OCI_STR },   { "nice", OCI_INT },
					      { "priority", OCI_INT }, { "flags", OCI_STRS },
					      { "runtime", OCI_UINT }, { "deadline", OCI_UINT },
					      { "period", OCI_UINT },  END };
static const struct oci_field io_priority[] = { { "class", OCI_STR },
						{ "priority", OCI_INT },
						END };
static const struct oci_field affinity[] = { { "initial", OCI_STR }, { "final", OCI_STR }, END };
const struct oci_field oci_process_fields[] = { { "terminal", OCI_BOOL },
						{ "consoleSize", OCI_OBJECT, box },
						{ "user", OCI_OBJECT, user },
						{ "args", OCI_STRS },
						{ "commandLine", OCI_STR, NULL,
						  "it is of Windows" },
						{ "env", OCI_STRS },
						{ "cwd", OCI_STR },
						{ "capabilities", OCI_OBJECT, capabilities },
						{ "rlimits", OCI_ARRAY, rlimit },
						{ "noNewPrivileges", OCI_BOOL },
						{ "apparmorProfile", OCI_STR },
						{ "oomScoreAdj", OCI_INT },
						{ "scheduler", OCI_OBJECT, scheduler },
						{ "selinuxLabel", OCI_STR },
						{ "ioPriority", OCI_OBJECT, io_priority },
						{ "execCPUAffinity", OCI_OBJECT, affinity },
						END };
static const struct oci_field root[] = { { "path", OCI_STR }, { "readonly", OCI_BOOL }, END };
static const struct oci_field hook[] = {
	{ "path", OCI_STR }, { "args", OCI_STRS }, { "env", OCI_STRS }, { "timeout", OCI_INT }, END
};
static const struct oci_field hooks[] = { { "prestart", OCI_ARRAY, hook },
					  { "createRuntime", OCI_ARRAY, hook },
					  { "createContainer", OCI_ARRAY, hook },
					  { "startContainer", OCI_ARRAY, hook },
					  { "poststart", OCI_ARRAY, hook },
					  { "poststop", OCI_ARRAY, hook },
					  END };
static const struct oci_field namespace[] = { { "type", OCI_STR }, { "path", OCI_STR }, END };
static const struct oci_field device[] = { { "path", OCI_STR },        { "type", OCI_STR },
					   { "major", OCI_INT },       { "minor", OCI_INT },
					   { "fileMode", OCI_UINT32 }, { "uid", OCI_UINT32 },
					   { "gid", OCI_UINT32 },      END };
static const struct oci_field device_rule[] = { { "allow", OCI_BOOL }, { "type", OCI_STR },
						{ "major", OCI_INT },  { "minor", OCI_INT },
						{ "access", OCI_STR }, END };
static const struct oci_field memory[] = { { "limit", OCI_INT },
					   { "reservation", OCI_INT },
					   { "swap", OCI_INT },
					   { "kernel", OCI_INT },
					   { "kernelTCP", OCI_INT },
					   { "swappiness", OCI_UINT },
					   { "disableOOMKiller", OCI_BOOL },
					   { "useHierarchy", OCI_BOOL },
					   { "checkBeforeUpdate", OCI_BOOL },
					   END };
static const struct oci_field cpu[] = { { "shares", OCI_UINT },
					{ "quota", OCI_INT },
					{ "burst", OCI_UINT },
					{ "period", OCI_UINT },
					{ "realtimeRuntime", OCI_INT },
					{ "realtimePeriod", OCI_UINT },
					{ "cpus", OCI_STR },
					{ "mems", OCI_STR },
					{ "idle", OCI_INT },
					END };
static const struct oci_field pids[] = { { "limit", OCI_INT }, END };
static const struct oci_field weight_device[] = { { "major", OCI_INT },
						  { "minor", OCI_INT },
						  { "weight", OCI_UINT },
						  { "leafWeight", OCI_UINT },
						  END };
static const struct oci_field rate_device[] = {
	{ "major", OCI_INT }, { "minor", OCI_INT }, { "rate", OCI_UINT }, END
};
static const struct oci_field block_io[] = { { "weight", OCI_UINT },
					     { "leafWeight", OCI_UINT },
					     { "weightDevice", OCI_ARRAY, weight_device },
					     { "throttleReadBpsDevice", OCI_ARRAY, rate_device },
					     { "throttleWriteBpsDevice", OCI_ARRAY, rate_device },
					     { "throttleReadIOPSDevice", OCI_ARRAY, rate_device },
					     { "throttleWriteIOPSDevice", OCI_ARRAY, rate_device },
					     END };
static const struct oci_field huge_page[] = { { "pageSize", OCI_STR }, { "limit", OCI_UINT }, END };
static const struct oci_field net_priority[] = { { "name", OCI_STR },
						 { "priority", OCI_UINT32 },
						 END };
static const struct oci_field network[] = { { "classID", OCI_UINT32 },
					    { "priorities", OCI_ARRAY, net_priority },
					    END };
static const struct oci_field rdma[] = { { "hcaHandles", OCI_UINT32 },
					 { "hcaObjects", OCI_UINT32 },
					 END };
const struct oci_field oci_resource_fields[] = { { "devices", OCI_ARRAY, device_rule },
						 { "memory", OCI_OBJECT, memory },
						 { "cpu", OCI_OBJECT, cpu },
						 { "pids", OCI_OBJECT, pids },
						 { "blockIO", OCI_OBJECT, block_io },
						 { "hugepageLimits", OCI_ARRAY, huge_page },
						 { "network", OCI_OBJECT, network },
						 { "rdma", OCI_MAP, rdma },
						 { "unified", OCI_MAP },
						 END };
static const struct oci_field call_arg[] = { { "index", OCI_UINT },
					     { "value", OCI_UINT },
					     { "valueTwo", OCI_UINT },
					     { "op", OCI_STR },
					     END };
static const struct oci_field call[] = { { "names", OCI_STRS },
					 { "action", OCI_STR },
					 { "errnoRet", OCI_UINT32 },
					 { "args", OCI_ARRAY, call_arg },
					 END };
static const struct oci_field seccomp[] = {
	{ "defaultAction", OCI_STR },    { "defaultErrnoRet", OCI_UINT32 },
	{ "architectures", OCI_STRS },   { "flags", OCI_STRS },
	{ "listenerPath", OCI_STR },     { "listenerMetadata", OCI_STR },
	{ "syscalls", OCI_ARRAY, call }, END
};
static const struct oci_field personality[] = { { "domain", OCI_STR }, { "flags", OCI_STRS }, END };
static const struct oci_field offset[] = { { "secs", OCI_INT }, { "nanosecs", OCI_UINT }, END };
static const struct oci_field offsets[] = { { "monotonic", OCI_OBJECT, offset },
					    { "boottime", OCI_OBJECT, offset },
					    END };
static const struct oci_field mem_policy[] = {
	{ "mode", OCI_STR }, { "nodes", OCI_STR }, { "flags", OCI_STRS }, END
};
static const struct oci_field linux_fields[] = {
	{ "uidMappings", OCI_ARRAY, id_map },
	{ "gidMappings", OCI_ARRAY, id_map },
	{ "sysctl", OCI_MAP },
	{ "resources", OCI_OBJECT, oci_resource_fields },
	{ "cgroupsPath", OCI_STR },
	{ "namespaces", OCI_ARRAY, namespace },
	{ "devices", OCI_ARRAY, device },
	{ "netDevices", OCI_ANY, NULL, "network devices are not moved by this runtime" },
	{ "seccomp", OCI_OBJECT, seccomp },
	{ "rootfsPropagation", OCI_STR },
	{ "maskedPaths", OCI_STRS },
	{ "readonlyPaths", OCI_STRS },
	{ "mountLabel", OCI_STR },
	{ "intelRdt", OCI_ANY, NULL, "resource control of the CPU's cache is not supported" },
	{ "memoryPolicy", OCI_OBJECT, mem_policy },
	{ "personality", OCI_OBJECT, personality },
	{ "timeOffsets", OCI_OBJECT, offsets },
	END
};
static const char other_system[] = "it is of another system than Linux";
const struct oci_field oci_config_fields[] = { { "ociVersion", OCI_STR },
					       { "process", OCI_OBJECT, oci_process_fields },
					       { "root", OCI_OBJECT, root },
					       { "hostname", OCI_STR },
					       { "domainname", OCI_STR },
					       { "mounts", OCI_ARRAY, mount },
					       { "hooks", OCI_OBJECT, hooks },
					       { "annotations", OCI_MAP },
					       { "linux", OCI_OBJECT, linux_fields },
					       { "solaris", OCI_ANY, NULL, other_system },
					       { "windows", OCI_ANY, NULL, other_system },
					       { "vm", OCI_ANY, NULL, other_system },
					       { "zos", OCI_ANY, NULL, other_system },
					       { "freebsd", OCI_ANY, NULL, other_system },
					       END };

static const char *const type_names[] = {
	[OCI_ANY] = "anything",
	[OCI_BOOL] = "true or false",
	[OCI_STR] = "a string",
	[OCI_INT] = "a whole number",
	[OCI_UINT] = "a whole number that is not negative",
	[OCI_UINT32] = "a whole number below 2^32",
	[OCI_STRS] = "a list of strings",
	[OCI_UINTS] = "a list of ids",
	[OCI_OBJECT] = "an object",
	[OCI_ARRAY] = "a list of objects",
	[OCI_MAP] = "an object",
};

static bool all_are(const json_t *list, bool strings)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		json_int_t n = json_integer_value(v);

		if (strings ? !json_is_string(v) : !json_is_integer(v) || n < 0 || n >= UINT32_MAX)
			return false;
	}
	return json_is_array(list);
}

static bool is_of(const json_t *v, enum oci_type type)
{
	json_int_t n = json_integer_value(v);

	switch (type) {
	case OCI_BOOL:
		return json_is_boolean(v);
	case OCI_STR:
		return json_is_string(v);
	case OCI_INT:
		return json_is_integer(v);
	case OCI_UINT: /* -1: 2^64 - 1, as config.c reads it */
		return json_is_integer(v) && n >= -1;
	case OCI_UINT32:
		return json_is_integer(v) && n >= 0 && n <= UINT32_MAX;
	case OCI_STRS:
		return all_are(v, true);
	case OCI_UINTS:
		return all_are(v, false);
	case OCI_ARRAY:
		return json_is_array(v);
	case OCI_OBJECT:
	case OCI_MAP:
		return json_is_object(v);
	default:
		return true;
	}
}

static const struct oci_field *find(const struct oci_field *f, const char *name)
{
	for (; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static int check_below(const struct oci_field *f, json_t *v, const char *path,
		       const struct oci_runtime *r, struct err *err)
{
	const char *key;
	json_t *one;
	size_t i;
	int rc = 0;

	if (f->type == OCI_OBJECT)
		return oci_check_fields(f->below, v, path, r, err);
	if (f->type == OCI_MAP)
		json_object_foreach(v, key, one)
		{
			if (!f->below && !json_is_string(one))
				return err_set(err, EINVAL, "%s.%s is not a string", path, key);
			rc = f->below ? oci_check_fields(f->below, one, path, r, err) : 0;
			if (rc < 0)
				return rc;
		}
	if (f->type == OCI_ARRAY)
		json_array_foreach(v, i, one)
		{
			auto_free char *at = mem_fmt("%s[%zu]", path, i);

			if (!json_is_object(one))
				return err_set(err, EINVAL, "%s is not an object", at);
			rc = oci_check_fields(f->below, one, at, r, err);
			if (rc < 0)
				return rc;
		}
	return 0;
}

int oci_check_fields(const struct oci_field *fields, json_t *v, const char *path,
		     const struct oci_runtime *r, struct err *err)
{
	const char *key;
	json_t *one;
	int rc = 0;

	if (!json_is_object(v))
		return err_set(err, EINVAL, "%s is not an object", *path ? path : "config.json");
	json_object_foreach(v, key, one)
	{
		const struct oci_field *f = find(fields, key);
		auto_free char *at = mem_fmt("%s%s%.64s", path, *path ? "." : "", key);

		if (!f && r && r->warn) {
			auto_free char *text =
				mem_fmt("%s: unknown to the specification, passed over", at);

			r->warn(text);
		}
		if (!f || json_is_null(one))
			continue;
		if (f->refused)
			return err_set(err, ENOTSUP, "%s: %s", at, f->refused);
		if (!is_of(one, f->type))
			return err_set(err, EINVAL, "%s is not %s", at, type_names[f->type]);
		rc = check_below(f, one, at, r, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}
