# SPDX-License-Identifier: Apache-2.0
"""evil.py KIND CANARY: an archive that tries to leave the directory it is unpacked into, on standard output."""
import io
import os
import shutil
import sys
import tarfile

kind, canary = sys.argv[1:]
out = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT)


def entry(name, type_=tarfile.REGTYPE, link="", data=b"", mode=0o755, **kw):
    t = tarfile.TarInfo(name)
    t.type, t.linkname, t.size, t.mode = type_, link, len(data), mode
    for k, v in kw.items():
        setattr(t, k, v)
    out.addfile(t, io.BytesIO(data))


def busybox():
    path = shutil.which("busybox")
    entry("bin", tarfile.DIRTYPE)
    entry("bin/busybox", data=open(path, "rb").read())
    for a in ("sh", "true", "cat", "ls", "echo", "stat"):
        entry("bin/" + a, tarfile.SYMTYPE, "busybox")


up = "../" * 30 + canary.lstrip("/")
file = canary + "/file"
if kind.startswith("link-"):
    path, target = kind[5:].split("=", 1)
    busybox()
    if os.path.dirname(path):
        entry(os.path.dirname(path), tarfile.DIRTYPE)
    entry(path, tarfile.SYMTYPE, target)
elif kind == "symlink-dir":
    for n, to in (("a", canary), ("b", up)):
        entry(n, tarfile.SYMTYPE, to)
        entry(n + "/pwned", data=b"x")
        entry(n + "/file", data=b"x")
elif kind == "symlink-file":
    entry("f", tarfile.SYMTYPE, file)
    entry("f", data=b"pwned")
    entry("g", tarfile.SYMTYPE, up + "/file")
    entry("g", data=b"pwned", mode=0o4777)
elif kind == "hardlink":
    entry("h", tarfile.LNKTYPE, file)
    entry("h", data=b"pwned")
    entry("i", tarfile.LNKTYPE, up + "/file")
    entry("i", data=b"pwned")
elif kind == "dotdot":
    entry(up + "/pwned", data=b"x")
    entry("x/../" + up + "/file", data=b"x")
elif kind == "absolute":
    entry(file, data=b"x")
    entry("//" + file, data=b"x")
elif kind == "root-symlink":
    entry(".", tarfile.SYMTYPE, canary)
    entry("pwned", data=b"x")
elif kind == "root-file":
    entry("./", data=b"x")
    entry("..", tarfile.SYMTYPE, canary)
    entry("pwned", data=b"x")
elif kind == "chmod-link":
    entry("l", tarfile.SYMTYPE, file, mode=0o777, uid=65534)
    entry("m", tarfile.LNKTYPE, "l", mode=0o777, uid=65534)
elif kind == "device":
    entry("zero", tarfile.CHRTYPE, devmajor=0, devminor=0)
    entry("sda", tarfile.BLKTYPE, devmajor=8, devminor=0)
elif kind == "trusted":
    entry("t", data=b"", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": canary,
                                      "SCHILY.xattr.trusted.overlay.metacopy": "x",
                                      "SCHILY.xattr.user.overlay.opaque": "y"})
    entry("d", tarfile.DIRTYPE, pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/" + canary})
elif kind == "long-name":
    entry("n" * 100000, data=b"x")
elif kind == "deep":
    entry("/".join(["d"] * 3000), data=b"x")
elif kind == "whiteout":
    entry(".wh.." , data=b"")
    entry(".wh.../../" + canary + "/file", data=b"")
    entry("a/.wh.", data=b"")
elif kind == "hard-to-symlink":
    entry("s", tarfile.SYMTYPE, canary)
    entry("t", tarfile.LNKTYPE, "s")
    entry("t/pwned", data=b"x")
elif kind == "dir-over-link":
    entry("d", tarfile.SYMTYPE, canary)
    entry("d", tarfile.DIRTYPE, mode=0o700)
    entry("d/pwned", data=b"x")
else:
    sys.exit("evil.py: no such kind: " + kind)
out.close()
