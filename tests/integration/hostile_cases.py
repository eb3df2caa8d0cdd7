# SPDX-License-Identifier: Apache-2.0
"""T16 to T19 by load and pull: what unpacks to elsewhere, archives that lie. TAP; hostile_cases.py SHALE DIR"""
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import traceback

from registry import Registry, digest_of

SHALE, DIR = sys.argv[1:3]
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT, CANARY = DIR + "/store", DIR + "/canary"
OCI = "application/vnd.oci.image."
KINDS = ("symlink-dir symlink-file hardlink dotdot absolute root-symlink root-file chmod-link device trusted long-name deep whiteout"
         " hard-to-symlink dir-over-link").split()
BOMBS = "gzip zstd pax pax-size zstd-window xz-9".split()
cases = []


def case(fn):
    cases.append(fn)
    return fn


def shale(*args, limit=None, **kw):
    pre = ["prlimit", f"--as={limit}"] if limit else []
    p = subprocess.run([*pre, SHALE, *args], capture_output=True, text=True, errors="replace", timeout=120,
                       env={"PATH": os.environ["PATH"], "HOME": DIR, "SHALE_ROOT": ROOT}, **kw)
    return p.returncode, p.stdout + p.stderr


def made(script, *args):
    return subprocess.run([sys.executable, "-B", f"{HERE}/{script}", *args], stdout=subprocess.PIPE, check=True).stdout


def untouched():
    """Nothing out there changed, no image is half there, the store holds no more than it did."""
    st = os.stat(CANARY + "/file")
    assert (open(CANARY + "/file").read(), st.st_mode & 0o7777, st.st_uid) == ("safe", 0o644, 0), "the canary"
    assert os.listdir(CANARY) == ["file"], os.listdir(CANARY)


def files():
    """What the store holds of content, without the database's own files."""
    got = []
    for at in ("blobs", "snap", "trash"):
        for d, _, names in os.walk(f"{ROOT}/{at}"):
            got += [d] + [f"{d}/{n}" for n in names]
    tmp = [n for n in os.listdir(ROOT + "/tmp") if n not in ("pull", "steps.lock", "sync.running", "sync.waiting")]
    return sorted(got), tmp


def settled(before):
    """What is removed goes on a moment after the prompt."""
    for _ in range(50):
        shale("gc")
        if files() == before:
            break
        time.sleep(0.1)
    return files()


def refused(before, got, *words):
    code, said = got
    assert code == 1 and said.startswith("shale: ") or "\nshale: " in said, (code, said)
    for w in words:
        assert w in said, f"no {w!r} in: {said}"
    bad = [c for c in said if c < " " and c not in "\n\t" or c == "\x7f"]
    assert not bad, f"control characters in: {said!r}"
    assert shale("images", "-aq") == (0, ""), "an image is there"
    after = settled(before)
    assert after == before, ("left", set(after[0]) - set(before[0]), after[1])
    untouched()


def config_of(*layers, **more):
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {}, **more, "rootfs": {
        "type": "layers", "diff_ids": [digest_of(t) for t in layers]}}).encode()


