/* SPDX-License-Identifier: Apache-2.0 */
/* The network of a container: which one it is, and its namespace from start to end. */
#include <shale/container.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

#define OF_NS "ns:"

enum container_net container_net_kind(const struct container_spec *s)
{
	const char *n = s->network;

	return !n || str_eq(n, "host")       ? CONTAINER_NET_HOST
	       : str_eq(n, "none")           ? CONTAINER_NET_NONE
	       : str_starts(n, OF_CONTAINER) ? CONTAINER_NET_CONTAINER
	       : str_starts(n, OF_NS)        ? CONTAINER_NET_NS
					     : CONTAINER_NET_BRIDGE;
}

const char *container_net_of(const struct container_spec *s)
{
	return s->network + strlen(OF_CONTAINER);
}

int container_net_check(const struct container_spec *s, struct err *err)
{
	enum container_net kind = container_net_kind(s);
	int rc = 0;

	for (size_t i = 0; rc >= 0 && i < s->publish.n; i++)
		rc = network_port_parse(s->publish.v[i], &(struct network_port){ 0 }, err);
	for (size_t i = 0; rc >= 0 && i < s->expose.n; i++) {
		rc = network_port_parse(s->expose.v[i], &(struct network_port){ 0 }, err);
		if (rc >= 0 && strchr(s->expose.v[i], ':'))
			rc = err_set(err, EINVAL, "--expose %.80s: want PORT[-PORT][/PROTOCOL]",
				     s->expose.v[i]);
	}
	for (size_t i = 0; rc >= 0 && i < s->networks.n; i++) {
		auto_network_join struct network_join j = { 0 };

		rc = network_join_parse(s->networks.v[i], &j, err);
	}
	if (rc < 0)
		return rc;
	if (kind == CONTAINER_NET_BRIDGE && !network_name_valid(s->network))
		return err_set(
			err, EINVAL,
			"network '%.80s' is not a name, none, host, container:NAME or ns:PATH",
			s->network);
	if (kind == CONTAINER_NET_NS && s->network[strlen(OF_NS)] != '/')
		return err_set(err, EINVAL, "network '%.80s': the path is not absolute",
			       s->network);
	if (s->network && kind != CONTAINER_NET_BRIDGE && (s->publish.n || s->publish_all))
		return err_set(err, EINVAL,
			       "ports are published from a bridge network, not from '%.80s'",
			       s->network);
	return 0;
}

static void publish_exposed(struct container_spec *r)
{
	for (size_t i = 0; i < r->expose.n; i++)
		strv_add(&r->publish, r->expose.v[i]);
}

/* Names are what they mean now. */
static int resolve_other(struct runtime *rt, struct container_spec *r, struct err *err)
{
	auto_container struct container *other = NULL;
	int rc = container_find(rt, container_net_of(r), &other, err);

	if (rc < 0)
		return err_set(err, EINVAL, "network %s: no such container", r->network);
	free(r->network);
	r->network = mem_fmt(OF_CONTAINER "%s", other->id);
	return 0;
}

/* Names are what they mean now; the alias is the name unless there is one. */
static int resolve_links(struct runtime *rt, struct container_spec *r, struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < r->links.n && rc >= 0; i++) {
		const char *text = r->links.v[i], *colon = strchr(text, ':');
		auto_free char *name =
			mem_strn(text, colon ? (size_t)(colon - text) : strlen(text));
		const char *alias = colon ? colon + 1 : name;
		auto_container struct container *of = NULL;
		char *replaced;

		rc = container_find(rt, name, &of, err);
		if (rc < 0)
			return err_set(err, EINVAL, "--link %.200s: no such container", text);
		if (!network_name_valid(alias))
			return err_set(err, EINVAL, "--link %.200s: want CONTAINER[:ALIAS]", text);
		replaced = mem_fmt("%s:%s", of->id, alias);
		free(r->links.v[i]);
		r->links.v[i] = replaced;
	}
	return rc;
}

static int check_aliases(const struct network_join *j, const struct network *n, struct err *err)
{
	if (!j->aliases.n || n->has_dns)
		return 0;
	return err_set(err, EINVAL,
		       "network %s has no names, so %s would be nobody's: make a network for that "
		       "(network create)",
		       n->name, j->aliases.v[0]);
}

