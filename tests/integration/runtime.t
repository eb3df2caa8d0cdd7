# SPDX-License-Identifier: Apache-2.0
# The OCI runtime by hand: every verb, and the fields of config.json one after the other, obeyed or refused by name.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/runtime.sh"

# --- systemd is asked for nobody who was killed before the asking
ok "shale-scope asks for another than its parent nothing" sh -c "echo '{\"verb\":\"start\",\"unit\":\"a.scope\",\"caller\":1,\"properties\":[]}' | $(dirname "$SHALE")/shale-scope | grep '\"who asked has ended\"'"
ok "for its parent it does" sh -c "echo '{\"verb\":\"none\",\"unit\":\"a.scope\",\"caller\":'\$\$'}' >$T/plan; $(dirname "$SHALE")/shale-scope <$T/plan | grep 'systemd cannot be asked'"

# --- the life of a container
cfg "p['args'] = ['sleep', '99']"
ok "create" rt create -b "$B" --pid-file "$T/pid" c1
is "the pid file has its pid" "$(rt state c1 | python3 -c 'import json,sys; print(json.load(sys.stdin)["pid"])')" "$(cat "$T/pid")"
ok "state: created" sh -c "$RUNTIME --root $T/rt state c1 | grep -q '\"status\": \"created\"'"
is "the program has not begun" shale-runtime "$(tr '\0' '\n' <"/proc/$(cat "$T/pid")/cmdline" | head -n 1 | sed 's,.*/,,')"
code 1 "an id is taken once" rt create -b "$B" c1
has "and that is told" "exists already"
code 1 "delete refuses what is created" rt delete c1
ok "start" rt start c1
is "the program has begun" sleep "$(tr '\0' '\n' <"/proc/$(cat "$T/pid")/cmdline" | head -n 1)"
code 1 "start again is refused" rt start c1
has "by what it is" "is running, not created"
code 1 "delete refuses what runs" rt delete c1
code 3 "exec gives the exit code" rt exec c1 sh -c 'exit 3'
ok "exec as somebody" rt exec -u 7:8 -g 9 --cwd /tmp -e A=b c1 sh -c 'echo $(id -u):$(id -g) $PWD $A'
has "it is" "7:8 /tmp b"
printf '{"user":{"uid":5,"gid":6,"additionalGids":[7]},"args":["id","-G"],"cwd":"/","env":["PATH=/bin"]}' >"$T/p.json"
ok "exec of a process in JSON" rt exec --process "$T/p.json" c1
has "with its groups" "6 7"
ok "exec --detach" rt exec -d --pid-file "$T/epid" c1 sleep 98
ok "ps" rt ps --format json c1
has "has both" "$(cat "$T/epid")"
ok "ps as a table" rt ps c1
has "has the command" "sleep 98"
ok "pause" rt pause c1
ok "state" rt state c1
has "paused" '"status": "paused"'
code 1 "exec waits for no paused one" rt exec c1 true
ok "resume" rt resume c1
ok "update" rt update --pids-limit 33 --memory 32m c1
is "is written" 33 "$(rt exec c1 cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || rt exec c1 cat /sys/fs/cgroup/pids.max)"
ok "update from JSON" sh -c "echo '{\"pids\":{\"limit\":44}}' | $RUNTIME --root $T/rt update --resources=- c1"
code 1 "update below what is in use, if it is to look" sh -c "echo '{\"memory\":{\"limit\":4096,\"checkBeforeUpdate\":true}}' | $RUNTIME --root $T/rt update -r - c1"
has "is told" "is below what is in use"
code 1 "update refuses what is no field of its type" sh -c "echo '{\"pids\":{\"limit\":\"x\"}}' | $RUNTIME --root $T/rt update -r - c1"
has "by name" "linux.resources.pids.limit is not a whole number"
ok "events --stats" rt events --stats c1
has "counts processes" '"limit":44'
ok "list" rt list --format=json
has "has it" '"id":"c1"'
ok "kill" rt kill c1 KILL
try "it stops" sh -c "$RUNTIME --root $T/rt state c1 | grep -q '\"status\": \"stopped\"'"
code 1 "kill refuses what has stopped" rt kill c1 9
has "in words that callers know" "container not running"
code 1 "exec, too" rt exec c1 true
ok "delete" rt delete c1
code 1 "state of what is gone" rt state c1
ok "delete --force of what is gone" rt delete --force c1
ok "create again" rt create -b "$B" c1
ok "delete --force of what is created" rt delete -f c1
for v in start state kill delete exec; do code 1 "$v without an id" rt $v; done
for id in .. a/b '' .x; do code 1 "id \"$id\" is refused" rt create -b "$B" "$id"; done
ok "features" rt features
has "tell the truth: no intelRdt" '"intelRdt": {'
ok "version" rt --version
has "of the specification" "spec: 1."
code 1 "a log gets the failure" rt state nothing
ok "as JSON" grep -q '"level":"error","msg":"container nothing does not exist"' "$T/log"

