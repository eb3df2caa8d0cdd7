# SPDX-License-Identifier: Apache-2.0
"""Containers and the OCI runtime against podman, docker and crun. Runs in mount and network namespaces of its own.  BENCH_RUNS=20"""
import glob
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import time

from common import BASE, ENV, FS, POD, SHALE, SOCK, ms, row, sh, start_docker, stop_children, trun, wanted

RUNS = int(os.environ.get("BENCH_RUNS", "20"))
DOCKER = ["docker", "-H", "unix://" + SOCK]
RUNTIME = os.path.dirname(SHALE) + "/shale-runtime"
NONE = ("--network", "none")


def interleave(*commands, runs=RUNS):
    """Medians in seconds; the first round warms up."""
    times = [[] for _ in commands]
    for i in range(runs + 1):
        for t, command in zip(times, commands):
            took = trun(*command)[0]
            if i:
                t.append(took)
    return [statistics.median(t) for t in times]


def run_peers():
    sh(*POD, "import", BASE, "busybox")
    sh(*DOCKER, "import", BASE, "busybox")
    a, b, c = interleave((SHALE, "run", "--rm", *NONE, "busybox", "true"),
                         (*POD, "run", "--rm", "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000", *NONE, "localhost/busybox", "true"),
                         (*DOCKER, "run", "--rm", *NONE, "busybox", "true"))
    row("run --rm --network none / podman run", a / b, 1 / 10, 1 / 25, "%s / %s" % (ms(a), ms(b)))
    row("run --rm --network none / docker run", a / c, 1 / 20, 1 / 40, "%s / %s" % (ms(a), ms(c)))


def bundle():
    """What docker hands to its runtime, with its seccomp profile, but for a rootfs of our own and nothing of docker's state."""
    sh(*DOCKER, "import", BASE, "bundle")
    made = sh(*DOCKER, "run", "-d", *NONE, "bundle", "sleep", "1000").decode().strip()
    with open(glob.glob("/run/docker-exec/containerd/daemon/io.containerd.runtime.v2.task/moby/%s/config.json" % made)[0]) as f:
        config = json.load(f)
    sh(*DOCKER, "rm", "-f", made)
    path = FS + "/bundle"
    os.makedirs(path + "/rootfs")
    sh("tar", "-xf", BASE, "-C", path + "/rootfs")
    config["root"]["path"] = "rootfs"
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "bind"]
    config.pop("hooks", None)
    return path, config


def write_bundle(path, config, args):
    config["process"]["args"] = list(args)
    with open(path + "/config.json", "w") as f:
        json.dump(config, f)


