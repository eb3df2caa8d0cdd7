# SPDX-License-Identifier: Apache-2.0
"""Images in and out against podman, docker and the bare work. Runs in mount and network namespaces of its own.  BENCH_RUNS=5 BENCH_MB=500"""
import glob
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

from common import BIN, ENV, FS, POD, SHALE, docker, docker_forget, docker_load, row, secs, sh, start_docker, stop_children, trun, wanted

RUNS = int(os.environ.get("BENCH_RUNS", "5"))
MB = int(os.environ.get("BENCH_MB", "500"))
LAYERS = 10
REG = "127.0.0.1:5000"
REGISTRY_DIR = "/run/registry"


def timed(work):
    """With what it has left to be written."""
    os.sync()
    start = time.monotonic()
    work()
    subprocess.run(["sync", "-f", FS], check=True)
    return time.monotonic() - start


def interleave(*works):
    """Each of works: (prepare, work). Medians."""
    times = [[] for _ in works]
    for _ in range(RUNS):
        for t, (prepare, work) in zip(times, works):
            prepare()
            t.append(timed(work))
    return [statistics.median(t) for t in times]


# --- the registry ---

REGISTRY = []


def start_registry():
    os.makedirs(REGISTRY_DIR, exist_ok=True)
    with open("/run/registry.yml", "w") as f:
        f.write("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n" % (REGISTRY_DIR, REG))
    log = open("/run/registry.log", "a")
    REGISTRY[:] = [subprocess.Popen(["docker-registry", "serve", "/run/registry.yml"], stdout=log, stderr=log)]
    for _ in range(100):
        try:
            socket.create_connection(REG.split(":")).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("bench: the registry does not answer")


def stop_registry():
    for p in REGISTRY:
        p.terminate()
        p.wait()


def fresh_registry():
    stop_registry()
    shutil.rmtree(REGISTRY_DIR, ignore_errors=True)
    start_registry()


def requests():
    """Method and path of all that were logged."""
    with open("/run/registry.log") as f:
        return [x for line in f for x in re.findall(r'"((?:GET|HEAD|PUT|POST|PATCH) /v2/[^ ]*)', line)]


def blob_bytes():
    return sum(os.path.getsize(f) for f in glob.glob(REGISTRY_DIR + "/docker/registry/v2/blobs/sha256/*/*/data"))


# --- the images ---

def text_pool():
    rnd = random.Random(7)
    words = ["".join(rnd.choices("abcdefghijklmnopqrstuvwxyz_", k=rnd.randint(2, 11))) for _ in range(4000)]
    weights = [1 / (i + 3) for i in range(len(words))]
    return [" ".join(rnd.choices(words, weights, k=rnd.randint(4, 14))).encode() + b"\n" for _ in range(100000)]