# --- terminal
cat >"$T/console.py" <<'EOF2'
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
open(sys.argv[1] + '.up', 'w')
c, _ = s.accept()
m, anc, _, _ = c.recvmsg(64, 64)
fd = array.array('i', anc[0][2])[0]
out = b''
try:
    while True:
        d = os.read(fd, 4096)
        if not d: break
        out += d
except OSError: pass
sys.stdout.write(out.decode())
EOF2
sh_cfg 'test -t 0 && ls -l /dev/console | head -c 1; cat /sys/class/none 2>/dev/null; exec echo end' "p['terminal'] = True" "p['consoleSize'] = {'height': 30, 'width': 90}"
code 1 "a terminal goes somewhere" rt create -b "$B" t1
has "and that is told" "--console-socket"
python3 "$T/console.py" "$T/cs" >"$T/tty" & pid=$!
while [ ! -e "$T/cs.up" ]; do sleep 0.05; done
ok "create with a terminal" rt create -b "$B" --console-socket "$T/cs" t1
ok "start it" rt start t1
wait "$pid" || true
is "the terminal is the program's" "cend" "$(tr -d '\r\n' <"$T/tty")"
ok "delete it" rt delete -f t1

# --- process
gives "args, env, cwd" "x y /tmp" 'echo $A $B $PWD' "p['env'] = ['PATH=/bin', 'A=x', 'B=y']; p['cwd'] = '/tmp'"
gives "user, groups, umask" "3 4 4 9 0027" 'echo $(id -u) $(id -g) $(id -G) $(umask)' "p['user'] = {'uid': 3, 'gid': 4, 'additionalGids': [9], 'umask': 0o27}"
gives "capabilities: each set" "0000000000000000 0000000000000420 0000000000000420 0000000020000420 0000000000000000" \
	'echo $(grep Cap /proc/self/status | sed "s/.*:.//")' "p['capabilities']['permitted'] = ['CAP_KILL', 'CAP_NET_BIND_SERVICE']; p['capabilities']['effective'] = ['CAP_NET_BIND_SERVICE']; p['noNewPrivileges'] = True"
gives "ambient" "0000000000000400" 'grep CapAmb /proc/self/status | sed "s/.*:.//"' "k = p['capabilities']; k['inheritable'] = k['ambient'] = ['CAP_NET_BIND_SERVICE']; p['user'] = {'uid': 1, 'gid': 1}"
gives "an unknown capability is told of and left out" "ran" 'echo ran' "p['capabilities']['bounding'].append('CAP_NOSUCH')"
ok "in the log" grep -q 'CAP_NOSUCH is unknown' "$T/log"
gives "rlimits" "77 88" 'echo $(ulimit -Sn) $(ulimit -Hn)' "p['rlimits'] = [{'type': 'RLIMIT_NOFILE', 'soft': 77, 'hard': 88}]"
refused "rlimits: twice" "RLIMIT_NOFILE twice" "p['rlimits'] = [{'type': 'RLIMIT_NOFILE', 'soft': 7, 'hard': 8}] * 2"
refused "rlimits: unknown" "unknown type RLIMIT_X" "p['rlimits'] = [{'type': 'RLIMIT_X', 'soft': 7, 'hard': 8}]"
gives "noNewPrivileges" "1" 'grep NoNewPrivs /proc/self/status | sed "s/.*:.//"'
gives "oomScoreAdj" "500" 'cat /proc/self/oom_score_adj' "p['oomScoreAdj'] = 500"
gives "scheduler" "SCHED_BATCH 5" 'case $(sed -n "s/policy *: *//p" /proc/self/sched) in 3) echo SCHED_BATCH $(cut -d" " -f19 /proc/self/stat);; esac' "p['scheduler'] = {'policy': 'SCHED_BATCH', 'nice': 5}"
refused "scheduler: unknown" "process.scheduler.policy" "p['scheduler'] = {'policy': 'SCHED_X'}"
gives "ioPriority" "best-effort: prio 3" 'ionice' "p['ioPriority'] = {'class': 'IOPRIO_CLASS_BE', 'priority': 3}"
gives "personality" "i686" 'busybox uname -m' "l['personality'] = {'domain': 'LINUX32'}"
refused "personality: unknown" "linux.personality.domain" "l['personality'] = {'domain': 'X'}"
refused "no program" "process.args is missing" "p['args'] = []"
refused "cwd is absolute" "process.cwd" "p['cwd'] = 'tmp'"
refused "a program that is not there" 'exec: "nosuch": executable file not found in $PATH' "p['args'] = ['nosuch']"
refused "one that is none" 'exec: "/etc": permission denied' "p['args'] = ['/etc']"
refused "AppArmor where the kernel has none, else its profile" "pparmor" "p['apparmorProfile'] = 'nosuch'"

