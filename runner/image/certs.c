/* SPDX-License-Identifier: Apache-2.0 */
/* certs.d/HOST[:PORT]/: *.crt are CAs, NAME.cert with NAME.key is for us (docs.docker.com, "Verify
 * repository client with certificates"). The content goes to shale-transfer, which sees no files.
 */
#include "remote.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>

#include "priv.h"

enum { PEM_MAX = 48 << 10 };

static const char *const places[] = { "/etc/containers/certs.d", "/etc/docker/certs.d" };

static int add_client(int dir, const char *name, json_t *request, struct err *err)
{
	auto_free char *stem = mem_strn(name, strlen(name) - strlen(".cert"));
	auto_free char *key_name = mem_fmt("%s.key", stem);
	auto_free char *cert = NULL, *key = NULL;
	size_t len = 0;
	int rc = fd_read_file(dir, name, PEM_MAX, &cert, &len, err);

	if (rc >= 0)
		rc = fd_read_file(dir, key_name, PEM_MAX, &key, &len, err);
	if (rc < 0)
		return err_ctx(err, "%s", name);
	json_set_str(request, "cert", cert);
	json_set_str(request, "key", key);
	explicit_bzero(key, strlen(key));
	return 0;
}

static int read_dir(int dir, struct str *ca, json_t *request, struct err *err)
{
	auto_strv struct strv names = { 0 };
	int rc = fs_list(dir, ".", &names, err);

	for (size_t i = 0; rc >= 0 && i < names.n; i++) {
		auto_free char *text = NULL;
		size_t len = 0;

		if (str_ends(names.v[i], ".cert")) {
			rc = add_client(dir, names.v[i], request, err);
			continue;
		}
		if (!str_ends(names.v[i], ".crt"))
			continue;
		rc = fd_read_file(dir, names.v[i], PEM_MAX, &text, &len, err);
		if (rc >= 0 && ca->len + len > PEM_MAX)
			rc = err_set(err, EFBIG, "more than %d bytes of CAs", PEM_MAX);
		if (rc >= 0)
			str_addf(ca, "%s\n", text);
	}
	return rc;
}

int image_certs_add(const char *registry, json_t *request, struct err *err)
{
	auto_str struct str ca = { 0 };
	int found = 0;

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		auto_free char *path = mem_fmt("%s/%s", places[i], registry);
		auto_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int rc;

		if (dir < 0)
			continue;
		found = 1;
		rc = read_dir(dir, &ca, request, err);
		if (rc < 0)
			return err_ctx(err, "%s", path);
	}
	if (ca.len)
		json_set_str(request, "ca", ca.s);
	return found;
}