int container_net_resolve(struct runtime *rt, struct container_spec *r,
			  const struct strv *image_ports, struct err *err)
{
	bool wants = r->publish.n || r->publish_all || r->networks.n || r->links.n;
	int rc = 0;

	if (!r->network)
		r->network = mem_str(wants ? NETWORK_DEFAULT : rt->network ? rt->network : "host");
	for (size_t i = 0; i < image_ports->n; i++)
		if (!strv_has(&r->expose, image_ports->v[i]))
			strv_add(&r->expose, image_ports->v[i]);
	if (container_net_kind(r) == CONTAINER_NET_CONTAINER)
		return resolve_other(rt, r, err);
	if (container_net_kind(r) != CONTAINER_NET_BRIDGE)
		return r->links.n
			       ? err_set(err, EINVAL, "--link goes with bridge networks, not '%s'",
					 r->network)
			       : 0;
	if (network_missing())
		return err_set(err, ENOTSUP, "network %s: %s", r->network, network_missing());
	rc = resolve_links(rt, r, err);
	if (r->publish_all)
		publish_exposed(r);
	if (!r->networks.n)
		strv_addf(&r->networks, "name=%s", r->network);
	for (size_t i = 0; rc >= 0 && i < r->networks.n; i++) {
		auto_network_join struct network_join j = { 0 };
		auto_network struct network *n = NULL;

		rc = network_join_parse(r->networks.v[i], &j, err);
		if (rc >= 0)
			rc = network_find(rt, j.network, &n, err);
		if (rc >= 0)
			rc = check_aliases(&j, n, err);
	}
	/* -ENOENT would be an image that is missing. */
	if (rc == -ENOENT)
		err->code = EINVAL;
	return rc < 0 ? -err->code : 0;
}

static int open_other(struct container *c, struct err *err)
{
	auto_container struct container *other = NULL;
	int rc = container_find_running(c->rt, container_net_of(&c->spec), &other, err);

	if (rc >= 0)
		rc = container_ns_fd(other, "net", err);
	return rc < 0 ? err_ctx(err, "network of another container") : rc;
}

static int open_path(const char *path, struct err *err)
{
	auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(err, "network namespace %s", path);
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return err_set(err, EINVAL, "%s is not a network namespace", path);
	return fd_take(&fd);
}

static int set_up(struct container *c, const struct ids_range *ids, struct network_held *held,
		  struct err *err)
{
	const struct container_spec *s = &c->spec;
	struct network_port *ports = mem_array(s->publish.n + 1, sizeof(*ports));
	auto_free void *freed = ports;
	struct network_use u = { .id = c->id,
				 .name = c->name,
				 .joins = &s->networks,
				 .ports = ports,
				 .n_ports = s->publish.n,
				 .dns = s->dns.n ? &s->dns : &c->rt->dns,
				 .ids = ids };
	int fd = -1, rc = 0;

	(void)freed;
	for (size_t i = 0; rc >= 0 && i < s->publish.n; i++)
		rc = network_port_parse(s->publish.v[i], &ports[i], err);
	if (rc >= 0)
		rc = network_setup(c->rt, &u, held, &fd, err);
	return rc < 0 ? rc : fd;
}

struct sandbox_beside *container_net_begin(const struct runtime *rt, const struct container_spec *s)
{
	const char *name = s->network ? s->network : rt->network;
	bool has_users = s->user_ns && *s->user_ns && !str_eq(s->user_ns, "host");

	/* Its own users have to have rights in it. */
	return str_eq(name, "none") && !has_users ? sandbox_net_begin() : NULL;
}

int container_net_open(struct container *c, const struct ids_range *ids, struct container_box *b,
		       struct err *err)
{
	enum container_net kind = container_net_kind(&c->spec);
	int fd;

	if (kind == CONTAINER_NET_NONE)
		b->net_fd = sandbox_net_take(take(c->net));
	if (kind == CONTAINER_NET_NONE || kind == CONTAINER_NET_HOST)
		return 0;
	if (kind == CONTAINER_NET_BRIDGE && !c->spec.networks.n) /* it has left all */
		return 0;
	fd = kind == CONTAINER_NET_BRIDGE      ? set_up(c, ids, &b->ports, err)
	     : kind == CONTAINER_NET_CONTAINER ? open_other(c, err)
					       : open_path(c->spec.network + strlen(OF_NS), err);
	if (fd < 0)
		return fd;
	b->net_fd = fd;
	if (kind == CONTAINER_NET_BRIDGE)
		memcpy(b->net_user, c->id, sizeof(b->net_user));
	return 0;
}