# --- names, root, mounts
gives "hostname and domainname" "box dom" 'echo $(hostname) $(cat /proc/sys/kernel/domainname)' "c['hostname'] = 'box'; c['domainname'] = 'dom'"
gives "root.readonly" "no" 'touch /x 2>/dev/null || echo no' "c['root']['readonly'] = True"
refused "root.path is there" "root.path" "c['root']['path'] = 'nosuch'"
mkdir -p "$T/src/sub" "$T/other"
echo there >"$T/src/file"
gives "a bind, a file and a directory" "there there ro" 'echo -n "$(cat /a/file) $(cat /f) "; touch /a/x 2>/dev/null || echo ro' \
	"c['mounts'] += [{'destination': '/a', 'type': 'bind', 'source': '$T/src', 'options': ['rbind', 'ro']}, {'destination': '/f', 'source': '$T/src/file', 'options': ['bind']}]" ||
	true
mount -t tmpfs inner "$T/src/sub"
gives "ro leaves what is beneath" "rw" 'touch /a/sub/x && echo rw' "c['mounts'] += [{'destination': '/a', 'source': '$T/src', 'options': ['rbind', 'ro']}]"
gives "rro does not" "ro" 'touch /a/sub/x 2>/dev/null || echo ro' "c['mounts'] += [{'destination': '/a', 'source': '$T/src', 'options': ['rbind', 'rro']}]"
gives "bind takes nothing beneath" "empty" 'test -e /a/sub/x || echo empty' "c['mounts'] += [{'destination': '/a', 'source': '$T/src', 'options': ['bind']}]"
umount "$T/src/sub"
gives "tmpfs with its options" "tmpfs size=64k,nr_inodes=9,mode=700 nosuid,nodev" "sed -n 's,^[^ ]* /t \\([a-z]*\\) rw.*,\\1,p' /proc/mounts | sed 's/\$/ size=64k,nr_inodes=9,mode=700 nosuid,nodev/'" \
	"c['mounts'] += [{'destination': '/t', 'type': 'tmpfs', 'source': 'x', 'options': ['nosuid', 'nodev', 'size=64k', 'nr_inodes=9', 'mode=700']}]"
