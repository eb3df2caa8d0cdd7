# SPDX-License-Identifier: Apache-2.0
"""
What cosign sign --key leaves beside an image, in either form, and what an attacker could leave there instead:

    cosign.py REGISTRY REPO DIGEST KEY [NAME=VALUE...]

form=tag: the tag sha256-<hex>.sig; form=bundle: a Sigstore bundle, listed in the tag sha256-<hex>, to which it is added (fresh=1: in
place of what is there; list=: nowhere, the registry keeps the list). The other names make it something else.
"""
import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

OCI = "application/vnd.oci.image."
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"
EMPTY = "application/vnd.oci.empty.v1+json"


def b64(data):
    return base64.b64encode(data).decode()


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def pae(kind, body):
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)


class Cosign:
    def __init__(self, reg, repo, digest, key, **o):
        self.reg, self.repo, self.digest, self.key, self.o = reg, repo, digest, key, o
        self.hex_of = digest.split(":")[1]

    def call(self, method, path, data=None, kind=None):
        url = path if path.startswith("http") else f"http://{self.reg}/v2/{self.repo}{path}"
        headers = {"Content-Type": kind} if kind else {"Accept": f"{OCI}index.v1+json, {OCI}manifest.v1+json"}
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as f:
            return f.headers, f.read()

    def blob(self, data):
        d = digest_of(data)
        to = self.call("POST", "/blobs/uploads/", b"")[0]["Location"]
        self.call("PUT", to + ("&" if "?" in to else "?") + "digest=" + d, data, "application/octet-stream")
        return {"digest": d, "size": len(data)}

    def manifest(self, ref, doc):
        data = json.dumps(doc).encode()
        self.call("PUT", "/manifests/" + (ref or digest_of(data)), data, doc["mediaType"])
        return {"mediaType": doc["mediaType"], "digest": digest_of(data), "size": len(data)}

    def sign(self, text, by=None):
        with tempfile.NamedTemporaryFile() as t:
            t.write(text)
            t.flush()
            by = by or self.key
            is_ed = "ed" in by.rsplit("/", 1)[1]
            how = ["pkeyutl", "-sign", "-rawin", "-inkey", by, "-in", t.name] if is_ed else ["dgst", "-sha256", "-sign", by, t.name]
            sig = subprocess.run(["openssl", *how], stdout=subprocess.PIPE, check=True).stdout
        if "flip" in self.o:
            sig = sig[:-1] + bytes([sig[-1] ^ 1])
        return sig

    def tag_form(self):
        text = json.dumps({"critical": {"identity": {"docker-reference": self.o.get("name", f"{self.reg}/{self.repo}")},
                                        "image": {"docker-manifest-digest": self.o.get("claim", self.digest)},
                                        "type": self.o.get("type", "cosign container image signature")}, "optional": None}).encode()
        if "raw" in self.o:
            text = self.o["raw"].encode()
        if "pae" in self.o:
            text = pae("application/vnd.in-toto+json", self.statement())
        if "pad" in self.o:
            text += b" " * int(self.o["pad"])
        note = "dev.cosignproject.cosign/signature"
        layer = {"mediaType": self.o.get("media", "application/vnd.dev.cosign.simplesigning.v1+json"), **self.blob(text),
                 "annotations": {note: self.o.get("base64", b64(self.sign(text)))}}
        if "cert" in self.o:
            layer["annotations"]["dev.sigstore.cosign/certificate"] = "PEM"
        if "bare" in self.o:
            del layer["annotations"]
        before = [{**layer, "annotations": {note: b64(b"x" * 70)}}] * int(self.o.get("others", 0))
        self.manifest(self.o.get("tag", self.digest.replace(":", "-") + ".sig"), {
            "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
            "config": {"mediaType": OCI + "config.v1+json", **self.blob(b"{}")}, "layers": before + [layer]})

    def statement(self):
        subject = {"digest": {"sha256": self.o.get("claim", self.hex_of)}, "annotations": {}}
        if "name" in self.o:
            subject["name"] = self.o["name"]
        others = [{"name": str(i), "digest": {"sha256": "0" * 64}} for i in range(int(self.o.get("subjects", 0)))]
        doc = {"_type": self.o.get("type", "https://in-toto.io/Statement/v1"), "subject": others + [subject],
               "predicateType": self.o.get("predicate", SIGN), "predicate": {}}
        return (self.o["body"] if "body" in self.o else json.dumps(doc)).encode()

    def envelope(self):
        body, kind = self.statement(), self.o.get("signed_kind", "application/vnd.in-toto+json")
        text = {"bare": body, "kind": kind.encode() + body, "length": b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body) + 1, body),
                "version": pae(kind, body).replace(b"DSSEv1", b"DSSEv2"), None: pae(kind, body)}[self.o.get("pae")]
        if "critical" in self.o:
            text = json.dumps({"critical": {"identity": {"docker-reference": f"{self.reg}/{self.repo}"}, "image": {"docker-manifest-digest": self.digest},
                                            "type": "cosign container image signature"}, "optional": None}).encode()
        encode = base64.urlsafe_b64encode if "url" in self.o else base64.b64encode
        strip = "=" if "url" in self.o else ""
        sigs = [{"sig": encode(self.sign(text)).decode().rstrip(strip)}]
        if "second" in self.o:
            sigs.append({"sig": b64(self.sign(text, self.o["second"]))})
        if "nosig" in self.o:
            sigs = []
        return {"payload": self.o.get("payload", encode(body).decode().rstrip(strip)), "payloadType": self.o.get("kind", "application/vnd.in-toto+json"),
                "signatures": sigs}

    def bundle(self):
        by = {"publicKey": {"hint": b64(hashlib.sha256(self.key.encode()).digest())}, "tlogEntries": [{"logIndex": "1"}]}
        if "cert" in self.o:
            by = {self.o["cert"]: {"rawBytes": b64(b"DER")}}
        doc = {"mediaType": self.o.get("version", BUNDLE), "verificationMaterial": by}
        if "message" in self.o:
            text = self.call("GET", "/manifests/" + self.o["message"])[1]
            doc["messageSignature"] = {"messageDigest": {"algorithm": "SHA2_256", "digest": b64(bytes.fromhex(self.hex_of))},
                                       "signature": b64(self.sign(text))}
        if "message" not in self.o or "both" in self.o:
            doc["dsseEnvelope"] = self.envelope()
        if "none" in self.o:
            del doc["dsseEnvelope"]
        if "pad" in self.o:
            doc["pad"] = "x" * int(self.o["pad"])
        text = json.dumps(doc)
        if "deep" in self.o:
            text = text[:-1] + ',"deep":' + "[" * int(self.o["deep"]) + "]" * int(self.o["deep"]) + "}"
        return (self.o["bundle"] if "bundle" in self.o else text).encode()

    def old_list(self, tag):
        try:
            return json.loads(self.call("GET", "/manifests/" + tag)[1])["manifests"]
        except urllib.error.HTTPError:
            return []

    def bundle_form(self):
        layer = {"mediaType": self.o.get("media", BUNDLE), **self.blob(self.bundle())}
        if "layer_size" in self.o:
            layer["size"] = int(self.o["layer_size"])
        doc = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "artifactType": self.o.get("artifact", BUNDLE),
               "config": {"mediaType": EMPTY, **self.blob(b"{}")}, "layers": [layer] * int(self.o.get("layers", 1)),
               "subject": {"mediaType": OCI + "manifest.v1+json", "digest": self.o.get("subject", self.digest), "size": 2},
               "annotations": {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": self.o.get("note", SIGN)}}
        if "nosubject" in self.o:
            del doc["subject"]
        entry = self.manifest(None, doc)
        if self.o.get("list") == "":
            return
        tag = self.digest.replace(":", "-")
        # cosign's library writes the config's type here, and no annotations.
        entry["artifactType"] = self.o.get("entry_type", EMPTY)
        for name in ("digest", "size"):
            if "entry_" + name in self.o:
                entry[name] = type(entry[name])(self.o["entry_" + name])
        many = [{**entry, "artifactType": self.o["many_type"]}] * int(self.o.get("many", 0)) if "many" in self.o else []
        self.manifest(tag, {"schemaVersion": 2, "mediaType": OCI + "index.v1+json",
                            "manifests": ([] if "fresh" in self.o else self.old_list(tag)) + many + [entry]})


def leave(reg, repo, digest, key, form="tag", **o):
    c = Cosign(reg, repo, digest, key, **o)
    {"tag": c.tag_form, "bundle": c.bundle_form}[form]()


if __name__ == "__main__":
    leave(*sys.argv[1:5], **dict(a.split("=", 1) for a in sys.argv[5:]))
