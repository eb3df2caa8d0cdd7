# SPDX-License-Identifier: Apache-2.0
# The OCI runtime, Debian 12's kernel and systemd as pid 1: with cgroup v2 alone every verb and limit by the file system and by scopes,
# with v1 by scopes (the rest is in runtime.t, on a host that has it).
# SHALE_TEST_LONG=1: and podman with --cgroup-manager systemd.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/runtime.sh"
. "$top/tests/crash/vm.sh"
podman=
[ -z "${SHALE_TEST_LONG:-}" ] || ! command -v conmon >/dev/null || podman=$(command -v podman || true)
# shellcheck disable=SC2046
if ! { why=$(vm_systemd) && vm_systemd && why=$(vm_prepare "$SHALE" "$(dirname "$SHALE")/shale-scope" ${podman:+$podman $(command -v conmon)}); }; then
	skip "the machine cannot be made: $why"
	done_testing
	exit
fi
vm_disk "$T/disk" 256M
mkdir "$T/conf"
# conf NAME SCRIPT LINE…: a config for the guest
conf() {
	name=$1
	shift
	sh_cfg "$@"
	cp "$B/config.json" "$T/conf/$name.json"
}
for a in mkdir rmdir stat dd mknod; do ln -sf busybox "$B/rootfs/bin/$a"; done
conf plain 'sleep 1000'
limits="l['resources'].update({'memory': {'limit': 67108864, 'reservation': 33554432, 'swap': 100663296}, 'cpu': {'shares': 512, 'quota': 25000, 'period': 50000, 'cpus': '0-1', 'mems': '0'}, 'pids': {'limit': 44},
'hugepageLimits': [{'pageSize': '2MB', 'limit': 4194304}], 'unified': {'memory.high': '60000000'}})"
conf limits 'sleep 1000' "$limits" "c['annotations'] = {'org.systemd.property.TimeoutStopUSec': 'uint64 5000000', 'org.systemd.property.CollectMode': \"'inactive-or-failed'\"}"
conf slice 'sleep 1000' "$limits" "c['annotations'] = {'org.systemd.property.TimeoutStopUSec': 'uint64 100000'}" "l['cgroupsPath'] = 'a-b.slice:pre:name'"
conf path 'sleep 1000' "l['cgroupsPath'] = '/p/q'"
conf devices 'mknod /dev/k c 1 11 && echo made; head -c 1 /dev/k 2>/dev/null || echo denied; echo x >/dev/null && echo null; mknod /dev/z c 1 5; head -c 1 /dev/z | wc -c; head -c 1 /dev/rt 2>&1 | grep -c "not permitted"' \
	"l['resources']['devices'] = [{'allow': False, 'access': 'rwm'}, {'allow': True, 'type': 'c', 'major': 10, 'access': 'w'}]; l['devices'] = [{'path': '/dev/rt', 'type': 'c', 'major': 10, 'minor': 130}]; p['capabilities'] = {k: ['CAP_MKNOD'] for k in ('bounding', 'permitted', 'effective')}"
conf view 'stat -f -c %T /sys/fs/cgroup; cat /proc/self/cgroup; mkdir /sys/fs/cgroup/x 2>/dev/null || echo ro; ls /sys/fs/cgroup/cgroup.procs'
conf delegate 'cd /sys/fs/cgroup; mkdir init sub && echo 0 >init/cgroup.procs && echo +memory >cgroup.subtree_control && echo ready >/tmp/ready; sleep 1000' \
	"[m for m in c['mounts'] if m['type'] == 'cgroup'][0]['options'].remove('ro')"
conf owner 'stat -c %u /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/pids.max; mkdir /sys/fs/cgroup/x && echo made' "[m for m in c['mounts'] if m['type'] == 'cgroup'][0]['options'].remove('ro')" \
	"l['namespaces'] += [{'type': 'user'}]; l['uidMappings'] = l['gidMappings'] = [{'containerID': 0, 'hostID': 100000, 'size': 1000}]; p['user'] = {'uid': 5, 'gid': 5}; p['capabilities'] = {}; l['resources'] = {}"