echo kept >"$B/rootfs/dir/kept"
ln -s kept "$B/rootfs/dir/link"
gives "tmpfs with tmpcopyup" "kept kept tmpfs" 'echo $(cat /dir/kept) $(cat /dir/link) $(stat -f -c %T /dir)' "c['mounts'] += [{'destination': '/dir', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['tmpcopyup']}]"
refused "an unknown option of a bind" "unknown option nosuch" "c['mounts'] += [{'destination': '/a', 'source': '$T/src', 'options': ['bind', 'nosuch']}]"
refused "of a file system: in the kernel's words" "nosuch" "c['mounts'] += [{'destination': '/a', 'type': 'tmpfs', 'options': ['nosuch=1']}]"
refused "a source that is not there" "mounts[7].source" "c['mounts'] += [{'destination': '/a', 'source': '$T/nosuch', 'options': ['bind']}]"
gives "remount" "ro" 'touch /tmp/x 2>/dev/null || echo ro' "c['mounts'] += [{'destination': '/tmp', 'type': 'tmpfs'}, {'destination': '/tmp', 'options': ['remount', 'ro']}]"
mkdir "$T/shared"
mount -t tmpfs shared "$T/shared"
mount --make-shared "$T/shared"
gives "a bind is private, rslave a slave" "shared:0 master:1" 'echo shared:$(grep -c "shared:" /proc/self/mountinfo) master:$(grep -c " /s .*master:" /proc/self/mountinfo)' \
	"c['mounts'] += [{'destination': '/s', 'source': '$T/shared', 'options': ['rbind', 'rslave']}, {'destination': '/a', 'source': '$T/shared', 'options': ['bind']}]"
umount "$T/shared"
gives "rootfsPropagation" "shared" 'grep " / / \| / " /proc/self/mountinfo | head -n 1 | grep -o shared' "l['rootfsPropagation'] = 'shared'"
refused "rootfsPropagation: unknown" "linux.rootfsPropagation" "l['rootfsPropagation'] = 'x'"
gives "an idmapped bind" "1000 1000" 'echo $(stat -c "%u %g" /a/file)' \
	"m = [{'containerID': 0, 'hostID': 1000, 'size': 10}]; c['mounts'] += [{'destination': '/a', 'source': '$T/src', 'options': ['bind', 'idmap'], 'uidMappings': m, 'gidMappings': m}]"
gives "masked and read-only paths" "0 empty ro" 'echo $(cat /etc/passwd | busybox wc -c) $(test -z "$(ls /dir)" && echo empty) $(touch /tmp/x 2>/dev/null || echo ro)' \
	"l['maskedPaths'] += ['/etc/passwd', '/dir', '/nosuch']; l['readonlyPaths'] += ['/tmp', '/nosuch2']"

# --- namespaces
mkdir "$T/ubundle"
chmod 711 "$T"
cp -a "$B/rootfs" "$T/ubundle"
gives "all are its own" "8" 'n=0; for k in $NS; do test "$(readlink "/proc/self/ns/${k%%=*}")" = "${k#*=}" || n=$((n + 1)); done; echo $n' \
	"p['env'].append('NS=' + ' '.join(f'{k}=' + os.readlink(f'/proc/self/ns/{k}') for k in 'cgroup ipc mnt net pid time user uts'.split()))" \
	"l['namespaces'] += [{'type': 'user'}, {'type': 'time'}]; l['uidMappings'] = l['gidMappings'] = [{'containerID': 0, 'hostID': 100000, 'size': 65536}]" \
	"c['mounts'] = [m for m in c['mounts'] if m['type'] != 'cgroup']; c['root']['path'] = '$T/ubundle/rootfs'"
refused "a type unknown" "linux.namespaces[6]: unknown type x" "l['namespaces'] += [{'type': 'x'}]"
refused "one twice" "pid twice" "l['namespaces'] += [{'type': 'pid'}]"
refused "a path of another type" "another type" "l['namespaces'][1] = {'type': 'network', 'path': '/proc/self/ns/ipc'}"
unshare -n sleep 97 & holder=$!
sleep 0.2
gives "one by its path" "$(readlink "/proc/$holder/ns/net")" 'readlink /proc/self/ns/net' "l['namespaces'][1]['path'] = '/proc/$holder/ns/net'"
kill "$holder"
gives "one left out is the runtime's" "$(readlink /proc/self/ns/ipc)" 'readlink /proc/self/ns/ipc' "l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'ipc']"
# A pod: a user namespace and others that are its own or the host's
unshare -n -u -i sleep 97 & holder=$!
for _ in $(seq 100); do [ "$(readlink "/proc/$holder/ns/uts")" = "$(readlink /proc/self/ns/uts)" ] || break; sleep 0.05; done
cp -a "$B/rootfs" "$T/ubundle/pod"
chown -R 100000:100000 "$T/ubundle/pod"
users="l['uidMappings'] = l['gidMappings'] = [{'containerID': 0, 'hostID': 100000, 'size': 65536}]; c['root']['path'] = '$T/ubundle/pod'; c['mounts'] = [m for m in c['mounts'] if m['type'] not in ('cgroup', 'sysfs', 'mqueue')]; c.pop('hostname')"
gives "a new user namespace in network, ipc and uts of the host" "$(echo $(for k in net ipc uts; do readlink "/proc/$holder/ns/$k"; done)) 0" 'echo $(for k in net ipc uts; do readlink /proc/self/ns/$k; done) $(id -u)' \
	"[n.update(path='/proc/$holder/ns/' + n['type'].replace('network', 'net')) for n in l['namespaces'] if n['type'] in ('network', 'ipc', 'uts')]; l['namespaces'] += [{'type': 'user'}]; $users"
