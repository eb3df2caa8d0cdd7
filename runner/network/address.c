/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of IPv4 as numbers, and the words of options that name them. */
#include <shale/network.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "priv.h"

enum { BITS_V4 = 32, BITS_V6 = 128 };

bool network_is_v6(const char *text)
{
	return strchr(text, ':') != NULL;
}

static struct network_address of_bytes(bool v6, const unsigned char *raw)
{
	struct network_address a = { .v6 = v6 };

	for (int i = 0; i < (v6 ? BITS_V6 : BITS_V4) / 8; i++)
		a.n = a.n << 8 | raw[i];
	return a;
}

int network_address_parse(const char *text, struct network_address *ret)
{
	unsigned char raw[sizeof(struct in6_addr)];
	bool v6 = network_is_v6(text);

	if (inet_pton(v6 ? AF_INET6 : AF_INET, text, raw) != 1)
		return -EINVAL;
	*ret = of_bytes(v6, raw);
	return 0;
}

void network_address_text(const struct network_address *a, char buf[NETWORK_ADDRESS_MAX])
{
	unsigned char raw[sizeof(struct in6_addr)];
	int n = (a->v6 ? BITS_V6 : BITS_V4) / 8;

	for (int i = 0; i < n; i++)
		raw[i] = (unsigned char)(a->n >> (8 * (n - 1 - i)));
	inet_ntop(a->v6 ? AF_INET6 : AF_INET, raw, buf, NETWORK_ADDRESS_MAX);
}

static unsigned width(const struct network_range *r)
{
	return r->base.v6 ? BITS_V6 : BITS_V4;
}

/* The bits that the range's addresses differ in. */
static unsigned __int128 free_bits(const struct network_range *r)
{
	unsigned n = width(r) - r->bits;

	return n == BITS_V6 ? ~(unsigned __int128)0 : ((unsigned __int128)1 << n) - 1;
}

int network_range_parse(const char *text, struct network_range *ret)
{
	const char *slash = strchr(text, '/');
	auto_free char *address = mem_strn(text, slash ? (size_t)(slash - text) : strlen(text));
	struct network_range r = { 0 };
	uint64_t bits;

	if (!slash || network_address_parse(address, &r.base) < 0 ||
	    str_to_u64(slash + 1, 10, width(&r), &bits) < 0)
		return -EINVAL;
	r.bits = (unsigned)bits;
	r.base.n &= ~free_bits(&r);
	*ret = r;
	return 0;
}

void network_range_text(const struct network_range *r, char buf[NETWORK_SUBNET_MAX])
{
	char base[NETWORK_ADDRESS_MAX];

	network_address_text(&r->base, base);
	snprintf(buf, NETWORK_SUBNET_MAX, "%s/%u", base, r->bits);
}

struct network_address network_range_last(const struct network_range *r)
{
	struct network_address a = r->base;

	a.n |= free_bits(r);
	return a;
}

bool network_range_has(const struct network_range *r, const struct network_address *a)
{
	return a->v6 == r->base.v6 && a->n >= r->base.n && a->n <= network_range_last(r).n;
}

bool network_range_overlaps(const struct network_range *a, const struct network_range *b)
{
	return network_range_has(a, &b->base) || network_range_has(b, &a->base);
}

bool network_range_gives(const struct network_range *r, const struct network_address *a)
{
	return network_range_has(r, a) && a->n != r->base.n &&
	       (a->v6 || a->n != network_range_last(r).n);
}

/* Six bytes, of no group of receivers. */
bool network_mac_valid(const char *mac)
{
	static const char hex[] = "0123456789abcdefABCDEF";

	if (strlen(mac) != 17 || (strchr("13579bBdDfF", mac[1])))
		return false;
	for (int i = 0; i < 17; i++)
		if (i % 3 == 2 ? mac[i] != ':' : !strchr(hex, mac[i]))
			return false;
	return true;
}

