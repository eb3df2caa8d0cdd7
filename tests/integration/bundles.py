# SPDX-License-Identifier: Apache-2.0
"""Signatures in Sigstore bundles, against a registry in memory. TAP; bundles.py SHALE DIR"""
import json
import subprocess
import sys

from cosign import leave
from registries_cases import DIR, MANIFEST, World, main
from registry import Fault, digest_of, status

cases = []
OTHER = "sha256:" + "7" * 64


def case(fn):
    cases.append(fn)
    return fn


def make_keys():
    for name, how in (("one", ["ecparam", "-name", "prime256v1", "-genkey", "-noout"]), ("two", ["ecparam", "-name", "prime256v1", "-genkey", "-noout"]),
                      ("ed", ["genpkey", "-algorithm", "ed25519"])):
        subprocess.run(["openssl", *how, "-out", f"{DIR}/{name}.key"], check=True)
        subprocess.run(["openssl", "pkey", "-in", f"{DIR}/{name}.key", "-pubout", "-out", f"{DIR}/{name}.pub"], check=True)


def policy(w, *keys):
    with open(f"{DIR}/shale.conf", "w") as f:
        f.write("".join(f"[trust]\nsigned-by = {w.r.host}={DIR}/{k}.pub\n" for k in keys))


def sign(w, key="one", add=False, **o):
    leave(w.r.host, "a/b", digest_of(w.image.text), f"{DIR}/{key}.key", form="bundle", **({} if add else {"fresh": 1}), **o)


def taken(w):
    code, said = w.shale("pull", w.name)
    assert code == 0, said
    w.forget()


def refused(w, *words):
    return w.refused("trust: sha256:", *words)


@case
def good_bundles(w):
    policy(w, "one")
    refused(w, "it is not signed", "neither a Sigstore bundle nor a tag")
    ours = digest_of(w.image.text)
    for o in ({}, {"url": 1}, {"name": w.name}, {"name": w.name + ":latest"}, {"subjects": 3}, {"message": ours}, {"entry_type": ""},
              {"version": "application/vnd.dev.sigstore.bundle+json;version=0.3"}, {"artifact": "application/vnd.dev.sigstore.bundle+json;version=0.3"}):
        sign(w, **o)
        taken(w)
    policy(w, "two", "ed")
    refused(w, "bundle: it is by another key")
    for o in ({}, {"message": ours}):
        sign(w, "ed", **o)
        taken(w)


@case
def one_good_of_several(w):
    policy(w, "one")
    sign(w, "two")
    sign(w, "one", add=True)
    sign(w, "two", add=True)
    taken(w)


@case
def bundles_of_something_else(w):
    policy(w, "one")
    other = w.r.add_manifest("a/b", "other", w.image.text + b" ")
    for o, told in (
            ({"claim": "7" * 64}, "it is for digest " + "7" * 64),
            ({"subject": OTHER}, "it stands beside " + OTHER),
            ({"nosubject": 1}, "it stands beside none"),
            ({"message": other}, "it is by another key"),
            ({"subjects": 200}, "it is for 201 subjects"),
            ({"name": w.r.host + "/a/c"}, f"it is for {w.r.host}/a/c"),
            ({"name": w.name + ":old"}, f"it is for {w.name}:old"),
            ({"predicate": "https://slsa.dev/provenance/v1"}, "it says something else (https://slsa.dev/provenance/v1)"),
            ({"note": "https://slsa.dev/provenance/v1"}, "it is not signed"),
            ({"type": "https://example.com/Statement/v9"}, "it says something else"),
            ({"body": "hello"}, "JSON, line 1"),
            ({"body": '{"_type":"a","_type":"b"}'}, "duplicate object key")):
        sign(w, **o)
        refused(w, told)
    sign(w)
    taken(w)


@case
def envelopes_that_lie(w):
    policy(w, "one")
    for o, told in (
            ({"flip": 1}, "it is by another key"),
            ({"kind": "text/plain"}, "its payload is of type text/plain"),
            ({"signed_kind": "text/plain"}, "it is by another key"),
            ({"pae": "bare"}, "it is by another key"),
            ({"pae": "kind"}, "it is by another key"),
            ({"pae": "length"}, "it is by another key"),
            ({"pae": "version"}, "it is by another key"),
            ({"critical": 1}, "it is by another key"),
            ({"payload": "%%"}, "its payload is not base64"),
            ({"second": f"{DIR}/two.key"}, "its envelope has 2 signatures, not one"),
            ({"nosig": 1}, "its envelope has 0 signatures, not one")):
        sign(w, **o)
        refused(w, "bundle: " + told)


