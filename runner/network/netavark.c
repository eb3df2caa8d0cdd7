/* SPDX-License-Identifier: Apache-2.0 */
/* netavark: a program of the host that makes bridges, interfaces, addresses and firewall rules, and
 * starts aardvark-dns. */
#include <shale/network.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { ANSWER_MAX = 1 << 20, PATH_BYTES = 64, MESSAGE_MAX = 300 };

/* Where distributions put the two. */
static const char *const dirs[] = { "/usr/libexec/podman", "/usr/lib/podman",
				    "/usr/local/libexec/podman", "/usr/local/lib/podman" };
#define PROGRAM_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *find(const char *name, char buf[PATH_BYTES])
{
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		snprintf(buf, PATH_BYTES, "%s/%s", dirs[i], name);
		if (access(buf, X_OK) == 0)
			return buf;
	}
	return NULL;
}

static bool has_iptables(void)
{
	static const char *const names[] = { "/usr/sbin/iptables", "/sbin/iptables",
					     "/usr/bin/iptables", "/usr/local/sbin/iptables" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (access(names[i], X_OK) == 0)
			return true;
	return false;
}

const char *network_missing(void)
{
	char buf[PATH_BYTES];

	if (!find("netavark", buf))
		return "netavark is not installed, which bridge networks need (packages netavark "
		       "and aardvark-dns)";
	return has_iptables() ? NULL
			      : "iptables is not installed, which bridge networks need (package "
				"iptables)";
}

/*
 * It runs iptables, which a PATH of cron has not. aardvark-dns stays behind: it is to be init's
 * child, not one of a monitor that waits for nobody but its container, since a zombie would be
 * taken for a server. Nothing of ours is in the files that it inherits as stdout and stderr.
 */
static int run(char *const argv[], int in, int out, int log, int *ret_code, struct err *err)
{
	auto_free char *path = mem_str(getenv("PATH"));
	int reaps = 0, rc;
	pid_t pid;

	prctl(PR_GET_CHILD_SUBREAPER, &reaps);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	setenv("PATH", PROGRAM_PATH, 1);
	setenv("NETAVARK_FW", "iptables", 1); /* from 1.13 on it would be nft */
	pid = proc_spawn(argv[0], argv, (int[3]){ in, out, log }, err);
	if (path)
		setenv("PATH", path, 1);
	else
		unsetenv("PATH");
	rc = pid < 0 ? (int)pid : proc_wait(pid, ret_code, err);
	prctl(PR_SET_CHILD_SUBREAPER, reaps);
	return rc;
}

static int memory_file(const char *text, struct err *err)
{
	auto_fd int fd = sys_memfd_create("netavark", MFD_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "memfd");
	if (text && fd_write_str(fd, text, err) < 0)
		return -err->code;
	lseek(fd, 0, SEEK_SET);
	return fd_take(&fd);
}

static char *content(int fd)
{
	struct err ignored = { 0 };
	char *text = NULL;
	size_t len;

	lseek(fd, 0, SEEK_SET);
	return fd_read_all(fd, ANSWER_MAX, &text, &len, &ignored) < 0 ? mem_str("") : text;
}

/* {"error":"…"} on stdout; what it wrote on stderr when there is no such thing. */
static int failed(const char *verb, int code, json_t *answer, int log, struct err *err)
{
	auto_free char *text = content(log);
	const char *why = answer ? json_get_str(answer, "error") : NULL;

	str_trim(text);
	err_set(err, code > 128 ? EINTR : EIO, "netavark %s: %.*s", verb, MESSAGE_MAX,
		why     ? why
		: *text ? text
			: "it ended without a word");
	if (str_eq(verb, "setup") && code <= 128)
		err_hint(err, "--network host and none go without it; network.default in "
			      "shale.conf says what is meant when none is named");
	return -err->code;
}

static int run_it(const char *verb, const char *input, const char *ns, json_t **ret,
		  struct err *err)
{
	char program[PATH_BYTES], server[PATH_BYTES];
	char name[PATH_BYTES], word[16], config[] = "/run/shale/networks", ns_word[64];
	char dash_c[] = "-c", dash_a[] = "-a", nothing[] = "/nonexistent";
	auto_fd int in = memory_file(input, err), out = -1, log = -1;
	struct err ignored = { 0 };
	auto_json json_t *answer = NULL;
	auto_free char *text = NULL;
	int rc = in, code = 0;

	if (rc >= 0)
		rc = out = memory_file(NULL, err);
	if (rc >= 0)
		rc = log = memory_file(NULL, err);
	if (rc < 0)
		return rc;
	if (!find("netavark", program))
		return err_set(err, ENOENT, "%s", network_missing());
	snprintf(name, sizeof(name), "%s", program);
	snprintf(word, sizeof(word), "%s", verb);
	snprintf(ns_word, sizeof(ns_word), "%s", ns);
	char *argv[] = {
		name, dash_c,  config, dash_a, find("aardvark-dns", server) ? server : nothing,
		word, ns_word, NULL
	};

	rc = run(argv, in, out, log, &code, err);
	if (rc < 0)
		return rc;
	text = content(out);
	json_parse(text, strlen(text), &answer, &ignored);
	if (code)
		return failed(verb, code, answer, log, err);
	if (ret)
		*ret = take(answer);
	return 0;
}

int network_netavark(const char *verb, const json_t *config, int ns_fd, json_t **ret,
		     struct err *err)
{
	auto_free char *input = json_text(config);
	auto_free char *ns = mem_fmt("/proc/%d/fd/%d", (int)getpid(), ns_fd);

	return run_it(verb, input, ns, ret, err);
}

static void interfaces(const json_t *config, struct strv *ret)
{
	const char *name;
	json_t *place;

	json_object_foreach(json_object_get(config, "networks"), name, place)
	{
		const char *interface = json_get_str(place, "interface_name");

		if (interface && !strv_has(ret, interface))
			strv_add(ret, interface);
	}
}

static int others_in(const struct network_live *l, const char *id, const char *bridge)
{
	const char *key, *name;
	json_t *user, *info;
	int n = 0;

	json_object_foreach(l->users, key, user)
	{
		json_t *all = json_object_get(json_object_get(user, "setup"), "network_info");

		json_object_foreach(all, name, info) n +=
			!str_eq(key, id) && str_eq(json_get_str(info, "network_interface"), bridge);
	}
	return n;
}

/* The kernel takes a namespace apart some time after its last process, and netavark leaves a bridge
 * that has interfaces, with its rules. */
static void wait_for_links(const struct network_live *l, const char *id, const json_t *config)
{
	enum { WAIT_MS = 3000, PAUSE_MS = 5 };
	json_t *all = json_object_get(config, "network_info"), *info;
	const char *name;
	int waited = 0;

	json_object_foreach(all, name, info)
	{
		const char *bridge = json_get_str(info, "network_interface");
		int others = others_in(l, id, bridge);

		for (; network_bridge_ports(bridge) > others && waited < WAIT_MS;
		     waited += PAUSE_MS)
			poll(NULL, 0, PAUSE_MS);
	}
}

int network_undo(const struct network_live *l, const char *id, int ns_fd, struct err *err)
{
	const json_t *config = json_object_get(json_object_get(l->users, id), "setup");
	auto_fd int other = ns_fd < 0 ? network_ns_make(err) : -1;
	auto_strv struct strv names = { 0 };

	if (ns_fd < 0 && other < 0)
		return other;
	if (ns_fd < 0)
		wait_for_links(l, id, config);
	interfaces(config, &names);
	network_links_restore(ns_fd < 0 ? other : ns_fd, &names);
	return network_netavark("teardown", config, ns_fd < 0 ? other : ns_fd, NULL, err);
}
