# SPDX-License-Identifier: Apache-2.0
"""Makes what --cache-to wrote into something that nobody should write: cacheio_evil.py DIR WHAT [CHAIN]"""
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

top, what, chain = (sys.argv[1:] + [None])[:3]


def path(digest):
    return os.path.join(top, "blobs/sha256", digest.split(":")[1])


def put(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    with open(path(digest), "wb") as f:
        f.write(data)
    return {"digest": digest, "size": len(data)}


def read(digest):
    with open(path(digest), "rb") as f:
        return json.load(f)


index = json.load(open(os.path.join(top, "index.json")))
manifest = read(index["manifests"][0]["digest"])
doc = read(manifest["config"]["digest"])
text = None

if what == "depth":
    text = b"[" * 100000
elif what == "not-json":
    text = b"\0" * 100
elif what == "digest-path":
    doc["layers"][0]["diff_id"] = "sha256:../../../../etc/passwd"
elif what == "layer-range":
    for r in doc["records"]:
        r["layer"] = 1 << 40
elif what == "count":
    doc["records"] = [{"key": "sha256:" + "%064x" % i} for i in range(20000)]
elif what == "no-list":
    doc["layers"] = {}
elif what == "below":
    for layer in doc["layers"]:
        layer["below"] = "sha256:" + 64 * "0"
elif what == "graft":
    # Absent layers by the name of one that is in the reader's store
    for layer in doc["absent"]:
        layer["chain"] = chain
elif what == "swap-manifest":
    manifest["layers"].pop()
elif what == "other-bytes":
    # A record that gives somebody's own files the DiffID of honest ones
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        t.addfile(tarfile.TarInfo("evil"), io.BytesIO())
    for layer in manifest["layers"]:
        layer.update(put(gzip.compress(tar.getvalue())))
elif what == "truncated":
    for layer in manifest["layers"]:
        os.truncate(path(layer["digest"]), layer["size"] // 2)
manifest["config"].update(put(text or json.dumps(doc).encode()))
index["manifests"][0].update(put(json.dumps(manifest).encode()))
with open(os.path.join(top, "index.json"), "w") as f:
    json.dump(index, f)
