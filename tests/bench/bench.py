# SPDX-License-Identifier: Apache-2.0
"""The rows of building: each measures shale and its yardstick in turn and prints the ratio of the medians.  BENCH_RUNS=30"""
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

from common import BASE, BIN, ENV, FS, SHALE, ms, row, sh, trun, wanted

RUNS = int(os.environ.get("BENCH_RUNS", "30"))
os.environ["SHALE_NETWORK"] = "host"  # netavark is not what is measured
FLOOR = BIN + "/floor"


def interleave(n, *works):
    times = [[] for _ in works]
    for i in range(n + 1):
        for t, work in zip(times, works):
            took = work()
            if i:  # the first warms up
                t.append(took)
    return [statistics.median(t) for t in times], [(min(t), max(t)) for t in times]


def wait_quiet():
    """Detached children of the command before are done with the disk."""
    os.sync()


def dockerfile(path, text):
    os.makedirs(path, exist_ok=True)
    with open(path + "/Dockerfile", "w") as f:
        f.write(text)


def floor_dir():
    low = FS + "/low"
    if not os.path.isdir(low):
        os.makedirs(low)
        sh("tar", "-xf", BASE, "-C", low)
    return low


def floor_true():
    return trun(FLOOR, "-n", "-V", floor_dir(), FS + "/scratch", "/bin/true")[0]


def run_true():
    (a, b), spread = interleave(RUNS, lambda: trun(SHALE, "run", "--rm", "--network", "none", "busybox", "true")[0],
                                floor_true)
    row("run --rm --network none IMAGE true / floor -n -V", a / b, 1.8, 1.2, "%s / %s" % (ms(a), ms(b)))


