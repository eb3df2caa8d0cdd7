# SPDX-License-Identifier: Apache-2.0
"""What the programs of the speed table share: one command measured, a row printed, the tools that are measured against.
   PROGRAM SHALE BIN BASE FS [ROW...]"""
import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse

SHALE, BIN, BASE, FS = sys.argv[1:5]
ONLY = sys.argv[5:]
ENV = {"PATH": os.environ["PATH"], "SHALE_ROOT": FS + "/store", "HOME": FS + "/home", "TMPDIR": FS + "/tmp", "SHALE_PULL": "never",
       "SHALE_NETWORK": "host"}
SOCK = FS + "/docker.sock"
POD = ["podman", "--root", FS + "/pod", "--runroot", "/run/pod", "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs",
       "--events-backend", "none"]
CHILDREN = []
for d in ("home", "tmp"):
    os.makedirs("%s/%s" % (FS, d), exist_ok=True)


def sh(*cmd, **kw):
    return subprocess.run(cmd, env=ENV, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw).stdout


def trun(*cmd, cwd=None):
    """Wall seconds and peak KiB of one command, measured by a small static program."""
    out = subprocess.run([BIN + "/trun", "-o", FS + "/out", "-e", FS + "/err", *cmd], env=ENV, cwd=cwd,
                         stdout=subprocess.PIPE, check=True).stdout.split()
    if out[4] != b"0":
        sys.exit("bench: %s: exit %s\n%s" % (" ".join(cmd), out[4].decode(), open(FS + "/err").read()[-2000:]))
    return float(out[0]) / 1e3, int(out[3])


def row(name, ratio, must, aim, note=""):
    ok = "aim" if ratio <= aim else "must" if ratio <= must else "MISSED"
    print("%-58s %6.3g  must %-5.3g aim %-5.3g %-6s %s" % (name, ratio, must, aim, ok, note), flush=True)


def ms(x):
    return "%.2f ms" % (x * 1e3)


def secs(*times):
    return " / ".join("%.2f s" % t for t in times)


def wanted(*rows):
    return [f for f in rows if not ONLY or f.__name__ in ONLY]


# --- docker ---

class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCK)


def docker(method, url, body=None, **query):
    c = Unix("localhost")
    auth = base64.urlsafe_b64encode(b"{}").decode()
    c.request(method, url + "?" + urllib.parse.urlencode(query), body, {"X-Registry-Auth": auth, "Content-Type": "application/x-tar"},
              encode_chunked=body is not None)
    r = c.getresponse()
    text = r.read().decode()
    if r.status >= 400 or "errorDetail" in text:
        sys.exit("bench: docker: %s %s" % (url, text[-1000:]))
    return text


def docker_forget():
    for i in json.loads(docker("GET", "/images/json", all=1)):
        docker("DELETE", "/images/" + i["Id"], force=1)


def docker_load(path):
    with open(path, "rb") as f:
        docker("POST", "/images/load", f, quiet=1)


def start_docker():
    with open(FS + "/daemon.json", "w") as f:
        f.write("{}")
    log = open(FS + "/dockerd.log", "w")
    CHILDREN.append(subprocess.Popen(
        ["dockerd", "--config-file", FS + "/daemon.json", "--data-root", FS + "/docker", "--exec-root", "/run/docker-exec", "--pidfile",
         "/run/dockerd.pid", "-H", "unix://" + SOCK, "--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false",
         "--storage-driver", "overlay2"], stdout=log, stderr=log, start_new_session=True))
    for _ in range(300):
        try:
            docker("GET", "/_ping")
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("bench: dockerd does not answer")


def stop_children():
    for p in CHILDREN:
        p.terminate()
        p.wait()
