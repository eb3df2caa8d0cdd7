/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and indexes: the first byte says what the registry calls it. Sizes and counts stay
 * within the limits, and a document is one thing alone. */
#include <shale/image.h>

#include "../../runner/image/priv.h"
#include "../../runner/image/remote.h"
#include "fuzz.h"

static const char *const types[] = {
	NULL,
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.v1+prettyjws",
	"text/html",
};

static void manifest(const json_t *doc)
{
	struct image_manifest m = { 0 };
	struct err err = { 0 };
	int rc = image_manifest_parse(doc, &m, &err);

	must_tell(rc, &err);
	if (rc < 0)
		return;
	must(m.n <= IMAGE_LAYERS_MAX && m.config.media_type && m.config.size <= INT64_MAX);
	for (size_t i = 0; i < m.n; i++)
		must(m.layers[i].media_type && m.layers[i].size <= INT64_MAX);
	image_manifest_free(&m);
}

static void index_of(const json_t *doc)
{
	struct image_platform want = { 0 };
	struct err err = { 0 };
	const char *type;
	struct digest d;

	must(image_platform_parse("linux/arm64/v8", &want, &err) >= 0);
	must_tell(image_index_choose(doc, &want, &d, &type, &err), &err);
	err_clear(&err);
	must_tell(image_index_first(doc, &d, &err), &err);
	image_platform_free(&want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_document d = { 0 };
	enum image_doc kind = IMAGE_DOC_OTHER;
	auto_json json_t *doc = NULL;
	struct err err = { 0 };
	int rc;

	if (!size)
		return 0;
	d.media_type = mem_str(types[data[0] % ARRAY_LEN(types)]);
	d.text = mem_dup(data + 1, size - 1);
	d.len = size - 1;
	rc = image_doc_kind(&d, &doc, &kind, &err);
	must_tell(rc, &err);
	if (rc >= 0 && kind == IMAGE_DOC_MANIFEST)
		manifest(doc);
	else if (rc >= 0)
		index_of(doc);
	image_document_free(&d);
	return 0;
}
