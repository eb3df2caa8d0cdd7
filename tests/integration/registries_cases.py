# SPDX-License-Identifier: Apache-2.0
"""shale pull and push against a registry in memory. TAP; registries_cases.py SHALE DIR"""
import gzip
import hashlib
import io
import json
import os
import pwd
import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import traceback

from transfer_cases import certificates, text, tls_context
from registry import Fault, Registry, Tokens, basic, digest_of, drop, hang_up, redirect, status

SHALE, DIR = sys.argv[1:3]
OCI = "application/vnd.oci.image."
SECRET = "correct-horse-battery"
MANIFEST = OCI + "manifest.v1+json"
cases = []


def case(fn):
    cases.append(fn)
    return fn


def tar_of(name, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        i = tarfile.TarInfo(name)
        i.size = len(data)
        t.addfile(i, io.BytesIO(data))
    return out.getvalue()


class Image:
    """Two layers, one of them random; in the registry r as a/b:latest."""

    def __init__(self, r):
        rnd = random.Random(1)
        self.tars = tars = [tar_of("one", b"1"), tar_of("random", rnd.randbytes(200_000))]
        self.layers = [gzip.compress(t, mtime=0) for t in tars]
        self.config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {
            "type": "layers", "diff_ids": [digest_of(t) for t in tars]}}).encode()
        for b in self.layers + [self.config]:
            r.add_blob(b)
        self.manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": desc(OCI + "config.v1+json", self.config),
                         "layers": [desc(OCI + "layer.v1.tar+gzip", b) for b in self.layers]}
        self.put(r, self.manifest)

    def put(self, r, m, tag="latest"):
        self.text = json.dumps(m).encode()
        r.add_manifest("a/b", tag, self.text, m.get("mediaType", MANIFEST))


def desc(kind, data):
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


class World:
    def __init__(self, name, **args):
        self.root = os.path.join(DIR, name)
        self.r = Registry(**args)
        self.image = Image(self.r)
        self.home = os.path.join(DIR, name + ".home")
        os.makedirs(self.home, exist_ok=True)
        self.name = f"{self.r.host}/a/b"
        self.canary = os.path.join(DIR, "canary")
        with open(self.canary, "w") as f:
            f.write("here")

    def shale(self, *args, env=None, etc=None):
        """etc: files that are in /etc/docker for this command alone."""
        command = [SHALE, *args]
        if etc is not None:
            there = self.home + "/etc"
            shutil.rmtree(there, ignore_errors=True)
            for name, content in etc.items():
                os.makedirs(os.path.dirname(f"{there}/{name}"), exist_ok=True)
                with open(f"{there}/{name}", "w") as f:
                    f.write(content)
            command = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/docker && exec "$@"', there, *command]
        p = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                           env={"PATH": os.environ["PATH"], "HOME": self.home, "SHALE_ROOT": self.root, **(env or {})})
        said = p.stdout + p.stderr
        for secret in (SECRET, basic("ann", SECRET)[6:], "token-", "signature="):
            assert secret not in said, f"{secret} in: {said}"
        return p.returncode, said

    def refused(self, *words, name=None, args=()):
        code, said = self.shale("pull", *args, name or self.name)
        assert code == 1, (code, said)
        for w in words:
            assert w in said, f"no {w!r} in: {said}"
        assert "shale: pull " in said, said
        self.nothing()
        return said

    def nothing(self):
        code, said = self.shale("images", "-aq")
        assert (code, said) == (0, ""), said
        blobs = os.listdir(self.root + "/blobs/sha256")
        for b in blobs:  # of layers that were whole
            try:
                with open(f"{self.root}/blobs/sha256/{b}", "rb") as f:
                    assert hashlib.sha256(f.read()).hexdigest() == b
            except FileNotFoundError:
                pass  # what is of no use goes after the prompt
        with open(self.canary) as f:
            assert f.read() == "here"

    def good(self):
        self.r.faults = []
        code, said = self.shale("pull", self.name)
        assert code == 0, said
        code, said = self.shale("verify")
        assert code == 0, said

    def forget(self):
        code, said = self.shale("rmi", "-f", "--now", self.name)
        assert code == 0, said

    def close(self):
        self.r.close()
        shutil.rmtree(self.root, ignore_errors=True)


