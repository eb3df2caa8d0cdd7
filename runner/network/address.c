/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of IPv4 as numbers, and the words of options that name them. */
#include <shale/network.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "priv.h"

int network_address_parse(const char *text, uint32_t *ret)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		return -EINVAL;
	*ret = ntohl(a.s_addr);
	return 0;
}

void network_address_text(uint32_t a, char buf[NETWORK_ADDRESS_MAX])
{
	snprintf(buf, NETWORK_ADDRESS_MAX, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255,
		 a & 255);
}

static uint32_t mask_of(unsigned bits)
{
	return bits ? ~UINT32_C(0) << (32 - bits) : 0;
}

int network_range_parse(const char *text, struct network_range *ret)
{
	const char *slash = strchr(text, '/');
	auto_free char *address = mem_strn(text, slash ? (size_t)(slash - text) : strlen(text));
	uint64_t bits = 32;

	if (!slash || str_to_u64(slash + 1, 10, 32, &bits) < 0 ||
	    network_address_parse(address, &ret->base) < 0)
		return -EINVAL;
	ret->bits = (unsigned)bits;
	ret->base &= mask_of(ret->bits);
	return 0;
}

uint32_t network_range_last(const struct network_range *r)
{
	return r->base | ~mask_of(r->bits);
}

bool network_range_has(const struct network_range *r, uint32_t a)
{
	return a >= r->base && a <= network_range_last(r);
}

bool network_range_overlaps(const struct network_range *a, const struct network_range *b)
{
	return network_range_has(a, b->base) || network_range_has(b, a->base);
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
	uint32_t a;

	if (str_starts(word, "name="))
		return set_once(&j->network, word + 5);
	if (str_starts(word, "ip="))
		return network_address_parse(word + 3, &a) == 0 && set_once(&j->ip, word + 3);
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
				"network %.200s: '%.80s' is not name=, ip=, mac-address= or alias=",
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

static bool port_words(struct network_port *p, const struct strv *words)
{
	const char *host = words->n > 1 ? words->v[words->n - 2] : "";
	uint64_t inner, n, outer = 0, n_outer;
	uint32_t a;

	if (range_of_ports(words->v[words->n - 1], &inner, &n) < 0)
		return false;
	n_outer = n;
	if (*host && range_of_ports(host, &outer, &n_outer) < 0)
		return false;
	if (words->n == 3 && network_address_parse(words->v[0], &a) < 0)
		return false;
	if (words->n == 3 && a)
		network_address_text(a, p->address);
	p->host = (uint16_t)outer;
	p->port = (uint16_t)inner;
	p->n = (uint16_t)n;
	return n == n_outer;
}

int network_port_parse(const char *text, struct network_port *ret, struct err *err)
{
	const char *slash = strchr(text, '/'), *protocol = slash ? slash + 1 : "tcp";
	auto_free char *left = mem_strn(text, slash ? (size_t)(slash - text) : strlen(text));
	auto_strv struct strv words = { 0 };
	struct network_port p = { 0 };

	strv_split(&words, left, ':');
	if (words.n < 1 || words.n > 3 || !port_words(&p, &words) ||
	    (!str_eq(protocol, "tcp") && !str_eq(protocol, "udp") && !str_eq(protocol, "sctp")))
		return err_set(
			err, EINVAL,
			"port '%.80s' is not [[ADDRESS:][PORT[-PORT]]:]PORT[-PORT][/tcp|udp|sctp]",
			text);
	snprintf(p.protocol, sizeof(p.protocol), "%s", protocol);
	*ret = p;
	return 0;
}
