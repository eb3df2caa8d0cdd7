# SPDX-License-Identifier: Apache-2.0
"""
A registry in memory, on a free port of 127.0.0.1, that can misbehave; and a token server. For tests:

    r = Registry(auth="bearer", users={"u": "p"}); r.faults.append(Fault("GET", "/blobs/", drop(10)))

A fault answers the requests that it matches, so many times, in place of the registry.
"""
import base64
import hashlib
import json
import os
import re
import secrets
import socket
import struct
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Fault:
    def __init__(self, method, part, act, times=1, skip=0):
        self.method, self.part, self.act, self.times, self.skip = method, part, act, times, skip

    def take(self, method, path):
        if self.times == 0 or method != self.method or self.part not in path:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


# --- what a fault can do; each gets the request's handler ---
def status(code, headers=None, body=b"", length=None):
    def act(h):
        h.drain()
        h.reply(code, body, headers or {}, length=length)
    return act


def redirect(to, code=307):
    return lambda h: status(code, {"Location": to(h) if callable(to) else to})(h)


def hang_up(h):
    """Not a byte of an answer, and a reset."""
    h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    h.close_connection = True


def drop(n):
    """n bytes of the true answer's body, then the end of the connection."""
    def act(h):
        h.cut_at = n
        h.registry.serve(h)
        h.close_connection = True
    return act


def stall(n, seconds):
    def act(h):
        h.cut_at, h.stall_s = n, seconds
        h.registry.serve(h)
        h.close_connection = True
    return act


def no_range(h):
    del h.headers["Range"]
    h.registry.serve(h)


def no_auth_needed(h):
    h.registry.serve(h, checked=True)