@case
def wrong_bytes_and_lengths(w):
    big = digest_of(w.image.layers[1])
    data = w.image.layers[1]
    flipped = data[:1000] + bytes([data[1000] ^ 1]) + data[1001:]
    w.r.faults = [Fault("GET", big, status(200, body=flipped))]
    w.refused("its content is", big[7:19])
    for body in (data[:-1], data + b"x"):
        w.r.faults = [Fault("GET", big, status(200, body=body), times=9)]
        w.refused(big[7:19], "bytes")
    w.r.faults = [Fault("GET", big, status(200, body=data + b"x" * 100, length=False), times=9)]
    w.refused(big[7:19])
    config = digest_of(w.image.config)
    w.r.faults = [Fault("GET", config, status(200, body=w.image.config.replace(b"linux", b"minux")), times=9)]
    w.refused(config[7:19])
    w.good()


@case
def manifests_that_lie(w):
    good = w.image.manifest
    for change, words in (
            ({"manifests": []}, ["both a manifest and an index"]),
            ({"layers": [{**good["layers"][0], "digest": "sha256:../../../../canary"}]}, ["digest"]),
            ({"layers": [{**good["layers"][0], "digest": "sha256:" + "A" * 64}]}, ["digest"]),
            ({"config": {**good["config"], "digest": f"sha256:{DIR}/canary"}}, ["digest"]),
            ({"layers": [{**good["layers"][0], "size": -1}]}, ["size"]),
            ({"layers": [{**good["layers"][0], "size": 1}, good["layers"][1]]}, ["bytes"]),
            ({"layers": [{**good["layers"][0], "size": 1 << 62}, good["layers"][1]]}, ["bytes"]),
            ({"config": {**good["config"], "size": 1 << 40}}, ["at most"]),
            ({"layers": good["layers"][::-1]}, ["unpacked it is"]),
            ({"layers": good["layers"][:1]}, ["1 layers, but the config names 2"]),
            ({"layers": [{**good["layers"][0], "mediaType": "text/plain"}, good["layers"][1]]}, ["text/plain"]),
            ({"mediaType": OCI + "index.v1+json"}, ["media type"]),
            ({"schemaVersion": 1}, ["schema 1"])):
        w.image.put(w.r, {**good, **change})
        w.r.manifests["a/b", "latest"] = (MANIFEST, w.image.text)
        w.refused(*words)
    w.image.put(w.r, good)
    w.good()


@case
def indexes_that_lie(w):
    kind = OCI + "index.v1+json"
    m = {"mediaType": MANIFEST, "digest": digest_of(w.image.text), "size": len(w.image.text),
         "platform": {"os": "linux", "architecture": "amd64"}}
    loop = {"schemaVersion": 2, "mediaType": kind, "manifests": [m]}
    for i in range(8):
        text = json.dumps(loop).encode()
        w.r.add_manifest("a/b", "nested", text, kind)
        loop = {"schemaVersion": 2, "mediaType": kind, "manifests": [{**m, "mediaType": kind, "digest": digest_of(text), "size": len(text)}]}
    for args in ((), ("--all-platforms",)):
        w.refused("nested deeper", name=w.name + ":nested", args=args)
        for bad in ("sha256:../../x", digest_of(b"not there"), "", 7):
            w.r.add_manifest("a/b", "bad", json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [{**m, "digest": bad}]}).encode(), kind)
            w.refused(name=w.name + ":bad", args=args)
        w.r.add_manifest("a/b", "none", json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": []}).encode(), kind)
        w.refused(name=w.name + ":none", args=args)
    # For another platform something is wrong: nothing of the index is there, and what is good is had by itself.
    wrong = {**m, "digest": w.r.add_manifest("a/b", "x", json.dumps({**w.image.manifest, "layers": [desc("x/y", b"not there")]}).encode()),
             "platform": {"os": "linux", "architecture": "s390x"}}
    w.r.add_manifest("a/b", "half", json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [m, wrong]}).encode(), kind)
    w.refused(digest_of(b"not there")[7:19], name=w.name + ":half", args=("--all-platforms",))
    w.good()