kill "$holder"
sh_cfg 'sleep 100' "l['namespaces'] += [{'type': 'user'}]; $users"
ok "a pod of users of its own" rt run -d -b "$B" pod
pod=$(rt state pod | python3 -c 'import json,sys; print(json.load(sys.stdin)["pid"])')
in_pod="[n.update(path='/proc/$pod/ns/' + n['type'].replace('network', 'net')) for n in l['namespaces'] if n['type'] in ('network', 'ipc', 'uts')]; l['namespaces'] += [{'type': 'user', 'path': '/proc/$pod/ns/user'}]; $users"
gives "a container of the pod: user, net and uts are the pod's, pid and mount are not" "$(readlink "/proc/$pod/ns/user") $(readlink "/proc/$pod/ns/net") $(readlink "/proc/$pod/ns/uts") 0 0 1 other" \
	"echo \$(readlink /proc/self/ns/user) \$(readlink /proc/self/ns/net) \$(readlink /proc/self/ns/uts) \$(id -u) \$(id -g) \$\$ \$(test \$(readlink /proc/self/ns/mnt) = $(readlink "/proc/$pod/ns/mnt") || echo other)" "$in_pod"
gives "its processes, too, another user, no maps told" "$(readlink "/proc/$pod/ns/pid") 5 6" 'echo $(readlink /proc/self/ns/pid) $(id -u) $(id -g)' "$in_pod; [n.update(path='/proc/$pod/ns/pid') for n in l['namespaces'] if n['type'] == 'pid']; p['user'] = {'uid': 5, 'gid': 6}; del l['uidMappings'], l['gidMappings']"
sh_cfg 'sleep 100' "$in_pod"
ok "run -d in the pod" rt run -d -b "$B" inpod
is "exec is in it" "$(readlink "/proc/$pod/ns/user")" "$(rt exec inpod readlink /proc/self/ns/user)"
rt delete -f inpod
rt delete -f pod
refused "without a mount namespace" "without a mount namespace" "l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'mount']"
refused "hostname without uts" "hostname" "l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'uts']"
gives "what outlives the first process without a pid namespace" "ran" 'sleep 89 >/dev/null 2>&1 & echo ran' "l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'pid']; c['mounts'] = [m for m in c['mounts'] if m['type'] != 'proc']; l['maskedPaths'] = l['readonlyPaths'] = []"
is "goes with it" "" "$(pgrep -f 'sleep 89' || true)"
gives "a time namespace has its offsets" "yes" 'test "$(sed "s/\..*//" /proc/uptime)" -gt 100000000 && echo yes' "l['namespaces'] += [{'type': 'time'}]; l['timeOffsets'] = {'boottime': {'secs': 200000000, 'nanosecs': 5}}"
refused "offsets without one" "linux.timeOffsets" "l['timeOffsets'] = {'boottime': {'secs': 5}}"