def swallow(n, answers=False):
    """An upload's first n bytes, and then the end of the connection, with an answer that is too early or none."""
    def act(h):
        h.take_at_most = n
        if not answers:
            h.wfile = open(os.devnull, "wb")
        h.registry.serve(h)
        hang_up(h)
    return act


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cut_at = stall_s = take_at_most = None

    @property
    def registry(self):
        return self.server.registry

    def log_message(self, *args):
        pass

    def drain(self):
        """The request's body."""
        if hasattr(self, "body"):
            return self.body
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.body = b""
            while True:
                n = int(self.rfile.readline().strip() or b"0", 16)
                self.body += self.rfile.read(n)
                self.rfile.readline()
                if n == 0:
                    break
        else:
            n = int(self.headers.get("Content-Length") or 0)
            if self.take_at_most is not None:
                n = min(n, self.take_at_most)
            self.body = self.rfile.read(n)
        return self.body

    def reply(self, code, body=b"", headers=None, length=None):
        self.drain()
        self.send_response(code)
        for k, v in (headers or {}).items():
            for one in v if isinstance(v, list) else [v]:
                self.send_header(k, one)
        if length is not False:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        else:
            self.close_connection = True
        if length is not None:
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut_at is not None:
            self.wfile.write(body[:self.cut_at])
            self.wfile.flush()
            if self.stall_s:
                self.server.stopped.wait(self.stall_s)
            return
        self.wfile.write(body)

    def handle_any(self):
        # A proxy gets the whole URL.
        self.whole = self.path
        if self.path.startswith("http://"):
            self.path = "/" + self.path.split("/", 3)[3]
        if hasattr(self, "body"):
            del self.body
        self.cut_at = self.stall_s = self.take_at_most = None
        r = self.registry
        with r.lock:
            r.log.append((self.command, self.whole, dict(self.headers.items())))
            fault = next((f for f in r.faults if f.take(self.command, self.path)), None)
        try:
            if fault:
                fault.act(self)
            else:
                r.serve(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any


class Server:
    """What answers is serve(handler)."""

    def __init__(self, tls=None):
        self.log, self.faults, self.lock = [], [], threading.Lock()
        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.httpd.block_on_close = False
        self.httpd.handle_error = lambda *a: None
        self.httpd.registry = self
        self.httpd.stopped = threading.Event()
        self.port = self.httpd.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.tls = tls
        if tls:
            # The handshake in the connection's own thread: one that hangs must not hold the others.
            self.httpd.socket = tls.wrap_socket(self.httpd.socket, server_side=True, do_handshake_on_connect=False)
        self.base = f"http{'s' if tls else ''}://{self.host}"
        self.thread = threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.httpd.stopped.set()
        self.httpd.shutdown()
        self.httpd.server_close()

    def count(self, method, part=""):
        with self.lock:
            return sum(1 for m, p, _ in self.log if m == method and part in p)

    def sent(self, name):
        """All values of a header that have come."""
        with self.lock:
            return [v for _, _, h in self.log for k, v in h.items() if k.lower() == name.lower()]


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Tokens(Server):
    """Tokens by GET with Basic, by POST with an identity token, and anonymous ones when anonymous is set."""

    def __init__(self, users=None, anonymous=False, make=None, expires=300, **args):
        self.users, self.anonymous, self.expires = users or {}, anonymous, expires
        self.make = make or self.plain
        self.good, self.identity = {}, {}
        super().__init__(**args)

    def plain(self, user, service, scopes):
        token = f"token-{len(self.good)}-" + secrets.token_hex(20)
        self.good[token] = (user, scopes)
        return token

    def serve(self, h):
        url = urllib.parse.urlsplit(h.path)
        q = urllib.parse.parse_qs(url.query)
        refresh = None
        if h.command == "POST":
            q = urllib.parse.parse_qs(h.drain().decode())
            refresh = q.get("refresh_token", [""])[0]
        scopes = [s for v in q.get("scope", []) for s in v.split(" ")]
        sent = h.headers.get("Authorization")
        user = next((u for u, p in self.users.items() if sent == basic(u, p)), None)
        if refresh is not None:
            user = self.identity.get(refresh)
        if user is None and (sent or refresh is not None or not self.anonymous):
            h.reply(401, b'{"details":"incorrect username or password"}', {"Content-Type": "application/json"})
            return
        answer = {"token": self.make(user or "", q.get("service", [""])[0], scopes), "expires_in": self.expires}
        if q.get("offline_token") == ["true"] and user:
            answer["refresh_token"] = "identity-of-" + user
            self.identity[answer["refresh_token"]] = user
        h.reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


class Registry(Server):
    def __init__(self, auth=None, users=None, tokens=None, tls=None):
        self.auth, self.users, self.tokens = auth, users or {}, tokens
        self.blobs, self.manifests, self.uploads = {}, {}, {}
        self.relative = False      # Locations without a host
        self.upload_host = None    # or of another one
        self.tells_range = True
        self.page = 3              # of tags, and of referrers
        self.has_referrers = False # the API, and no need of the tag for it
        self.last = 0
        super().__init__(tls)

    def add_blob(self, data):
        d = digest_of(data)
        self.blobs[d] = data
        return d

    def add_manifest(self, repo, tag, data, kind="application/vnd.oci.image.manifest.v1+json"):
        d = digest_of(data)
        self.manifests[repo, tag] = self.manifests[repo, d] = (kind, data)
        return d

    # --- who asks ---
    def scope(self, h):
        m = re.match(r"/v2/(.+)/(manifests|blobs|tags|referrers)/", h.path)
        if not m:
            return None
        return m.group(1), "pull" if h.command in ("GET", "HEAD") and "/uploads/" not in h.path else "push"

    def allowed(self, h):
        sent = h.headers.get("Authorization", "")
        if self.auth == "basic":
            return any(sent == basic(u, p) for u, p in self.users.items())
        if self.auth == "bearer":
            user, scopes = self.tokens.good.get(sent.removeprefix("Bearer "), (None, None))
            want = self.scope(h)
            if user is None or want is None:
                return user is not None
            for s in scopes:
                kind, repo, actions = s.split(":")
                if kind == "repository" and repo == want[0] and want[1] in actions.split(","):
                    return True
            return False
        return True

    def challenge(self, h):
        if self.auth == "basic":
            return 'Basic realm="test, \\"quoted\\""'
        c = f'Bearer realm="{self.tokens.base}/token",service="test-service"'
        want = self.scope(h)
        if want:
            c += f',scope="repository:{want[0]}:{want[1]}"'
        return c

    def error(self, h, code, name, message=""):
        body = json.dumps({"errors": [{"code": name, "message": message, "detail": None}]}).encode()
        h.reply(code, body, {"Content-Type": "application/json"})

    # --- what is asked ---
    def serve(self, h, checked=False):
        if not checked and not self.allowed(h):
            h.drain()
            body = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]})
            h.reply(401, body.encode(), {"WWW-Authenticate": self.challenge(h)})
            return
        url = urllib.parse.urlsplit(h.path)
        q = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        if url.path == "/v2/":
            h.reply(200, b"{}")
            return
        for pattern, fn in (
                (r"/v2/(.+)/manifests/([^/]+)$", self.manifest),
                (r"/v2/(.+)/tags/list$", self.tags),
                (r"/v2/(.+)/referrers/([^/]+)$", self.referrers),
                (r"/v2/(.+)/blobs/uploads/$", self.upload_new),
                (r"/v2/(.+)/blobs/uploads/([^/]+)$", self.upload),
                (r"/v2/(.+)/blobs/([^/]+)$", self.blob),
                (r"/(blobs)/([^/]+)$", self.blob)):
            m = re.match(pattern, url.path)
            if m:
                fn(h, q, *m.groups())
                return
        self.error(h, 404, "UNSUPPORTED", "no such thing")

    def manifest(self, h, q, repo, ref):
        if h.command == "PUT":
            data = h.drain()
            d = self.add_manifest(repo, ref, data, h.headers.get("Content-Type"))
            h.reply(201, b"", {"Docker-Content-Digest": d, "Location": f"/v2/{repo}/manifests/{d}"})
            return
        if (repo, ref) not in self.manifests:
            self.error(h, 404, "MANIFEST_UNKNOWN", "manifest unknown")
            return
        kind, data = self.manifests[repo, ref]
        h.reply(200, data, {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)})

    def tags(self, h, q, repo):
        names = sorted(ref for r, ref in self.manifests if r == repo and not ref.startswith("sha256:"))
        if not names:
            self.error(h, 404, "NAME_UNKNOWN", "repository name not known to registry")
            return
        n = min(int(q.get("n", self.page)), self.page)
        rest = [t for t in names if t > q.get("last", "")]
        headers = {"Content-Type": "application/json"}
        if len(rest) > n:
            headers["Link"] = f'</v2/{repo}/tags/list?last={rest[n - 1]}&n={n}>; rel="next"'
        h.reply(200, json.dumps({"name": repo, "tags": rest[:n]}).encode(), headers)

    def referrers(self, h, q, repo, digest):
        if not self.has_referrers:
            self.error(h, 404, "UNSUPPORTED", "no such thing")
            return
        found = []
        for (r, ref), (kind, data) in sorted(self.manifests.items()):
            doc = json.loads(data) if r == repo and ref == digest_of(data) else {}
            if doc.get("subject", {}).get("digest") == digest:
                found.append({"mediaType": kind, "digest": ref, "size": len(data), "annotations": doc.get("annotations", {}),
                              "artifactType": doc.get("artifactType") or doc.get("config", {}).get("mediaType")})
        at = int(q.get("at", 0))
        headers = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        if at + self.page < len(found):
            headers["Link"] = f'</v2/{repo}/referrers/{digest}?at={at + self.page}>; rel="next"'
        h.reply(200, json.dumps({"schemaVersion": 2, "manifests": found[at:at + self.page]}).encode(), headers)

    def blob(self, h, q, repo, digest):
        data = self.blobs.get(digest)
        if data is None:
            self.error(h, 404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        m = re.match(r"bytes=(\d+)-$", h.headers.get("Range", ""))
        headers = {"Content-Type": "application/octet-stream"}
        if not m:
            h.reply(200, data, headers)
            return
        at = int(m.group(1))
        if at >= len(data):
            h.reply(416)
            return
        headers["Content-Range"] = f"bytes {at}-{len(data) - 1}/{len(data)}"
        h.reply(206, data[at:], headers)

    def location(self, repo, name):
        path = f"/v2/{repo}/blobs/uploads/{name}?state=secret-{name}"
        return path if self.relative else (self.upload_host or self.base) + path

    def upload_new(self, h, q, repo):
        if q.get("mount") in self.blobs and q.get("from", "").startswith("known"):
            h.reply(201, b"", {"Docker-Content-Digest": q["mount"]})
            return
        self.last += 1
        name = f"u{self.last}"
        self.uploads[name] = bytearray()
        h.reply(202, b"", {"Location": self.location(repo, name), "Range": "0-0"})

    def upload(self, h, q, repo, name):
        if name not in self.uploads:
            self.error(h, 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
            return
        up = self.uploads[name]
        at = re.match(r"(\d+)-", h.headers.get("Content-Range", ""))
        if at and int(at.group(1)) != len(up):
            h.reply(416, b"", {"Range": f"0-{len(up) - 1}"})
            return
        up += h.drain()
        headers = {"Location": self.location(repo, name)}
        if self.tells_range:
            headers["Range"] = f"0-{max(len(up) - 1, 0)}"
        if h.command == "GET":
            h.reply(204 if self.tells_range else 404, b"", headers)
        elif h.command == "PATCH":
            h.reply(202, b"", headers)
        elif digest_of(bytes(up)) != q.get("digest"):
            self.error(h, 400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        else:
            del self.uploads[name]
            self.blobs[q["digest"]] = bytes(up)
            h.reply(201, b"", {"Docker-Content-Digest": q["digest"]})