@case
def broken_off_anywhere(w):
    text, config, layers = w.image.text, w.image.config, w.image.layers
    for part, size in (("/manifests/", len(text)), (digest_of(config), len(config)), (digest_of(layers[1]), len(layers[1]))):
        for at in sorted({0, 1, size // 3, size - 1}):
            w.r.faults = [Fault("GET", part, drop(at), times=1)]
            code, said = w.shale("pull", w.name)
            assert code == 0, (part, at, said)
            w.forget()
    w.r.faults = [Fault("GET", part, drop(at)) for at in (100, 70_000, 60_000, 50_000)]
    w.good()
    assert w.r.sent("Range"), "it was never resumed"
    w.forget()
    # What came before the end of that connection is not asked for again.
    w.r.faults = [Fault("GET", digest_of(layers[1]), drop(150_000), times=1), Fault("GET", digest_of(layers[1]), hang_up, times=99)]
    w.refused("tried 6 times")
    before = len(w.r.sent("Range"))
    w.good()
    assert w.r.sent("Range")[before:] == ["bytes=150000-"], w.r.sent("Range")


@case
def redirects(w):
    big = digest_of(w.image.layers[1])
    for to in ("file:///etc/passwd", f"file://{DIR}/canary", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"):
        w.r.faults = [Fault("GET", big, redirect(to))]
        w.refused("redirected")
    other = Registry()
    try:
        other.blobs.update(w.r.blobs)
        w.r.faults = [Fault("GET", big, redirect(f"{other.base}/blobs/{big}?signature=abc"))]
        code, said = w.shale("pull", w.name)
        assert code == 0 and other.count("GET") == 1 and not other.sent("Authorization"), said
    finally:
        other.close()


@case
def credentials_stay_at_home(w):
    k = Tokens(users={"ann": SECRET})
    other = Registry()
    try:
        for auth in ("basic", "bearer"):
            w.r.auth, w.r.users, w.r.tokens = auth, k.users, k
            p = subprocess.run([SHALE, "login", "-u", "ann", "--password-stdin", w.r.host], input=SECRET, text=True, capture_output=True,
                               env={"PATH": os.environ["PATH"], "HOME": w.home, "SHALE_ROOT": w.root})
            assert p.returncode == 0, p.stderr
            other.blobs = dict(w.r.blobs)
            big = digest_of(w.image.layers[1])
            w.r.faults = [Fault("GET", big, redirect(f"{other.base}/blobs/{big}?signature=abc"))]
            code, said = w.shale("pull", w.name)
            assert code == 0, said
            assert other.count("GET") and not other.sent("Authorization")
            echo = lambda h: status(400, body=json.dumps({"errors": [{"code": "DENIED", "message": h.headers["Authorization"]}]}).encode())(h)  # noqa: E731
            # A token is kept from the pull before.
            w.r.faults = [Fault("HEAD", "/manifests/", echo, times=9, skip=int(auth == "basic")), Fault("GET", "/manifests/", echo, times=9)]
            code, said = w.shale("pull", w.name)
            assert code == 1, said
            w.r.faults = []
            w.forget()
    finally:
        k.close()
        other.close()


@case
def one_head_and_no_more(w):
    w.good()
    before = len(w.r.log)
    code, said = w.shale("pull", w.name)
    assert code == 0 and "up to date" in said
    assert [m for m, _, _ in w.r.log[before:]] == ["HEAD"], w.r.log[before:]


def conf(w, text, name="conf"):
    path = f"{w.home}/{name}"
    with open(path, "w") as f:
        f.write(text)
    return path


def pulled(w, name, **args):
    code, said = w.shale("pull", name, **args)
    assert code == 0, said
    code, said = w.shale("rmi", "-f", "--now", name)
    assert code == 0, said


def not_pulled(w, name, word, **args):
    code, said = w.shale("pull", name, **args)
    assert code == 1 and word in said, (code, said)


@case
def certificates_of_this_host(w):
    p = certificates(DIR)
    for client in (False, True):
        r = Registry(tls=tls_context(p, client=client))
        try:
            Image(r)
            where = f"certs.d/{r.host}/"
            good = {where + "ca.crt": text(p("ca.crt"))}
            ours = {where + "client.cert": text(p("client.crt")), where + "client.key": text(p("client.key"))}
            if client:
                not_pulled(w, r.host + "/a/b", r.host, etc=good)  # the reason may be lost with the connection
            pulled(w, r.host + "/a/b", etc={**good, **ours} if client else good)
            # Of another CA: not even of this very machine.
            not_pulled(w, r.host + "/a/b", "certificate", etc={where + "ca.crt": text(p("other.crt")), **ours})
            not_pulled(w, r.host + "/a/b", "client.key", etc={**good, where + "client.cert": "x"})
        finally:
            r.close()


@case
def mirrors_and_short_names(w):
    m = Registry()
    try:
        image = Image(m)
        for repo in ("hub/library/app", "library/app"):
            m.add_manifest(repo, "latest", image.text)
        there = {"SHALE_CONF": conf(w, f"[registry]\nmirrors = docker.io={m.host}/hub\n")}
        pulled(w, "app", env=there)
        pulled(w, "docker.io/library/app:latest", env=there)
        assert all("/v2/hub/library/app/" in path for _, path, _ in m.log), m.log
        for table in (f'[[registry]]\nprefix = "docker.io"\n[[registry.mirror]]\nlocation = "{m.host}/hub"\n',
                      f'# of podman\n[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation="{m.host}/hub"\ninsecure=true\n'):
            pulled(w, "app", env={"CONTAINERS_REGISTRIES_CONF": conf(w, table, "registries.conf")})
        pulled(w, "app", etc={"daemon.json": json.dumps({"registry-mirrors": [f"http://{m.host}/"]})})
        assert m.log[-1][1].startswith("/v2/library/app/"), m.log[-1]
        blocked = conf(w, f'[[registry]]\nlocation = "{w.r.host}"\nblocked = true\n', "registries.conf")
        not_pulled(w, w.name, "is blocked by", env={"CONTAINERS_REGISTRIES_CONF": blocked})
        not_pulled(w, w.name, "daemon.json", etc={"daemon.json": "{"})
        assert not w.r.log, "it was asked all the same"
        # A mirror that is broken or has not got it: the registry itself.
        m.faults = [Fault("GET", "", status(500), times=99), Fault("HEAD", "", status(500), times=99)]
        table = f'[[registry]]\nlocation = "{w.r.host}"\n[[registry.mirror]]\nlocation = "{m.host}/none"\n'
        pulled(w, w.name, env={"CONTAINERS_REGISTRIES_CONF": conf(w, table, "registries.conf")})
    finally:
        m.close()


@case
def proxies_of_the_environment(w):
    there = {"SHALE_CONF": conf(w, "[registry]\ninsecure = http://registry.test\n")}
    pulled(w, "registry.test/a/b", env={**there, "http_proxy": w.r.base})
    assert all(path.startswith("http://registry.test/v2/") for _, path, _ in w.r.log), w.r.log
    before = len(w.r.log)
    not_pulled(w, "registry.test/a/b", "registry.test", env={**there, "http_proxy": w.r.base, "no_proxy": "registry.test"})
    assert len(w.r.log) == before


@case
def tokens_and_accounts(w):
    k = Tokens(users={"ann": SECRET}, anonymous=True)
    w.r.auth, w.r.tokens = "bearer", k
    try:
        pulled(w, w.name)
        assert k.count("GET") == 1 and not k.sent("Authorization"), k.log
        k.anonymous = False
        k.good.clear()
        not_pulled(w, w.name, "401")
        for entry in ({"auth": basic("ann", SECRET)[6:]}, {"username": "ann", "password": SECRET}):
            for key in (w.r.host, f"https://{w.r.host}/v2/"):
                path = conf(w, json.dumps({"auths": {key: entry, "elsewhere.test": {"auth": basic("x", "y")[6:]}}}), "config.json")
                pulled(w, w.name, env={"DOCKER_CONFIG": os.path.dirname(path)})
                pulled(w, w.name, env={"REGISTRY_AUTH_FILE": path})
        assert not [v for v in w.r.sent("Authorization") if v.startswith("Basic")], "a password is for the realm alone"
        path = conf(w, "{", "config.json")
        not_pulled(w, w.name, path, env={"DOCKER_CONFIG": os.path.dirname(path)})
    finally:
        k.close()


@case
def the_sudo_callers_home_on_request(w):
    w.r.auth, w.r.users = "basic", {"ann": SECRET}
    user = next(p for p in pwd.getpwall() if p.pw_uid and p.pw_dir.count("/") == 2 and os.path.isdir(p.pw_dir) and not os.path.islink(p.pw_dir))
    home = w.home + "/sudo"
    os.makedirs(home + "/.docker")
    with open(home + "/.docker/config.json", "w") as f:
        f.write(json.dumps({"auths": {w.r.host: {"auth": basic("ann", SECRET)[6:]}}}))
    for conf_text, is_given in (("", False), ("[registry]\nsudo-home = no\n", False), ("[registry]\nsudo-home = yes\n", True)):
        for uid in (user.pw_uid, None, 4000000000, "x"):
            env = {"PATH": os.environ["PATH"], "HOME": w.home, "SHALE_ROOT": w.root, "SHALE_CONF": conf(w, conf_text)}
            if uid is not None:
                env["SUDO_UID"] = str(uid)
            p = subprocess.run(["unshare", "-m", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', home, user.pw_dir, SHALE, "pull", w.name],
                               capture_output=True, text=True, env=env, timeout=60)
            assert SECRET not in p.stdout + p.stderr
            assert (p.returncode == 0) == (is_given and uid == user.pw_uid), (conf_text, uid, p.stderr)
            if p.returncode == 0:
                w.forget()


TOKENS = "/run/shale/tokens"


def asked(w, k, *args, **more):
    """What the registry and the token server are asked by that command."""
    before = len(w.r.log), len(k.log)
    code, said = w.shale(*args, **more)
    assert code == 0, said
    return [m for m, _, _ in w.r.log[before[0]:]], len(k.log) - before[1]


@case
def tokens_are_kept_until_they_expire(w):
    k = Tokens(users={"ann": SECRET, "bob": SECRET}, anonymous=True)
    w.r.auth, w.r.tokens = "bearer", k
    try:
        assert asked(w, k, "pull", w.name)[1] == 1
        assert asked(w, k, "pull", w.name) == (["HEAD"], 0)
        assert os.stat(TOKENS).st_mode & 0o7777 == 0o700
        for name in os.listdir(TOKENS):
            assert os.stat(f"{TOKENS}/{name}").st_mode & 0o7777 == 0o600
        # Other credentials, other tokens; and those of a push are of their own.
        accounts = {u: {"REGISTRY_AUTH_FILE": conf(w, json.dumps({"auths": {w.r.host: {"auth": basic(u, SECRET)[6:]}}}), u + ".json")}
                    for u in k.users}
        for env in accounts.values():
            assert asked(w, k, "pull", w.name, env=env) == (["HEAD", "HEAD"], 1)
            assert asked(w, k, "pull", w.name, env=env) == (["HEAD"], 0)
        w.shale("tag", w.name, w.r.host + "/a/c:1")
        assert asked(w, k, "push", w.r.host + "/a/c:1", env=accounts["ann"])[1] > 0
        assert asked(w, k, "push", w.r.host + "/a/c:1", env=accounts["ann"])[1] == 0
        # One that is revoked, or that the registry has changed its mind about, is replaced.
        k.good.clear()
        assert asked(w, k, "pull", w.name) == (["HEAD", "HEAD"], 1)
        w.r.faults = [Fault("HEAD", "/manifests/", status(403))]
        assert asked(w, k, "pull", w.name) == (["HEAD", "HEAD", "HEAD"], 1)
        # What stands there is no reason to fail, whatever it is, nor what a killed process was writing.
        for content in (b"", b"{", b'{"tokens":7}', b'{"tokens":[7,{"scope":1}]}', b"x" * 100_000,
                        b'{"tokens":[{"scope":"repository:a/b:pull","token":"a\\r\\nX: y","until":9999999999}]}'):
            for name in os.listdir(TOKENS):
                with open(f"{TOKENS}/{name}", "wb") as f:
                    f.write(content)
            assert asked(w, k, "pull", w.name) == (["HEAD", "HEAD"], 1), content
        with open(f"{TOKENS}/.tmp-0123456789abcdef", "w") as f:
            f.write("half")
        os.utime(f"{TOKENS}/.tmp-0123456789abcdef", (1, 1))
        k.good.clear()
        assert asked(w, k, "pull", w.name)[1] == 1 and not [n for n in os.listdir(TOKENS) if n.startswith(".")]
        # Nobody else may have had a hand in it.
        os.chmod(TOKENS, 0o755)
        try:
            assert asked(w, k, "pull", w.name)[1] == 1
        finally:
            os.chmod(TOKENS, 0o700)
        # What a login proves, no old token does; a logout leaves nothing.
        p = subprocess.run([SHALE, "login", "-u", "ann", "--password-stdin", w.r.host], input="wrong", text=True, capture_output=True,
                           env={"PATH": os.environ["PATH"], "HOME": w.home, "SHALE_ROOT": w.root})
        assert p.returncode == 1, p.stderr
        assert w.shale("logout", w.r.host)[0] == 0 and os.listdir(TOKENS) == []
        for name in os.listdir(DIR):
            if name.startswith("tokens"):
                for root, _, files in os.walk(f"{DIR}/{name}"):
                    for f in files:
                        with open(f"{root}/{f}", "rb") as content:
                            assert b"token-" not in content.read(), f"{root}/{f}"
    finally:
        k.close()


@case
def what_others_push_and_pull(w):
    base = ["--root", DIR + "/pod/root", "--runroot", DIR + "/pod/run", "--storage-driver", "vfs"]
    for tool in ("podman", "buildah", "skopeo"):
        if not shutil.which(tool):
            print(f"# {tool} is not here", flush=True)
            continue
        there = f"{w.r.host}/of/{tool}"

        def run(*args):
            p = subprocess.run([tool, *(base if tool != "skopeo" else []), *args], capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": w.home})
            assert p.returncode == 0, (tool, args, p.stderr)
        if tool == "skopeo":
            run("copy", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://" + w.name, f"docker://{there}:1")
        else:
            run("pull", "--tls-verify=false", w.name)
            run("push", "--tls-verify=false", w.name, f"docker://{there}:1")
        kind, sent = w.r.manifests[f"of/{tool}", "1"]
        code, said = w.shale("pull", there + ":1")
        assert code == 0 and "Digest: " + digest_of(sent) in said, said
        code, said = w.shale("tag", there + ":1", there + "/again:1")
        code, said = w.shale("push", there + "/again:1")
        assert code == 0 and w.r.manifests[f"of/{tool}/again", "1"] == (kind, sent), said
        # The same ID for all of them: the config went through unchanged.
        code, said = w.shale("images", "-q", "--no-trunc")
        assert set(said.split()) == {digest_of(w.image.config)}, said
        code, said = w.shale("rmi", "-f", "--now", there + ":1", there + "/again:1")
        assert code == 0, said
    shutil.rmtree(DIR + "/pod", ignore_errors=True)


def in_form(r, image, forms, kind="layer.v1.tar+gzip"):
    """The same image in r, by layers of other bytes; its manifest."""
    for b in [*forms, image.config]:
        r.add_blob(b)
    m = {**image.manifest, "layers": [desc(OCI + kind, b) for b in forms]}
    r.add_manifest("known/z", "latest", json.dumps(m).encode())
    return json.dumps(m).encode()


@case
def pushed_as_it_was_pulled(w):
    origin, third = Registry(), Registry()
    try:
        other = in_form(origin, w.image, [gzip.compress(t, 1, mtime=1) for t in w.image.tars])
        w.good()
        # The layers are here already, in another form: none is fetched, and it is pushed all the same.
        code, said = w.shale("pull", origin.host + "/known/z")
        assert code == 0 and said.count("Already exists") == 2 and not origin.count("GET", "/blobs/sha256:" + digest_of(w.image.tars[0])[7:]), said
        w.shale("tag", origin.host + "/known/z", third.host + "/c/d")
        code, said = w.shale("push", third.host + "/c/d")
        assert code == 0 and third.manifests["c/d", "latest"][1] == other, said
        assert w.shale("push", third.host + "/c/d")[0] == 0
        third.manifests.clear()
        third.blobs.clear()
        # At home it is mounted, and what came by another name goes by its own manifest.
        before = origin.count("GET", "/blobs/")
        w.shale("tag", origin.host + "/known/z", origin.host + "/a/y")
        origin.faults = [Fault("HEAD", "/a/y/blobs/", status(404), times=3)]
        code, said = w.shale("push", origin.host + "/a/y")
        assert code == 0 and said.count("Mounted from known/z") == 2 and origin.manifests["a/y", "latest"][1] == other, said
        assert origin.count("GET", "/blobs/") == before
        w.shale("tag", w.name, third.host + "/e/f")
        code, said = w.shale("push", third.host + "/e/f")
        assert code == 0 and third.manifests["e/f", "latest"][1] == w.image.text, said
        # Where it came from, it is not any more: said, and with --compression it goes.
        origin.faults = [Fault("GET", "/blobs/", status(404), times=99)]
        w.shale("tag", origin.host + "/known/z", third.host + "/g/h")
        code, said = w.shale("push", third.host + "/g/h")
        assert code == 1 and "--compression" in said and ("g/h", "latest") not in third.manifests, said
        code, said = w.shale("push", "--compression", "gzip", third.host + "/g/h")
        assert code == 0 and third.manifests["g/h", "latest"][1] != other, said
        # With the image its traces go.
        for name in (origin.host + "/known/z", origin.host + "/a/y", w.name, *(f"{third.host}/{r}" for r in ("c/d", "e/f", "g/h"))):
            assert w.shale("rmi", "--now", name)[0] == 0, name
        with sqlite3.connect(w.root + "/db.sqlite") as db:
            assert db.execute("SELECT count(*) FROM remote_blobs").fetchone() == (0,)
        w.nothing()
        # Uncompressed layers are no blobs here.
        origin.faults = []
        plain = in_form(origin, w.image, w.image.tars, "layer.v1.tar")
        assert w.shale("pull", origin.host + "/known/z")[0] == 0
        origin.faults = [Fault("GET", "/blobs/", status(404), times=99)]
        w.shale("tag", origin.host + "/known/z", third.host + "/i/j")
        code, said = w.shale("push", third.host + "/i/j")
        assert code == 0 and third.manifests["i/j", "latest"][1] == plain, said
    finally:
        origin.close()
        third.close()


@case
def several_make_one_list(w):
    name = w.r.host + "/l/l:1"
    env = {"PATH": os.environ["PATH"], "HOME": w.home, "SHALE_ROOT": w.root}

    def all_at_once(commands):
        running = [subprocess.Popen([SHALE, "manifest", *c], env=env, stdout=subprocess.DEVNULL) for c in commands]
        assert [p.wait(60) for p in running] == [0] * len(running)
    members = [f"{w.r.host}/a/b:{i}" for i in range(6)]
    for i, _ in enumerate(members):
        w.r.add_manifest("a/b", str(i), w.image.text)
    all_at_once([("create", "--amend", name, m) for m in members])
    all_at_once([("annotate", "--variant", f"v{i}", name, m) for i, m in enumerate(members)])
    code, said = w.shale("manifest", "inspect", name)
    assert code == 0 and sorted(m["platform"]["variant"] for m in json.loads(said)["manifests"]) == [f"v{i}" for i in range(6)], said
    code, said = w.shale("manifest", "create", name, members[0])
    assert code == 1 and "--amend" in said, said


@case
def creds_of_the_command_line(w):
    mirror = Registry()
    Image(mirror)
    w.r.auth, w.r.users = "basic", {"ann": SECRET}
    with open(w.home + "/shale.conf", "w") as f:
        f.write(f"[registry]\nmirrors = {w.r.host}=http://{mirror.host}\n")
    env = {"SHALE_CONF": w.home + "/shale.conf"}
    code, said = w.shale("pull", "--creds", "ann:" + SECRET, w.name, env=env)
    assert code == 0 and mirror.log and not mirror.sent("Authorization"), (code, said, mirror.log)
    w.forget()
    mirror.manifests.clear()
    code, said = w.shale("pull", "--creds", "ann:" + SECRET, w.name, env=env)
    assert code == 0 and w.r.sent("Authorization") and not mirror.sent("Authorization"), (code, said)
    mirror.close()


@case
def pushes_that_go_wrong(w):
    w.good()
    for at, n in (("/uploads/", 3), ("/manifests/", 2)):
        for method in ("POST", "PATCH", "PUT"):
            w.r.faults = [Fault(method, at, act, times=1) for act in (status(503, {"Retry-After": "0"}), hang_up)]
            w.shale("tag", w.name, f"{w.r.host}/c/d{method.lower()}")
            code, said = w.shale("push", f"{w.r.host}/c/d{method.lower()}")
            assert code == 0, said
    w.r.faults = [Fault("PUT", "/manifests/", status(403, body=b'{"errors":[{"code":"DENIED","message":"read only"}]}'), times=9)]
    code, said = w.shale("push", f"{w.r.host}/c/dput")
    assert code == 1 and "read only" in said and "shale: push " in said, said
    assert w.shale("verify")[0] == 0


def main(cases, world):
    bad = 0
    print(f"1..{len(cases)}", flush=True)
    for i, fn in enumerate(cases, 1):
        w = world(fn.__name__)
        try:
            fn(w)
            line, why = "ok", ""
        except Exception:  # noqa: BLE001: whatever it is, it is the test's result
            line, why = "not ok", traceback.format_exc()
        w.close()
        bad += line != "ok"
        print(f"{line} {i} - {fn.__name__.replace('_', ' ')}", flush=True)
        if why:
            print("".join(f"# {s}\n" for s in why.splitlines()), end="", flush=True)
    shutil.rmtree(DIR, ignore_errors=True)
    return bad != 0


def with_etc():
    is_ours = not os.path.exists("/etc/docker")
    os.makedirs("/etc/docker", exist_ok=True)
    bad = main(cases, World)
    if is_ours:
        os.rmdir("/etc/docker")
    return bad


if __name__ == "__main__":
    sys.exit(with_etc())