conf bad 'echo it ran' "p['args'] = ['nosuch']"
conf nopid 'sleep 1001 & sleep 1002' "l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'pid']; c['mounts'] = [m for m in c['mounts'] if m['type'] != 'proc']; l['maskedPaths'] = l['readonlyPaths'] = []"
for r in "kernelTCP:'memory': {'kernelTCP': 1}" "swappiness:'memory': {'swappiness': 5}" "disableOOMKiller:'memory': {'disableOOMKiller': True}" "realtimeRuntime:'cpu': {'realtimeRuntime': 5}" "network:'network': {'classID': 5}" \
	"swap:'memory': {'limit': 100, 'swap': 50}" "rdma:'rdma': {'nosuch': {'hcaHandles': 3}}" "unified:'unified': {'nosuch.max': '1'}"; do
	conf "no-${r%%:*}" 'echo it ran' "l['resources'].update({${r#*:}})"
done
conf no-form 'echo it ran' "l['cgroupsPath'] = '/p/q'"
conf no-slice 'echo it ran' "l['cgroupsPath'] = 'x.slice:y:z.slice'"
conf no-annotation 'echo it ran' "c['annotations'] = {'org.systemd.property.X': '(1, 2)'}"
vm_words >"$T/guest"
cat >>"$T/guest" <<'EOF'
ln -s shale /bin/shale-runtime
cp -a /bundle /b
use() { cp "/conf/$1.json" /b/config.json; }
rt() { shale-runtime --root /run/rt --log /run/rt.log "$@"; }
rs() { rt --systemd-cgroup "$@"; }
state() { rt state "$1" | sed -n 's/.*"status": "\(.*\)".*/\1/p'; }
is_state() { [ "$(state "$1")" = "$2" ]; }
no_scopes() { [ -z "$(systemctl list-units --all --plain --no-legend 'shale-*.scope')" ]; }
pid() { rt state "$1" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'; }
group() { sed -n 's,^0::,/sys/fs/cgroup,p' "/proc/$(pid "$1")/cgroup"; }
refused() { use "no-$1"; if $2 run -b /b r >/tmp/out 2>&1 || ! grep -q "$1\|${3:-$1}" /tmp/out; then say 1 "$1 is refused: $(cat /tmp/out)"; else say 0 "$1 is refused"; fi; }
is "cgroup v2 alone, systemd is pid 1" "63677270 systemd" "$(stat -f -c %t /sys/fs/cgroup) $(cat /proc/1/comm)"

# --- groups by the file system
use limits
try "create" rt create -b /b --pid-file /run/c1.pid c1
is "state" created "$(state c1)"
g=$(group c1)
is "its group" /sys/fs/cgroup/shale/c1 "${g%%.*}"
is "memory: limit, reservation, swap alone, unified" "67108864 33554432 33554432 59998208" "$(echo $(cat $g/memory.max $g/memory.low $g/memory.swap.max $g/memory.high))"
is "cpu: shares as a weight, quota and period" "20 25000 50000" "$(echo $(cat $g/cpu.weight $g/cpu.max))"
is "cpuset, pids, huge pages" "0-1 0 44 4194304 4194304" "$(echo $(cat $g/cpuset.cpus $g/cpuset.mems $g/pids.max $g/hugetlb.2MB.max $g/hugetlb.2MB.rsvd.max))"
try "start" rt start c1
is "state" running "$(state c1)"
is "exec" "0::/" "$(rt exec c1 cat /proc/self/cgroup)"
try "pause" rt pause c1
is "state" "paused 1" "$(state c1) $(cat $g/cgroup.freeze)"
try "resume" rt resume c1
try "update" rt update --memory 50m --pids-limit 55 --cpu-quota 10000 --cpu-period 100000 --cpu-share 1024 --memory-swap -1 c1
is "is written" "52428800 55 10000 100000 39 max" "$(echo $(cat $g/memory.max $g/pids.max $g/cpu.max $g/cpu.weight $g/memory.swap.max))"
echo '{"cpu": {"idle": 1}, "blockIO": {"throttleReadBpsDevice": [{"major": '$(($(stat -c 0x%t /dev/vda)))', "minor": 0, "rate": 1048576}]}}' >/run/u.json
try "update from JSON" rt update -r /run/u.json c1
is "is written, too" "1 rbps=1048576" "$(cat $g/cpu.idle) $(grep -o 'rbps=[0-9]*' $g/io.max)"
echo '{"memory":{"limit":4096,"checkBeforeUpdate":true}}' >/run/u.json
is "update below what is in use, if it is to look" 1 "$(rt update -r /run/u.json c1 2>&1 | grep -c 'below what is in use')"
echo '{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}' >/run/u.json
try "update of the devices" rt update -r /run/u.json c1
rt events --stats c1 >/tmp/stats
is "events" "55 52428800 1" "$(sed 's/.*"pids":{"current":[0-9]*,"limit":\([0-9]*\).*/\1/' /tmp/stats) $(sed 's/.*"limit":\(52428800\).*/\1/' /tmp/stats) $(grep -c '"kernel":[0-9]' /tmp/stats)"
is "ps" "$(pid c1)" "$(rt ps --format json c1 | tr -d '[]')"
try "kill" rt kill c1 KILL
await is_state c1 stopped
is "state" stopped "$(state c1)"
try "delete" rt delete c1
is "its group is gone" "" "$(ls -d $g 2>/dev/null)"
use devices
is "devices: the rules are in force" "made denied null 1 1" "$(echo $(rt run -b /b d1))"
use view
is "what is seen of the groups" "cgroup2fs 0::/ ro /sys/fs/cgroup/cgroup.procs" "$(echo $(rt run -b /b v1 | sed 's/^UNKNOWN.*/cgroup2fs/'))"
use owner
chown -R 100005:100005 /b/rootfs
is "a writable group is its user's, limits are not" "5 5 65534 made" "$(echo $(rt run -b /b o1))"
use path
try "cgroupsPath" rt run -d -b /b p1
is "it is there" /sys/fs/cgroup/p/q "$(group p1)"
try "delete" rt delete -f p1
use delegate
try "a container that divides its group" rt run -d -b /b s1
await test -e /b/rootfs/tmp/ready
g=$(group s1)
g=${g%/init}
is "it does" "init sub" "$(echo $(cd $g && ls -d init sub))"
is "exec finds a place in it" "0::/init" "$(rt exec s1 cat /proc/self/cgroup 2>&1)"
try "pause it" rt pause s1
is "paused as a whole" 1 "$(grep -c 'frozen 1' $g/init/cgroup.events)"
try "resume it" rt resume s1
is "its processes are found" "$(pid s1)" "$(rt ps --format json s1 | tr -d '[]')"
try "delete it" rt delete -f s1
is "with what it made" "" "$(ls -d $g 2>/dev/null)"
use nopid
try "without a pid namespace" rt run -d -b /b n1
try "kill --all" rt kill --all n1 KILL
await is_state n1 stopped
is "ends all of them" "" "$(ps | grep '[s]leep 100[12]')"
try "delete" rt delete n1
refused kernelTCP rt
refused swappiness rt
refused disableOOMKiller rt
refused realtimeRuntime rt
refused network rt
refused swap rt "less than its limit"
refused rdma rt
refused unified rt nosuch.max
use bad
is "a program that is not there" 1 "$(rt run -b /b x1 2>&1 | grep -c 'not found in $PATH')"
is "nothing is left" "" "$(rt list -q; ls -d /sys/fs/cgroup/shale/*/ 2>/dev/null)"

# --- groups as scopes of systemd
use limits
try "systemd: create" rs create -b /b --pid-file /run/s1.pid s1
is "systemd: state" created "$(state s1)"
g=$(group s1)
is "systemd: a scope of system.slice" /sys/fs/cgroup/system.slice/shale-s1.scope "$g"
is "systemd: no other process is in it" "$(pid s1)" "$(cat $g/cgroup.procs)"
systemctl show shale-s1.scope >/tmp/show
known() { echo $(for k in "$@"; do sed -n "s/^$k=//p" /tmp/show; done); }
is "systemd: it is active and delegated" "active yes system.slice" "$(known ActiveState Delegate Slice)"
is "systemd: knows the limits" "67108864 33554432 33554432 44 20 60000000" "$(known MemoryMax MemoryLow MemorySwapMax TasksMax CPUWeight MemoryHigh)"
is "systemd: knows the CPUs" "500ms 50ms 0-1 0" "$(known CPUQuotaPerSecUSec CPUQuotaPeriodUSec AllowedCPUs AllowedMemoryNodes)"
is "systemd: the annotations" "5s inactive-or-failed" "$(known TimeoutStopUSec CollectMode)"
is "systemd: all is in force" "67108864 33554432 33554432 20 25000 50000 0-1 44 4194304" "$(echo $(cat $g/memory.max $g/memory.low $g/memory.swap.max $g/cpu.weight $g/cpu.max $g/cpuset.cpus $g/pids.max $g/hugetlb.2MB.max))"
try "systemd: start" rs start s1
is "systemd: exec, as conmon does without the option" "0::/" "$(rt exec s1 cat /proc/self/cgroup)"
try "systemd: pause" rt pause s1
try "systemd: resume" rt resume s1
try "systemd: update" rt update --memory 48m --pids-limit 66 --cpu-quota 33333 --cpu-period 100000 --cpuset-cpus 1 s1
systemctl show shale-s1.scope >/tmp/show
is "systemd: is told" "50331648 66 340ms 1" "$(known MemoryMax TasksMax CPUQuotaPerSecUSec AllowedCPUs)"
try "systemd: daemon-reload" systemctl daemon-reload
is "systemd: the limits stay" "50331648 66 1" "$(echo $(cat $g/memory.max $g/pids.max $g/cpuset.cpus))"
is "systemd: create of the same is refused" 1 "$(rs create -b /b s1 2>&1 | grep -c 'exists already')"
try "systemd: kill" rt kill s1 KILL
await is_state s1 stopped
try "systemd: delete" rt delete s1
is "systemd: the scope is gone" "inactive " "$(systemctl is-active shale-s1.scope) $(ls -d $g 2>/dev/null)"
use slice
try "systemd: run -d in a slice" rs run -d -b /b s2
is "systemd: slices beneath slices" /sys/fs/cgroup/a.slice/a-b.slice/pre-name.scope "$(group s2)"
is "systemd: another container of that scope is refused" 1 "$(rs create -b /b s3 2>&1 | grep -c 'pre-name.scope was already loaded\|already exists')"
is "systemd: so is one of another root, with the same id" 1 "$(shale-runtime --root /run/other --systemd-cgroup create -b /b s2 2>&1 | grep -c 'pre-name.scope was already loaded\|already exists')"
mkdir -p /run/other/s2
sed 's/"cgroup":"[^"]*",//; s/"created":"[^"]*",//; s/"pid":[0-9]*/"pid":0/' /run/rt/s2/state.json >/run/other/s2/state.json
is "systemd: and delete of one that was killed before" "creating " "$(shale-runtime --root /run/other state s2 | sed -n 's/.*"status": "\(.*\)".*/\1/p') $(shale-runtime --root /run/other delete -f s2 2>&1; ls /run/other)"
is "systemd: and harms it not" "running active" "$(state s2) $(systemctl is-active pre-name.scope)"
try "systemd: stopped from outside" systemctl stop pre-name.scope
is "systemd: the container is" stopped "$(state s2)"
try "systemd: delete" rt delete s2
use devices
is "systemd: devices" "made denied null 1 1" "$(echo $(rs run -b /b s4))"
use bad
is "systemd: a program that is not there" 1 "$(rs run -b /b s5 2>&1 | grep -c 'not found in $PATH')"
use plain
for ms in $(cat /times); do
	shale-runtime --root /run/rt --systemd-cgroup create -b /b k$ms >/dev/null 2>&1 </dev/null & one=$!
	sleep 0.$ms
	kill -9 $one 2>/dev/null
	wait $one 2>/dev/null
	rs delete -f k$ms >/dev/null 2>&1
done
await no_scopes
is "systemd: killed at any time nothing stays" "" "$(rt list -q; systemctl list-units --all --plain --no-legend 'shale-*.scope' | cut -d' ' -f1)"
refused form rs "is not slice:prefix:name"
refused slice rs "is a scope, no slice"
refused annotation rs "is not understood"
use plain
mv /run/systemd/private /run/systemd/away
try "systemd: without its own socket, by the bus" rs run -d -b /b s6
is "systemd: it runs" "running active" "$(state s6) $(systemctl is-active shale-s6.scope)"
try "systemd: delete" rt delete -f s6
mv /run/dbus/system_bus_socket /run/dbus/away
is "systemd: not to be asked" 1 "$(rs run -b /b s7 2>&1 | grep -c -- '--systemd-cgroup: scope shale-s7.scope: systemd cannot be asked: No such file')"
mv /run/systemd/away /run/systemd/private
try "systemd: without a bus, by its own socket" rs run -d -b /b s8
is "systemd: it runs" running "$(state s8)"
try "systemd: delete" rt delete -f s8
mv /run/dbus/away /run/dbus/system_bus_socket
mv /bin/shale-scope /bin/away
is "systemd: without the program" 1 "$(rs run -b /b s9 2>&1 | grep -c 'shale-scope is neither in /bin nor')"
mv /bin/away /bin/shale-scope
lib=$(find /lib /usr/lib -name 'libsystemd.so.0')
mv $lib $lib.away
is "systemd: without its library" 1 "$(rs run -b /b s9 2>&1 | grep -c 'shale-scope: .*libsystemd.so.0: cannot open')"
mv $lib.away $lib
is "systemd: nothing is left" "" "$(rt list -q; find /sys/fs/cgroup -name 'shale-*.scope')"
EOF
[ -z "$podman" ] || cat >>"$T/guest" <<'EOF'
# --- podman and conmon
mkdir -p /etc/containers /disk/tmp
mount -o bind /disk/tmp /var/tmp
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >/etc/containers/policy.json
tar -C /b/rootfs -cf /disk/bb.tar .
pm() { podman --root /disk/pm --runroot /run/pm --storage-driver overlay --cgroup-manager systemd --events-backend file --runtime /bin/shale-runtime "$@"; }
try "podman: import" pm import -q /disk/bb.tar bb
is "podman: run" 0 "$(pm run --rm --network none bb id -u)"
try "podman: run -d" pm run -d --name c1 --network none --memory 64m --pids-limit 33 --cpus 0.5 bb sleep 1000
g=$(sed -n 's,^0::,/sys/fs/cgroup,p' "/proc/$(pm inspect -f '{{.State.Pid}}' c1)/cgroup")
is "podman: its scope" "machine.slice libpod-$(pm inspect -f '{{.Id}}' c1).scope" "$(basename "$(dirname "$g")") $(basename "$g")"
is "podman: its limits" "67108864 33 50000 100000" "$(echo $(cat $g/memory.max $g/pids.max $g/cpu.max))"
is "podman: exec" "0::/" "$(pm exec c1 cat /proc/self/cgroup)"
is "podman: stats" 1 "$(pm stats --no-stream --format '{{.PIDs}}' c1)"
try "podman: pause" pm pause c1
try "podman: unpause" pm unpause c1
try "podman: stop" pm stop -t 0 c1
try "podman: rm" pm rm c1
is "podman: no scope is left" "" "$(systemctl list-units --plain --no-legend 'libpod-*.scope')"
EOF
echo "${SHALE_TEST_LONG:+00 01 03 05 07 10 15 20 25 30 40 60 80} 02 08 12 35" >"$T/times"
vm_guest "$T/guest" "$T/conf" conf "$B" bundle "$T/times" times
rc=0
vm_boot "$T/disk" "$([ -z "$podman" ] && echo 300 || echo 900)" "$T/log" || rc=$?
is "the machine came to its end" 0 "$rc"
vm_answers "v2"

# --- v1
limits="l['resources'].update({'memory': {'limit': 67108864, 'reservation': 33554432, 'swap': 100663296}, 'cpu': {'shares': 512, 'quota': 25000, 'period': 50000, 'cpus': '0-1', 'mems': '0'}, 'pids': {'limit': 44},
'hugepageLimits': [{'pageSize': '2MB', 'limit': 4194304}]})"
conf limits 'sleep 1000' "$limits" "c['annotations'] = {'org.systemd.property.TimeoutStopUSec': 'uint64 5000000'}"
conf slice 'sleep 1000' "$limits" "c['annotations'] = {'org.systemd.property.TimeoutStopUSec': 'uint64 100000'}" "l['cgroupsPath'] = 'a-b.slice:pre:name'"
vm_words >"$T/guest"
cat >>"$T/guest" <<'EOF'
ln -s shale /bin/shale-runtime
cp -a /bundle /b
use() { cp "/conf/$1.json" /b/config.json; }
rs() { shale-runtime --root /run/rt --log /run/rt.log --systemd-cgroup "$@"; }
rt() { shale-runtime --root /run/rt --log /run/rt.log "$@"; }
state() { rt state "$1" | sed -n 's/.*"status": "\(.*\)".*/\1/p'; }
is_state() { [ "$(state "$1")" = "$2" ]; }
no_scopes() { [ -z "$(systemctl list-units --all --plain --no-legend 'shale-*.scope')" ]; }
pid() { rt state "$1" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'; }
all="name=systemd memory cpu cpuacct pids freezer devices cpuset hugetlb blkio"
# places CGROUP-FILE CONTROLLER…: where that process is, each place once
places() { table=$1; shift; for k in "$@"; do sed 's/^[0-9]*:/,/; s/:/,:/' "$table" | sed -n "/,$k,.*:/s/.*,://p"; done | sort -u | xargs; }
of() { for f in "$@"; do cat "/sys/fs/cgroup/$f"; done | xargs; }
left() { find /sys/fs/cgroup -name "$1" | xargs; }
is "cgroup v1 alone, systemd is pid 1" "1 systemd" "$(grep -c ':name=systemd:/init.scope' /proc/1/cgroup) $(cat /proc/1/comm)"
is "no v2 tree" "" "$(grep cgroup2 /proc/mounts)"
use limits
try "create" rs create -b /b --pid-file /run/s1.pid s1
is "state" created "$(state s1)"
R=system.slice/shale-s1.scope
is "a scope of system.slice, in every hierarchy" "/$R" "$(places /proc/$(pid s1)/cgroup $all)"
is "no other process is in it" "$(pid s1) $(pid s1)" "$(of systemd/$R/cgroup.procs memory/$R/cgroup.procs)"
systemctl show shale-s1.scope >/tmp/show
known() { echo $(for k in "$@"; do sed -n "s/^$k=//p" /tmp/show; done); }
is "it is active and delegated, and forgotten when it fails" "active yes system.slice inactive-or-failed" "$(known ActiveState Delegate Slice CollectMode)"
is "systemd knows the limits" "67108864 44 512 500ms 50ms 5s" "$(known MemoryLimit TasksMax CPUShares CPUQuotaPerSecUSec CPUQuotaPeriodUSec TimeoutStopUSec)"
forced() { of memory/$R/memory.limit_in_bytes memory/$R/memory.soft_limit_in_bytes memory/$R/memory.memsw.limit_in_bytes cpu/$R/cpu.shares cpu/$R/cpu.cfs_quota_us cpu/$R/cpu.cfs_period_us cpuset/$R/cpuset.cpus pids/$R/pids.max hugetlb/$R/hugetlb.2MB.limit_in_bytes; }
is "all is in force" "67108864 33554432 100663296 512 25000 50000 0-1 44 4194304" "$(forced)"
try "start" rs start s1
try "exec, as conmon does without the option" sh -c 'shale-runtime --root /run/rt exec s1 cat /proc/self/cgroup >/tmp/in'
is "is in the same groups" 1 "$(cut -d: -f3 /tmp/in | sort -u | wc -l)"
try "pause" rs pause s1
is "it is" "FROZEN paused" "$(of freezer/$R/freezer.state) $(state s1)"
try "resume" rs resume s1
is "it is" "THAWED running" "$(of freezer/$R/freezer.state) $(state s1)"
try "update" rs update --memory 48m --pids-limit 66 --cpu-quota 33333 --cpu-period 100000 --cpu-share 256 --cpuset-cpus 1 s1
systemctl show shale-s1.scope >/tmp/show
is "systemd is told" "50331648 66 340ms 256" "$(known MemoryLimit TasksMax CPUQuotaPerSecUSec CPUShares)"
try "daemon-reload" systemctl daemon-reload
is "the limits stay" "50331648 33554432 100663296 256 100000 1 66 4194304" "$(forced | sed 's/ 3[34][0-9]* 100000/ 100000/')"
is "create of the same is refused" 1 "$(rs create -b /b s1 2>&1 | grep -c 'exists already')"
is "events" 66 "$(rs events --stats s1 | sed 's/.*"pids":{"current":[0-9]*,"limit":\([0-9]*\).*/\1/')"
is "ps" "$(pid s1)" "$(rs ps --format json s1 | tr -d '[]')"
try "kill" rs kill s1 KILL
await is_state s1 stopped
try "delete" rs delete s1
is "the scope is gone from every hierarchy" "inactive " "$(systemctl is-active shale-s1.scope) $(left 'shale-s1*')"
use slice
try "run -d in a slice" rs run -d -b /b s2
is "slices beneath slices" /a.slice/a-b.slice/pre-name.scope "$(places /proc/$(pid s2)/cgroup $all)"
try "stopped from outside" systemctl stop pre-name.scope
is "the container is" stopped "$(state s2)"
try "delete" rs delete s2
use devices
is "devices" "made denied null 1 1" "$(echo $(rs run -b /b s4))"
use bad
is "a program that is not there" 1 "$(rs run -b /b s5 2>&1 | grep -c 'not found in $PATH')"
use plain
for ms in $(cat /times); do
	shale-runtime --root /run/rt --systemd-cgroup create -b /b k$ms >/dev/null 2>&1 </dev/null & one=$!
	sleep 0.$ms
	kill -9 $one 2>/dev/null
	wait $one 2>/dev/null
	rs delete -f k$ms >/dev/null 2>&1
done
await no_scopes
is "killed at any time nothing stays" "" "$(rt list -q; systemctl list-units --all --plain --no-legend 'shale-*.scope' | cut -d' ' -f1)"
is "nothing is left" "" "$(rt list -q; left '*.scope' | tr ' ' '\n' | grep -v init.scope)"
EOF
vm_guest "$T/guest" "$T/conf" conf "$B" bundle "$T/times" times
VM_APPEND="systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1"
rc=0
vm_boot "$T/disk" 300 "$T/log" || rc=$?
is "the machine came to its end" 0 "$rc"
vm_answers "v1"
done_testing
