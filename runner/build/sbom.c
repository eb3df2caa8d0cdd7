/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packages of a tree, read from what dpkg and apk note of them: text, opened beneath the tree,
 * regular files alone. Nothing of the tree is executed, and all of it may lie.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <shale/base/fd.h>
#include <shale/base/fs.h>
#include <shale/base/hash.h>
#include <shale/base/path.h>

#include "attest.h"

enum {
	FILE_BYTES_MAX = 32 << 20,
	TOTAL_BYTES_MAX = 64 << 20,
	PACKAGES_MAX = 50000,
	FILES_MAX = 20000,
	OS_BYTES_MAX = 64 << 10,
};

struct sbom {
	int root_fd;
	json_t *packages, *relations;
	size_t n, bytes;
	char *os_id, *os_version; /* or NULL */
};

static void sbom_free(struct sbom *s)
{
	json_decref(s->packages);
	json_decref(s->relations);
	free(s->os_id);
	free(s->os_version);
}

/* 1 when it was there. */
static int read_text(struct sbom *s, int dir_fd, const char *name, size_t limit, char **ret,
		     struct err *err)
{
	size_t len = 0;
	int rc = context_read(dir_fd, name, limit, ret, &len, err);

	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	s->bytes += len;
	if (rc >= 0 && s->bytes > TOTAL_BYTES_MAX)
		rc = err_set(err, EFBIG, "more than %d bytes of package lists", TOTAL_BYTES_MAX);
	return rc < 0 ? err_ctx(err, "%s of the image", name) : 1;
}

/* The next line, its end cut off; NULL after the last. */
static char *next_line(char **at)
{
	char *line = *at, *end = line ? strchr(line, '\n') : NULL;

	if (!line || !*line)
		return NULL;
	if (end)
		*end = 0;
	*at = end ? end + 1 : NULL;
	return line;
}

/* --- which distribution --- */

static char *os_value(const char *text)
{
	size_t n = strlen(text);

	if (n > 1 && strchr("\"'", *text) && text[n - 1] == *text) {
		text++;
		n -= 2;
	}
	return mem_strn(text, n);
}

static int read_os(struct sbom *s, struct err *err)
{
	auto_free char *text = NULL;
	char *at, *line;
	int rc = read_text(s, s->root_fd, "etc/os-release", OS_BYTES_MAX, &text, err);

	/* An absolute symlink leads out of the tree. */
	if (rc == 0 || rc == -EXDEV)
		rc = read_text(s, s->root_fd, "usr/lib/os-release", OS_BYTES_MAX, &text, err);
	if (rc <= 0)
		return rc;
	for (at = text; (line = next_line(&at));) {
		if (str_starts(line, "ID=") && !s->os_id)
			s->os_id = os_value(line + 3);
		if (str_starts(line, "VERSION_ID=") && !s->os_version)
			s->os_version = os_value(line + 11);
	}
	return 0;
}

/* --- packages --- */

struct package {
	const char *type, *distro; /* of the purl; distro: where os-release says nothing */
	const char *name, *version, *arch;
};

static void add_escaped(struct str *to, const char *text)
{
	for (const char *p = text; *p; p++)
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		    (*p >= '0' && *p <= '9') || strchr(".-_~", *p))
			str_addc(to, *p);
		else
			str_addf(to, "%%%02X", (unsigned char)*p);
}

static char *purl_of(const struct sbom *s, const struct package *p)
{
	const char *id = s->os_id && *s->os_id ? s->os_id : p->distro;
	auto_str struct str b = { 0 };

	str_addf(&b, "pkg:%s/", p->type);
	add_escaped(&b, id);
	str_addc(&b, '/');
	add_escaped(&b, p->name);
	str_addc(&b, '@');
	add_escaped(&b, p->version);
	if (p->arch) {
		str_add(&b, "?arch=");
		add_escaped(&b, p->arch);
	}
	if (s->os_version && *s->os_version) {
		str_addf(&b, "%cdistro=", p->arch ? '&' : '?');
		add_escaped(&b, id);
		str_addc(&b, '-');
		add_escaped(&b, s->os_version);
	}
	return str_take(&b);
}

