# SPDX-License-Identifier: Apache-2.0
"""bombs.py KIND: an archive that is small and would become large, on standard output: a docker-archive, or a tree (tree-*)."""
import hashlib
import io
import json
import subprocess
import sys
import tarfile

kind = sys.argv[1]


def tar(add):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w", format=tarfile.PAX_FORMAT) as t:
        add(t)
    return b.getvalue()


def put(t, name, data=b"", type_=tarfile.REGTYPE, **kw):
    i = tarfile.TarInfo(name)
    i.type, i.size = type_, len(data)
    for k, v in kw.items():
        setattr(i, k, v)
    t.addfile(i, io.BytesIO(data))


def zeros(command):
    """A layer of a file of 1 PB: its header, then zeros without end, compressed."""
    i = tarfile.TarInfo("huge")
    i.size = 1 << 50
    p = subprocess.run(command, input=i.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20), stdout=subprocess.PIPE, check=True)
    return p.stdout


def pressed(command):
    """A layer that a codec was told to look far back in, from a pipe: it does not know how much comes."""
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdin.write(tar(lambda t: put(t, "f", b"text")))
    p.stdin.close()
    return p.stdout.read()


layer = {
    "mib": lambda: tar(lambda t: [put(t, "f%d" % n, b"x" * 300000) for n in range(5)]),
    "zstd-window": lambda: pressed(["zstd", "-qc", "--long=26"]),
    "zstd-20": lambda: pressed(["zstd", "-qc", "--long=25"]),
    "xz-9": lambda: pressed(["xz", "-9c"]),
    "gzip": lambda: zeros(["gzip", "-9nc"]),
    "zstd": lambda: zeros(["zstd", "-19qc"]),
    "pax": lambda: tar(lambda t: [put(t, "f%d" % n, pax_headers={"SCHILY.xattr.user.%d" % k: "x" * 60000 for k in range(16)})
                                  for n in range(20)]),
    "pax-size": lambda: tar(lambda t: put(t, "f", pax_headers={"comment": "x" * (2 << 20)})),
    "names": lambda: tar(lambda t: [put(t, "/".join(["%d" % n] + ["d" * 200] * 19), type_=tarfile.DIRTYPE) for n in range(1500)]),
    "tail": lambda: tar(lambda t: put(t, "f")) + bytes(1 << 20),
}.get(kind.removeprefix("tree-"), lambda: tar(lambda t: put(t, "f")))()
if kind.startswith("tree-"):
    sys.stdout.buffer.write(layer)
    sys.exit()

config = json.dumps({"os": "linux", "architecture": "amd64", "config": {},
                     "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}})
manifest = json.dumps([{"Config": "c.json", "RepoTags": ["bomb:" + (kind if kind == "mib" else "1")], "Layers": ["l.tar"]}])
if kind == "json-depth":
    config = "[" * 1000000
elif kind == "json-values":
    config = '{"x":[' + "{}," * 1300000 + "1]}"
elif kind == "json-large":
    config = '{"x":"' + "a" * (5 << 20) + '"}'
elif kind == "manifest-values":
    manifest = "[" + "[]," * 1300000 + "1]"
elif kind == "config-4m":
    config = config[:-1] + ', "history": [{"created_by": "%s", "empty_layer": true}]}' % ("a" * ((4 << 20) - 1000))
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|")
put(out, "manifest.json", manifest.encode())
put(out, "c.json", config.encode())
put(out, "l.tar", layer)
if kind == "twice":
    put(out, "l.tar", b"")
out.close()