bool network_name_valid(const char *name)
{
	static const char first[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	size_t n = strlen(name);

	return n > 0 && n <= 128 && strchr(first, name[0]) &&
	       n == strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789_.-");
}

/* --- a place in a network
 * ------------------------------------------------------------------------------------------ */

void network_join_free(struct network_join *j)
{
	free(j->network);
	free(j->ip);
	free(j->ip6);
	free(j->mac);
	strv_free(&j->aliases);
	*j = (struct network_join){ 0 };
}

/* A name that others ask for: it gets into the lines of a file. */
static bool alias_valid(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 253 &&
	       n == strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
}

static bool set_once(char **to, const char *value)
{
	if (*to)
		return false;
	*to = mem_str(value);
	return true;
}

static bool join_word(struct network_join *j, const char *word)
{
	struct network_address a;

	if (str_starts(word, "name="))
		return set_once(&j->network, word + 5);
	if (str_starts(word, "ip="))
		return network_address_parse(word + 3, &a) == 0 &&
		       set_once(a.v6 ? &j->ip6 : &j->ip, word + 3);
	if (str_starts(word, "ip6="))
		return network_address_parse(word + 4, &a) == 0 && a.v6 &&
		       set_once(&j->ip6, word + 4);
	if (str_starts(word, "mac-address="))
		return network_mac_valid(word + 12) && set_once(&j->mac, word + 12);
	if (!str_starts(word, "alias=") || !alias_valid(word + 6))
		return false;
	strv_add(&j->aliases, word + 6);
	return true;
}

int network_join_parse(const char *text, struct network_join *ret, struct err *err)
{
	auto_network_join struct network_join j = { 0 };
	auto_strv struct strv words = { 0 };

	if (!strchr(text, '='))
		j.network = mem_str(text);
	else
		strv_split(&words, text, ',');
	for (size_t i = 0; i < words.n; i++)
		if (!join_word(&j, words.v[i]))
			return err_set(
				err, EINVAL,
				"network %.200s: '%.80s' is not name=, ip=, ip6=, mac-address= or alias=",
				text, words.v[i]);
	if (!j.network || !network_name_valid(j.network))
		return err_set(err, EINVAL,
			       "network '%.80s': a name has only [a-zA-Z0-9][a-zA-Z0-9_.-]",
			       j.network ? j.network : "");
	*ret = j;
	j = (struct network_join){ 0 };
	return 0;
}

char *network_join_text(const struct network_join *j)
{
	auto_str struct str b = { 0 };

	str_addf(&b, "name=%s", j->network);
	if (j->ip)
		str_addf(&b, ",ip=%s", j->ip);
	if (j->ip6)
		str_addf(&b, ",ip6=%s", j->ip6);
	if (j->mac)
		str_addf(&b, ",mac-address=%s", j->mac);
	for (size_t i = 0; i < j->aliases.n; i++)
		str_addf(&b, ",alias=%s", j->aliases.v[i]);
	return str_take(&b);
}

/* --- ports
 * ----------------------------------------------------------------------------------------- */

static int range_of_ports(const char *text, uint64_t *ret_first, uint64_t *ret_n)
{
	const char *dash = strchr(text, '-');
	auto_free char *first = mem_strn(text, dash ? (size_t)(dash - text) : strlen(text));
	uint64_t last;

	if (str_to_u64(first, 10, 65535, ret_first) < 0 || !*ret_first)
		return -EINVAL;
	last = *ret_first;
	if (dash && (str_to_u64(dash + 1, 10, 65535, &last) < 0 || last < *ret_first))
		return -EINVAL;
	*ret_n = last - *ret_first + 1;
	return 0;
}

/* 0.0.0.0 and :: are "all" to whoever says them, and netavark's word for that is none. */
static bool port_address(struct network_port *p, const char *text)
{
	struct network_address a;

	if (network_address_parse(text, &a) < 0)
		return false;
	p->is_v6 = a.v6;
	if (a.n)
		network_address_text(&a, p->address);
	return true;
}

static bool port_words(struct network_port *p, char *text)
{
	char *end = *text == '[' ? strstr(text, "]:") : NULL;
	auto_free char *address = end ? mem_strn(text + 1, (size_t)(end - text - 1)) : NULL;
	auto_strv struct strv words = { 0 };
	uint64_t inner, n, outer = 0, n_outer;

	strv_split(&words, end ? end + 2 : text, ':');
	if (words.n < 1 || words.n > 3 || (end && words.n != 2))
		return false;
	if (words.n == 3)
		address = mem_str(words.v[0]);
	if (range_of_ports(words.v[words.n - 1], &inner, &n) < 0)
		return false;
	n_outer = n;
	if (words.n > 1 && *words.v[words.n - 2] &&
	    range_of_ports(words.v[words.n - 2], &outer, &n_outer) < 0)
		return false;
	/* One of a range, any that is free. */
	p->host = (uint16_t)outer;
	p->n_host = (uint16_t)n_outer;
	p->port = (uint16_t)inner;
	p->n = (uint16_t)n;
	return (n == n_outer || n == 1) && (!address || port_address(p, address));
}

int network_port_parse(const char *text, struct network_port *ret, struct err *err)
{
	const char *slash = strchr(text, '/'), *protocol = slash ? slash + 1 : "tcp";
	auto_free char *left = mem_strn(text, slash ? (size_t)(slash - text) : strlen(text));
	struct network_port p = { 0 };

	if (!port_words(&p, left) ||
	    (!str_eq(protocol, "tcp") && !str_eq(protocol, "udp") && !str_eq(protocol, "sctp")))
		return err_set(
			err, EINVAL,
			"port '%.80s' is not [[ADDRESS:][PORT[-PORT]]:]PORT[-PORT][/tcp|udp|sctp]",
			text);
	snprintf(p.protocol, sizeof(p.protocol), "%s", protocol);
	*ret = p;
	return 0;
}
