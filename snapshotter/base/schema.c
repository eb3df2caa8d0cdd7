/* SPDX-License-Identifier: Apache-2.0 */
#include "schema.h"

#include <stdint.h>

#include <shale/base/db.h>

/*
 * snapshots: module snap. layers, images, image_layers: module image. tags: module store.
 * containers: module container. steps: module build. A step's result is named by its id; key is
 * SHA-256 over all it could see; ingredients says what that was. Times are unix seconds unless _ns.
 */
static const char version_1[] =
	"CREATE TABLE snapshots (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, kind INTEGER NOT NULL,"
	" parent INTEGER REFERENCES snapshots(id), flags INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL,"
	" boot TEXT NOT NULL, durable INTEGER NOT NULL DEFAULT 0);"
	"CREATE INDEX snapshots_parent ON snapshots(parent);"
	"CREATE TABLE layers (snapshot INTEGER PRIMARY KEY REFERENCES snapshots(id), diff_id TEXT, chain_id TEXT,"
	" size INTEGER NOT NULL DEFAULT 0, tar_size INTEGER);"
	"CREATE INDEX layers_chain ON layers(chain_id);"
	"CREATE TABLE images (id TEXT PRIMARY KEY, snapshot INTEGER REFERENCES snapshots(id), size INTEGER NOT NULL,"
	" created INTEGER NOT NULL, stored INTEGER NOT NULL, history TEXT, boot TEXT NOT NULL,"
	" durable INTEGER NOT NULL DEFAULT 0);"
	"CREATE INDEX images_snapshot ON images(snapshot);"
	"CREATE TABLE tags (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id), updated INTEGER NOT NULL,"
	" previous TEXT);"
	"CREATE INDEX tags_image ON tags(image);"
	"CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image TEXT REFERENCES images(id),"
	" image_name TEXT, snapshot INTEGER REFERENCES snapshots(id), state INTEGER NOT NULL, pid INTEGER, start_time INTEGER,"
	" monitor INTEGER, monitor_start INTEGER, boot TEXT, exit_code INTEGER, error TEXT, created_ns INTEGER NOT NULL,"
	" started_ns INTEGER, finished_ns INTEGER, command TEXT, auto_remove INTEGER NOT NULL DEFAULT 0,"
	" spec TEXT NOT NULL) WITHOUT ROWID;"
	/* No index on image: each one is a page more to write at every start, and only rmi would
	   use it. */
	"CREATE INDEX containers_snapshot ON containers(snapshot);"
	"CREATE TABLE steps (id TEXT PRIMARY KEY, parent TEXT, snapshot INTEGER REFERENCES snapshots(id),"
	" instruction TEXT NOT NULL, config TEXT NOT NULL, ingredients TEXT NOT NULL,"
	" size INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, used INTEGER NOT NULL, boot TEXT NOT NULL,"
	" durable INTEGER NOT NULL DEFAULT 0);"
	/* One step may be found by several keys: by what a stage's result is called, and by its
	   content. */
	"CREATE TABLE step_keys (key BLOB PRIMARY KEY, step TEXT NOT NULL REFERENCES steps(id) ON DELETE CASCADE)"
	" WITHOUT ROWID;"
	"CREATE INDEX step_keys_step ON step_keys(step);"
	"CREATE INDEX steps_snapshot ON steps(snapshot);";

/*
 * trash: images that were removed, with what they were called, until they go for good: a row of
 * images with its tags (JSON). layers.disk: st_blocks of snap/<id>, found when first asked for. A
 * pinned image or step is never pruned.
 */
static const char version_2[] =
	"CREATE TABLE trash (id TEXT PRIMARY KEY, snapshot INTEGER REFERENCES snapshots(id), size INTEGER NOT NULL,"
	" created INTEGER NOT NULL, stored INTEGER NOT NULL, history TEXT, boot TEXT NOT NULL,"
	" durable INTEGER NOT NULL DEFAULT 0, tags TEXT NOT NULL, removed_ns INTEGER NOT NULL);"
	"CREATE INDEX trash_snapshot ON trash(snapshot);"
	"ALTER TABLE layers ADD COLUMN disk INTEGER;"
	"ALTER TABLE images ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE steps ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;";

/*
 * What images from and for registries need. layer_blobs: blobs that are a compressed form of the
 * layer diff_id; codec is "" for the bytes that came from elsewhere. manifests: of images, the
 * bytes are the blob of that digest. repo_digests: which image a repository gives for a digest,
 * which may be that of an index. remote_blobs: a blob that a repository has or had.
 */
static const char version_3[] =
	"CREATE TABLE layer_blobs (digest TEXT PRIMARY KEY, diff_id TEXT NOT NULL, size INTEGER NOT NULL,"
	" media_type TEXT NOT NULL, codec TEXT NOT NULL, level INTEGER NOT NULL, boot TEXT NOT NULL,"
	" durable INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
	"CREATE INDEX layer_blobs_diff ON layer_blobs(diff_id);"
	"CREATE TABLE manifests (digest TEXT PRIMARY KEY, image TEXT NOT NULL, media_type TEXT NOT NULL,"
	" boot TEXT NOT NULL, durable INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
	"CREATE INDEX manifests_image ON manifests(image);"
	"CREATE TABLE repo_digests (repo TEXT NOT NULL, digest TEXT NOT NULL, image TEXT NOT NULL,"
	" PRIMARY KEY(repo,digest,image)) WITHOUT ROWID;"
	"CREATE INDEX repo_digests_image ON repo_digests(image);"
	"CREATE TABLE remote_blobs (digest TEXT NOT NULL, repo TEXT NOT NULL, PRIMARY KEY(digest,repo)) WITHOUT ROWID;";

