/* SPDX-License-Identifier: Apache-2.0 */
/* EXPOSE words after expansion: port[-port][/proto]. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "priv.h"

static const char *proto_find(const char *s)
{
	static const char *const protos[] = { "tcp", "udp", "sctp" };

	for (size_t i = 0; i < ARRAY_LEN(protos); i++)
		if (!strcasecmp(s, protos[i]))
			return protos[i];
	return NULL;
}

static int range_parse(char *s, uint64_t *ret_lo, uint64_t *ret_hi)
{
	char *dash = strchr(s, '-');

	if (dash)
		*dash = 0;
	if (str_to_u64(s, 10, 65535, ret_lo) < 0)
		return -EINVAL;
	*ret_hi = *ret_lo;
	return dash ? str_to_u64(dash + 1, 10, 65535, ret_hi) : 0;
}

int expose_parse(const char *word, struct strv *ret, struct err *err)
{
	auto_free char *copy = mem_str(word);
	char *port = copy, *slash = strchr(copy, '/'), *colon;
	const char *proto = "tcp";
	uint64_t lo, hi;

	if (slash) {
		*slash = 0;
		proto = proto_find(slash + 1);
		if (!proto)
			return err_set(err, EINVAL,
				       "EXPOSE %.60s: the protocol must be tcp, udp or sctp", word);
	}
	/* Docker takes "ip:80:8080" with a warning and uses the last part: the host's side belongs
	 * to -p. */
	colon = strrchr(port, ':');
	if (colon && strspn(port, "0123456789abcdefABCDEF.:-[]") == strlen(port))
		port = colon + 1;
	if (range_parse(port, &lo, &hi) < 0 || lo > hi)
		return err_set(err, EINVAL, "EXPOSE %.60s: not a port (80, 80/udp, 8000-8010)",
			       word);
	for (uint64_t p = lo; p <= hi; p++)
		strv_addf(ret, "%u/%s", (unsigned)p, proto);
	return 0;
}
