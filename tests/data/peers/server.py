#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""server.py DIR PORTFILE: what the cases fetch, over HTTP on the loopback interface: two files, an archive, a git repository."""
import http.server, io, os, subprocess, sys, tarfile

root, ready = sys.argv[1:]
OLD = 981173106


def write(name, data, mode=0o644):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)
    os.utime(path, (OLD, OLD))


def git(*args):
    who = {f"GIT_{w}_{k}": v for w in ("AUTHOR", "COMMITTER") for k, v in (("NAME", "t"), ("EMAIL", "t@t"), ("DATE", f"{OLD} +0000"))}
    subprocess.run(["git", "-C", os.path.join(root, "work"), *args], check=True, env=os.environ | who | {"GIT_CONFIG_GLOBAL": "/dev/null"})


def make():
    write("hello.txt", b"hello\n")
    write("with blank", b"blank\n")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        m = tarfile.TarInfo("in")
        m.size, m.mtime, m.uid, m.gid, m.mode = 3, 486086400, 7, 8, 0o640
        t.addfile(m, io.BytesIO(b"in\n"))
    write("x.tar", tar.getvalue())
    write("work/docs/deep/b", b"b\n")
    write("work/docs/a", b"one\n")
    write("work/run.sh", b"run\n", 0o755)
    os.symlink("docs/a", os.path.join(root, "work/link"))
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "--no-gpg-sign", "-m", "one")
    git("tag", "v1")
    write("work/docs/a", b"second\n")
    git("commit", "-q", "--no-gpg-sign", "-a", "-m", "two")
    git("clone", "-q", "--bare", ".", "../repo.git")


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *a):
        super().__init__(*a, directory=root)

    def log_message(self, *a):
        pass

    def backend(self):
        """git http-backend, a CGI program."""
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = {
            "GIT_PROJECT_ROOT": root, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "", "CONTENT_LENGTH": str(len(body)), "REMOTE_ADDR": "127.0.0.1",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "", "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }
        out = subprocess.run(["git", "http-backend"], input=body, env=os.environ | env, capture_output=True, check=True).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for k, v in fields.items():
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)

    def do_GET(self):
        self.backend() if self.path.startswith("/repo.git/") else super().do_GET()

    do_POST = do_GET


make()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(ready + ".tmp", "w") as f:
    f.write(str(server.server_port))
os.rename(ready + ".tmp", ready)
server.serve_forever()
