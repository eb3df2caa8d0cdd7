/* SPDX-License-Identifier: Apache-2.0 */
/* What people are told of who is in which network. */
#include <shale/network.h>

#include <fcntl.h>
#include <string.h>

#include <shale/base/fd.h>

#include "priv.h"

enum { USER_BYTES_MAX = 1 << 20 };

static unsigned bits_of(const json_t *subnet)
{
	const char *text = json_get_str(subnet, "subnet");
	struct network_range r = { 0 };

	if (text)
		network_range_parse(text, &r);
	return r.bits;
}

static json_t *join_state(const json_t *user, const char *name, const json_t *place)
{
	const json_t *setup = json_object_get(user, "setup");
	const json_t *info = json_object_get(json_object_get(setup, "network_info"), name);
	const json_t *subnet = json_array_get(json_object_get(info, "subnets"), 0);
	const char *interface = json_get_str(place, "interface_name");
	const json_t *made = json_object_get(
		json_object_get(json_object_get(json_object_get(user, "status"), name),
				"interfaces"),
		interface);
	const json_t *subnet6 = json_array_get(json_object_get(info, "subnets"), 1);
	json_t *ips = json_object_get(place, "static_ips");
	json_t *o = json_object();

	json_set_str(o, "network", name);
	json_set_str(o, "id", json_get_str(info, "id"));
	json_set_str(o, "ip", json_string_value(json_array_get(ips, 0)));
	json_object_set_new(o, "prefix", json_integer(bits_of(subnet)));
	json_set_str(o, "gateway", json_get_str(subnet, "gateway"));
	json_set_str(o, "ip6", json_string_value(json_array_get(ips, 1)));
	json_object_set_new(o, "prefix6", json_integer(bits_of(subnet6)));
	json_set_str(o, "gateway6", json_get_str(subnet6, "gateway"));
	json_set_str(o, "mac", json_get_str(made, "mac_address"));
	json_set_str(o, "interface", interface);
	json_object_set_new(o, "dns", json_boolean(json_get_bool(info, "dns_enabled")));
	json_object_set_new(o, "internal", json_boolean(json_get_bool(info, "internal")));
	json_object_set(o, "aliases", json_object_get(place, "aliases"));
	return o;
}

static bool has_v6(const json_t *setup)
{
	json_t *all = json_object_get(setup, "network_info"), *info;
	const char *name;

	json_object_foreach(all, name, info) if (json_get_bool(info, "ipv6_enabled")) return true;
	return false;
}

/* As people know them: all addresses are a row for each IP. */
static json_t *ports_state(const json_t *setup)
{
	json_t *rows = json_array(), *m;
	size_t i;

	json_array_foreach(json_object_get(setup, "port_mappings"), i, m)
	{
		const char *ip = json_get_str(m, "host_ip");
		json_t *row = json_copy(m);

		json_array_append_new(rows, row);
		if (ip && *ip)
			continue;
		json_set_str(row, "host_ip", "0.0.0.0");
		if (!has_v6(setup))
			continue;
		row = json_copy(m);
		json_set_str(row, "host_ip", "::");
		json_array_append_new(rows, row);
	}
	return rows;
}

json_t *network_state(const char *id)
{
	auto_free char *path = mem_fmt("/run/shale/networks/%s", id), *text = NULL;
	auto_json json_t *user = NULL;
	struct err ignored = { 0 };
	json_t *o, *joins = json_array(), *setup, *place;
	const char *name;
	size_t len;

	/* Written by a rename: whole at any time. */
	if (fd_read_file(AT_FDCWD, path, USER_BYTES_MAX, &text, &len, &ignored) < 0 ||
	    json_parse(text, len, &user, &ignored) < 0) {
		json_decref(joins);
		return NULL;
	}
	setup = json_object_get(user, "setup");
	json_object_foreach(json_object_get(setup, "networks"), name, place)
		json_array_append_new(joins, join_state(user, name, place));
	o = json_object();
	json_object_set_new(o, "joins", joins);
	json_object_set_new(o, "ports", ports_state(setup));
	return o;
}

char *network_port_text(const json_t *port, int i)
{
	const char *ip = json_get_str(port, "host_ip");
	bool v6 = ip && network_is_v6(ip);

	return mem_fmt("%s%s%s:%d", v6 ? "[" : "", ip && *ip ? ip : "0.0.0.0", v6 ? "]" : "",
		       (int)json_get_int(port, "host_port", 0) + i);
}