static void relate(struct sbom *s, const char *from, const char *how, const char *to)
{
	json_t *o = json_object();

	json_set_str(o, "spdxElementId", from);
	json_set_str(o, "relationshipType", how);
	json_set_str(o, "relatedSpdxElement", to);
	json_array_append_new(s->relations, o);
}

static json_t *element(const char *id, const char *name, const char *version)
{
	json_t *o = json_object();

	json_set_str(o, "SPDXID", id);
	json_set_str(o, "name", name);
	json_set_str(o, "versionInfo", version);
	json_set_str(o, "downloadLocation", "NOASSERTION");
	json_object_set_new(o, "filesAnalyzed", json_false());
	json_set_str(o, "licenseConcluded", "NOASSERTION");
	json_set_str(o, "licenseDeclared", "NOASSERTION");
	json_set_str(o, "copyrightText", "NOASSERTION");
	return o;
}

/* Half a record is none. */
static int add_package(struct sbom *s, const struct package *p, struct err *err)
{
	auto_free char *id = NULL, *purl = NULL;
	json_t *o, *ref;

	if (!p->name || !p->version || !*p->name || !*p->version)
		return 0;
	if (++s->n > PACKAGES_MAX)
		return err_set(err, EFBIG, "more than %d packages", PACKAGES_MAX);
	id = mem_fmt("SPDXRef-Package-%s-%zu", p->type, s->n);
	purl = purl_of(s, p);
	o = element(id, p->name, p->version);
	ref = json_object();
	json_set_str(ref, "referenceCategory", "PACKAGE-MANAGER");
	json_set_str(ref, "referenceType", "purl");
	json_set_str(ref, "referenceLocator", purl);
	json_object_set_new(o, "externalRefs", json_pack("[o]", ref));
	json_array_append_new(s->packages, o);
	relate(s, "SPDXRef-Image", "CONTAINS", id);
	return 0;
}

/* The value of a field of that name, else NULL. */
static const char *field(const char *line, const char *name)
{
	size_t n = strlen(name);

	if (strncmp(line, name, n) != 0)
		return NULL;
	return line + n + strspn(line + n, " \t");
}

static void take_field(const char **to, const char *line, const char *name)
{
	const char *v = field(line, name);

	if (v && !*to)
		*to = v;
}

static bool is_installed(const char *status)
{
	return !status || str_ends(status, " installed");
}

/* Paragraphs of fields. */
struct format {
	const char *type, *distro; /* distro: where os-release names none */
	const char *name, *version, *arch, *status;
};
/* status.d's have no Status. */
static const struct format dpkg = { "deb",      "debian",        "Package:",
				    "Version:", "Architecture:", "Status:" };
static const struct format apk = { "apk", "alpine", "P:", "V:", "A:", NULL };

static int read_packages(struct sbom *s, const struct format *f, char *text, struct err *err)
{
	struct package p = { .type = f->type, .distro = f->distro };
	const char *status = NULL;
	char *at = text, *line;
	int rc = 0;

	do {
		line = next_line(&at);
		if (line && *line) {
			take_field(&p.name, line, f->name);
			take_field(&p.version, line, f->version);
			take_field(&p.arch, line, f->arch);
			if (f->status)
				take_field(&status, line, f->status);
			continue;
		}
		if (is_installed(status))
			rc = add_package(s, &p, err);
		p = (struct package){ .type = f->type, .distro = f->distro };
		status = NULL;
	} while (line && rc >= 0);
	return rc;
}

