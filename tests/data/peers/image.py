#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the images of an archive hold, as text: the config field by field, and the tree as it differs from the base's.

image.py ARCHIVE BASE SINCE DIR: reads a docker-archive, writes DIR/NAME for each image case:NAME in it. BASE is the tar of
the base image; times of SINCE (seconds) or later are "now". An image without the base's busybox is shown whole.
"""
import hashlib, json, os, platform, sys, tarfile

SHORT = 400
KINDS = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.FIFOTYPE: "fifo", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block"}
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


class Entry:
    """An inode: what names it has is in the tree."""

    def __init__(self, tar, m):
        self.kind = KINDS.get(m.type, "file")
        self.attrs = f"{m.mode & 0o7777:o} {m.uid}:{m.gid}"
        self.mtime = int(m.mtime)
        self.detail = ""
        if self.kind == "symlink":
            self.detail = " -> " + m.linkname
        elif self.kind in ("char", "block"):
            self.detail = f" {m.devmajor},{m.devminor}"
        elif self.kind == "file":
            data = tar.extractfile(m).read()
            self.detail = f" {len(data)} " + text_of(data)
        self.xattrs = "".join(
            f" {k[13:]}={v.encode('utf-8', 'surrogateescape').hex()}" for k, v in sorted(m.pax_headers.items()) if k.startswith("SCHILY.xattr.")
        )

    def line(self, since):
        time = "now" if self.mtime >= since else str(self.mtime)
        if self.kind == "symlink":  # its mode means nothing
            return f"symlink {self.attrs.split()[1]} {time}{self.detail}{self.xattrs}"
        return f"{self.kind} {self.attrs} {time}{self.detail}{self.xattrs}"


def text_of(data):
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if len(data) <= SHORT and all(c.isprintable() or c in "\n\t\r" for c in text):
        return json.dumps(text)
    return "sha256:" + hashlib.sha256(data).hexdigest()


def clean(name):
    return "/" + name.removeprefix("./").strip("/") if name not in (".", "./") else "/"


def drop(tree, path, itself=True):
    for p in [p for p in tree if p.startswith(path.rstrip("/") + "/") or (itself and p == path)]:
        del tree[p]


def read_layer(fileobj):
    """A layer as (removals, entries), to be put upon any tree."""
    gone, new = [], {}
    with tarfile.open(fileobj=fileobj, mode="r:*") as tar:
        for m in tar:
            path = clean(m.name)
            where, name = path.rsplit("/", 1)
            if name == ".wh..wh..opq":
                gone.append((where or "/", False))
            elif name.startswith(".wh."):
                gone.append((where + "/" + name[4:], True))
            elif m.islnk():
                new[path] = new[clean(m.linkname)]
            elif path != "/":
                new[path] = Entry(tar, m)
    return gone, new


def put(tree, layer):
    gone, new = layer
    for path, itself in gone:
        drop(tree, path, itself)
    for path, e in new.items():
        if path in tree and e.kind != "dir":
            drop(tree, path)
        tree[path] = e


def show_tree(tree, base, since):
    under = base if "/bin/busybox" in tree else {}
    first = {}
    for path in sorted(tree):
        e = tree[path]
        line = e.line(since)
        if id(e) in first:
            yield f"{path} = {first[id(e)]}"
        elif path not in under or under[path].line(since) != line:
            yield f"{path} {line}"
        first.setdefault(id(e), path)
    for path in sorted(under):
        if path not in tree:
            yield f"{path} gone"


def show_config(image, skip):
    for key in ("os", "architecture", "variant", "author"):
        value = image.get(key)
        if value:
            yield f"{key} {'(here)' if (key, value) == ('architecture', ARCH) else value}"
    for key, value in sorted((image.get("config") or {}).items()):
        if key in ("ExposedPorts", "Volumes"):
            value = sorted(value or {})
        if not value or key in ("Hostname", "Image"):
            continue
        if key == "Env":
            yield from (f"Env {json.dumps(v)}" for v in value)
        elif key == "Labels":
            yield from (f"Label {k}={json.dumps(v)}" for k, v in sorted(value.items()))
        else:
            yield f"{key} {json.dumps(value, sort_keys=True)}"
    for h in image.get("history", [])[skip:]:
        yield f"history {(h.get('created_by') or '?').split()[0]}{'' if h.get('empty_layer') else ' layer'}"


def main():
    archive, base_tar, since, out = sys.argv[1:]
    base, layers = {}, {}
    with open(base_tar, "rb") as f:
        put(base, read_layer(f))
    with tarfile.open(archive) as tar:
        for image in json.load(tar.extractfile("manifest.json")):
            tree = {}
            for name in image["Layers"]:
                if name not in layers:
                    layers[name] = read_layer(tar.extractfile(name))
                put(tree, layers[name])
            config = json.load(tar.extractfile(image["Config"]))
            based = "/bin/busybox" in tree
            lines = [*show_config(config, 1 if based else 0), *show_tree(tree, base, int(since))]
            for tag in image["RepoTags"] or []:
                with open(os.path.join(out, tag.rsplit(":", 1)[1]), "w", encoding="utf-8") as f:
                    f.write("".join(l + "\n" for l in lines))


main()