# --- devices, kernel values, groups
gives "a device" "character special file 1:7 600 5:6" 'stat -c "%F %t:%T %a %u:%g" /dev/mine' "l['devices'] = [{'path': '/dev/mine', 'type': 'c', 'major': 1, 'minor': 7, 'fileMode': 0o600, 'uid': 5, 'gid': 6}]"
gives "a fifo" "fifo" 'stat -c %F /dev/pipe' "l['devices'] = [{'path': '/dev/pipe', 'type': 'p'}]"
refused "a type unknown" "linux.devices[0].type" "l['devices'] = [{'path': '/dev/x', 'type': 'x'}]"
gives "what the rules do not allow is refused" "no" 'cat /dev/kmsg2 2>/dev/null || echo no' "l['devices'] = [{'path': '/dev/kmsg2', 'type': 'c', 'major': 1, 'minor': 11}]; p['capabilities']['bounding'] = []"
gives "sysctl" "1 7777" 'echo $(cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax)' "l['sysctl'] = {'net.ipv4.ip_forward': '1', 'kernel.msgmax': '7777'}"
refused "sysctl of the host" "in no namespace" "l['sysctl'] = {'kernel.panic': '1'}"
refused "sysctl that climbs" "bad name" "l['sysctl'] = {'net/../kernel/panic': '1'}"
refused "sysctl of a namespace that is not its own" "is the host's" "l['sysctl'] = {'net.ipv4.ip_forward': '1'}; l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'network']"
if [ -e /sys/fs/cgroup/memory ]; then
	gives "memory, cpu, pids, cpuset, blkio" "33554432 16777216 512 50000 20000 5 0" \
		'cd /sys/fs/cgroup; echo $(cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us pids/pids.max cpuset/cpuset.cpus)' \
		"l['resources'].update({'memory': {'limit': 33554432, 'reservation': 16777216}, 'cpu': {'shares': 512, 'period': 50000, 'quota': 20000, 'cpus': '0'}, 'pids': {'limit': 5}})"
	refused "unified is of v2" "linux.resources.unified" "l['resources']['unified'] = {'memory.max': '1'}"
	refused "a controller that the host has not" "this host has no rdma" "l['resources']['rdma'] = {'mlx5_1': {'hcaHandles': 3}}"
fi
gives "cgroupsPath" "/shale-test-$$/c" 'grep -m1 -o "/shale-test.*" /proc/1/cgroup' "l['cgroupsPath'] = '/shale-test-$$/c'; l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'cgroup']"
sh_cfg 'sleep 100' "l['cgroupsPath'] = '/shale-test-$$/same'"
ok "one of a group" rt run -d -b "$B" first
code 1 "a second is refused" "$RUNTIME" --root "$T/rt2" run -d -b "$B" first
has "whose it is" "cgroup shale-test-$$/same is not empty: 1 process, like $(rt state first | python3 -c 'import json,sys; print(json.load(sys.stdin)["pid"])')"
is "and leaves the first alone" running "$(rt state first | python3 -c 'import json,sys; print(json.load(sys.stdin)["status"])')"
rt delete -f first
sh_cfg 'sleep 100'
ok "without cgroupsPath" rt run -d -b "$B" same
ok "the same id has another group in another root" "$RUNTIME" --root "$T/rt2" run -d -b "$B" same
ok "it ends" "$RUNTIME" --root "$T/rt2" delete -f same
is "alone" running "$(rt state same | python3 -c 'import json,sys; print(json.load(sys.stdin)["status"])')"
ok "pause, where it is frozen" sh -c "'$RUNTIME' --root '$T/rt2' run -d -b '$B' same && '$RUNTIME' --root '$T/rt2' pause same"
is "alone as well" running "$(rt state same | python3 -c 'import json,sys; print(json.load(sys.stdin)["status"])')"
"$RUNTIME" --root "$T/rt2" delete -f same
rt delete -f same
find /sys/fs/cgroup -depth -type d -name "shale-test-$$" -exec rmdir {} + 2>/dev/null || true
refused "cgroupsPath climbs" "linux.cgroupsPath" "l['cgroupsPath'] = '../../x'"

# --- the filter
gives "seccomp: errno, arguments" "denied allowed" 'mkdir /tmp/d 2>/dev/null || echo -n "denied "; chmod 700 /tmp && echo allowed' \
	"l['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'architectures': ['SCMP_ARCH_X86_64'], 'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 28}, {'names': ['chmod', 'fchmodat', 'nosuchcall'], 'action': 'SCMP_ACT_ERRNO', 'args': [{'index': 1, 'value': 511, 'op': 'SCMP_CMP_EQ'}]}]}"
gives "seccomp: kill" "159" 'sh -c "mkdir /tmp/k" 2>/dev/null; echo $?' \
	"l['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'flags': ['SECCOMP_FILTER_FLAG_LOG'], 'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_KILL_PROCESS'}]}" || true
