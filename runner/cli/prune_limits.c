/* SPDX-License-Identifier: Apache-2.0 */
/* prune_limits: the --filter of the prunes. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "priv.h"

void prune_limits_free(struct prune_limits *l)
{
	strv_free(&l->labels);
	strv_free(&l->without);
}

int filter_until(const char *text, int64_t *ret, struct err *err)
{
	static const char *const formats[] = { "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S",
					       "%Y-%m-%d" };
	uint64_t seconds;
	int64_t ns;

	if (str_to_u64(text, 10, INT64_MAX, &seconds) == 0) {
		*ret = (int64_t)seconds;
		return 0;
	}
	if (str_to_duration(text, &ns) == 0 && ns >= 0) {
		*ret = time(NULL) - ns / 1000000000;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(text, formats[i], &tm);

		if (end && !*end) {
			*ret = timegm(&tm);
			return 0;
		}
	}
	return err_set(err, EINVAL, "filter until=%s: neither a duration (24h) nor a time", text);
}

int filter_bool(const char *name, const char *text, bool *ret, struct err *err)
{
	*ret = str_eq(text, "true") || str_eq(text, "1");
	if (*ret || str_eq(text, "false") || str_eq(text, "0"))
		return 0;
	return err_set(err, EINVAL, "filter %s: \"%s\" is not true or false", name, text);
}

/* docker builder prune's names of what a build leaves; those that shale does not have match
 * nothing. */
static int parse_type(const char *text, struct prune_limits *ret, struct err *err)
{
	static const char *const types[] = { "exec.cachemount", "regular",
					     "internal",        "frontend",
					     "source.local",    "source.git.checkout" };

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (str_eq(types[i], text)) {
			ret->type = types[i];
			return 0;
		}
	return err_set(err, EINVAL, "filter type=%s: want exec.cachemount or regular", text);
}

int prune_limits_parse(const struct strv *filters, struct prune_limits *ret, struct err *err)
{
	for (size_t i = 0; i < filters->n; i++) {
		const char *f = filters->v[i];
		int rc = 0;

		if (str_starts(f, "until="))
			rc = filter_until(f + strlen("until="), &ret->before_s, err);
		else if (str_starts(f, "label!="))
			strv_add(&ret->without, f + strlen("label!="));
		else if (str_starts(f, "label="))
			strv_add(&ret->labels, f + strlen("label="));
		else if (str_starts(f, "type="))
			rc = parse_type(f + strlen("type="), ret, err);
		else
			rc = err_set(err, EINVAL,
				     "filter %s: not one of until=, label=, label!=, type=", f);
		if (rc < 0)
			return rc;
	}
	return 0;
}