def outer(*members):
    """An archive of (name, bytes), or (TarInfo, bytes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, data in members:
            i = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if i.type == tarfile.REGTYPE:
                i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    return out.getvalue()


def link(name, to, kind=tarfile.SYMTYPE):
    i = tarfile.TarInfo(name)
    i.type, i.linkname = kind, to
    return i, b""


def docker(layer, tag="evil:1", config=None):
    m = [{"Config": "c.json", "RepoTags": [tag], "Layers": ["l.tar"]}]
    return [("manifest.json", json.dumps(m).encode()), ("c.json", config or config_of(layer)), ("l.tar", layer)]


def desc(kind, data, **more):
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data), **more}


def blob(data):
    return "blobs/sha256/" + hashlib.sha256(data).hexdigest(), data


def oci(layer, name="evil:1", stored=None):
    """stored: the layer as it is kept, compressed."""
    config, stored = config_of(layer), stored or layer
    m = json.dumps({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": desc(OCI + "config.v1+json", config),
                    "layers": [desc(OCI + "layer.v1.tar", stored)]}).encode()
    index = {"schemaVersion": 2, "manifests": [desc(OCI + "manifest.v1+json", m, annotations={
        "io.containerd.image.name": "docker.io/library/" + name})]}
    return [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", json.dumps(index).encode()), blob(m), blob(config), blob(stored)]


def load(data, **kw):
    with open(DIR + "/a.tar", "wb") as f:
        f.write(data)
    return shale("load", "-i", DIR + "/a.tar", **kw)


def gone():
    shale("rmi", "-f", "--now", *shale("images", "-aq")[1].split())
    shale("builder", "prune", "-a", "-f")
    shale("gc")


def offer(r, layer, kind="tar"):
    config = config_of(layer)
    for b in (layer, config):
        r.add_blob(b)
    m = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": desc(OCI + "config.v1+json", config),
         "layers": [desc(f"{OCI}layer.v1.{kind}", layer)]}
    r.add_manifest("a/b", "latest", json.dumps(m).encode(), m["mediaType"])
    return r.host + "/a/b"


@case
def evil_layers_by_load_and_pull(r):
    for kind in KINDS:
        layer = made("evil.py", kind, CANARY)
        for how in (lambda: load(outer(*docker(layer))), lambda: load(outer(*oci(layer))), lambda: shale("pull", offer(r, layer))):
            before = files()
            code, said = how()
            untouched()
            if code:
                refused(before, (code, said))
            else:  # kept within: it is an image as any other
                assert shale("verify")[0] == 0, kind
                shale("run", "--rm", "--network", "none", "evil:1", "/bin/true")
                untouched()
                gone()
                assert settled(before) == before, (kind, set(files()[0]) - set(before[0]))


@case
def bombs_by_pull(r):
    for kind in BOMBS:
        bomb = made("bombs.py", "tree-" + kind)
        before = files()
        refused(before, shale("pull", offer(r, bomb, "tar+gzip"), limit=300_000_000), "shale: pull ")
    bomb = made("bombs.py", "tree-mib")
    refused(files(), shale("pull", "--max-layer-size", "1m", offer(r, bomb)), "larger than the limit of")
    # Told to be larger than any disk: not a byte of it is asked for.
    config = config_of(b"x")
    r.add_blob(config)
    m = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": desc(OCI + "config.v1+json", config),
         "layers": [{**desc(OCI + "layer.v1.tar", b"x"), "size": 1 << 60}]}
    r.add_manifest("a/b", "latest", json.dumps(m).encode(), m["mediaType"])
    n = len(r.log)
    refused(files(), shale("pull", r.host + "/a/b"), "larger than the free space")
    assert not [p for _, p, _ in r.log[n:] if digest_of(b"x") in p], "it was asked for"


def good_tar():
    return outer(("f", b"text"), ("big", os.urandom(100_000)))


@case
def archives_cut_short(r):
    layer = good_tar()
    for parts in (docker(layer), oci(layer)):
        whole = outer(*parts)
        end = len(whole.rstrip(b"\0"))
        for at in [0, 1, 511, 512, 513, 1024, 1500, end // 2, end - 1000]:
            refused(files(), load(whole[:at]), "load")
    for name in ("manifest.json", "c.json", "l.tar"):
        refused(files(), load(outer(*[p for p in docker(layer) if p[0] != name])), name if name != "manifest.json" else "no image archive")
    for i in range(1, 5):
        refused(files(), load(outer(*(p for k, p in enumerate(oci(layer)) if k != i))))


@case
def archives_in_any_order(r):
    layer = good_tar()
    for parts in (docker(layer), oci(layer)):
        before = files()
        for order in (parts[::-1], parts[1:] + parts[:1], parts[2:] + parts[:2]):
            code, said = load(outer(*order))
            assert code == 0 and "Loaded image: evil:1" in said, said
            assert shale("verify")[0] == 0
            gone()
            assert settled(before) == before


@case
def archives_with_names_twice(r):
    layer = good_tar()
    other = outer(("f", b"other"))
    good = docker(layer)
    # Whichever of the two counts, what is loaded is what the config says.
    for twice in ([*good, ("l.tar", other)], [("l.tar", other), *good], [*good, ("c.json", config_of(other))],
                  [("manifest.json", b"[]"), *good], [*good, ("manifest.json", b"[]")]):
        before = files()
        code, said = load(outer(*twice))
        if code:
            refused(before, (code, said))
        else:
            assert shale("verify")[0] == 0
            gone()
            assert settled(before) == before
    dup = b'[{"Config":"c.json","Config":"d.json","RepoTags":["evil:1"],"Layers":["l.tar"]}]'
    refused(files(), load(outer(("manifest.json", dup), *good[1:])), "manifest.json")


@case
def archives_that_lie(r):
    layer, other = good_tar(), outer(("f", b"other"))
    c, m = config_of(layer), json.loads(docker(layer)[0][1])[0]
    up = "../" * 30 + CANARY.lstrip("/") + "/file"
    for change, words in (
            ({"Config": up}, []), ({"Config": CANARY + "/file"}, []), ({"Layers": [up]}, []), ({"Layers": [CANARY + "/file"]}, []),
            ({"Layers": ["/proc/self/environ"]}, []), ({"Layers": []}, ["0 layers, but the config names 1"]),
            ({"Layers": ["l.tar", "l.tar"]}, ["2 layers, but the config names 1"]), ({"Layers": ["c.json"]}, ["layer 1 of 1"]),
            ({"Layers": [7]}, ["no string"]), ({"Layers": ["l.tar"] * 20000}, ["at most"]), ({"RepoTags": ["../x"]}, ["invalid reference"]),
            ({"RepoTags": ["x"] * 2000}, ["2000 names"]), ({"RepoTags": ["x@" + digest_of(b"")]}, ["with a digest"]),
            ({"RepoTags": ["x\x1b[2Jy"]}, ["invalid reference"]), ({"Config": "no\x1b[2J"}, []), ({"Config": "c.json\0x"}, [])):
        refused(files(), load(outer(("manifest.json", json.dumps([{**m, **change}]).encode()), *docker(layer)[1:])), "load", *words)
    refused(files(), load(outer(*docker(layer, config=config_of(other)))), "unpacked it is")
    for ids in (["sha256:../../x"], [digest_of(layer)[:-1]], [7], [digest_of(layer).upper()]):
        bad = json.dumps({**json.loads(c), "rootfs": {"type": "layers", "diff_ids": ids}}).encode()
        refused(files(), load(outer(*docker(layer, config=bad))))
    # A file of the archive that is none, or leads out of it
    for name in ("manifest.json", "c.json", "l.tar"):
        for instead in (link(name, CANARY + "/file"), link(name, up), link(name, CANARY + "/file", tarfile.LNKTYPE),
                        link(name, "", tarfile.FIFOTYPE), link(name, "", tarfile.DIRTYPE), link(name, name)):
            refused(files(), load(outer(*[instead if p[0] == name else p for p in docker(layer)])))


@case
def layouts_that_lie(r):
    layer = good_tar()
    parts = dict(oci(layer))
    index = json.loads(parts["index.json"])
    entry = index["manifests"][0]
    path = "blobs/sha256/" + entry["digest"][7:]
    m = json.loads(parts[path])

    def with_index(i):
        return outer(*{**parts, "index.json": json.dumps(i).encode()}.items())

    def with_manifest(**change):
        text = json.dumps({**m, **change}).encode()
        i = {**index, "manifests": [{**entry, "digest": digest_of(text), "size": len(text)}]}
        return outer(*{**parts, "index.json": json.dumps(i).encode(), **dict([blob(text)])}.items())

    for bad in ("sha256:../../../../x", f"sha256:{CANARY}/file", "sha256:" + "A" * 64, "", "sha512:" + "a" * 128, "sha256:" + "a" * 63):
        refused(files(), load(with_index({**index, "manifests": [{**entry, "digest": bad}]})), "index.json")
        refused(files(), load(with_manifest(config={**m["config"], "digest": bad})))
        refused(files(), load(with_manifest(layers=[{**m["layers"][0], "digest": bad}])))
    refused(files(), load(with_manifest(manifests=[])), "both a manifest and an index")
    refused(files(), load(with_index({**index, "layers": []})), "both a manifest and an index")
    refused(files(), load(with_manifest(mediaType=OCI + "index.v1+json")), "media type")
    refused(files(), load(with_manifest(mediaType="x\x1b[2J\x1b]0;pwned\x07\x9b31m")), "media type")
    refused(files(), load(with_index({**index, "manifests": [entry] * 2000})), "2000 entries")
    for name, data in parts.items():
        if name.startswith("blobs/") and len(data) > 2:
            refused(files(), load(outer(*{**parts, name: data[:-1] + b"!"}.items())))


@case
def what_registries_say_is_clean(r):
    """No control character that a manifest brings gets to the terminal."""
    name = offer(r, good_tar())
    good = json.loads(r.manifests["a/b", "latest"][1])
    evil = "x\x1b[2J\x1b]0;pwned\x07\x7f\u009b31m"
    for m in ({**good, "mediaType": evil}, {**good, "layers": [{**good["layers"][0], "mediaType": evil}]},
              {**good, "config": {**good["config"], "mediaType": evil}}):
        r.add_manifest("a/b", "latest", json.dumps(m).encode(), OCI + "manifest.v1+json")
        code, said = shale("pull", name)
        assert code == 1 and "media type" in said or "config is" in said, said
        assert not [c for c in said if c < " " and c not in "\n\t" or "\x7f" <= c < "\xa0"], repr(said)
    i = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [
        desc(OCI + "manifest.v1+json", b"x", platform={"os": evil, "architecture": evil})]}
    r.add_manifest("a/b", "latest", json.dumps(i).encode(), i["mediaType"])
    code, said = shale("pull", name)
    assert code == 1 and "no image for" in said, said
    assert not [c for c in said if c < " " and c not in "\n\t" or "\x7f" <= c < "\xa0"], repr(said)


def main():
    bad = 0
    os.makedirs(CANARY)
    with open(CANARY + "/file", "w") as f:
        f.write("safe")
    os.chmod(CANARY + "/file", 0o644)
    shale("images")
    only = sys.argv[3:]
    todo = [c for c in cases if not only or c.__name__ in only]
    print(f"1..{len(todo)}", flush=True)
    for n, fn in enumerate(todo, 1):
        r = Registry()
        try:
            fn(r)
            line, why = "ok", ""
        except Exception:  # noqa: BLE001: whatever it is, it is the test's result
            line, why = "not ok", traceback.format_exc()
            gone()
        r.close()
        bad += line != "ok"
        print(f"{line} {n} - {fn.__name__.replace('_', ' ')}", flush=True)
        if why:
            print("".join(f"# {s}\n" for s in why.splitlines()), end="", flush=True)
    shutil.rmtree(DIR, ignore_errors=True)
    return bad != 0


sys.exit(main())