/* Module store: directories that steps share by id (cache/<name>). seed: what it was filled from,
 * "" for none; part: which of those that exist beside each other. */
static const char version_4[] =
	"CREATE TABLE cache_mounts (name TEXT PRIMARY KEY, id TEXT NOT NULL, seed TEXT NOT NULL, part INTEGER NOT NULL,"
	" created INTEGER NOT NULL, used INTEGER NOT NULL, UNIQUE(id,seed,part)) WITHOUT ROWID;";

/*
 * Indexes that are kept whole, with what they name for other platforms (index_blobs, the index's
 * own bytes among them). tag_docs: the manifest or index that a name was pulled as; it holds while
 * the name means that image. manifest_lists: what "manifest create" works on.
 */
static const char version_5[] =
	"CREATE TABLE indexes (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, boot TEXT NOT NULL,"
	" durable INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
	"CREATE TABLE index_blobs (idx TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY(idx,digest)) WITHOUT ROWID;"
	"CREATE INDEX index_blobs_digest ON index_blobs(digest);"
	"CREATE TABLE tag_docs (name TEXT PRIMARY KEY, image TEXT NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE manifest_lists (name TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;";

/* builds: what was built, how it ended, and in info (JSON) its steps; logs/<id>.<step>.log are
 * their logs. */
static const char version_6[] =
	"CREATE TABLE builds (id TEXT PRIMARY KEY, started_ns INTEGER NOT NULL, finished_ns INTEGER NOT NULL,"
	" status INTEGER NOT NULL, info TEXT NOT NULL);"
	"CREATE INDEX builds_started ON builds(started_ns);";

/* networks: doc (JSON) has the bridge, the subnet and the rest. */
static const char version_7[] =
	"CREATE TABLE networks (name TEXT PRIMARY KEY, id TEXT NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;";

const char *const schema_step[SCHEMA_VERSION] = { version_1, version_2, version_3, version_4,
						  version_5, version_6, version_7 };

/* Kind 0 marks the snapshots that are lost, for the statements that follow in the transaction. */
#define LOST_SNAPSHOT "SELECT id FROM snapshots WHERE kind=0"
#define LOST_IMAGE                                                                                 \
	"SELECT id FROM images WHERE (durable=0 AND boot<>?1) OR snapshot IN (" LOST_SNAPSHOT ")"
#define ANY_IMAGE    "SELECT id FROM images UNION SELECT id FROM trash"
#define COUNT(field) offsetof(struct db_lost, field)

const struct schema_settle schema_settle[] = {
	{ "UPDATE snapshots SET kind=0 WHERE kind=3 AND durable=0 AND boot<>?1", SIZE_MAX },
	{ "WITH RECURSIVE lost(id) AS (" LOST_SNAPSHOT
	  " UNION SELECT s.id FROM snapshots s JOIN lost ON s.parent=lost.id)"
	  " UPDATE snapshots SET kind=0 WHERE id IN (SELECT id FROM lost)",
	  SIZE_MAX },
	{ "DELETE FROM containers WHERE snapshot IN (" LOST_SNAPSHOT ") OR image IN (" LOST_IMAGE
	  ")",
	  COUNT(containers) },
	{ "DELETE FROM steps WHERE (durable=0 AND boot<>?1) OR snapshot IN (" LOST_SNAPSHOT ")",
	  COUNT(steps) },
	{ "UPDATE tags SET image=previous,previous=NULL WHERE image IN (" LOST_IMAGE ")"
	  " AND previous IN (SELECT id FROM images) AND previous NOT IN (" LOST_IMAGE ")",
	  COUNT(tags_back) },
	{ "DELETE FROM tags WHERE image IN (" LOST_IMAGE ")", COUNT(tags_gone) },
	{ "DELETE FROM images WHERE id IN (" LOST_IMAGE ")", COUNT(images) },
	{ "DELETE FROM trash WHERE (durable=0 AND boot<>?1) OR snapshot IN (" LOST_SNAPSHOT ")",
	  SIZE_MAX },
	{ "DELETE FROM layers WHERE snapshot IN (" LOST_SNAPSHOT ")", SIZE_MAX },
	{ "DELETE FROM snapshots WHERE kind=0", SIZE_MAX },
	{ "DELETE FROM layer_blobs WHERE (durable=0 AND boot<>?1)"
	  " OR diff_id NOT IN (SELECT diff_id FROM layers WHERE diff_id NOTNULL)",
	  SIZE_MAX },
	{ "DELETE FROM manifests WHERE (durable=0 AND boot<>?1) OR image NOT IN (" ANY_IMAGE ")",
	  SIZE_MAX },
	{ "DELETE FROM repo_digests WHERE image NOT IN (" ANY_IMAGE ")", SIZE_MAX },
	{ "DELETE FROM tag_docs WHERE image NOT IN (" ANY_IMAGE ")", SIZE_MAX },
	{ "DELETE FROM indexes WHERE (durable=0 AND boot<>?1)"
	  " OR digest NOT IN (SELECT digest FROM tag_docs)",
	  SIZE_MAX },
	{ "DELETE FROM index_blobs WHERE idx NOT IN (SELECT digest FROM indexes)", SIZE_MAX },
	{ NULL, 0 },
};
