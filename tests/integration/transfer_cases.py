# SPDX-License-Identifier: Apache-2.0
"""shale-transfer against registries that misbehave, spoken to directly. TAP; transfer_cases.py PROGRAM [NAME...]"""
import sys

sys.dont_write_bytecode = True

import errno
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import traceback

from registry import (Fault, Registry, Tokens, basic, digest_of, drop, hang_up, no_auth_needed, no_range, redirect,
                      stall, status, swallow)
from transfer import Failed, Transfer

OCI = "application/vnd.oci.image.manifest.v1+json"
SECRET = "correct-horse-battery"
USERS = {"ann": SECRET}

cases, closing = [], []


def case(fn):
    cases.append(fn)
    return fn


def late(x):
    closing.append(x)
    return x


def start(**args):
    return late(Transfer(PROGRAM, **args))


def plain(**args):
    """A registry with a manifest and a blob, a transfer, and a handle."""
    opts = args.pop("opts", {})
    r = late(Registry(**args))
    r.blob_data = os.urandom(100_000)
    r.blob_digest = r.add_blob(r.blob_data)
    r.text = json.dumps({"schemaVersion": 2, "mediaType": OCI, "x": "y" * 100}).encode()
    r.manifest_digest = r.add_manifest("a/b", "latest", r.text)
    t = start()
    return r, t, t.open(r.host, plain_http=True, **opts)


def fails(code, fn, *args, **kw):
    try:
        got = fn(*args, **kw)
    except Failed as e:
        assert e.code == code, f"code {e.code}, not {code}: {e.msg}"
        for secret in (SECRET, "state=", "signature", "token-"):
            assert secret not in e.msg, f"{secret} in: {e.msg}"
        return e
    raise AssertionError(f"worked: {got}")


def good_blob(r, t, h, **kw):
    a, got = t.blob(h, r.blob_digest, len(r.blob_data), **kw)
    at = kw.get("offset", 0)
    assert got == r.blob_data[at:], f"{len(got)} other bytes"
    assert a["bytes"] == len(got)
    return a


# --- what works ---
@case
def reads_head_manifest_blob_and_has():
    r, t, h = plain()
    a = t.ask("head", handle=h, ref="latest", accept=[OCI])
    assert (a["digest"], a["type"], a["size"]) == (r.manifest_digest, OCI, len(r.text)), a
    a, got = t.manifest(h, "latest", accept=[OCI, "x/y"])
    assert got == r.text and a["digest"] == r.manifest_digest and a["type"] == OCI
    assert r.sent("Accept")[-1], r.sent("Accept")
    assert t.manifest(h, r.manifest_digest)[1] == r.text
    good_blob(r, t, h)
    good_blob(r, t, h, offset=777)
    good_blob(r, t, h, offset=len(r.blob_data))
    a, got = t.blob(h, r.blob_digest, -1)
    assert got == r.blob_data
    empty = r.add_blob(b"")
    assert t.blob(h, empty, 0)[1] == b""
    assert t.ask("has", handle=h, digest=r.blob_digest)["size"] == len(r.blob_data)
    assert t.ask("has", handle=h, digest=digest_of(b"no"))["found"] is False
    assert set(r.sent("User-Agent")) == {"shale"}, r.sent("User-Agent")
    assert not r.sent("Authorization")


def tags_of(t, h):
    fd = os.memfd_create("tags")
    try:
        a = t.ask("tags", fd, handle=h)
        got = os.pread(fd, 1 << 20, 0).decode().split()
        assert a["count"] == len(got), a
        return got
    finally:
        os.close(fd)


@case
def tags_page_after_page():
    r, t, h = plain(auth="basic", users=USERS, opts={"user": "ann", "password": SECRET})
    assert tags_of(t, h) == ["latest"]
    want = sorted(["latest"] + [f"v{i}" for i in range(10)])
    for tag in want:
        r.add_manifest("a/b", tag, r.text)
    assert tags_of(t, h) == want
    assert r.count("GET", "/tags/list") == 2 + 4, r.log
    fails(errno.ENOENT, tags_of, t, t.open(r.host, "no/such", plain_http=True, user="ann", password=SECRET))
    for body in (b"[]", b"x", b'{"tags":["../x"]}', b'{"tags":["a b"]}'):
        r.faults = [Fault("GET", "/tags/", status(200, body=body))]
        fails(errno.EPROTO, tags_of, t, h)
    r.faults = [Fault("GET", "/tags/", status(200, body=b'{"tags":null}'))]
    assert tags_of(t, h) == []
    other = late(Registry())
    for to in (other.base + "/v2/a/b/tags/list", "file:///etc/passwd", "http://u:p@127.0.0.1/"):
        r.faults = [Fault("GET", "/tags/", status(200, {"Link": f'<{to}>; rel="next"'}, b'{"tags":["a"]}'))]
        fails(errno.EPROTO, tags_of, t, h)
    assert not other.log, "credentials would have gone to another host"
    r.faults = [Fault("GET", "/tags/", status(200, {"Link": '</v2/a/b/tags/list?x>; rel="next"'}, b'{"tags":["a"]}'), times=9)]
    fails(errno.EPROTO, tags_of, t, h)


def referrers_of(t, h, digest):
    fd = os.memfd_create("referrers")
    try:
        a = t.ask("referrers", fd, handle=h, digest=digest)
        got = [json.loads(line)["digest"] for line in os.pread(fd, 1 << 20, 0).decode().splitlines()]
        assert a["count"] == len(got), a
        return got
    finally:
        os.close(fd)


@case
def referrers_page_after_page():
    mirror = late(Registry())
    mirror.has_referrers = True
    r, t, h = plain(auth="basic", users=USERS, opts={"user": "ann", "password": SECRET,
                                                     "mirrors": [{"registry": mirror.host, "repo": "m/a/b", "plain_http": True}]})
    d = r.manifest_digest
    fails(errno.EINVAL, referrers_of, t, h, "latest")
    fails(errno.ENOENT, referrers_of, t, h, d)
    r.has_referrers = True
    assert referrers_of(t, h, d) == []
    want = sorted(r.add_manifest("a/b", f"v{i}", json.dumps({"n": i, "subject": {"digest": d}}).encode()) for i in range(7))
    assert referrers_of(t, h, d) == want, "of the registry, where the mirror has none"
    one = mirror.add_manifest("m/a/b", "one", json.dumps({"subject": {"digest": d}}).encode())
    before = r.count("GET", "/referrers/")
    assert referrers_of(t, h, d) == [one] and r.count("GET", "/referrers/") == before
    assert not mirror.sent("Authorization")


@case
def says_what_is_not_there():
    r, t, h = plain()
    e = fails(errno.ENOENT, t.manifest, h, "none")
    assert e.status == 404 and "manifest unknown" in e.msg and "a/b:none" in e.msg, e.msg
    fails(errno.ENOENT, t.blob, h, digest_of(b"no"), 2)
    fails(errno.ENOENT, t.ask, "head", handle=h, ref="none")


