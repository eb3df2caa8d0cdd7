# SPDX-License-Identifier: Apache-2.0
# Who calls an OCI runtime, with shale's: podman and conmon, containerd's shim by ctr, dockerd.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/runtime.sh"
mkdir "$T/run"
tar -C "$B/rootfs" -cf "$T/rootfs.tar" .
pids=
stop_all() {
	runtime_clean
	for p in $pids; do kill "$p" 2>/dev/null || true; done
	for p in $pids; do wait "$p" 2>/dev/null || true; done
	awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l 2>/dev/null || true
}
undo=stop_all

# --- podman and conmon
if command -v podman >/dev/null && command -v conmon >/dev/null; then
	pm() { podman --root "$T/pm" --runroot "$T/run/pm" --cgroup-manager cgroupfs --events-backend file --runtime "$RUNTIME" --runtime-flag "root=$T/rtp" "$@"; }
	# A limit above ours needs CAP_SYS_RESOURCE, which the machines of the tests may not have.
	pr() {
		v=$1
		shift
		pm "$v" --ulimit nofile=1000:1000 --ulimit nproc=1000:1000 --network none "$@"
	}
	ok "podman import" pm import -q "$T/rootfs.tar" bb
	ok "podman run" pr run --rm bb id -u
	is "podman run: its output" 0 "$(cat "$T/out")"
	code 9 "podman run: the exit code" pr run --rm bb sh -c 'exit 9'
	code 127 "podman run: no such program" pr run --rm bb nosuch
	code 126 "podman run: a program that is none" pr run --rm bb /etc
	is "podman run -i" hello "$(echo hello | pr run -i --rm bb cat)"
	is "podman run -t" tty "$(script -qec "podman --root $T/pm --runroot $T/run/pm --cgroup-manager cgroupfs --events-backend file --runtime $RUNTIME --runtime-flag root=$T/rtp run --rm -t --ulimit nofile=9:9 --ulimit nproc=999:999 --network none bb sh -c 'test -t 0 && echo tty'" /dev/null </dev/null | tr -d '\r')"
	ok "podman run -d" pr run -d --name c1 -v "$T:/host:ro" bb sh -c 'echo logged; exec sleep 93'
	ok "podman exec" pm exec c1 ls /host/rootfs.tar
	code 3 "podman exec: the exit code" pm exec c1 sh -c 'exit 3'
	ok "podman exec -u -w" pm exec -u 5:6 -w /tmp c1 sh -c 'test "$(id -u):$(id -g) $PWD" = "5:6 /tmp"'
	code 127 "podman exec: no such program" pm exec c1 nosuch
	ok "podman logs" pm logs c1
	has "podman logs: what it wrote" logged
	ok "podman pause" pm pause c1
	is "podman: it is paused" paused "$(pm inspect -f '{{.State.Status}}' c1)"
	ok "podman unpause" pm unpause c1
	ok "podman top" pm top c1
	ok "podman kill" pm kill c1
	is "podman wait" 137 "$(pm wait c1)"
	ok "podman rm" pm rm c1
	ok "podman create, init, start" sh -ec "id=\$($(printf 'podman --root %s --runroot %s --cgroup-manager cgroupfs --events-backend file --runtime %s --runtime-flag root=%s' "$T/pm" "$T/run/pm" "$RUNTIME" "$T/rtp") create --ulimit nofile=99:99 --ulimit nproc=999:999 --network none bb true)
podman --root $T/pm --runroot $T/run/pm --cgroup-manager cgroupfs --events-backend file --runtime $RUNTIME --runtime-flag root=$T/rtp start -a \$id
podman --root $T/pm --runroot $T/run/pm --cgroup-manager cgroupfs --events-backend file --runtime $RUNTIME --runtime-flag root=$T/rtp rm \$id"
	ok "podman run --uidmap" pr run --rm --uidmap 0:100000:65536 bb sh -c 'grep -q "100000  *65536" /proc/self/uid_map'
	ok "podman run --read-only --tmpfs --privileged" pr run --rm --read-only --tmpfs /dir --privileged bb sh -c 'touch /dir/x'
	ok "podman run --memory --pids-limit" pr run --rm --memory 64m --pids-limit 33 bb true
	ok "podman run: seccomp, capabilities" pr run --rm --cap-drop all --security-opt no-new-privileges bb sh -c 'grep -q "Seccomp:.2" /proc/self/status && grep -q "CapEff:.0000000000000000" /proc/self/status'
	pm rm -af >/dev/null 2>&1 || true