refused "seccomp: unknown action" "linux.seccomp.defaultAction" "l['seccomp'] = {'defaultAction': 'X'}"
refused "seccomp: notify without a listener" "listenerPath" "l['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{'names': ['mkdir'], 'action': 'SCMP_ACT_NOTIFY'}]}"
cat >"$T/notify.py" <<'EOF2'
import socket, sys, json
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
open(sys.argv[1] + '.up', 'w')
c, _ = s.accept()
m, anc, _, _ = c.recvmsg(65536, 64)
j = json.loads(m)
print(j['metadata'], j['fds'], j['state']['status'], len(anc))
EOF2
python3 "$T/notify.py" "$T/ns" >"$T/notified" & pid=$!
while [ ! -e "$T/ns.up" ]; do sleep 0.05; done
gives "seccomp: notify" "ran" 'echo ran' "l['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'listenerPath': '$T/ns', 'listenerMetadata': 'meta', 'syscalls': [{'names': ['swapon'], 'action': 'SCMP_ACT_NOTIFY'}]}"
wait "$pid" || true
is "its listener was told" "meta ['seccompFd'] creating 1" "$(cat "$T/notified")"

# --- hooks
for k in prestart createRuntime createContainer poststart poststop; do
	printf '#!/bin/sh\necho "%s $(sed "s/.*\\"status\\":\\"\\([a-z]*\\).*/\\1/") $1 $H" >>%s/hooks\n' "$k" "$T" >"$T/$k.sh"
	chmod +x "$T/$k.sh"
done
printf '#!/bin/sh\necho "startContainer $(hostname)"\n' >"$B/rootfs/bin/hook"
chmod +x "$B/rootfs/bin/hook"
gives "hooks: startContainer is run inside" "startContainer shale
main" 'echo main' "c['hooks'] = {k: [{'path': f'$T/{k}.sh', 'args': [k, 'arg'], 'env': ['H=h', 'PATH=/bin:/usr/bin']}] for k in ['prestart', 'createRuntime', 'createContainer', 'poststart', 'poststop']}" \
	"c['hooks']['startContainer'] = [{'path': '/bin/hook', 'args': ['hook'], 'env': ['PATH=/bin']}]"
is "all in their order, with the state" "prestart created arg h createRuntime creating arg h createContainer creating arg h poststart running arg h poststop stopped arg h " "$(tr '\n' ' ' <"$T/hooks")"
for k in prestart createRuntime createContainer startContainer; do
	refused "hooks: $k that fails ends it" "$k" "c['hooks'] = {'$k': [{'path': '/bin/false'}]}"
done
refused "hooks: one too slow is ended" "timed out" "c['hooks'] = {'prestart': [{'path': '/bin/sleep', 'args': ['sleep', '9'], 'timeout': 1}]}"
refused "hooks: poststart that fails ends it" hooks.poststart "c['hooks'] = {'poststart': [{'path': '/bin/false'}]}; p['args'] = ['sleep', '99']"

# --- what is not there is refused by name; what nobody knows is passed over, as the specification demands
refused "intelRdt" "linux.intelRdt" "l['intelRdt'] = {'closID': 'x'}"
refused "netDevices" "linux.netDevices" "l['netDevices'] = {'eth0': {}}"
refused "mountLabel" "linux.mountLabel" "l['mountLabel'] = 'x'"
refused "another system's" "windows" "c['windows'] = {}"
refused "a field of a wrong type" "process.cwd is not a string" "p['cwd'] = 5"
refused "a version unknown" "ociVersion" "c['ociVersion'] = 'invalid'"
gives "unknown to the specification" "ran" 'echo ran' "c['unknown'] = 'x'"
ok "told in the log" grep -q 'unknown: unknown to the specification' "$T/log"
sh_cfg 'ls /proc/self/fd | tr "\n" " "'
exec 7</dev/null
is "no fd of ours is the container's" "0 1 2 3 " "$(rt run -b "$B" fds)"
exec 3</etc/passwd 4</etc/passwd
is "but those that it is to have" "0 1 2 3 4 5 " "$(rt run -b "$B" --preserve-fds 2 fds)"
exec 3<&- 4<&- 7<&-
is "nothing is left" "" "$(rt list -q)"
is "no group either" "" "$(find /sys/fs/cgroup -path '*shale/g[0-9]*' -type d)"
no_leaks
done_testing