@case
def refuses_requests_that_make_no_sense():
    r, t, h = plain()
    for repo in ("../x", "a//b", "A/b", "a/b?x", "a/..", "/a", "a b", "a/%2e%2e", "a" * 256):
        fails(errno.EINVAL, t.open, r.host, repo, plain_http=True)
    for host in ("", "h/x", "u@h", "h:0", "h:99999", "-h", "a b", "h?x", "h#x", "file:///etc", "[::1", "h:1:2"):
        fails(errno.EINVAL, t.open, host)
    for ref in ("", "../x", "a/b", ".x", "a" * 129, "sha256:../../x", "sha256:" + "A" * 64, "x?y", "a b", "a\nb"):
        fails(errno.EINVAL, t.ask, "head", handle=h, ref=ref)
        fails(errno.EINVAL, t.blob, h, ref, 1)
    fails(errno.EINVAL, t.ask, "head", handle=99, ref="latest")
    fails(errno.EINVAL, t.ask, "blob", handle=h, digest=r.blob_digest, size=1)
    fails(errno.EINVAL, t.ask, "what")
    fails(errno.EINVAL, t.ask, "finish", of=1)
    fails(errno.EINVAL, t.blob, h, r.blob_digest, 5, 6)
    fails(errno.EINVAL, t.manifest, h, "latest", accept=["a\r\nX: y"])
    fails(errno.EINVAL, t.open, r.host, user="a\r\nb", password="c")
    assert r.count("GET") + r.count("HEAD") == 0, r.log


@case
def handles_close():
    r, t, h = plain()
    t.ask("close", handle=h)
    fails(errno.EINVAL, t.ask, "head", handle=h, ref="latest")
    hs = [t.open(r.host, plain_http=True) for _ in range(64)]
    fails(errno.EBUSY, t.open, r.host, plain_http=True)
    t.ask("close", handle=hs[0])
    t.open(r.host, plain_http=True)


# --- who we are ---
@case
def basic_auth():
    r, t, _ = plain(auth="basic", users=USERS)
    for user, password in (("", ""), ("ann", "wrong-password"), ("bob", SECRET)):
        h = t.open(r.host, plain_http=True, user=user, password=password)
        e = fails(errno.EACCES, t.manifest, h, "latest")
        assert e.status == 401 and "authentication required" in e.msg and "wrong-password" not in e.msg
        fails(errno.EACCES, t.open, r.host, plain_http=True, user=user, password=password, verify=True)
    h = t.open(r.host, plain_http=True, user="ann", password=SECRET, verify=True)
    before = len(r.log)
    assert t.manifest(h, "latest")[1] == r.text
    good_blob(r, t, h)
    assert len(r.log) == before + 2, "asked without credentials although the registry wants them"


def tokened(users=USERS, anonymous=False, **opts):
    k = late(Tokens(users=users, anonymous=anonymous))
    r, t, h = plain(auth="bearer", tokens=k, opts=opts)
    return k, r, t, h


@case
def bearer_tokens_are_asked_for_once_for_each_scope():
    k, r, t, h = tokened(user="ann", password=SECRET)
    for _ in range(3):
        assert t.manifest(h, "latest")[1] == r.text
        good_blob(r, t, h)
    assert k.count("GET") == 1, k.log
    assert r.count("GET") == 7, r.log
    assert "scope=repository%3Aa%2Fb%3Apull" in k.log[0][1] and "account=ann" in k.log[0][1], k.log
    assert "service=test-service" in k.log[0][1]
    t.open(r.host, "a/b", plain_http=True, user="ann", password=SECRET)
    h2 = t.open(r.host, "a/b", plain_http=True, user="ann", password=SECRET)
    assert t.manifest(h2, "latest")[1] == r.text
    assert k.count("GET") == 1, "the token is kept for another handle"
    assert not [v for v in r.sent("Authorization") if v.startswith("Basic")], "the password is for the realm alone"
    h3 = t.open(r.host, "c/d", plain_http=True, user="ann", password=SECRET)
    fails(errno.ENOENT, t.manifest, h3, "latest")
    assert k.count("GET") == 2


@case
def many_requests_share_one_token():
    k, r, t, h = tokened(anonymous=True)
    ids = [t.send("head", handle=h, ref="latest") for _ in range(30)]
    for i in ids:
        assert t.wait(i)["digest"] == r.manifest_digest
    assert k.count("GET") == 1, k.log


@case
def tokens_anonymous_wrong_and_aged():
    k, r, t, h = tokened(anonymous=True)
    assert t.manifest(h, "latest")[1] == r.text
    assert not k.sent("Authorization")
    bad = t.open(r.host, plain_http=True, user="ann", password="wrong-password")
    e = fails(errno.EACCES, t.manifest, bad, "latest")
    assert "incorrect username or password" in e.msg and "wrong-password" not in e.msg, e.msg
    fails(errno.EACCES, t.open, r.host, plain_http=True, user="ann", password="wrong-password", verify=True)
    k.good.clear()
    assert t.manifest(h, "latest")[1] == r.text
    n = k.count("GET")
    k.good.clear()
    k.make = lambda *a: "token-never-accepted-" + "x" * 30
    e = fails(errno.EACCES, t.manifest, h, "latest")
    assert k.count("GET") <= n + 2, "asked for ever"


@case
def login_and_identity_token():
    k, r, t, _ = tokened()
    a = t.ask("open", registry=r.host, repo="", plain_http=True, user="ann", password=SECRET, verify=True)
    assert a["identity_token"] == "identity-of-ann", a
    h = t.open(r.host, plain_http=True, identity_token="identity-of-ann")
    assert t.manifest(h, "latest")[1] == r.text
    assert k.count("POST") == 1 and "identity-of" not in k.log[-1][1]
    e = fails(errno.EACCES, t.open, r.host, plain_http=True, identity_token="stolen-identity", verify=True)
    assert "stolen" not in e.msg
    fails(errno.ECONNREFUSED, t.open, f"127.0.0.1:{free_port()}", plain_http=True, verify=True)
    e = fails(errno.EINVAL, t.ask, "head", handle=a["handle"], ref="latest")
    assert "no repository" in e.msg