else
	skip "podman or conmon is not installed"
fi

# --- containerd's shim
if command -v containerd >/dev/null && command -v ctr >/dev/null; then
	cat >"$T/containerd.toml" <<-EOF2
		version = 2
		root = "$T/cd"
		state = "$T/run/cd"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		  address = "$T/run/cd.sock"
	EOF2
	containerd -c "$T/containerd.toml" >"$T/cd.log" 2>&1 &
	cd_pid=$!
	pids="$pids $cd_pid"
	ct() { timeout 60 ctr -a "$T/run/cd.sock" "$@"; }
	cr() { ct run --runc-binary "$RUNTIME" --rootfs "$@"; }
	try "containerd answers" ct version
	ok "ctr run" cr --rm "$B/rootfs" k1 id
	has "ctr run: its output" "uid=0"
	code 5 "ctr run: the exit code" cr --rm "$B/rootfs" k1 sh -c 'exit 5'
	code 1 "ctr run: no such program" cr --rm "$B/rootfs" k1 nosuch
	has "ctr run: told" "executable file not found"
	ok "ctr run -d, with seccomp" cr -d --seccomp "$B/rootfs" k2 sleep 92
	code 4 "ctr tasks exec" ct tasks exec --exec-id e1 k2 sh -c 'exit 4'
	ok "ctr tasks pause" ct tasks pause k2
	ok "ctr tasks ls" ct tasks ls
	has "ctr: it is paused" PAUSED
	ok "ctr tasks resume" ct tasks resume k2
	ok "ctr tasks ps" ct tasks ps k2
	ok "ctr tasks metrics" ct tasks metrics k2
	ok "ctr tasks kill" ct tasks kill -s 9 k2
	try "ctr: it stops" sh -c "ctr -a $T/run/cd.sock tasks ls | grep -q STOPPED"
	ct tasks rm k2 >/dev/null 2>&1 || true
	ok "ctr containers rm" ct containers rm k2
	kill "$cd_pid"
	wait "$cd_pid" 2>/dev/null || true
else
	skip "containerd is not installed"
fi

# --- dockerd
if command -v dockerd >/dev/null && command -v docker >/dev/null; then
	dockerd --add-runtime shale="$RUNTIME" --default-runtime shale --data-root "$T/dk" --exec-root "$T/run/dk" -p "$T/dk.pid" -H "unix://$T/run/dk.sock" \
		--iptables=false --ip6tables=false --bridge=none --exec-opt native.cgroupdriver=cgroupfs >"$T/dk.log" 2>&1 &
	dk_pid=$!
	pids="$pids $dk_pid"
	dk() { timeout 60 docker -H "unix://$T/run/dk.sock" "$@"; }
	try "dockerd answers" dk version
	ok "docker import" sh -c "docker -H unix://$T/run/dk.sock import - bb <$T/rootfs.tar"
	ok "docker run" dk run --rm --network none bb id
	has "docker run: its output" "uid=0"
	code 6 "docker run: the exit code" dk run --rm --network none bb sh -c 'exit 6'
	code 127 "docker run: no such program" dk run --rm --network none bb nosuch
	code 126 "docker run: a program that is none" dk run --rm --network none bb /etc
	ok "docker run -d" dk run -d --name cc --network none bb sh -c 'echo logged; exec sleep 91'
	code 3 "docker exec" dk exec cc sh -c 'exit 3'
	ok "docker exec -t" dk exec -t cc sh -c 'test -t 1'
	ok "docker logs" dk logs cc
	has "docker logs: what it wrote" logged
	ok "docker pause" dk pause cc
	ok "docker unpause" dk unpause cc
	ok "docker update" dk update --pids-limit 20 cc
	ok "docker top" dk top cc
	ok "docker stop" dk stop -t 0 cc
	is "docker: its exit code" 137 "$(dk inspect -f '{{.State.ExitCode}}' cc)"
	ok "docker rm" dk rm cc
	ok "docker run --init --tmpfs --read-only --memory" dk run --rm --network none --init --tmpfs /dir --read-only --memory 64m bb touch /dir/x
	kill "$dk_pid"
	wait "$dk_pid" 2>/dev/null || true
else
	skip "dockerd is not installed"
fi
stop_all
pids=
no_leaks
done_testing