def make_layer(path, kind, size, rnd, pool):
    os.makedirs(path)
    piece = 25000 if kind == "text" else 1 << 20
    for i in range(max(1, size // piece)):
        d = "%s/d%02d" % (path, i % 20)
        os.makedirs(d, exist_ok=True)
        with open("%s/f%d" % (d, i), "wb") as f:
            f.write(rnd.randbytes(piece) if kind == "rand" else b"".join(rnd.choices(pool, k=piece // 48))[:piece])


def make_image(name, kinds, seed, pool):
    """Built here; an archive of it for the others."""
    ctx = "%s/ctx-%s" % (FS, name)
    rnd = random.Random(seed)
    lines = ["FROM scratch"]
    for i in range(LAYERS):
        make_layer("%s/l%d" % (ctx, i), kinds[i % len(kinds)], MB * 1000000 // LAYERS, rnd, pool)
        lines.append("COPY l%d /l%d" % (i, i))
    with open(ctx + "/Dockerfile", "w") as f:
        f.write("\n".join(lines) + "\nCMD [\"true\"]\n")
    sh(SHALE, "build", "-q", "--sync", "-t", "%s/%s:1" % (REG, name), ctx)
    sh(SHALE, "save", "-o", "%s/%s.tar" % (FS, name), "%s/%s:1" % (REG, name))
    shutil.rmtree(ctx)


def shale_forget():
    shutil.rmtree(ENV["SHALE_ROOT"], ignore_errors=True)


def podman_forget():
    subprocess.run(POD + ["rmi", "-af"], env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def shale_pull(name="mix"):
    return trun(SHALE, "pull", "--sync", "-q", "%s/%s:1" % (REG, name))


def put_in_registry(name):
    """By docker, in docker's form."""
    docker_forget()
    docker_load("%s/%s.tar" % (FS, name))
    fresh_registry()
    docker("POST", "/images/%s/%s/push" % (REG, name), tag=1)


# --- rows ---

def bare_work():
    """The blobs of the image and their contents, to have what a pull cannot do without."""
    d = FS + "/bare"
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    for f in glob.glob(REGISTRY_DIR + "/docker/registry/v2/blobs/sha256/*/*/data"):
        with open(f, "rb") as data:
            if data.read(2) == b"\x1f\x8b":
                n = len(os.listdir(d)) // 2
                shutil.copy(f, "%s/%d.gz" % (d, n))
                sh("sh", "-c", "igzip -dc <%s/%d.gz >%s/%d.tar" % (d, n, d, n))
    return d


def pull():
    put_in_registry("mix")
    d = bare_work()
    out = FS + "/out.d"

    def by_two(pattern, command):
        sh("sh", "-c", "ls -d %s | xargs -P2 -n1 sh -c '%s' -" % (pattern, command))

    def clear():
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)

    def unpack():
        by_two(d + "/*.tar", "mkdir %s/$(basename $1) && tar -xf $1 -C %s/$(basename $1)" % (out, out))
    parts = {"SHA-256": [], "igzip": [], "tar": [], "sync": []}

    def bare():
        for name, work in (("SHA-256", lambda: by_two(d + "/*", "exec openssl dgst -sha256 $1")),
                           ("igzip", lambda: by_two(d + "/*.gz", "exec igzip -dc <$1 >/dev/null")),
                           ("tar", unpack),
                           ("sync", lambda: sh("sync", "-f", FS))):
            start = time.monotonic()
            work()
            parts[name].append(time.monotonic() - start)
            if name == "tar":  # what is kept of it: the compressed layers too
                sh("sh", "-c", "cp %s/*.gz %s" % (d, out))
    a, b, c, _ = interleave((shale_forget, shale_pull),
                            (podman_forget, lambda: sh(*POD, "pull", "-q", "--tls-verify=false", REG + "/mix:1")),
                            (docker_forget, lambda: docker("POST", "/images/create", fromImage=REG + "/mix", tag=1)),
                            (clear, bare))
    shutil.rmtree(out)
    longest = {k: statistics.median(v) for k, v in parts.items()}
    row("pull / podman pull", a / b, 1 / 3, 1 / 5, secs(a, b))
    row("pull / docker pull", a / c, 1 / 3, 1 / 5, secs(a, c))
    row("pull / the longest of its parts, 2 at once", a / max(longest.values()), 1.3, 1.1,
        secs(a) + ", " + ", ".join("%s %.2f s" % x for x in longest.items()))


def load():
    (a, b) = interleave((shale_forget, lambda: trun(SHALE, "load", "--sync", "-q", "-i", FS + "/mix.tar")),
                        (docker_forget, lambda: docker_load(FS + "/mix.tar")))
    row("load / docker load", a / b, 1 / 3, 1 / 5, secs(a, b))


def save():
    shale_forget()
    trun(SHALE, "load", "--sync", "-q", "-i", FS + "/mix.tar")
    to, cat = FS + "/saved.tar", FS + "/cat.tar"

    def clear():
        for f in (to, cat):
            if os.path.exists(f):
                os.unlink(f)
    (a, b) = interleave((clear, lambda: trun(SHALE, "save", "-o", to, REG + "/mix:1")),
                        (clear, lambda: sh("sh", "-c", "cat %s/mix.tar >%s" % (FS, cat))))
    clear()
    row("save uncompressed / cat of the same bytes to a file", a / b, 2, 1.3, secs(a, b))


def push_row(name, codec, must, aim):
    """Nothing is compressed yet, and the registry is empty."""
    sizes = {}

    def prepare():
        shale_forget()
        trun(SHALE, "load", "--sync", "-q", "-i", "%s/%s.tar" % (FS, name))
        fresh_registry()

    def prepare_docker():
        docker_forget()
        docker_load("%s/%s.tar" % (FS, name))
        fresh_registry()

    def ours():
        trun(SHALE, "push", "-q", "--compression", codec, "%s/%s:1" % (REG, name))

    def theirs():
        docker("POST", "/images/%s/%s/push" % (REG, name), tag=1)

    def sized(who, work):
        def run():
            work()
            sizes[who] = blob_bytes()
        return run
    (a, b) = interleave((prepare, sized("shale", ours)), (prepare_docker, sized("docker", theirs)))
    row("push of %s with %s / docker push" % ("random bytes" if name == "rand" else name, codec), a / b, must, aim,
        "%s, %.1f MB / %.1f MB" % (secs(a, b), sizes["shale"] / 1e6, sizes["docker"] / 1e6))


def push():
    push_row("text", "gzip", 0.7, 0.5)
    push_row("text", "zstd", 1 / 2, 1 / 4)
    push_row("rand", "gzip", 1 / 2, 1 / 3)


def again():
    """A pull of what is there, and of an image of which a hundredth is new."""
    put_in_registry("mix")
    shale_forget()
    shale_pull()
    before = len(requests())
    shale_pull()
    asked = requests()[before:]
    row("pull again, nothing new: requests", len(asked), 1, 1, ", ".join(asked))
    os.makedirs(FS + "/more")
    make_layer(FS + "/more/l", "rand", MB * 10000, random.Random(99), None)
    with open(FS + "/more/Dockerfile", "w") as f:
        f.write("FROM %s/mix:1\nCOPY l /more\n" % REG)
    store = ENV["SHALE_ROOT"]
    ENV["SHALE_ROOT"] = FS + "/store2"
    shale_pull()
    sh(SHALE, "build", "-q", "--sync", "-t", REG + "/mix:1", FS + "/more")
    before = blob_bytes()
    sh(SHALE, "push", "-q", REG + "/mix:1")
    new = blob_bytes() - before
    shale_forget()
    ENV["SHALE_ROOT"] = store
    t = timed(shale_pull)
    print("%-58s %.2f MB of %d MB in %.2f s" % ("pull again, 1 % changed", new / 1e6, MB, t), flush=True)


def image_memory():
    put_in_registry("mix")
    shale_forget()
    name = REG + "/mix:1"
    peak = {"pull": shale_pull()[1]}
    peak["save"] = trun(SHALE, "save", "-o", FS + "/saved.tar", name)[1]
    peak["push gzip"] = trun(SHALE, "push", "-q", "--compression", "gzip", "--compression-level", "9", name)[1]
    peak["push zstd"] = trun(SHALE, "push", "-q", "--compression", "zstd", name)[1]
    shale_forget()
    peak["load"] = trun(SHALE, "load", "-q", "-i", FS + "/saved.tar")[1]
    os.unlink(FS + "/saved.tar")
    row("peak memory of pull, push, load, save, MiB", max(peak.values()) / 1024, 64, 32,
        ", ".join("%s %.1f" % (k, v / 1024) for k, v in peak.items()))


def main():
    rows = wanted(pull, load, save, push, again, image_memory)
    if not rows:
        return
    pool = text_pool()
    make_image("mix", ("rand", "text"), 1, pool)
    if push in rows:
        make_image("text", ("text",), 2, pool)
        make_image("rand", ("rand",), 3, pool)
    start_registry()
    start_docker()
    for f in rows:
        f()


try:
    main()
finally:
    stop_registry()
    stop_children()
