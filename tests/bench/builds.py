# SPDX-License-Identifier: Apache-2.0
"""Builds against docker's, podman's and buildah's, which live in the chroot PEERS_ROOT. All in turn in one run, all stores on one file system.
   Rows as bench.py has them, then a table of the medians. Of the file system it takes 8 GB.
   builds.py SHALE BIN BASE FS [ROW...]     BENCH_RUNS=30 PEERS="docker podman buildah" PEERS_ROOT=/srv/peers, made once by
      debootstrap --variant=minbase forky /srv/peers
      chroot /srv/peers apt-get install --no-install-recommends docker.io docker-cli docker-buildx containerd podman buildah crun netavark"""
import math
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

SHALE, BIN, BASE, FS = sys.argv[1:5]
ONLY = sys.argv[5:]
ROOT = os.environ["PEERS_ROOT"]
RUNS = max(5, int(os.environ.get("BENCH_RUNS", "30")) // 3)
FEW = 3  # runs of what takes many seconds
ENV = {"PATH": os.environ["PATH"], "SHALE_ROOT": FS + "/builds-store", "HOME": "/root"}
TABLE = []
STARTED = []

# The peers' root is the root of a mount namespace, so that they may pivot_root; the file system measured is its /bench. Last: crun
# refuses cgroup v1 beside a v2 with controllers.
HOLDER = """set -e
mount --bind "$1" "$1"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
mkdir -p "$1/bench" "$1/mnt/old" "$1/etc/containers"
mount --bind "$2" "$1/bench"
cd "$1"
pivot_root . mnt/old
exec chroot . sh -c 'mount -t proc proc /proc; umount -l /mnt/old; umount /sys/fs/cgroup/unified 2>/dev/null; mount --make-rshared /
mount -t tmpfs tmpfs /etc/containers; cp /bench/peers/conf/* /etc/containers/; touch /run/ready; exec sleep infinity'
"""
CONF = {
    "storage.conf": '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "/bench/peers/containers"\n',
    "containers.conf": '[containers]\ndefault_ulimits = ["nofile=1024:20000", "nproc=10000:10000"]\n',
    "policy.json": '{"default":[{"type":"insecureAcceptAnything"}]}\n',
    "registries.conf": "",
}
DOCKERD = ["dockerd", "--data-root", "/bench/peers/docker", "--exec-root", "/run/docker-exec", "--pidfile", "/run/dockerd.pid", "--bridge", "none",
           "--iptables=false", "--ip6tables=false", "--storage-driver", "overlay2"]


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def sh(*cmd, check=True):
    return subprocess.run(cmd, env=ENV, check=check, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def inside(*cmd):
    return ["nsenter", "-t", str(STARTED[0].pid), "-m", "--", "/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root", "PODMAN_IGNORE_CGROUPSV1_WARNING=1", *cmd]


class Tool:
    """How a tool is called: where, by what command, and what it adds to docker's."""

    def __init__(self, name, *flags):
        self.name, self.flags, self.peer = name, flags, name != "shale"

    def command(self, ctx, tag, flags=()):
        ctx = ("/bench/" if self.peer else FS + "/") + ctx
        return [self.name if self.peer else SHALE, "build", *self.flags, "--network", "none", *flags, "-t", tag, ctx]

    def wrap(self, cmd):
        return inside(*cmd) if self.peer else cmd

    def trun(self, cmd):
        """Seconds of the command alone: what enters the namespace is not measured."""
        dir = "/bench" if self.peer else FS
        trun = (dir if self.peer else BIN) + "/trun"
        out = sh(*self.wrap([trun, "-o", dir + "/out", "-e", dir + "/err", *cmd])).stdout.split()
        if out[4] != "0":
            with open(FS + "/err") as f:
                sys.exit("bench: %s: exit %s\n%s" % (" ".join(cmd), out[4], f.read()[-2000:]))
        return float(out[0]) / 1e3

    def build(self, ctx, *flags):
        return self.trun(self.command(ctx, "t-" + self.name, flags))


ASKED = os.environ.get("PEERS", "docker podman buildah").split()
TOOLS = [t for t in (Tool("docker"), Tool("podman", "--layers"), Tool("buildah", "--layers"), Tool("shale")) if t.name in ASKED + ["shale"]]


def start():
    for name, text in CONF.items():
        write(FS + "/peers/conf/" + name, text)
    shutil.copy(BIN + "/trun", FS + "/trun")
    shutil.copy(BASE, FS + "/base.tar")
    STARTED.append(subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", HOLDER, "holder", ROOT, FS], stdin=subprocess.DEVNULL))
    for _ in range(100):
        if sh(*inside("test", "-e", "/run/ready"), check=False).returncode == 0:
            break
        time.sleep(0.1)
    with open(FS + "/dockerd.log", "w") as log:
        STARTED.append(subprocess.Popen(inside(*DOCKERD), stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    for _ in range(300):
        if sh(*inside("docker", "version"), check=False).returncode == 0:
            break
        time.sleep(0.1)
    sh(*inside("docker", "import", "/bench/base.tar", "busybox:bench"))
    sh(*inside("podman", "import", "/bench/base.tar", "busybox:bench"))
    sh(SHALE, "import", BASE, "busybox:bench")


def stop():
    for p in reversed(STARTED):
        p.terminate()
        p.wait()


def quiet():
    """What the command before has left to do is done, as far as that can be seen."""
    os.sync()
    time.sleep(0.3)
    os.sync()


def measure(name, works):
    """works: {tool: work} -> medians in seconds. In turn; the slow ones a few times only. The first of each warms up."""
    times = {t: [] for t in works}
    for i in range(RUNS + 1):
        for t, work in works.items():
            if i > FEW and t.name in ("podman", "buildah"):
                continue
            quiet()
            took = work(t)
            if i:
                times[t].append(took)
    TABLE.append((name, {t.name: v for t, v in times.items()}))
    return {t.name: statistics.median(v) for t, v in times.items()}


def ms(x):
    return "%.1f ms" % (x * 1e3)


def row(name, ratio, must, aim, note="", more=False):
    """more: the greater the better."""
    def good(bar):
        return ratio >= bar if more else ratio <= bar
    sign = ">=" if more else ""
    ok = "aim" if good(aim) else "must" if good(must) else "MISSED"
    print("%-62s %8.4f  must %s%-7.4g aim %s%-7.4g %-6s %s" % (name, ratio, sign, must, sign, aim, ok, note), flush=True)


def against_docker(name, got, must, aim):
    row(name + " / docker's", got["shale"] / got["docker"], must, aim, "%s / %s" % (ms(got["shale"]), ms(got["docker"])))


def dockerfile(path, runs, copy):
    write(path, "FROM busybox:bench\nENV A=1\nWORKDIR /app\n%s" % copy + "".join("RUN echo x >/f%d\n" % i for i in range(runs)) + 'CMD ["true"]\n')


def rebuilds():
    """Ten steps with 5,000 files of 10 KiB: all of it cached; one file changed; nothing cached."""
    rnd = random.Random(1)
    ctx = FS + "/ctx"
    for i in range(5000):
        os.makedirs("%s/src/d%02d" % (ctx, i // 100), exist_ok=True)
        with open("%s/src/d%02d/f%d" % (ctx, i // 100, i), "wb") as out:
            out.write(rnd.randbytes(10240))
    dockerfile(ctx + "/Dockerfile", 5, "COPY src /app/src\n")
    time.sleep(0.1)
    for t in TOOLS:
        t.build("ctx")
    got = measure("rebuild of 10 steps with 5,000 files, all cached", dict.fromkeys(TOOLS, lambda t: t.build("ctx")))
    against_docker("cached rebuild, 10 steps, 5,000 files", got, 1 / 20, 1 / 60)

    def changed(t):
        with open(ctx + "/src/d07/f707", "a") as f:
            f.write("%d\n" % time.time_ns())
        time.sleep(0.05)
        return t.build("ctx")
    got = measure("the same, one of the files changed", dict.fromkeys(TOOLS, changed))
    against_docker("one changed file: COPY and five RUNs", got, 1 / 10, 1 / 30)
    got = measure("the same, nothing cached", dict.fromkeys(TOOLS, lambda t: t.build("ctx", "--no-cache")))
    against_docker("cold build, COPY and five RUNs", got, 1 / 5, 1 / 10)


def each_run():
    """What one more RUN costs."""
    few, many = FS + "/run5", FS + "/run45"
    dockerfile(few + "/Dockerfile", 5, "")
    dockerfile(many + "/Dockerfile", 45, "")
    a = measure("5 RUNs, nothing cached", dict.fromkeys(TOOLS, lambda t: t.build("run5", "--no-cache")))
    b = measure("45 RUNs, nothing cached", dict.fromkeys(TOOLS, lambda t: t.build("run45", "--no-cache")))
    against_docker("each further RUN", {t: (b[t] - a[t]) / 40 for t in a}, 1 / 10, 1 / 15)


def stages():
    text = "".join("FROM busybox:bench AS s%d\nRUN i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo %d >/r\n" % (i, i) for i in range(4))
    write(FS + "/stages/Dockerfile", text + "FROM busybox:bench\n" + "".join("COPY --from=s%d /r /r%d\n" % (i, i) for i in range(4)))
    measure("four stages that compute", dict.fromkeys(TOOLS, lambda t: t.build("stages", "--no-cache")))


def together(tool, n):
    """n builds at once: the seconds of each, and of all."""
    for k in range(n):
        ctx = "%s/par-%s/%d" % (FS, tool.name, k)
        shutil.rmtree(ctx, ignore_errors=True)
        for f in range(50):
            write("%s/f%d" % (ctx, f), "%d %d %f\n" % (k, f, time.time()))
        dockerfile(ctx + "/Dockerfile", 5, "COPY . /src\n")
    quiet()
    trun = "/bench/trun" if tool.peer else BIN + "/trun"
    cmds = [tool.wrap([trun, *tool.command("par-%s/%d" % (tool.name, k), "par%d" % k, ("--no-cache",))]) for k in range(n)]
    start = time.monotonic()
    ps = [subprocess.Popen(c, env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) for c in cmds]
    outs = [p.communicate()[0].split() for p in ps]
    took = time.monotonic() - start
    if any(o[4] != "0" for o in outs):
        sys.exit("bench: a build of %d at once failed: %s" % (n, tool.name))
    return [float(o[0]) / 1e3 for o in outs], took


def at_once():
    """Builds of a COPY of 50 files and five RUNs. Rounds enough for 16 builds, at least two."""
    for n in (1, 4, 16, 64):
        each = {t.name: [] for t in TOOLS}
        wall = dict.fromkeys(each, 0.0)
        for _ in range(max(2, 16 // n)):
            for t in TOOLS:
                if n > 16 and t.name in ("podman", "buildah"):
                    continue
                took, all_of_them = together(t, n)
                each[t.name] += took
                wall[t.name] += all_of_them
        rate = {t: 60 * len(v) / wall[t] for t, v in each.items() if v}
        last = {t: sorted(v)[math.ceil(0.99 * len(v)) - 1] for t, v in each.items() if v}
        TABLE.append(("%d at once, builds a minute" % n, rate))
        TABLE.append(("%d at once, p99" % n, {t: [v] for t, v in last.items()}))
        row("%d builds at once: builds a minute / docker's" % n, rate["shale"] / rate["docker"], 3, 10,
            "%.0f / %.0f" % (rate["shale"], rate["docker"]), more=True)
        row("%d builds at once: docker's p99 / ours" % n, last["docker"] / last["shale"], 3, 10,
            "%s / %s" % (ms(last["docker"]), ms(last["shale"])), more=True)


def cell(v):
    if v is None:
        return "–"
    if isinstance(v, list):
        return "%.0f ms (%.0f..%.0f)" % tuple(x * 1e3 for x in (statistics.median(v), min(v), max(v)))
    return "%.0f" % v


def table():
    print("\n| medians (least..most) | %s |\n|%s" % (" | ".join(t.name for t in TOOLS), " --- |" * (len(TOOLS) + 1)))
    for name, got in TABLE:
        print("| %s | %s |" % (name, " | ".join(cell(got.get(t.name)) for t in TOOLS)))


def main():
    rows = [f for f in (rebuilds, each_run, stages, at_once) if not ONLY or f.__name__ in ONLY]
    if not rows:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        start()
        for f in rows:
            f()
        table()
    finally:
        stop()
        time.sleep(1)


main()