@case
def bundles_that_are_none(w):
    policy(w, "one")
    for o, told in (
            ({"cert": "certificate"}, "it is by a certificate (keyless), which is not checked (what is signed with a key is: cosign sign --key"),
            ({"cert": "x509CertificateChain"}, "it is by a certificate (keyless)"),
            ({"cert": "other"}, "it does not say that it is by a key"),
            ({"message": digest_of(w.image.text), "both": 1}, "it has two contents"),
            ({"none": 1}, "it has no content"),
            ({"version": "application/vnd.dev.sigstore.bundle+json;version=9"}, "version=9, which is not read"),
            ({"bundle": "hello"}, "JSON, line 1"),
            ({"bundle": "[1]"}, "it is of type none"),
            ({"pad": 300_000}, "it has 300"),
            ({"deep": 5000}, "JSON deeper than 64"),
            ({"layer_size": 12}, "bytes, not 12"),
            ({"layer_size": -3}, "it has -3 bytes"),
            ({"layers": 2}, "2 layers, not one"),
            ({"media": "text/plain"}, "it is not signed")):
        sign(w, **o)
        refused(w, told)


@case
def lists_that_lie(w):
    policy(w, "one")
    ours = digest_of(w.image.text)
    for o, told in (
            ({"entry_size": 7}, "the list says 7 bytes, but it has"),
            ({"entry_digest": OTHER}, "manifest unknown"),
            ({"entry_digest": "sha256:../../canary"}, "digest"),
            ({"entry_digest": ours, "entry_size": len(w.image.text)}, "it is not signed"),
            ({"many": 2000, "many_type": "text/plain"}, "a list of 2001 entries"),
            ({"many": 40, "many_type": "", "flip": 1}, "more than 32")):
        sign(w, **o)
        refused(w, told)
    sign(w, many=900, many_type="text/plain")
    taken(w)
    tag = ours.replace(":", "-")
    for body, told in ((b"hello", "JSON"), (w.image.text, "is no list"), (b"[" * 5000, "JSON deeper than 64"), (b"{}", "neither a manifest nor an index")):
        w.r.add_manifest("a/b", tag, body, MANIFEST)
        refused(w, told)


@case
def the_older_form_beside_it(w):
    policy(w, "one")
    ours = digest_of(w.image.text)
    leave(w.r.host, "a/b", ours, f"{DIR}/one.key", pae=1)
    sign(w, "two")
    refused(w, "signature: JSON, line 1", "; bundle: it is by another key")
    leave(w.r.host, "a/b", ours, f"{DIR}/two.key")
    refused(w, "signature: it is by another key; bundle: it is by another key")
    sign(w)
    taken(w)
    leave(w.r.host, "a/b", ours, f"{DIR}/one.key")
    sign(w, "two")
    taken(w)


@case
def a_registry_that_lists_them(w):
    w.r.has_referrers = True
    policy(w, "one")
    ours = digest_of(w.image.text)
    refused(w, "it is not signed")
    sign(w, "two", list="")
    refused(w, "bundle: it is by another key")
    for i in range(3):
        sign(w, list="", note="https://slsa.dev/provenance/v1", predicate="https://slsa.dev/provenance/v1", name=str(i))
    sign(w, list="", claim="7" * 64)
    refused(w, "bundle: it is")
    sign(w, list="")
    before = w.r.count("GET", "/referrers/")
    taken(w)
    assert w.r.count("GET", "/referrers/") == before + 2, "one page only"
    assert not w.r.count("GET", "/manifests/" + ours.replace(":", "-") + "?"), w.r.log
    # What is in the tag all the same, the list not having one.
    w.r.faults = [Fault("GET", "/referrers/", status(200, body=b'{"manifests":[]}'))]
    refused(w, "it is not signed")
    sign(w)
    w.r.faults = [Fault("GET", "/referrers/", status(200, body=b'{"manifests":[]}'))]
    taken(w)


@case
def lists_of_referrers_that_lie(w):
    w.r.has_referrers = True
    policy(w, "one")
    sign(w, list="")
    for code in (404, 400, 405, 406):
        w.r.faults = [Fault("GET", "/referrers/", status(code), times=9)]
        refused(w, "it is not signed")
    entry = json.dumps({"mediaType": MANIFEST, "digest": OTHER, "size": 7})
    for body, told in ((b"hello", "no JSON"), (b"[]", "no JSON"), (b"{}", "no index"), (b'{"manifests":7}', "no index"),
                       (b'{"manifests":[7]}', "no descriptor"), (b'{"manifests":[%s]}' % entry.encode(), "manifest unknown"),
                       (b'{"manifests":[%s]}' % b",".join([entry.encode()] * 1001), "more than 1000"),
                       (b'{"manifests":[%s]}' % (b"[" * 5000), "no JSON")):
        w.r.faults = [Fault("GET", "/referrers/", status(200, body=body), times=9)]
        refused(w, told)
    for to in ("http://127.0.0.1:1/v2/a/b/referrers/x", "file:///etc/passwd"):
        w.r.faults = [Fault("GET", "/referrers/", status(200, {"Link": f'<{to}>; rel="next"'}, b'{"manifests":[]}'))]
        refused(w, "referrers")
    w.r.faults = []
    taken(w)


class Signed(World):
    def shale(self, *args, **how):
        return super().shale(*args, env={"SHALE_CONF": f"{DIR}/shale.conf"}, **how)


make_keys()
sys.exit(main(cases, Signed))