def runtime():
    path, config = bundle()
    tools = {"shale": (RUNTIME, "--root", "/run/bench-shale"), "crun": ("crun", "--root", "/run/bench-crun")}
    for name in tools:
        os.makedirs("%s-%s" % (path, name))
        os.symlink(path + "/rootfs", "%s-%s/rootfs" % (path, name))
    bundles = {name: "%s-%s" % (path, name) for name in tools}

    def write(args):
        for name, p in bundles.items():
            config["linux"]["cgroupsPath"] = "/bench-%d-%s" % (os.getpid(), name)
            write_bundle(p, config, args)
    write(["/bin/true"])
    a, b = interleave(*((*tool, "run", "--bundle", bundles[name], "bench-" + name) for name, tool in tools.items()))
    row("shale-runtime run / crun run, Docker's seccomp profile", a / b, 0.9, 0.6, "%s / %s" % (ms(a), ms(b)))
    write(["/bin/sleep", "1000"])
    for name, tool in tools.items():
        # Its output is the container's.
        subprocess.run([*tool, "run", "--detach", "--bundle", bundles[name], "bench-" + name], env=ENV, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        a, b = interleave(*((*tool, "exec", "bench-" + name, "/bin/true") for name, tool in tools.items()))
    finally:
        for name, tool in tools.items():
            sh(*tool, "delete", "--force", "bench-" + name)
    row("shale-runtime exec / crun exec", a / b, 0.8, 0.5, "%s / %s" % (ms(a), ms(b)))


def ps():
    for i in range(300):
        sh(SHALE, "create", "--name", "stopped%d" % i, *NONE, "busybox", "true")
    a, b, c = interleave((SHALE, "ps", "-a"), (SHALE, "version"), (SHALE, "ps"), runs=3 * RUNS)
    row("ps -a with 300 stopped containers / shale version", a / b, 3, 2, "%s / %s, ps %s" % (ms(a), ms(b), ms(c)))
    sh(SHALE, "rm", *("stopped%d" % i for i in range(300)))


def stop():
    """From the end of a process that obeys SIGTERM to the prompt."""
    times = []
    for _ in range(RUNS):
        sh(SHALE, "run", "-d", "--name", "obeys", *NONE, "busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.01; done")
        pid = int(sh(SHALE, "inspect", "--format", "{{.State.Pid}}", "obeys"))
        fd = os.pidfd_open(pid)
        time.sleep(0.05)  # until the trap is set
        command = subprocess.Popen([SHALE, "stop", "obeys"], env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        select.select([fd], [], [])
        ended = time.monotonic()
        command.wait()
        times.append((time.monotonic() - ended) * 1e3)
        os.close(fd)
        sh(SHALE, "rm", "obeys")
    row("stop: from the process' end to the prompt, ms", statistics.median(times), 5, 2, "worst %.1f ms" % max(times))


def private_kib(pid):
    with open("/proc/%s/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Private_"))


def monitors():
    """Those of this store: what runs as shale with a container's process beneath it."""
    found = []
    for p in glob.glob("/proc/[0-9]*"):
        try:
            if os.readlink(p + "/exe") == SHALE and FS.encode() in open(p + "/environ", "rb").read() + open(p + "/cmdline", "rb").read():
                found.append(p.split("/")[2])
        except OSError:
            pass  # it has ended
    return found


def crowd():
    started = time.monotonic()
    made = [subprocess.Popen([SHALE, "run", "-d", "--name", "crowd%d" % i, *NONE, "busybox", "sleep", "1000"], env=ENV,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for i in range(200)]
    failed = sum(p.wait() != 0 for p in made)
    took = time.monotonic() - started
    up = len(sh(SHALE, "ps", "-q").split())
    time.sleep(1)
    sizes = sorted(private_kib(p) for p in monitors())
    sh(SHALE, "rm", "-f", *("crowd%d" % i for i in range(200)))
    if failed or up != 200 or len(sizes) != 200:
        sys.exit("bench: of 200 containers %d failed, %d are up, %d have a monitor" % (failed, up, len(sizes)))
    row("private memory of a monitor, of 200 containers, KiB", statistics.median(sizes), 1024, 400,
        "most %d KiB; all up after %.1f s" % (sizes[-1], took))


def drop_v2_controllers():
    """Where the controllers are those of cgroup v1, crun runs only if cgroup v2 has none left."""
    path = "/sys/fs/cgroup/unified/cgroup.controllers"
    if os.path.exists(path):
        with open(path) as f:
            for name in f.read().split():
                with open("/sys/fs/cgroup/unified/cgroup.subtree_control", "w") as to:
                    to.write("-" + name)
                os.makedirs("/run/cgroup/" + name)
                sh("mount", "-t", "cgroup", "-o", name, "cgroup", "/run/cgroup/" + name)


def main():
    rows = wanted(run_peers, runtime, ps, stop, crowd)
    if not rows:
        return
    shutil.rmtree(ENV["SHALE_ROOT"], ignore_errors=True)
    sh(SHALE, "import", BASE, "busybox")
    if run_peers in rows or runtime in rows:
        drop_v2_controllers()
        start_docker()
    for f in rows:
        f()


try:
    main()
finally:
    stop_children()