void container_net_close(struct container_box *b)
{
	struct err ignored = { 0 };

	if (*b->net_user && b->net_later)
		network_leave(b->net_user, b->net_fd, &ignored);
	else if (*b->net_user)
		network_teardown(b->net_user, b->net_fd, &ignored);
	*b->net_user = 0;
	network_held_close(&b->ports);
	fd_close(&b->net_fd);
}

void container_net_lost(const struct container *c)
{
	struct err ignored = { 0 };

	if (container_net_kind(&c->spec) == CONTAINER_NET_BRIDGE)
		network_teardown(c->id, -1, &ignored);
}

/* --- more and fewer networks
 * ---------------------------------------------------------------------------------------- */

static int join_index(const struct container *c, const struct network *n, size_t *ret,
		      struct err *err)
{
	for (size_t i = 0; i < c->spec.networks.n; i++) {
		auto_network_join struct network_join j = { 0 };
		auto_network struct network *of = NULL;
		struct err ignored = { 0 };

		if (network_join_parse(c->spec.networks.v[i], &j, &ignored) < 0)
			continue;
		/* One that was removed since has no row. */
		if (str_eq(j.network, n->name) ||
		    (network_find(c->rt, j.network, &of, &ignored) >= 0 && str_eq(of->id, n->id))) {
			*ret = i;
			return 0;
		}
	}
	return err_set(err, ENOENT, "container %s is not in network %s", c->name, n->name);
}

static int own_network(struct container *c, int *ret_fd, struct err *err)
{
	int rc;

	if (container_net_kind(&c->spec) != CONTAINER_NET_BRIDGE)
		return err_set(err, EINVAL, "the network of container %s is %s", c->name,
			       c->spec.network);
	rc = container_pid_wait(c, err);
	if (rc < 0 || c->state != CONTAINER_RUNNING)
		return rc;
	rc = container_ns_fd(c, "net", err);
	if (rc >= 0)
		*ret_fd = rc;
	return rc < 0 ? rc : 0;
}

int container_connect(struct container *c, const char *join, struct err *err)
{
	auto_network_join struct network_join j = { 0 };
	auto_network struct network *n = NULL;
	auto_fd int fd = -1;
	cleanup(container_etc_free) struct container_etc_state before = { 0 };
	struct err ignored = { 0 };
	size_t i;
	int rc = network_join_parse(join, &j, err);

	if (rc >= 0)
		rc = network_find(c->rt, j.network, &n, err);
	if (rc >= 0)
		rc = own_network(c, &fd, err);
	if (rc < 0)
		return rc;
	if (join_index(c, n, &i, &ignored) >= 0)
		return err_set(err, EEXIST, "container %s is in network %s already", c->name,
			       n->name);
	rc = check_aliases(&j, n, err);
	container_etc_note(c, &before);
	if (rc >= 0 && fd >= 0)
		rc = network_connect(c->rt, c->id, join, fd, err);
	if (rc < 0)
		return rc;
	if (fd >= 0)
		container_etc_edit(c, &before);
	strv_add(&c->spec.networks, join);
	rc = container_store_spec(c, err);
	if (rc >= 0)
		container_network_event(c->rt, n, "connect", c);
	return rc;
}

int container_disconnect(struct container *c, const char *network, struct err *err)
{
	cleanup(container_etc_free) struct container_etc_state before = { 0 };
	auto_network struct network *n = NULL;
	auto_fd int fd = -1;
	size_t i = 0;
	int rc = network_find(c->rt, network, &n, err);

	if (rc >= 0)
		rc = own_network(c, &fd, err);
	if (rc >= 0)
		rc = join_index(c, n, &i, err);
	container_etc_note(c, &before);
	if (rc >= 0 && fd >= 0)
		rc = network_disconnect(c->rt, c->id, n->name, fd, err);
	if (rc < 0)
		return rc;
	if (fd >= 0)
		container_etc_edit(c, &before);
	strv_remove(&c->spec.networks, i);
	rc = container_store_spec(c, err);
	if (rc >= 0)
		container_network_event(c->rt, n, "disconnect", c);
	return rc;
}
