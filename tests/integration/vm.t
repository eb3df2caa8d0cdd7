# SPDX-License-Identifier: Apache-2.0
# Debian 12's kernel (6.1) with cgroup v2 alone: snapshots by mount(2), the sandbox, a build, a container's life, limits.
. "$(dirname "$0")/lib.sh"
. "$top/tests/crash/vm.sh"
make -s -C "$top" build/release/tests/unit-snap build/release/tests/unit-sandbox build/release/tests/unit-container
tests=$top/build/release/tests
base
if ! why=$(vm_prepare "$SHALE" "$(dirname "$SHALE")/shale-build" "$tests/unit-snap" "$tests/unit-sandbox" "$tests/unit-container"); then
	skip "the machine cannot be made: $why"
	done_testing
	exit
fi
vm_disk "$T/disk" 1G
vm_words >"$T/guest"
cat >>"$T/guest" <<'EOF'
mkdir -p /disk/tmp /c
mount -o bind /disk/tmp /tmp
mount -o bind /disk/tmp /var/tmp
is "kernel" 6.1 "$(uname -r | cut -d. -f1,2)"
is "cgroup v2 alone" cgroup2 "$(stat -f -c %T /sys/fs/cgroup | sed 's/.*cgroup2.*\|UNKNOWN/cgroup2/')"
try "snapshots" unit-snap
try "sandbox" unit-sandbox
try "containers" unit-container
try "import" shale import /base.tar busybox
try "info" shale info
is "the older way to mount is used" 1 "$(grep -c 'by mount(2)' /tmp/out)"
printf 'FROM busybox\nCOPY f /f\nRUN cat /f >/g && mkdir /d && mv /d /e && chown 5 /f\nRUN true\n' >/c/Dockerfile
echo content >/c/f
try "build" shale build --network none -t app /c
is "a layer is what the step made" content "$(shale run --rm --network none app cat /g)"
try "200 layers" sh -c '(echo FROM busybox; for i in $(seq 200); do echo "COPY f /n$i"; done) >/c/D2; shale build --network none -f /c/D2 -t deep /c'
is "run" 200 "$(shale run --rm --network none deep ls / | grep -c '^n[0-9]')"
try "run -d" shale run -d --name keep --network none --memory 64m --pids-limit 20 app sh -c 'echo kept >/kept; sleep 1000'
await shale exec keep test -s /kept
group=$(find /sys/fs/cgroup -name memory.max -path '*shale*' | xargs grep -l 67108864 | head -n 1)
is "its memory limit is in force" 67108864 "$(cat "$group" 2>/dev/null)"
is "its pids limit as well" 20 "$(cat "${group%memory.max}pids.max" 2>/dev/null)"
is "ps" keep "$(shale ps --format '{{.Names}}')"
is "exec" kept "$(shale exec keep cat /kept)"
try "stop" shale stop -t 1 keep
is "its process is gone" "" "$(ps | grep "[s]leep 1000")"
try "start" shale start keep
is "what it wrote is there" kept "$(shale exec keep cat /kept)"
is "diff" "A /kept" "$(shale diff keep)"
try "rm -f" shale rm -f keep
is "no cgroup of it is left" "" "$(find /sys/fs/cgroup -path '*shale*' -type d -name '*[0-9a-f][0-9a-f][0-9a-f][0-9a-f]*')"
disk=$(awk '$4 ~ /^vd.$/ { print "/dev/" $4; exit }' /proc/partitions)
no=$(awk '$4 ~ /^vd.$/ { print $1 ":" $2; exit }' /proc/partitions)
try "limits of a disk, and another parent" shale run -d --name io --network none --cgroup-parent ci-jobs.slice --device-read-bps "$disk:2mb" --device-write-iops "$disk:70" app sleep 1000
io=$(find /sys/fs/cgroup/ci.slice/ci-jobs.slice -path '*jobs.slice/*/io.max')
is "are in io.max" "$no rbps=2097152 wbps=max riops=max wiops=70" "$(cat "$io")"
try "update" shale update --device-read-bps "$disk:0" io
is "changes one" "$no rbps=max wbps=max riops=max wiops=70" "$(cat "$io")"
try "rm -f" shale rm -f io
is "the parent stays" 0 "$(test -d /sys/fs/cgroup/ci.slice/ci-jobs.slice; echo $?)"
is "device rules" "read not written" "$(shale run --rm --network none --device-cgroup-rule 'c 10:237 r' app sh -c 'mknod /k c 10 237; (: </k) && echo read; (: >>/k) 2>/dev/null || echo not written' | tr '\n' ' ' | sed 's/ $//')"
shale run --rm --network none --memory-swappiness 10 app true 2>/tmp/out
is "swappiness is v1's" 1 "$(grep -c 'cgroup v2, which has no such thing' /tmp/out)"
try "verify" shale verify
is "nothing is mounted" "" "$(grep overlay /proc/mounts)"
EOF
vm_guest "$T/guest" "$top/build/base.tar" base.tar
rc=0
vm_boot "$T/disk" 400 "$T/log" || rc=$?
is "the machine came to its end" 0 "$rc"
vm_answers "6.1"
done_testing