/* Images without a package manager (distroless) have a file for each package. */
static int read_status_d(struct sbom *s, struct err *err)
{
	static const char dir[] = "var/lib/dpkg/status.d";
	auto_strv struct strv names = { 0 };
	auto_fd int fd = path_open_beneath(s->root_fd, dir, O_RDONLY | O_DIRECTORY, 0, err);
	int rc = fd;

	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	if (rc >= 0)
		rc = fs_list(fd, ".", &names, err);
	if (rc >= 0 && names.n > FILES_MAX)
		rc = err_set(err, EFBIG, "more than %d files", FILES_MAX);
	for (size_t i = 0; i < names.n && rc >= 0; i++) {
		auto_free char *text = NULL;

		if (str_ends(names.v[i], ".md5sums"))
			continue;
		rc = read_text(s, fd, names.v[i], FILE_BYTES_MAX, &text, err);
		if (rc > 0)
			rc = read_packages(s, &dpkg, text, err);
	}
	return rc < 0 ? err_ctx(err, "%s", dir) : 0;
}

static int read_list(struct sbom *s, const struct format *f, const char *name, struct err *err)
{
	auto_free char *text = NULL;
	int rc = read_text(s, s->root_fd, name, FILE_BYTES_MAX, &text, err);

	return rc <= 0 ? rc : read_packages(s, f, text, err);
}

static int read_all(struct sbom *s, struct err *err)
{
	int rc = read_os(s, err);

	if (rc >= 0)
		rc = read_list(s, &dpkg, "var/lib/dpkg/status", err);
	if (rc >= 0)
		rc = read_status_d(s, err);
	if (rc >= 0)
		rc = read_list(s, &apk, "lib/apk/db/installed", err);
	return rc;
}

/* --- the document --- */

static bool has_rpm(int root_fd)
{
	static const char *const dirs[] = { "var/lib/rpm", "usr/lib/sysimage/rpm",
					    "usr/share/rpm" };
	struct err none = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		auto_fd int fd = path_open_beneath(root_fd, dirs[i], O_PATH, 0, &none);

		if (fd >= 0)
			return true;
	}
	return false;
}

static json_t *creation(const struct sbom *s, const struct sbom_opts *o)
{
	json_t *c = json_object();
	auto_free char *tool =
		mem_fmt("Tool: shale%s%s", o->tool ? "-" : "", o->tool ? o->tool : "");

	image_time_set(c, "created", o->created_s);
	json_object_set_new(c, "creators", json_pack("[o]", json_from_str(tool)));
	if (has_rpm(s->root_fd))
		json_set_str(c, "comment",
			     "The image has a database of rpm, which was not read: its packages "
			     "are missing here.");
	return c;
}

static json_t *document(struct sbom *s, const struct sbom_opts *o)
{
	auto_free char *text = json_text(s->packages), *space = NULL;
	json_t *doc = json_object(), *image = element("SPDXRef-Image", o->name, NULL);
	struct digest d;

	hash_bytes(text, strlen(text), &d);
	space = mem_fmt("https://spdx.org/spdxdocs/shale-%s", digest_hex(&d));
	json_set_str(doc, "spdxVersion", "SPDX-2.3");
	json_set_str(doc, "dataLicense", "CC0-1.0");
	json_set_str(doc, "SPDXID", "SPDXRef-DOCUMENT");
	json_set_str(doc, "name", o->name);
	json_set_str(doc, "documentNamespace", space);
	json_object_set_new(doc, "creationInfo", creation(s, o));
	json_set_str(image, "primaryPackagePurpose", "CONTAINER");
	json_array_insert_new(s->packages, 0, image);
	json_object_set(doc, "packages", s->packages);
	relate(s, "SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image");
	json_object_set(doc, "relationships", s->relations);
	return doc;
}

int sbom_make(int root_fd, const struct sbom_opts *o, json_t **ret, struct err *err)
{
	cleanup(sbom_free) struct sbom s = { .root_fd = root_fd,
					     .packages = json_array(),
					     .relations = json_array() };
	int rc = read_all(&s, err);

	if (rc < 0)
		return err_ctx(err, "--sbom");
	*ret = document(&s, o);
	return 0;
}
