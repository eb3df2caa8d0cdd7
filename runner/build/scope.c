/* SPDX-License-Identifier: Apache-2.0 */
/* The variables that an instruction can see, and the environment that a RUN gets. */
#include <errno.h>
#include <string.h>

#include "priv.h"

/* No ARG needed, kept out of history and keys unless one is declared. In pairs: who gives one gets
 * the other. */
static const char *const proxies[] = { "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
				       "FTP_PROXY",  "ftp_proxy",  "NO_PROXY",    "no_proxy",
				       "ALL_PROXY",  "all_proxy" };

void scope_free(struct scope *sc)
{
	strv_free(&sc->args);
	strv_free(&sc->unset);
	*sc = (struct scope){ 0 };
}

const char *scope_lookup(const char *name, void *arg)
{
	const struct scope *sc = arg;
	const char *v = strv_env_get(&sc->config->env, name);

	return v ? v : strv_env_get(&sc->args, name);
}

/* Build arg, default, global ARG, predefined: the first that has a value. */
static const char *arg_value(const struct scope *sc, const char *name, const char *fallback)
{
	const char *v = strv_env_get(sc->build_args, name);

	if (!v)
		v = fallback;
	if (!v)
		v = strv_env_get(sc->global_args, name);
	if (!v)
		v = plan_builtin_arg(name, sc->target, sc->platform);
	return v;
}

int scope_arg(struct scope *sc, const char *word, char escape, char **ret_pair, struct err *err)
{
	const char *eq = strchr(word, '=');
	auto_free char *raw = eq ? mem_strn(word, (size_t)(eq - word)) : mem_str(word);
	auto_free char *name = NULL, *fallback = NULL;
	const char *value;
	int rc = expand_word(raw, escape, scope_lookup, sc, &name, err);

	if (rc >= 0 && eq)
		rc = expand_word(eq + 1, escape, scope_lookup, sc, &fallback, err);
	if (rc < 0)
		return rc;
	value = arg_value(sc, name, fallback);
	if (!value) {
		strv_add(&sc->unset, name);
		*ret_pair = take(name);
		return 0;
	}
	sc->bytes += strlen(value);
	if (sc->bytes > ARG_BYTES_MAX)
		return err_set(err, E2BIG, "the ARGs of this stage hold more than %d bytes",
			       ARG_BYTES_MAX);
	strv_env_set(&sc->args, name, value);
	*ret_pair = mem_fmt("%s=%s", name, value);
	return 0;
}

void scope_env(const struct scope *sc, struct strv *ret_env, struct strv *ret_visible)
{
	for (size_t i = 0; i < sc->args.n; i++) {
		strv_add(ret_env, sc->args.v[i]);
		strv_add(ret_visible, sc->args.v[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(proxies); i++) {
		const char *v = strv_env_get(sc->build_args, proxies[i]);

		if (!v)
			v = strv_env_get(sc->build_args, proxies[i ^ 1]);
		if (v && !strv_env_get(&sc->args, proxies[i]))
			strv_env_set(ret_env, proxies[i], v);
	}
	for (size_t i = 0; i < sc->config->env.n; i++) {
		const char *pair = sc->config->env.v[i], *eq = strchr(pair, '=');
		auto_free char *name = eq ? mem_strn(pair, (size_t)(eq - pair)) : NULL;

		if (!name)
			continue;
		strv_env_set(ret_env, name, eq + 1);
		strv_env_set(ret_visible, name, eq + 1);
	}
}