def run_step():
    one, many = FS + "/one", FS + "/many"
    dockerfile(one, "FROM busybox\nRUN true\n")
    dockerfile(many, "FROM busybox\n" + "RUN true\n" * 21)

    def build(ctx):
        return trun(SHALE, "build", "--no-cache", "-q", ctx)[0]
    n = max(5, RUNS // 3)
    (a, b, c), _ = interleave(n, lambda: build(many), lambda: build(one), floor_true)
    row("(build of 21 RUNs - build of 1) / 20 / floor -n -V", (a - b) / 20 / c, 2, 1.2,
        "%s a step" % ms((a - b) / 20))


def make_context(path):
    rnd = random.Random(1)
    for d in range(50):
        os.makedirs("%s/d%02d" % (path, d))
        for f in range(100):
            with open("%s/d%02d/f%02d" % (path, d, f), "wb") as out:
                out.write(rnd.randbytes(10000))
    dockerfile(path, "FROM busybox\nENV A=1\nWORKDIR /app\nCOPY d00 /app/d00\nRUN true\nCOPY . /app\nRUN true\n"
                     "LABEL l=1\nEXPOSE 80\nCMD true\n")


def cached():
    ctx = FS + "/ctx"
    make_context(ctx)
    sh(SHALE, "build", "-q", ctx)
    time.sleep(0.1)
    sh(SHALE, "build", "-q", ctx)
    (a, b), _ = interleave(RUNS, lambda: trun(SHALE, "build", "-q", ctx)[0],
                           lambda: trun("find", ctx, "-type", "f", "-printf", "%s %T@ %C@ %i %p\\n")[0])
    row("cached rebuild, 10 steps, 5,000 files, 50 MB / find", a / b, 3, 1, "%s / %s" % (ms(a), ms(b)))

    n = max(5, RUNS // 3)
    serial = [0]

    def fresh():
        serial[0] += 1
        copy = "%s/copy%d" % (FS, serial[0])
        shutil.copytree(ctx, copy)
        try:
            return trun(SHALE, "build", "-q", copy)[0]
        finally:
            shutil.rmtree(copy)

    def hash_all():
        return trun("sh", "-c", "find %s -type f -print0 | xargs -0 -P2 -n 500 sha256sum -b" % ctx)[0]
    (a, b), _ = interleave(n, fresh, hash_all)
    row("the same on a fresh copy / sha256sum -b of all by 2", a / b, 2, 1, "%s / %s" % (ms(a), ms(b)))


def big_step():
    ctx = FS + "/big"
    dockerfile(ctx, "FROM busybox\nRUN dd if=/dev/zero of=/f bs=1M count=1024\n")

    def build():
        t = trun(SHALE, "build", "--no-cache", "-q", ctx)[0]
        sh(SHALE, "image", "prune", "-f")
        sh(SHALE, "builder", "prune", "-af")
        wait_quiet()
        return t

    def parts():
        low = floor_dir()
        t = trun(FLOOR, "-n", "-V", low, FS + "/s2", "/bin/dd", "if=/dev/zero", "of=/f", "bs=1M", "count=1024")[0]
        f = FS + "/s2/u/f"
        t += trun("openssl", "dgst", "-sha256", f)[0]
        shutil.rmtree(FS + "/s2", ignore_errors=True)
        wait_quiet()
        return t
    (a, b), _ = interleave(5, build, parts)
    row("step that writes 1 GiB / (command + SHA-256)", a / b, 1.2, 1.05, "%.2f s / %.2f s" % (a, b))


def at_once(n, text):
    """text with $i = 0 .. n - 1, all started by one small shell, and waited for."""
    wait_quiet()
    time.sleep(0.6)  # those who sync after the prompt have begun
    wait_quiet()
    return trun("sh", "-c", "for i in %s; do { %s; } & done; wait" % (" ".join(map(str, range(n))), text))[0]


def layer_digest():
    """The digest and file table of a layer, against the least that reads and hashes the same bytes."""
    one, many = FS + "/l1/d", FS + "/l2/d"
    os.makedirs(one)
    sh("dd", "if=/dev/urandom", "of=%s/f" % one, "bs=1M", "count=1024")
    rnd = random.Random(2)
    for d in range(100):
        os.makedirs("%s/d%02d" % (many, d))
        for f in range(500):
            with open("%s/d%02d/f%03d" % (many, d, f), "wb") as out:
                out.write(rnd.randbytes(4096))
    wait_quiet()

    def layer(what, path):
        return lambda: float(sh(BIN + "/layer", what, path)) / 1e3
    (a, b), _ = interleave(max(5, RUNS // 3), layer("diff", one), lambda: trun("openssl", "dgst", "-sha256", one + "/f")[0])
    row("DiffID and table of 1 GiB / openssl dgst -sha256", a / b, 1.15, 1.05, "%.2f s / %.2f s" % (a, b))
    (a, b), _ = interleave(max(5, RUNS // 3), layer("diff", many), layer("read", many))
    row("the same of 50,000 files of 4 KiB / read and hash, 1 thread", a / b, 1.3, 0.8, "%s / %s" % (ms(a), ms(b)))
    shutil.rmtree(FS + "/l1")
    chown(many)
    shutil.rmtree(FS + "/l2")


def used():
    os.sync()
    s = os.statvfs(FS)
    return (s.f_blocks - s.f_bfree) * s.f_frsize


def chown(many):
    ctx = os.path.dirname(many)
    dockerfile(ctx, "FROM busybox\nCOPY d /d\nRUN chown -R 5:5 /d\n")
    data = int(sh("du", "-s", "--apparent-size", "-B1", many).split()[0])
    dockerfile(ctx + "/base", "FROM busybox\nCOPY d /d\n")
    sh(SHALE, "build", "-q", "-f", ctx + "/base/Dockerfile", ctx)
    time.sleep(2)
    before = used()
    t = trun(SHALE, "build", "-q", ctx)[0]
    time.sleep(2)
    row("disk of a chown -R over 50,000 files / the data", (used() - before) / data, 0.02, 0.01,
        "%.2f MB, build %.2f s" % ((used() - before) / 1e6, t))


def lock_wait():
    ctxs = []
    for i in range(64):
        ctx = "%s/lock%d" % (FS, i)
        dockerfile(ctx, "FROM busybox\nRUN echo %d >/a\nRUN true\n" % i)
        ctxs.append(ctx)
    longest = 0
    for _ in range(3):
        ps = [subprocess.Popen([SHALE, "build", "--no-cache", "-q", c], env=dict(ENV, SHALE_TRACE="db"),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for c in ctxs]
        for p in ps:
            text = p.communicate()[1]
            waits = [float(l.split()[-2]) for l in text.splitlines() if l.startswith("trace: longest wait")]
            if p.returncode or not waits:
                sys.exit("bench: a build of 64 failed: " + text)
            longest = max([longest] + waits)
    row("64 builds at once: longest wait for the write lock, ms", longest, 250, 50)


def many_builds():
    for i in range(16):
        dockerfile("%s/par%d" % (FS, i), "FROM busybox\nRUN echo %d >/a\nRUN cat /bin/busybox >/b\nRUN true\n" % i)
    builds = "%s build --no-cache -q -t par$i %s/par$i" % (SHALE, FS)
    # Five container starts with nothing but the kernel's work: how this machine scales at all.
    floors = "for k in 1 2 3 4 5; do %s -V %s %s/scratch$i /bin/true; done" % (FLOOR, floor_dir(), FS)
    (a, b, fa, fb), _ = interleave(max(7, RUNS // 3), lambda: at_once(16, builds), lambda: at_once(1, builds),
                                   lambda: at_once(16, floors), lambda: at_once(1, floors))
    if len(sh(SHALE, "images", "-q", "--filter", "reference=par*").split()) != 16:
        sys.exit("bench: a build of 16 failed")
    rate = (16 / a) / (2 / b)
    bare = (16 / fa) / (2 / fb)
    print("%-58s %6.2f  must %-5s aim %-5s %-6s %s" % (
        "16 builds at once: rate / (2 x that of one)", rate, ">=0.8", ">=0.95",
        "aim" if rate >= 0.95 else "must" if rate >= 0.8 else "MISSED",
        "%.0f builds a minute; 16 bare kernel starts at once: %.2f" % (960 / a, bare)), flush=True)


def version():
    (a, b), _ = interleave(RUNS * 3, lambda: trun(SHALE, "version")[0], lambda: trun("/bin/true")[0])
    row("shale version / /bin/true", a / b, 3, 2, "%s / %s" % (ms(a), ms(b)))


def memory():
    run = max(trun(SHALE, "run", "--rm", "--network", "none", "busybox", "true")[1] for _ in range(5))
    build = max(trun(SHALE, "build", "--no-cache", "-q", FS + "/ctx" if os.path.isdir(FS + "/ctx") else FS + "/many")[1]
                for _ in range(3))
    row("peak memory of run, MiB", run / 1024, 8, 5)
    row("peak memory of build, MiB", build / 1024, 24, 16)


def depth():
    path = FS + "/depth"
    os.makedirs(path)
    ours, bare = (float(x) / 1e6 for x in sh(BIN + "/depth", path, str(RUNS * 2)).split())
    row("mount of 500 layers / the same by bare system calls", ours / bare, 1.5, 1.1, "%s / %s" % (ms(ours), ms(bare)))


def removal():
    """rm and rmi with 50,000 files, without what any command costs. The files go after the prompt, or with the trash."""
    path = FS + "/rm"
    dockerfile(path, "FROM busybox\nRUN for i in $(seq 100); do mkdir /d$i; for k in $(seq 500); do : >/d$i/$k; done; done\n")
    sh(SHALE, "build", "-q", "-t", "many", path)
    took = {"rm": [], "rmi": [], "version": []}
    for _ in range(3):
        sh(SHALE, "run", "--name", "doomed", "--network", "none", "busybox", "sh", "-c",
           "for i in $(seq 100); do mkdir /d$i; for k in $(seq 500); do : >/d$i/$k; done; done")
        wait_quiet()
        for name, cmd in (("version", ("version",)), ("rm", ("rm", "doomed")), ("rmi", ("rmi", "many"))):
            took[name].append(trun(SHALE, *cmd)[0])
        sh(SHALE, "undo")
        time.sleep(3)  # the container's files are being deleted
    least = statistics.median(took["version"])
    for name in ("rm", "rmi"):
        t = (statistics.median(took[name]) - least) * 1e3
        row("%s with 50,000 files, minus shale version, ms" % name, t, 3, 1)


DIRTY = ("dirty_background_ratio", "dirty_ratio", "dirty_background_bytes", "dirty_bytes")


class Limits:
    """So much may be dirty that 4 GiB stay so: by default the kernel begins to write at a tenth of the memory."""
    def __enter__(self):
        self.old = {}
        for name in DIRTY:
            with open("/proc/sys/vm/" + name) as f:
                self.old[name] = f.read().strip()
        self.put("dirty_bytes", str(12 << 30))
        self.put("dirty_background_bytes", str(8 << 30))

    def __exit__(self, *_):
        for name, value in self.old.items():
            if value != "0":
                self.put(name, value)

    @staticmethod
    def put(name, value):
        with open("/proc/sys/vm/" + name, "w") as f:
            f.write(value)


def dirty_gib():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Dirty:")) / (1 << 20)


KEEPER = """
import sys, time
buf, at, size = bytes(1 << 20), 0, 4500 << 20
f = open(sys.argv[1], "wb", buffering=0)
def dirty():
    return next(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("Dirty:")) << 10
def put():
    global at
    f.seek(at)
    f.write(buf)
    at = (at + len(buf)) % size
for _ in range(size // len(buf)):
    put()
print("ready", flush=True)
while True:
    put()
    if dirty() > 4 << 30:
        time.sleep(0.005)
"""


def neighbour():
    """A small build while another program keeps 4 GiB of the file system dirty: it writes anew what the kernel has written."""
    path = FS + "/small"
    dockerfile(path, "FROM busybox\nRUN echo 1 >/a\nRUN echo 2 >/b\n")

    def build():
        return trun(SHALE, "build", "--no-cache", "-q", path)[0]
    wait_quiet()
    alone = statistics.median([build() for _ in range(31)])
    time.sleep(1)
    with Limits():
        keeper = subprocess.Popen([sys.executable, "-c", KEEPER, FS + "/dirt"], stdout=subprocess.PIPE)
        keeper.stdout.readline()
        seen, times = [], []
        for _ in range(61):
            times.append(build())
            seen.append(dirty_gib())
            time.sleep(0.02)
        keeper.kill()
        keeper.wait()
        subprocess.run(["sync"], check=True)
    os.unlink(FS + "/dirt")
    beside = statistics.median(times)
    row("a small build beside 4 GiB of dirty pages / alone", beside / alone, 2, 1.2,
        "%s / %s, 90 %% below %s, dirty %.1f GiB" % (ms(beside), ms(alone), ms(sorted(times)[54]), statistics.median(seen)))


def fill(path, files):
    """files of 1 kB, a hundred a directory, and the ten steps that copy them."""
    rnd = random.Random(2)
    for i in range(files):
        if i % 100 == 0:
            os.makedirs("%s/d%04d" % (path, i // 100))
        with open("%s/d%04d/f%02d" % (path, i // 100, i % 100), "wb") as out:
            out.write(rnd.randbytes(1000))
    dockerfile(path, "FROM busybox\nENV A=1\nWORKDIR /app\nCOPY d0000 /app/d0000\nRUN true\nCOPY . /app\nRUN true\nLABEL l=1\n"
                     "EXPOSE 80\nCMD true\n")


def rebuild():
    """A cached rebuild against git's look at the same tree, and twenty times the files."""
    few, many = FS + "/few", FS + "/manyfiles"
    fill(few, 5000)
    fill(many, 100000)
    for ctx in (few, many):
        sh(SHALE, "build", "-q", "--network", "none", ctx)
    for ctx in (few, many):
        sh("git", "init", "-q", ctx)
        sh("git", "-C", ctx, "add", ".")
        with open(ctx + "/.dockerignore", "w") as f:
            f.write(".git\n.dockerignore\n")
    time.sleep(0.1)
    for ctx in (few, many):
        sh(SHALE, "build", "-q", "--network", "none", ctx)
    n = max(5, RUNS // 3)

    def build(ctx):
        return trun(SHALE, "build", "-q", "--network", "none", ctx)[0]
    (a, b, c), _ = interleave(n, lambda: build(few), lambda: build(many),
                              lambda: trun("git", "-C", few, "update-index", "--refresh")[0])
    row("cached rebuild, 10 steps, 5,000 files / git update-index", a / c, 2, 1.2, "%s / %s" % (ms(a), ms(c)))
    row("cached rebuild of 100,000 files / of 5,000", b / a, 25, 20, "%s / %s" % (ms(b), ms(a)))
    shutil.rmtree(many)
    one_changed(few)
    ignored(few)
    shutil.rmtree(few)


def traced(calls, ctx):
    """The lines of these calls in a build of ctx."""
    out = FS + "/trace"
    sh("strace", "-f", "-qq", "-y", "-e", "trace=" + calls, "-o", out, SHALE, "build", "-q", "--network", "none", ctx)
    with open(out, errors="replace") as f:
        return f.readlines()


def one_changed(ctx):
    with open(ctx + "/d0007/f07", "a") as f:
        f.write("x")
    time.sleep(0.1)
    read = {line.split("<")[1].split(">")[0] for line in traced("read", ctx) if "<%s/d" % ctx in line}
    row("one changed file of 5,000: files read", len(read), 1, 1)


def ignored(ctx):
    for i in range(2000):
        os.makedirs("%s/ignored/d%04d" % (ctx, i))
        for k in range(100):
            open("%s/ignored/d%04d/f%02d" % (ctx, i, k), "w").close()
    with open(ctx + "/.dockerignore", "a") as f:
        f.write("ignored\n")
    seen = [line for line in traced("getdents64", ctx) if "<%s/ignored" % ctx in line]
    row("200,000 ignored files: directories visited below", len(seen), 0, 0)


def stages():
    """Four equal stages that compute, side by side and one after the other."""
    ctx = FS + "/stages"
    text = "".join("FROM busybox AS s%d\nRUN i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo %d >/r\n" % (i, i) for i in range(4))
    dockerfile(ctx, text + "FROM busybox\n" + "".join("COPY --from=s%d /r /r%d\n" % (i, i) for i in range(4)))

    def build(*flags):
        return trun(SHALE, "build", "-q", "--no-cache", "--network", "none", *flags, ctx)[0]
    (a, b), _ = interleave(max(5, RUNS // 5), lambda: build("--jobs", "2"), lambda: build("--jobs", "1"))
    row("four equal stages on 2 cores / one after the other", a / b, 0.6, 0.52, "%s / %s" % (ms(a), ms(b)))


def main():
    rows = wanted(run_true, run_step, cached, big_step, layer_digest, many_builds, lock_wait, depth, removal, neighbour, rebuild, stages,
                  version, memory)
    if rows:
        sh(SHALE, "import", BASE, "busybox")
    for f in rows:
        f()
    time.sleep(1)


main()
