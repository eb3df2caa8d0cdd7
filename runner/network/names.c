/* SPDX-License-Identifier: Apache-2.0 */
/* Who is called what: the texts of /etc/hosts and /etc/resolv.conf for another network namespace
 * than the host's. */
#include <shale/network.h>

#include <fcntl.h>
#include <string.h>

#include <shale/base/fd.h>

enum { HOST_FILE_MAX = 1 << 20 };
#define RESOLV_FILE   "/etc/resolv.conf"
#define UPSTREAM_FILE "/run/systemd/resolve/resolv.conf"

void network_hosts_text(struct str *to)
{
	str_add(to, "127.0.0.1\tlocalhost\n"
		    "::1\tlocalhost ip6-localhost ip6-loopback\n"
		    "fe00::\tip6-localnet\n"
		    "ff00::\tip6-mcastprefix\n"
		    "ff02::1\tip6-allnodes\n"
		    "ff02::2\tip6-allrouters\n");
}

void network_host_file(const char *path, struct str *to)
{
	auto_free char *text = NULL;
	struct err ignored = { 0 };
	size_t len = 0;

	if (fd_read_file(AT_FDCWD, path, HOST_FILE_MAX, &text, &len, &ignored) >= 0)
		str_addn(to, text, len);
}

static bool is_loopback_line(const char *line)
{
	return str_starts(line, "nameserver") &&
	       (str_starts(line + strcspn(line, "0123456789:"), "127.") ||
		str_eq(line + strcspn(line, "0123456789:"), "::1"));
}

/* The host's lines: servers (unless loopback ones, when the reader's loopback is another), and the
 * rest. */
static void read_resolv(const char *path, bool with_loopback, struct strv *servers,
			struct strv *rest)
{
	auto_str struct str text = { 0 };
	auto_strv struct strv lines = { 0 };

	network_host_file(path, &text);
	strv_split(&lines, str_get(&text), '\n');
	for (size_t i = 0; i < lines.n; i++) {
		const char *line = str_trim(lines.v[i]);

		if (str_starts(line, "search") || str_starts(line, "domain") ||
		    str_starts(line, "options"))
			strv_add(rest, line);
		else if (str_starts(line, "nameserver") &&
			 (with_loopback || !is_loopback_line(line)))
			strv_add(servers, line);
	}
}

/* A local resolver of the host cannot be reached from another namespace; the one it asks can. */
static void host_resolv(bool with_loopback, struct strv *servers, struct strv *rest)
{
	auto_strv struct strv ignored = { 0 };

	read_resolv(RESOLV_FILE, with_loopback, servers, rest);
	if (!servers->n && !with_loopback)
		read_resolv(UPSTREAM_FILE, false, servers, &ignored);
}

static void add_list(struct str *to, const char *word, const struct strv *l)
{
	if (!l || !l->n)
		return;
	str_add(to, word);
	for (size_t i = 0; i < l->n; i++)
		str_addf(to, " %s", l->v[i]);
	str_addc(to, '\n');
}

static bool has(const struct strv *l)
{
	return l && l->n;
}

static bool keeps_line(const struct network_resolv *r, const char *line)
{
	return str_starts(line, "options") ? !has(r->options) : !has(r->search);
}

void network_resolv_text(const struct network_resolv *r, struct str *to)
{
	const struct strv *servers = has(r->own) ? r->own : r->servers;
	auto_strv struct strv lines = { 0 }, rest = { 0 };

	host_resolv(r->is_host, &lines, &rest);
	for (size_t i = 0; has(servers) && i < servers->n; i++)
		str_addf(to, "nameserver %s\n", servers->v[i]);
	for (size_t i = 0; i < lines.n && !has(servers); i++)
		str_addf(to, "%s\n", lines.v[i]);
	/* "." is how Docker's users say: no domain. */
	if (!has(r->search) || r->search->n != 1 || !str_eq(r->search->v[0], "."))
		add_list(to, "search", r->search);
	add_list(to, "options", r->options);
	for (size_t i = 0; i < rest.n; i++)
		if (keeps_line(r, rest.v[i]))
			str_addf(to, "%s\n", rest.v[i]);
}

void network_hosts_add(struct str *to, const char *lines, const char *gateway)
{
	auto_strv struct strv all = { 0 };

	strv_split(&all, lines, '\n');
	for (size_t i = 0; i < all.n; i++) {
		const char *line = all.v[i];
		bool is_word = str_starts(line, NETWORK_HOST_GATEWAY "\t");

		if (is_word && gateway)
			str_addf(to, "%s%s\n", gateway, line + strlen(NETWORK_HOST_GATEWAY));
		else if (!is_word && *line)
			str_addf(to, "%s\n", line);
	}
}
