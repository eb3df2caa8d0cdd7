# SPDX-License-Identifier: Apache-2.0
"""mkindex.py REGISTRY REPO TAG: of that image an index REPO:multi for several platforms, with an attestation as BuildKit makes them."""
import hashlib
import json
import sys
import urllib.request

reg, repo, tag = sys.argv[1:4]
url = f"http://{reg}/v2/{repo}"
OCI = "application/vnd.oci.image."
accept = f"{OCI}manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def call(method, path, data=None, kind=None):
    r = urllib.request.Request(url + path, data, {"Accept": accept, **({"Content-Type": kind} if kind else {})}, method=method)
    with urllib.request.urlopen(r) as f:
        return f.headers, f.read()


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def blob(data):
    to = call("POST", "/blobs/uploads/", b"")[0]["Location"]
    to += ("&" if "?" in to else "?") + "digest=" + digest_of(data)
    urllib.request.urlopen(urllib.request.Request(to, data, {"Content-Type": "application/octet-stream"}, method="PUT")).close()
    return {"digest": digest_of(data), "size": len(data)}


def manifest(m):
    out = json.dumps(m).encode()
    call("PUT", "/manifests/" + digest_of(out), out, m["mediaType"])
    return {"mediaType": m["mediaType"], "digest": digest_of(out), "size": len(out)}


image = json.loads(call("GET", "/manifests/" + tag)[1])
entries = []


def add(os, arch, variant=None):
    m = json.loads(json.dumps(image))
    c = json.loads(call("GET", "/blobs/" + m["config"]["digest"])[1])
    p = {"architecture": arch, "os": os, **({"variant": variant} if variant else {})}
    c.update(p)
    m["config"].update(blob(json.dumps(c).encode()))
    if arch == "s390x":  # a layer that no other image has
        m["layers"].append({"mediaType": OCI + "layer.v1.tar", **blob(b"\0" * 10240)})
        c["rootfs"]["diff_ids"].append(digest_of(b"\0" * 10240))
        m["config"].update(blob(json.dumps(c).encode()))
    entries.append({**manifest(m), "platform": p})


add("linux", "s390x")
add("linux", "arm", "v6")
add("linux", "arm", "v7")
add("linux", "arm64", "v8")
add("linux", "amd64")
proof = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
         "config": {"mediaType": OCI + "config.v1+json", **blob(b'{"architecture":"unknown","os":"unknown","config":{}}')},
         "layers": [{"mediaType": "application/vnd.in-toto+json", **blob(b'{"_type":"https://in-toto.io/Statement/v0.1"}')}]}
entries.insert(0, {**manifest(proof), "platform": {"architecture": "unknown", "os": "unknown"},
                   "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": entries[-1]["digest"]}})
index = json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries}).encode()
call("PUT", "/manifests/multi", index, OCI + "index.v1+json")
print(digest_of(index))