@case
def odd_token_servers():
    k, r, t, h = tokened(user="ann", password=SECRET, retries=1)
    for body in (b"", b"[]", b"{}", b'{"token":""}', b'{"token":"a\\nX: y"}', b'{"token":1}', b'{"token":"a b"}',
                 b'{"token":"' + b"x" * 70000 + b'"}', b'{"x":' * 3000 + b"1" + b"}" * 3000,
                 b'{"token":"' + b"x" * (2 << 20) + b'"}'):
        k.faults.append(Fault("GET", "/token", status(200, body=body)))
        fails(errno.EPROTO, t.manifest, h, "latest")
    # The registry's word on where a password goes.
    for realm in ("file:///etc/passwd", "ftp://127.0.0.1/", "/token", "", "http://u:p@127.0.0.1/", "x"):
        h = t.open(r.host, plain_http=True, user="ann", password=SECRET, retries=0)
        r.faults.append(Fault("GET", "/manifests/", status(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'})))
        fails(errno.EPROTO, t.manifest, h, "latest")
    for challenge in ('Bearer', 'Bearer realm="', 'Negotiate', 'Bearer realm=' + "x" * 3000, ",,,=", '"', "Digest a=b"):
        h = t.open(r.host, plain_http=True, user="ann", password=SECRET, retries=0)
        r.faults.append(Fault("GET", "/manifests/", status(401, {"WWW-Authenticate": challenge})))
        try:
            t.manifest(h, "latest")
            raise AssertionError("worked")
        except Failed as e:
            assert e.code in (errno.EPROTO, errno.EACCES), e.msg
    h = t.open(r.host, plain_http=True, user="ann", password=SECRET)
    k.faults.append(Fault("GET", "/token", status(503)))
    assert t.manifest(h, "latest")[1] == r.text, "a token server may be busy, too"


@case
def several_challenges():
    k, r, t, h = tokened(user="ann", password=SECRET)
    r.faults.append(Fault("GET", "", status(401, {"WWW-Authenticate": [
        'Negotiate abc==, Basic realm="x, Bearer realm=y"', f'Bearer realm="{k.base}/token",service="s"']})))
    assert t.manifest(h, "latest")[1] == r.text
    assert not [v for v in r.sent("Authorization") if v.startswith("Basic")]


# --- again and again ---
@case
def waits_as_long_as_it_is_told():
    r, t, h = plain()
    r.faults.append(Fault("GET", "/manifests/", status(429, {"Retry-After": "1"}, b'{"errors":[{"code":"TOOMANYREQUESTS"}]}')))
    at = time.monotonic()
    assert t.manifest(h, "latest")[1] == r.text
    assert time.monotonic() - at >= 0.99
    assert any("too many requests" in e["msg"] and e["event"] == "retry" for e in t.events), t.events
    r.faults.append(Fault("GET", "/manifests/", status(503, {"Retry-After": "1000"})))
    e = fails(errno.EAGAIN, t.manifest, h, "latest")
    assert e.answer["wait_s"] == 1000 and e.status == 503
    # A date that is over, and nonsense.
    for after in ("Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-5", "99999999999999999999"):
        r.faults.append(Fault("GET", "/manifests/", status(503, {"Retry-After": after})))
        assert t.manifest(h, "latest")[1] == r.text, after


@case
def gives_up_after_some_tries():
    r, t, _ = plain()
    h = t.open(r.host, plain_http=True, retries=3)
    for code, want in ((500, errno.EAGAIN), (502, errno.EAGAIN), (503, errno.EAGAIN), (429, errno.EAGAIN), (599, errno.EAGAIN)):
        before = r.count("GET")
        r.faults.append(Fault("GET", "/manifests/", status(code), times=4))
        e = fails(want, t.manifest, h, "latest")
        assert e.status == code and "tried 4 times" in e.msg, e.msg
        assert r.count("GET") - before == 4
    for code in (400, 403, 405, 410, 418, 501):
        before = r.count("GET")
        r.faults.append(Fault("GET", "/manifests/", status(code)))
        try:
            t.manifest(h, "latest")
            raise AssertionError("worked")
        except Failed as e:
            assert e.status == code and r.count("GET") - before == 1, e.msg


@case
def resumes_from_every_byte():
    r, t, _ = plain()
    h = t.open(r.host, plain_http=True, backoff_ms=0)
    data = bytes(range(64))
    d = r.add_blob(data)
    for n in range(len(data) + 1):
        before = len(r.log)
        r.faults.append(Fault("GET", d, drop(n)))
        assert t.blob(h, d, len(data))[1] == data, n
        if 0 < n < len(data):
            assert r.log[-1][2].get("Range") == f"bytes={n}-", r.log[-1]
            assert len(r.log) == before + 2
    r.faults = [Fault("GET", d, drop(n)) for n in (3, 20, 30, 11)]
    assert t.blob(h, d, len(data))[1] == data
    r.faults = [Fault("GET", r.blob_digest, drop(n)) for n in (70_000, 20_000, 9_000)]
    good_blob(r, t, h)
    r.faults = [Fault("GET", r.blob_digest, drop(10), times=30)]
    e = fails(errno.ECONNRESET, t.blob, h, r.blob_digest, len(r.blob_data))
    r.faults = []
    for method, part in (("GET", "/manifests/"), ("GET", "/blobs/"), ("HEAD", "/")):
        r.faults.append(Fault(method, part, hang_up))
    assert t.manifest(h, "latest")[1] == r.text
    good_blob(r, t, h)
    t.ask("head", handle=h, ref="latest")


@case
def ranges_that_are_ignored_or_wrong():
    r, t, h = plain()
    r.faults = [Fault("GET", r.blob_digest, drop(5_000)), Fault("GET", r.blob_digest, no_range)]
    good_blob(r, t, h)
    r.faults = [Fault("GET", r.blob_digest, no_range)]
    good_blob(r, t, h, offset=99_999)
    n = len(r.blob_data)
    for bad, code in ((None, errno.EPROTO), (f"bytes 0-{n - 1}/{n}", errno.EPROTO), (f"bytes 101-{n - 1}/{n}", errno.EPROTO),
                      (f"bytes 100-{n - 1}/{n + 1}", errno.EBADMSG), ("bytes 100-99/100", errno.EPROTO), ("x", errno.EPROTO)):
        r.faults = [Fault("GET", r.blob_digest, status(206, {"Content-Range": bad} if bad else {}, r.blob_data[100:]))]
        fails(code, t.blob, h, r.blob_digest, n, 100)
    r.faults = [Fault("GET", r.blob_digest, status(206, {"Content-Range": f"bytes 100-{n - 1}/*"}, r.blob_data[100:]))]
    good_blob(r, t, h, offset=100)
    r.faults = [Fault("GET", r.blob_digest, status(416))]
    assert fails(errno.EPROTO, t.blob, h, r.blob_digest, n, 100).status == 416


@case
def lengths_that_lie():
    r, t, h = plain()
    n = len(r.blob_data)
    for size in (n - 1, n + 1, 0, 1 << 60):
        e = fails(errno.EBADMSG, t.blob, h, r.blob_digest, size)
        assert e.got == b"", "nothing came through"
    # Without a length the bytes themselves are counted.
    r.faults = [Fault("GET", r.blob_digest, status(200, body=r.blob_data + b"x", length=False))]
    e = fails(errno.EBADMSG, t.blob, h, r.blob_digest, n)
    assert len(e.got) <= n
    r.faults = [Fault("GET", r.blob_digest, status(200, body=r.blob_data[:500], length=False))]
    good_blob(r, t, h)
    r.faults = [Fault("GET", r.blob_digest, status(200, body=r.blob_data[:500], length=False), times=9),
                Fault("GET", r.blob_digest, no_range, times=9)]
    # A length that is more than what comes.
    r.faults = [Fault("GET", r.blob_digest, status(200, body=b"x" * 10, length=n), times=1)]
    a, got = t.blob(h, r.blob_digest, n)
    assert len(got) == n and got[10:] == r.blob_data[10:], "ten bytes were other ones; the parent finds that"
    r.faults = [Fault("GET", "/manifests/", status(200, body=r.text + b" "))]
    fails(errno.EBADMSG, t.manifest, h, r.manifest_digest)
    r.faults = [Fault("HEAD", "/manifests/", status(200, {"Docker-Content-Digest": digest_of(b"x")}))]
    fails(errno.EBADMSG, t.ask, "head", handle=h, ref=r.manifest_digest)
    r.faults = [Fault("HEAD", "/manifests/", status(200, {"Docker-Content-Digest": "sha256:../../etc/passwd"}))]
    assert "digest" not in t.ask("head", handle=h, ref="latest")


@case
def stalls():
    r, t, _ = plain()
    h = t.open(r.host, plain_http=True, stall_s=1, retries=2)
    r.faults = [Fault("GET", r.blob_digest, stall(50_000, 30))]
    good_blob(r, t, h)
    assert any("stalled" in e["msg"] for e in t.events)
    r.faults = [Fault("GET", r.blob_digest, stall(10, 30), times=9)]
    fails(errno.ETIMEDOUT, t.blob, h, r.blob_digest, len(r.blob_data))
    r.faults = [Fault("GET", "/manifests/", stall(0, 30), times=9)]
    fails(errno.ETIMEDOUT, t.manifest, h, "latest")
    # A host that takes connections and says nothing.
    s = late(socket.socket())
    s.bind(("127.0.0.1", 0))
    s.listen(5)
    mute = t.open(f"127.0.0.1:{s.getsockname()[1]}", plain_http=True, stall_s=1, retries=0)
    fails(errno.ETIMEDOUT, t.manifest, mute, "latest")


@case
def a_slow_reader_is_no_stall():
    r, t, _ = plain()
    h = t.open(r.host, plain_http=True, stall_s=1, retries=0)
    data = os.urandom(3 << 20)
    d = r.add_blob(data)
    of, fd = t.blob_start(h, d, len(data))
    time.sleep(2.5)
    with os.fdopen(fd, "rb") as f:
        assert f.read() == data
    t.wait(of)


# --- redirects ---
@case
def redirects_carry_no_credentials_elsewhere():
    other = late(Registry())
    for auth in ("basic", "bearer"):
        k = late(Tokens(users=USERS))
        r, t, h = plain(auth=auth, users=USERS, tokens=k, opts={"user": "ann", "password": SECRET})
        other.blobs.update(r.blobs)
        for code in (301, 302, 303, 307, 308):
            there = f"{other.base}/blobs/{r.blob_digest}?signature=abc"
            r.faults.append(Fault("GET", "/blobs/", redirect(there, code), skip=r.count("GET", "/blobs/") == 0))
            good_blob(r, t, h)
        assert other.count("GET") and not other.sent("Authorization"), other.sent("Authorization")
        # Home again, by a relative Location: with credentials.
        r.faults.append(Fault("GET", "/blobs/", redirect(f"/v2/a/b/blobs/{r.blob_digest}?x")))
        good_blob(r, t, h)
        other.faults.append(Fault("GET", "", drop(1000)))
        r.faults.append(Fault("GET", "/blobs/", redirect(f"{other.base}/blobs/{r.blob_digest}?signature=abc"), times=2))
        good_blob(r, t, h)
        other.faults.append(Fault("GET", "", status(403, body=b"<Error>signature=abc</Error>")))
        r.faults.append(Fault("GET", "/blobs/", redirect(f"{other.base}/blobs/{r.blob_digest}?signature=abc")))
        e = fails(errno.EACCES, t.blob, h, r.blob_digest, len(r.blob_data))
        assert other.base in e.msg, e.msg
        # A challenge from elsewhere is not answered.
        other.faults.append(Fault("GET", "", status(401, {"WWW-Authenticate": f'Basic realm="x", Bearer realm="{other.base}/t"'})))
        r.faults.append(Fault("GET", "/blobs/", redirect(f"{other.base}/blobs/{r.blob_digest}")))
        fails(errno.EACCES, t.blob, h, r.blob_digest, len(r.blob_data))
        assert not other.sent("Authorization") and not other.count("GET", "/t")


@case
def redirects_that_are_not_followed():
    r, t, h = plain()
    for to in ("", "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "dict://127.0.0.1:11211/stats",
               "javascript:x", "http://u:p@127.0.0.1/", "http://", "http://127.0.0.1:99999/", "//", "http://[::1/",
               "http://a b/", "x" * 20000):
        r.faults = [Fault("GET", "/blobs/", redirect(to))]
        e = fails(errno.EPROTO, t.blob, h, r.blob_digest, len(r.blob_data))
        assert e.got == b"", e.msg
    r.faults = [Fault("GET", "/blobs/", redirect(lambda q: q.path), times=99)]
    e = fails(errno.EPROTO, t.blob, h, r.blob_digest, len(r.blob_data))
    assert r.faults[0].times == 99 - 11 and "more than 10" in e.msg, e.msg


# --- sizes and texts ---
@case
def answers_that_are_too_large():
    r, t, h = plain()
    r.faults = [Fault("GET", "/manifests/", status(200, {f"X-{i}": "y" for i in range(300)}, r.text))]
    assert "headers" in fails(errno.EPROTO, t.manifest, h, "latest").msg
    r.faults = [Fault("GET", "/manifests/", status(200, {f"X-{i}": "y" * 2000 for i in range(40)}, r.text))]
    fails(errno.EPROTO, t.manifest, h, "latest")
    big = b"x" * (5 << 20)
    for length in (None, False):
        r.faults = [Fault("GET", "/manifests/", status(200, {}, big, length=length))]
        fails(errno.EFBIG, t.manifest, h, "latest")
    r.faults = [Fault("GET", "/manifests/", status(200, {}, b"x" * 101))]
    fails(errno.EFBIG, t.manifest, h, "latest", max=100)
    r.faults = [Fault("GET", "/manifests/", status(404, {}, big))]
    fails(errno.ENOENT, t.manifest, h, "latest")
    assert t.manifest(h, "latest")[1] == r.text


@case
def messages_are_clean():
    r, t, _ = plain(auth="basic", users=USERS)
    h = t.open(r.host, plain_http=True, user="ann", password=SECRET)
    t.manifest(h, "latest")
    echo = lambda q: status(403, body=json.dumps({"errors": [{  # noqa: E731
        "code": "DENIED", "message": f"no \x1b[31m\r\n\u202e{q.headers['Authorization']} {SECRET}\x07 you"}]}).encode())(q)
    r.faults = [Fault("GET", "/manifests/", echo)]
    e = fails(errno.EACCES, t.manifest, h, "latest")
    assert basic("ann", SECRET)[6:] not in e.msg and ": denied: no [31m" in e.msg and "denied: denied" not in e.msg and e.msg.isprintable(), e.msg
    for body in (b"\xff\xfe\x00\x80<", b"", b"[" * 5000, b"{" * 100, b'{"errors":{}}', b'{"errors":[1,null,{"code":7}]}', b"x" * 20000):
        r.faults = [Fault("GET", "/manifests/", status(403, body=body))]
        e = fails(errno.EACCES, t.manifest, h, "latest")
        assert len(e.msg) < 600 and e.msg.isprintable(), e.msg


# --- mirrors ---
@case
def mirrors_in_their_order():
    r, t, _ = plain(auth="basic", users=USERS)
    empty, broken = late(Registry()), late(Registry())
    broken.add_blob(r.blob_data)
    broken.faults = [Fault("GET", "/blobs/", drop(60_000), times=1), Fault("GET", "/blobs/", status(500), times=9),
                     Fault("GET", "/manifests/", status(200, body=b"other"), times=9)]
    mirrors = [{"registry": m, "repo": "mirror/a/b", "plain_http": True}
               for m in (f"127.0.0.1:{free_port()}", empty.host, broken.host)]
    h = t.open(r.host, plain_http=True, user="ann", password=SECRET, mirrors=mirrors)
    good_blob(r, t, h)
    assert r.log[-1][2]["Range"] == "bytes=60000-", "the registry goes on where the mirror broke off"
    assert t.manifest(h, r.manifest_digest)[1] == r.text, "a mirror's wrong bytes are not taken"
    assert all("/mirror/a/b/" in p for _, p, _ in empty.log + broken.log)
    assert not empty.sent("Authorization") and not broken.sent("Authorization")
    broken.faults = []
    before = len(r.log)
    good_blob(r, t, h)
    assert len(r.log) == before, "what a mirror has is not asked of the registry"
    e = fails(errno.ENOENT, t.manifest, h, "none")
    assert r.host in e.msg


# --- ends ---
@case
def cancel_and_readers_that_leave():
    r, t, h = plain()
    data = os.urandom(4 << 20)
    d = r.add_blob(data)
    of, fd = t.blob_start(h, d, len(data))
    os.read(fd, 1000)
    t.ask("cancel", of=of)
    fails(errno.ECANCELED, t.wait, of)
    while os.read(fd, 1 << 20):
        pass
    os.close(fd)
    of, fd = t.blob_start(h, d, len(data))
    os.read(fd, 1000)
    os.close(fd)
    fails(errno.EPIPE, t.wait, of)
    t.ask("cancel", of=12345)
    r.faults = [Fault("GET", "/manifests/", stall(0, 30))]
    m = os.memfd_create("m")
    of = t.send("manifest", m, handle=h, ref="latest")
    t.ask("cancel", of=of)
    fails(errno.ECANCELED, t.wait, of)
    os.close(m)
    good_blob(r, t, h)


@case
def many_blobs_at_once_and_nobody_waits_for_a_slow_one():
    r, t, h = plain()
    blobs = [os.urandom(300_000) for _ in range(40)]
    ids = [(b, *t.blob_start(h, r.add_blob(b), len(b))) for b in blobs]
    fails(errno.ENOENT, t.manifest, h, "none")  # while sixteen pipes are full
    slow, ids = ids[:10], ids[10:]
    # The first ten are not read at all until the others are through.
    for b, of, fd in ids + slow:
        with os.fdopen(fd, "rb") as f:
            assert f.read() == b
        t.wait(of)


@case
def too_many_requests():
    r, t, h = plain()
    r.faults = [Fault("HEAD", "", stall(0, 0.2), times=999)]
    ids = [t.send("has", handle=h, digest=r.blob_digest) for _ in range(300)]
    bad = 0
    for i in ids:
        try:
            t.wait(i)
        except Failed as e:
            assert e.code == errno.EBUSY, e.msg
            bad += 1
    assert 0 < bad < 300 - 200, bad


@case
def ends_with_its_parent():
    r, t, h = plain()
    _, fd = t.blob_start(h, r.add_blob(os.urandom(4 << 20)), 4 << 20)
    assert t.close() == 0, t.stderr()
    os.close(fd)
    for packet in (b"{", b"x" * 100, b'{"id":1,"id":1}'):
        t = start()
        t.sock.send(packet)
        assert t.proc.wait(10) == 0
        t.close()
    t = start()
    t.sock.send(b'{"id":1,"op":["x"],"handle":{}}')
    fails(errno.EINVAL, t.wait, 1)


@case
def is_nobody_and_nothing_can_be_read_of_it():
    t = start()
    t.open("127.0.0.1:1", plain_http=True)
    with open(f"/proc/{t.proc.pid}/status") as f:
        s = dict(line.rstrip("\n").split(":\t", 1) for line in f)
    assert s["Uid"].split() == ["65534"] * 4 and s["Gid"].split() == ["65534"] * 4 and s["Groups"].strip() == ""
    assert s["CapPrm"].strip("0") == s["CapEff"].strip("0") == "" and s["NoNewPrivs"] == "1"
    assert os.stat(f"/proc/{t.proc.pid}/mem").st_uid == 0, "dumpable"
    with open(f"/proc/{t.proc.pid}/limits") as f:
        assert any(line.startswith("Max core file size") and line.split()[4:6] == ["0", "0"] for line in f)
    fds = os.listdir(f"/proc/{t.proc.pid}/fd")
    assert len(fds) <= 12, fds
    t = Transfer(PROGRAM, uid=0)
    try:
        assert t.proc.wait(10) == 1 and "root" in t.stderr()
    finally:
        t.close()
    p = subprocess.run([PROGRAM], capture_output=True, text=True, user=65534, group=65534, extra_groups=[], timeout=10)
    assert p.returncode == 1 and "by hand" in p.stderr, p.stderr


# --- push ---
def pushing(**args):
    r, t, _ = plain(**args)
    return r, t, t.open(r.host, plain_http=True, push=True, user="ann", password=SECRET)


@case
def pushes():
    k = late(Tokens(users=USERS))
    for auth in (None, "basic", "bearer"):
        for relative in (False, True):
            r, t, h = pushing(auth=auth, users=USERS, tokens=k)
            r.relative = relative
            for size in (0, 1, 2, 1000, 1 << 20, (1 << 20) + 1, 3 << 20):
                data = os.urandom(size)
                t.with_bytes("upload", data, handle=h, digest=digest_of(data), size=size)
                assert r.blobs[digest_of(data)] == data, size
            a = t.with_bytes("put", r.text, handle=h, ref="new", type=OCI)
            assert a["digest"] == r.manifest_digest and r.manifests["a/b", "new"] == (OCI, r.text)
            t.with_bytes("put", r.text, handle=h, ref=r.manifest_digest, type=OCI)
            assert not r.uploads
    assert "pull%2Cpush" in k.log[-1][1]


@case
def pushes_from_a_pipe():
    r, t, h = pushing()
    data = os.urandom(2 << 20)
    d = digest_of(data)
    for early, late_size in ((True, len(data)), (False, len(data)), (False, -1)):
        r.blobs.pop(d, None)
        fd, w = os.pipe()
        of = t.send("upload", fd, handle=h, digest="", size=-1)
        os.close(fd)
        os.write(w, data[:100])
        time.sleep(0.2)
        if early:
            t.ask("finish", of=of, digest=d, size=late_size)
        with os.fdopen(w, "wb") as f:
            f.write(data[100:])
        if not early:
            time.sleep(0.1)
            t.ask("finish", of=of, digest=d, size=late_size)
        t.wait(of)
        assert r.blobs[d] == data
    for digest, size, code in ((d, 77, errno.EBADMSG), (digest_of(b""), len(data), errno.EBADMSG)):
        fd, w = os.pipe()
        of = t.send("upload", fd, handle=h, digest="", size=-1)
        os.close(fd)
        with os.fdopen(w, "wb") as f:
            f.write(data)
        t.ask("finish", of=of, digest=digest, size=size)
        fails(code, t.wait, of)
    # Digest and size known from the start; and one that ends too early.
    for n, ok in ((len(data), True), (1000, False)):
        fd, w = os.pipe()
        of = t.send("upload", fd, handle=h, digest=d, size=len(data))
        os.close(fd)
        with os.fdopen(w, "wb") as f:
            f.write(data[:n])
        if ok:
            t.wait(of)
        else:
            fails(errno.EBADMSG, t.wait, of)
    # Nothing of it can be sent again.
    r, t, h = pushing()
    r.faults = [Fault("PATCH", "", swallow(10))]
    fd, w = os.pipe()
    of = t.send("upload", fd, handle=h, digest=d, size=len(data))
    os.close(fd)
    try:
        with os.fdopen(w, "wb") as f:
            f.write(data)
    except BrokenPipeError:
        pass
    fails(errno.ECONNRESET, t.wait, of)


@case
def a_slow_pipe_is_no_stall():
    r, t, _ = plain()
    h = t.open(r.host, plain_http=True, push=True, stall_s=1, retries=0)
    fd, w = os.pipe()
    of = t.send("upload", fd, handle=h, digest="", size=-1)
    os.close(fd)
    os.write(w, b"abc")
    time.sleep(2.5)
    os.write(w, b"def")
    os.close(w)
    t.ask("finish", of=of, digest=digest_of(b"abcdef"), size=6)
    t.wait(of)
    assert r.blobs[digest_of(b"abcdef")] == b"abcdef"


@case
def uploads_go_on_after_a_broken_connection():
    r, t, h = pushing()
    data = os.urandom(5 << 20)
    d = digest_of(data)
    r.faults = [Fault("PATCH", "", swallow(n)) for n in (1 << 20, 100, 3 << 20)]
    t.with_bytes("upload", data, handle=h, digest=d, size=len(data))
    assert r.blobs[d] == data
    ranges = [v.get("Content-Range") for m, _, v in r.log if m == "PATCH"]
    assert ranges == [None, "1048576-5242879", "1048676-5242879", "4194404-5242879"], ranges
    # It seems to have got all of it while we are still sending.
    r.blobs.clear()
    r.faults = [Fault("PATCH", "", swallow(1 << 20, answers=True))]
    t.with_bytes("upload", data, handle=h, digest=d, size=len(data))
    assert r.blobs[d] == data
    # One that does not tell gets all of it again.
    r.tells_range = False
    r.blobs.clear()
    r.faults = [Fault("PATCH", "", swallow(1 << 20))]
    t.with_bytes("upload", data, handle=h, digest=d, size=len(data))
    assert r.blobs[d] == data
    for fault in (Fault("PATCH", "", status(503)), Fault("PUT", "", status(502)), Fault("POST", "", status(500)),
                  Fault("PUT", "", hang_up), Fault("POST", "", hang_up)):
        r.blobs.clear()
        r.faults = [fault]
        t.with_bytes("upload", data, handle=h, digest=d, size=len(data))
        assert r.blobs[d] == data
        r.blobs.clear()
        r.faults = [Fault(fault.method, "", fault.act)]
        t.with_bytes("upload", b"small", handle=h, digest=digest_of(b"small"), size=5)
        assert r.blobs[digest_of(b"small")] == b"small"

    # Closed, and the answer was lost.
    def lost(q):
        q.wfile = open(os.devnull, "wb")
        r.serve(q)
        hang_up(q)
    r.faults = [Fault("PUT", "", lost)]
    t.with_bytes("upload", data, handle=h, digest=d, size=len(data))
    r.faults = [Fault("PATCH", "", swallow(0), times=99)]
    fails(errno.ECONNRESET, t.with_bytes, "upload", data, handle=h, digest=d, size=len(data))


@case
def uploads_that_are_refused():
    r, t, h = pushing(auth="basic", users=USERS)
    e = fails(errno.EBADMSG, t.with_bytes, "upload", b"abc", handle=h, digest=digest_of(b"x"), size=3)
    assert "did not match" in e.msg
    big = b"a" * (2 << 20)
    fails(errno.EBADMSG, t.with_bytes, "upload", big, handle=h, digest=digest_of(b"x"), size=len(big))
    fails(errno.EINVAL, t.with_bytes, "upload", b"abc", handle=h, digest="", size=3)
    fails(errno.EINVAL, t.with_bytes, "upload", b"abc", handle=h, digest=digest_of(b"x"), size=4)
    fails(errno.EINVAL, t.with_bytes, "put", b"abc", handle=h, ref="a/b", type=OCI)
    fails(errno.EINVAL, t.with_bytes, "put", b"abc", handle=h, ref="a", type="x\r\ny: z")
    fails(errno.EBADMSG, t.with_bytes, "put", b"abc", handle=h, ref=digest_of(b"x"), type=OCI)
    r.faults = [Fault("PUT", "/manifests/", status(201, {"Docker-Content-Digest": digest_of(b"x")}))]
    fails(errno.EBADMSG, t.with_bytes, "put", b"abc", handle=h, ref="a", type=OCI)
    r.faults = [Fault("POST", "/uploads/", status(403, body=b'{"errors":[{"code":"DENIED","message":"read only"}]}'))]
    assert "denied: read only" in fails(errno.EACCES, t.with_bytes, "upload", b"abc", handle=h, digest=digest_of(b"abc"), size=3).msg
    r.faults = [Fault("POST", "/uploads/", status(202))]
    fails(errno.EPROTO, t.with_bytes, "upload", b"abc", handle=h, digest=digest_of(b"abc"), size=3)
    r.faults = [Fault("POST", "/uploads/", status(202, {"Location": "file:///etc/passwd"}))]
    fails(errno.EPROTO, t.with_bytes, "upload", b"abc", handle=h, digest=digest_of(b"abc"), size=3)
    wrong = t.open(r.host, plain_http=True, push=True, user="ann", password="wrong-password")
    fails(errno.EACCES, t.with_bytes, "upload", b"abc", handle=wrong, digest=digest_of(b"abc"), size=3)
    fails(errno.EACCES, t.with_bytes, "put", b"abc", handle=wrong, ref="a", type=OCI)


@case
def uploads_elsewhere_carry_no_credentials():
    r, t, h = pushing(auth="basic", users=USERS)
    other = late(Registry())
    r.upload_host = other.base
    other.uploads["u1"] = bytearray()
    other.uploads["u2"] = bytearray()
    for data in (b"abc", os.urandom(2 << 20)):
        t.with_bytes("upload", data, handle=h, digest=digest_of(data), size=len(data))
        assert other.blobs[digest_of(data)] == data
    assert not other.sent("Authorization")


@case
def mounts():
    k = late(Tokens(users=USERS))
    r, t, h = pushing(auth="bearer", users=USERS, tokens=k)
    assert t.ask("mount", handle=h, digest=r.blob_digest, **{"from": "known/x"})["mounted"] is True
    assert "scope=repository%3Aknown%2Fx%3Apull" in k.log[-1][1], k.log[-1]
    data = b"not there yet"
    assert t.ask("mount", handle=h, digest=digest_of(data), **{"from": "known/x"})["mounted"] is False
    n = r.count("POST")
    t.with_bytes("upload", data, handle=h, digest=digest_of(data), size=len(data))
    assert r.count("POST") == n, "the upload that the mount has opened is used"
    fails(errno.EINVAL, t.ask, "mount", handle=h, digest=r.blob_digest, **{"from": "../x"})
    r.faults = [Fault("POST", "mount=", status(405))]
    assert t.ask("mount", handle=h, digest=digest_of(data), **{"from": "known/x"})["mounted"] is False


# --- TLS ---
def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


def certificates(d):
    """A CA, a server's certificate by it for 127.0.0.1, and a client's."""
    def p(name):
        return os.path.join(d, name)
    if os.path.exists(p("client.crt")):
        return p
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", p("ca.key"), "-out", p("ca.crt"), "-days", "2",
            "-subj", "/CN=test ca")
    for name, ext in (("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"), ("other", "subjectAltName=DNS:other.test"),
                      ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", p(name + ".key"), "-out", p(name + ".csr"), "-subj", f"/CN={name}")
        with open(p(name + ".ext"), "w") as f:
            f.write(ext + "\n")
        openssl("x509", "-req", "-in", p(name + ".csr"), "-CA", p("ca.crt"), "-CAkey", p("ca.key"), "-CAcreateserial", "-days", "2",
                "-out", p(name + ".crt"), "-extfile", p(name + ".ext"))
    return p


def text(path):
    with open(path) as f:
        return f.read()


def tls_context(p, name="server", client=False):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.load_cert_chain(p(name + ".crt"), p(name + ".key"))
    if client:
        c.verify_mode = ssl.CERT_REQUIRED
        c.load_verify_locations(p("ca.crt"))
    return c


@case
def tls():
    p = certificates(DIR)
    r, t, _ = plain(tls=tls_context(p))
    ca = text(p("ca.crt"))
    e = fails(errno.EPROTO, t.manifest, t.open(r.host), "latest")
    assert "certificate" in e.msg, e.msg
    h = t.open(r.host, ca=ca)
    assert t.manifest(h, "latest")[1] == r.text
    good_blob(r, t, h)
    assert t.manifest(t.open(r.host, insecure=True), "latest")[1] == r.text
    other, t, _ = plain(tls=tls_context(p, "other"))
    fails(errno.EPROTO, t.manifest, t.open(other.host, ca=ca), "latest")
    fails(errno.EPROTO, t.manifest, t.open(r.host, ca="no certificate"), "latest")
    mutual, t, _ = plain(tls=tls_context(p, client=True))
    assert t.manifest(t.open(mutual.host, ca=ca, cert=text(p("client.crt")), key=text(p("client.key"))), "latest")[1] == mutual.text
    h = t.open(mutual.host, ca=ca, retries=0)
    try:
        t.manifest(h, "latest")
        raise AssertionError("worked without a certificate of ours")
    except Failed as e:
        assert e.code in (errno.EPROTO, errno.ECONNRESET), e.msg
    # Plain http where TLS is spoken, and the other way round.
    try:
        t.manifest(t.open(r.host, plain_http=True, retries=0), "latest")
        raise AssertionError("worked")
    except Failed:
        pass
    h = late(Registry())
    fails(errno.EPROTO, t.manifest, t.open(h.host, ca=ca), "latest")


@case
def https_does_not_lead_to_http():
    p = certificates(DIR)
    r, t, _ = plain(tls=tls_context(p), auth="basic", users=USERS)
    other = late(Registry())
    other.blobs.update(r.blobs)
    ca = text(p("ca.crt"))
    h = t.open(r.host, ca=ca, user="ann", password=SECRET)
    r.faults = [Fault("GET", "/blobs/", redirect(f"{other.base}/blobs/{r.blob_digest}"))]
    fails(errno.EPROTO, t.blob, h, r.blob_digest, len(r.blob_data))
    r.faults = [Fault("GET", "/manifests/", status(401, {"WWW-Authenticate": f'Bearer realm="{other.base}/token"'}))]
    fails(errno.EPROTO, t.manifest, h, "latest")
    h = t.open(r.host, ca=ca, push=True, user="ann", password=SECRET)
    r.faults = [Fault("POST", "/uploads/", status(202, {"Location": f"{other.base}/u"}))]
    fails(errno.EPROTO, t.with_bytes, "upload", b"abc", handle=h, digest=digest_of(b"abc"), size=3)
    assert not other.log, other.log
    # To another host by https: the CA holds there as well, that nothing is verified does not.
    store = late(Registry(tls=tls_context(p)))
    store.blobs.update(r.blobs)
    h = t.open(r.host, ca=ca, user="ann", password=SECRET)
    r.faults = [Fault("GET", "/blobs/", redirect(f"{store.base}/blobs/{r.blob_digest}"), skip=1)]
    good_blob(r, t, h)
    assert store.count("GET") == 1 and not store.sent("Authorization")
    h = t.open(r.host, insecure=True, user="ann", password=SECRET)
    elsewhere = f"https://localhost:{store.port}/blobs/{r.blob_digest}"
    r.faults = [Fault("GET", "/blobs/", redirect(elsewhere), skip=1)]
    fails(errno.EPROTO, t.blob, h, r.blob_digest, len(r.blob_data))


# --- proxies ---
@case
def proxies_from_the_environment():
    r, _, _ = plain()
    for env, want in (({"http_proxy": r.base}, True), ({"ALL_PROXY": r.base}, True),
                      ({"http_proxy": r.base, "no_proxy": "registry.test"}, False), ({}, False)):
        t = start(env=env)
        h = t.open("registry.test", plain_http=True, retries=0)
        if want:
            assert t.manifest(h, "latest")[1] == r.text
            assert r.log[-1][1] == "http://registry.test/v2/a/b/manifests/latest", r.log[-1]
        else:
            fails(errno.EHOSTUNREACH, t.manifest, h, "latest")
    other = late(Registry())
    t = start(env={"http_proxy": other.base})
    assert t.manifest(t.open(r.host, plain_http=True), "latest")[1] == r.text
    assert not other.log, "this machine is behind no proxy"


@case
def nobody_can_be_reached():
    t = start()
    h = t.open(f"127.0.0.1:{free_port()}", plain_http=True)
    at = time.monotonic()
    fails(errno.ECONNREFUSED, t.manifest, h, "latest")
    assert time.monotonic() - at < 5, "a registry that is not there is told at once"
    fails(errno.EHOSTUNREACH, t.manifest, t.open("no-such-host.invalid"), "latest")


# --- Debian's registry ---
def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Real:
    """docker-registry with a configuration of its own; more: YAML below the common part."""

    def __init__(self, more="", tls=None):
        self.dir = tempfile.mkdtemp(dir=DIR)
        port = free_port()
        self.host = f"127.0.0.1:{port}"
        http = f"  tls:\n    certificate: {tls('server.crt')}\n    key: {tls('server.key')}\n" if tls else ""
        with open(self.dir + "/config.yml", "w") as f:
            f.write(f"version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {self.dir}/data\n"
                    f"http:\n  addr: {self.host}\n  secret: x\n{http}{more}")
        self.log = open(self.dir + "/log", "wb")
        self.proc = subprocess.Popen(["docker-registry", "serve", self.dir + "/config.yml"], stdin=subprocess.DEVNULL,
                                     stdout=self.log, stderr=self.log)
        late(self)
        for _ in range(300):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert self.proc.poll() is None, text(self.dir + "/log")
            time.sleep(0.05)
        raise AssertionError("docker-registry does not start")

    def close(self):
        self.proc.terminate()
        try:
            self.proc.wait(5)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def round_trip(host, **opts):
    """An image of two blobs there and back, by all that push and pull use."""
    t = start()
    w = t.open(host, "dir/image", push=True, **opts)
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    layer = os.urandom(5_000_000)
    for data in (config, layer):
        assert not t.ask("has", handle=w, digest=digest_of(data))["found"]
        t.with_bytes("upload", data, handle=w, digest=digest_of(data), size=len(data))
        assert t.ask("has", handle=w, digest=digest_of(data))["found"]
    piped = os.urandom(2_000_000)
    fd, p = os.pipe()
    of = t.send("upload", fd, handle=w, digest="", size=-1)
    os.close(fd)
    with os.fdopen(p, "wb") as f:
        f.write(piped)
    t.ask("finish", of=of, digest=digest_of(piped), size=len(piped))
    t.wait(of)
    m = json.dumps({"schemaVersion": 2, "mediaType": OCI,
                    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(config), "size": len(config)},
                    "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest_of(b), "size": len(b)}
                               for b in (layer, piped)]}).encode()
    assert t.with_bytes("put", m, handle=w, ref="v1", type=OCI)["digest"] == digest_of(m)
    r = t.open(host, "dir/image", **opts)
    a = t.ask("head", handle=r, ref="v1", accept=[OCI])
    assert a["digest"] == digest_of(m) and a["type"] == OCI
    assert t.manifest(r, "v1", accept=[OCI])[1] == m
    assert t.manifest(r, digest_of(m), accept=[OCI])[1] == m
    for data in (config, layer, piped):
        assert t.blob(r, digest_of(data), len(data))[1] == data
        assert t.blob(r, digest_of(data), len(data), offset=len(data) // 2)[1] == data[len(data) // 2:]
    fails(errno.ENOENT, t.manifest, r, "v2", accept=[OCI])
    fails(errno.ENOENT, t.blob, r, digest_of(b"x"), 1)
    w = t.open(host, "other", push=True, **opts)
    assert t.ask("mount", handle=w, digest=digest_of(layer), **{"from": "dir/image"})["mounted"] is True
    assert t.ask("mount", handle=w, digest=digest_of(b"x"), **{"from": "dir/image"})["mounted"] is False
    t.with_bytes("upload", b"x", handle=w, digest=digest_of(b"x"), size=1)
    fails(errno.EBADMSG, t.with_bytes, "upload", b"xyz", handle=w, digest=digest_of(b"abc"), size=3)
    return t


@case
def real_plain():
    round_trip(Real().host, plain_http=True)


@case
def real_htpasswd():
    # bcrypt is all it reads.
    hashed = subprocess.run(["perl", "-e", "print crypt($ARGV[0], q($2b$05$abcdefghijklmnopqrstuu))", SECRET], check=True,
                            capture_output=True, text=True).stdout
    path = DIR + "/htpasswd"
    with open(path, "w") as f:
        f.write(f"ann:{hashed}\n")
    r = Real(f"auth:\n  htpasswd:\n    realm: test\n    path: {path}\n")
    t = round_trip(r.host, plain_http=True, user="ann", password=SECRET)
    t.open(r.host, plain_http=True, user="ann", password=SECRET, verify=True)
    for user, password in (("ann", "wrong"), ("", "")):
        fails(errno.EACCES, t.open, r.host, plain_http=True, user=user, password=password, verify=True)
        fails(errno.EACCES, t.manifest, t.open(r.host, "dir/image", plain_http=True, user=user, password=password), "v1")


@case
def real_tls():
    p = certificates(DIR)
    r = Real(tls=p)
    t = round_trip(r.host, ca=text(p("ca.crt")))
    fails(errno.EPROTO, t.manifest, t.open(r.host, "dir/image"), "v1")


@case
def real_tokens():
    import base64
    p = certificates(DIR)
    der = ssl.PEM_cert_to_DER_cert(text(p("server.crt")))

    def b64(b):
        return base64.urlsafe_b64encode(b).rstrip(b"=")

    def make(user, service, scopes):
        now = int(time.time())
        access = [{"type": s.split(":")[0], "name": s.split(":")[1], "actions": s.split(":")[2].split(",")} for s in scopes]
        head = b64(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}).encode())
        body = b64(json.dumps({"iss": "test-issuer", "sub": user, "aud": service, "exp": now + 300, "nbf": now - 10, "iat": now,
                               "jti": os.urandom(8).hex(), "access": access}).encode())
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", p("server.key")], input=head + b"." + body, check=True,
                                capture_output=True).stdout
        return (head + b"." + body + b"." + b64(signed)).decode()

    k = late(Tokens(users=USERS, make=make))
    r = Real(f"auth:\n  token:\n    realm: {k.base}/token\n    service: test-service\n    issuer: test-issuer\n"
             f"    rootcertbundle: {p('ca.crt')}\n")
    t = round_trip(r.host, plain_http=True, user="ann", password=SECRET)
    assert t.ask("open", registry=r.host, plain_http=True, user="ann", password=SECRET, verify=True)["identity_token"]
    fails(errno.EACCES, t.open, r.host, plain_http=True, user="ann", password="wrong-password", verify=True)


