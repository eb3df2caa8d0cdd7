# SPDX-License-Identifier: Apache-2.0
"""docker.py SOCKET load|save|inspect|wait [NAME...]: dockerd without its command line program. load reads the archive from standard input,
save writes one to standard output, inspect prints the image's JSON."""
import http.client
import shutil
import socket
import sys
import time
import urllib.parse


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def call(method, url, body=None):
    c = Unix(sys.argv[1])
    c.request(method, url, body, {"Content-Type": "application/x-tar"}, encode_chunked=body is not None)
    r = c.getresponse()
    if r.status != 200:
        sys.exit(f"dockerd: {r.status} {r.read().decode()}")
    return r


what, names = sys.argv[2], sys.argv[3:]
if what == "wait":
    for _ in range(200):
        try:
            call("GET", "/_ping")
            sys.exit(0)
        except OSError:
            time.sleep(0.1)
    sys.exit("dockerd does not answer")
elif what == "load":
    text = call("POST", "/images/load?quiet=1", sys.stdin.buffer).read().decode()
    print(text)
    if "errorDetail" in text:
        sys.exit(1)
elif what == "save":
    query = urllib.parse.urlencode([("names", n) for n in names])
    shutil.copyfileobj(call("GET", "/images/get?" + query), sys.stdout.buffer)
elif what == "inspect":
    sys.stdout.write(call("GET", f"/images/{names[0]}/json").read().decode())
