/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parsers of what a registry sends: the input is a header's value, a Location, an error body
 * and a token's JSON at once. Where a Location leads is good by the rules, whatever it was.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../runner/registry/priv.h"
#include "fuzz.h"

static void headers(const char *s)
{
	struct challenge c = { 0 };
	struct range r;
	const char *at = s;
	uint64_t n;
	int64_t wait_s;

	while (challenge_next(&at, &c)) {
		must(c.scheme && *c.scheme && at > s && at <= s + strlen(s));
		challenge_free(&c);
		s = at;
	}
	if (parse_content_range(s, &r))
		must(r.first <= r.last && r.last < r.total);
	if (parse_upload_range(s, &n))
		must(n <= (uint64_t)INT64_MAX + 1);
	if (parse_retry_after(s, 1445412480, &wait_s))
		must(wait_s >= 0 && wait_s <= INT32_MAX);
}

static void locations(const char *s)
{
	static const char *const from[] = { "https://a.test:5/v2/x/y?z=1", "http://a.test/v2/" };

	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		auto_free char *to = NULL, *origin = NULL, *again = NULL;
		struct err err = { 0 };
		int rc = url_follow(from[i], s, i, &to, &err);

		must((rc < 0) == (err.code != 0) && (rc < 0) == !to);
		if (rc < 0)
			continue;
		must(str_starts(to, "https://") || (i == 1 && str_starts(to, "http://")));
		must(strlen(to) <= CALL_URL_MAX && !strpbrk(to, " \r\n\t\x7f"));
		origin = url_origin(to);
		must(!strpbrk(origin, "@?#") && url_is_same_origin(to, to));
		again = url_with(to, "digest", "sha256:x");
		must(url_is_same_origin(to, again));
	}
	must(!url_is_host(s) || !strpbrk(s, "/?#@%\\ \n"));
	must(!url_is_repo(s) || !strpbrk(s, "?#@%\\ :\n"));
	must(!url_is_tag(s) || !strpbrk(s, "/?#@%\\ :\n"));
}

static void bodies(const char *s, size_t n)
{
	auto_free char *message = message_of(s, n), *token = NULL, *refresh = NULL;
	int64_t expires;

	for (const char *p = message; *p; p++)
		must((unsigned char)*p >= ' ' && *p != 0x7f);
	must(strlen(message) <= 400);
	message_scrub(message, s);
	if (parse_token(s, n, &token, &refresh, &expires))
		must(token && *token && !strpbrk(token, " \r\n") && expires >= 60);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = mem_strn((const char *)data, size);

	headers(text);
	locations(text);
	bodies(text, strlen(text));
	return 0;
}