def main():
    names = sys.argv[2:]
    todo = [c for c in cases if not names or c.__name__ in names]
    bad = 0
    print(f"1..{len(todo)}", flush=True)
    for i, fn in enumerate(todo, 1):
        what = fn.__name__.replace("_", " ")
        at = time.monotonic()
        try:
            fn()
            line, why = "ok", ""
        except Exception:  # noqa: BLE001: whatever it is, it is the test's result
            line, why = "not ok", traceback.format_exc()
        for x in reversed(closing):
            said = x.stderr() if isinstance(x, Transfer) else ""
            if x.close() is None and isinstance(x, Transfer):
                line, why = "not ok", why + "shale-transfer did not end\n"
            if "Sanitizer" in said or "runtime error" in said:
                line, why = "not ok", why + said
        closing.clear()
        bad += line != "ok"
        print(f"{line} {i} - {what}", flush=True)
        if why:
            print("".join(f"# {s}\n" for s in why.splitlines()), end="", flush=True)
        if os.environ.get("TRANSFER_TIMES"):
            print(f"# {time.monotonic() - at:.1f} s", flush=True)
    return bad != 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
    signal.alarm(300)
    DIR = tempfile.mkdtemp(prefix="shale-transfer.", dir="/var/tmp")
    try:
        # Nobody can run it here, wherever the tree is.
        PROGRAM = DIR + "/shale-transfer"
        shutil.copy(sys.argv[1], PROGRAM)
        os.chmod(DIR, 0o755)
        os.chmod(PROGRAM, 0o755)
        sys.exit(main())
    finally:
        for one in reversed(closing):
            one.close()
        shutil.rmtree(DIR, ignore_errors=True)
