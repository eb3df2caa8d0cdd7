# SPDX-License-Identifier: Apache-2.0
# What the runtime-spec demands, topic by topic as runtime-tools' validation programs have them: each of its 58 names is one group of points here.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/runtime.sh"
# The state's field $2 of container $1
field() { rt state "$1" 2>/dev/null | python3 -c 'import json,sys; v = json.load(sys.stdin).get(sys.argv[1]); print("" if v is None else v if not isinstance(v, dict) else sorted(v.items()))' "$2" 2>/dev/null || true; }
until_stopped() {
	for _ in $(seq 100); do
		[ "$(field "$1" status)" != stopped ] || return 0
		sleep 0.05
	done
	return 1
}
has_v1() { [ -d "/sys/fs/cgroup/$1" ]; }
marker=$B/rootfs/marker

sh_cfg "echo ran >/marker; sleep 100"
code 1 "create: no id is an error" rt create -b "$B"
code 1 "create: no config.json is an error" rt create -b "$T" cr
ok "create: succeeds" rt create -b "$B" cr
is "create: the status is created" created "$(field cr status)"
is "create: the program is not run" "" "$(cat "$marker" 2>/dev/null)"
code 1 "create: an id that is taken is an error" rt create -b "$B" cr
is "create: and no harm to who has it" created "$(field cr status)"

code 1 "state: no id is an error" rt state
code 1 "state: of none is an error" rt state nosuch
is "state: ociVersion, id, status, bundle" "1 cr created $B" "$(field cr ociVersion | cut -d. -f1) $(field cr id) $(field cr status) $(field cr bundle)"
is "state: pid is the process's on the host" shale-runtime "$(tr '\0' '\n' <"/proc/$(field cr pid)/cmdline" | head -n 1 | sed 's,.*/,,')"

code 1 "delete: of one that is created is an error" rt delete cr
is "delete: without effect" created "$(field cr status)"
cp "$B/config.json" "$T/before.json"
sh_cfg "echo changed >/marker" "c['annotations'] = {'a': 'changed'}"
ok "config_updates_without_affect: start" rt start cr
try "config_updates_without_affect: the old program is run" test -s "$marker"
is "config_updates_without_affect: and no other" "ran []" "$(cat "$marker") $(field cr annotations | grep . || echo '[]')"

code 1 "start: no id is an error" rt start
code 1 "start: of none is an error" rt start nosuch
is "start: the status is running" running "$(field cr status)"
rm "$marker"
code 1 "start: of one that runs is an error" rt start cr
is "start: without effect" "running " "$(field cr status) $(cat "$marker" 2>/dev/null)"

code 1 "kill: no id is an error" rt kill
code 1 "kill: of none is an error" rt kill nosuch KILL
code 1 "delete: no id is an error" rt delete
code 1 "delete: of none is an error" rt delete nosuch
code 1 "delete: of one that runs is an error" rt delete cr
is "delete: without effect" running "$(field cr status)"
ok "kill: sends the signal" rt kill cr KILL
ok "kill: then it is stopped" until_stopped cr
code 1 "start: of one that has stopped is an error" rt start cr
is "start: without effect" "stopped " "$(field cr status) $(cat "$marker" 2>/dev/null)"
code 1 "kill_no_effect: of one that has stopped is an error" rt kill cr TERM
is "kill_no_effect: and changes nothing" stopped "$(field cr status)"
ok "delete: of one that has stopped" rt delete cr
code 1 "delete: then it is gone" rt state cr
sh_cfg 'trap "echo TERM >/marker; exit" TERM; trap "echo USR1 >/marker; exit" USR1; echo up >/up; while :; do sleep 0.05; done'
for s in TERM USR1 12; do
	rm -f "$marker" "$B/rootfs/up"
	[ "$s" != 12 ] || sh_cfg 'trap "echo USR2 >/marker; exit" USR2; echo up >/up; while :; do sleep 0.05; done'
	rt run -d -b "$B" "ks$s" >/dev/null 2>&1 </dev/null
	for _ in $(seq 100); do [ ! -e "$B/rootfs/up" ] || break; sleep 0.05; done
	ok "killsig: $s" rt kill "ks$s" "$s"
	until_stopped "ks$s" || true
	is "killsig: $s arrives" "$(echo "$s" | sed 's/^12$/USR2/')" "$(cat "$marker" 2>/dev/null)"
	rt delete -f "ks$s"
done
sh_cfg "sleep 100"
rt create -b "$B" kc >/dev/null 2>&1 </dev/null
ok "kill: of one that is created" rt kill kc KILL
ok "kill: then it is stopped" until_stopped kc
rt delete kc
code 1 "start: without a process (refused by create already)" sh -c "python3 $T/cfg.py $B/config.json $T/config.json \"del c['process']\"; $RUNTIME --root $T/rt create -b $B np"
has "start: by name" "process is missing"

cfg "p['args'] = ['true']"
ok "pidfile: create" rt create -b "$B" --pid-file "$T/pidfile" pf
is "pidfile: it is the state's pid" "$(field pf pid)" "$(cat "$T/pidfile")"
rt delete -f pf

gives "misc_props: an unknown annotation is no error" ran "echo ran" "c['annotations'] = {'org.nobody.knows': ''}"
gives "misc_props: an unknown property is none" ran "echo ran" "c['unknown'] = 'x'; l['unknown'] = {}; p['unknown'] = []"
refused "misc_props: an invalid version is one" ociVersion "c['ociVersion'] = 'invalid'"
sh_cfg "true" "c['annotations'] = {'a': 'b'}"
rt create -b "$B" an
is "misc_props: annotations are in the state" "[('a', 'b')]" "$(field an annotations)"
rt delete -f an

gives "default: file systems and devices" "proc sysfs devpts tmpfs 666:1:3 666:1:5 666:1:7 666:1:8 666:1:9 666:5:0 /proc/self/fd /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 pts/ptmx" \
	'for d in /proc /sys /dev/pts /dev/shm; do echo -n "$(sed -n "s,^[^ ]* $d \([^ ]*\) .*,\1,p" /proc/mounts | head -n 1) "; done; for n in null zero full random urandom tty; do echo -n "$(stat -c %a:%t:%T /dev/$n) "; done; echo $(for n in fd stdin stdout stderr ptmx; do readlink /dev/$n; done)'

# --- process
gives "process: args, cwd, env" "a b:/tmp:x" 'echo "$1:$PWD:$V"' "p['args'] += ['sh', 'a b']; p['cwd'] = '/tmp'; p['env'] += ['V=x']"
refused "process: a cwd that is relative is refused" process.cwd "p['cwd'] = 'tmp'"
gives "process_user: uid, gid, further groups, umask" "1 10 10 5 6 0022" 'echo $(id -u) $(id -g) $(id -G) $(umask)' "p['user'] = {'uid': 1, 'gid': 10, 'additionalGids': [5, 6], 'umask': 0o22}"
gives "process_capabilities: what is named and no other" "0000000000200001" 'sed -n "s/CapEff:.//p" /proc/self/status' "p['capabilities'] = {k: ['CAP_CHOWN', 'CAP_SYS_ADMIN'] for k in ('bounding', 'permitted', 'effective')}"
gives "process_capabilities_fail: one that nobody knows is told of and left out (1.1; an error before)" "0000000000000001" 'sed -n "s/CapEff:.//p" /proc/self/status' "p['capabilities'] = {k: ['CAP_CHOWN', 'CAP_TEST'] for k in ('bounding', 'permitted', 'effective')}"
ok "process_capabilities_fail: it is told" grep -q "CAP_TEST is unknown" "$T/log"
gives "process_oom_score_adj: set" 100 'cat /proc/self/oom_score_adj' "p['oomScoreAdj'] = 100"
gives "process_oom_score_adj: unset, it is the runtime's" "$(cat /proc/self/oom_score_adj)" 'cat /proc/self/oom_score_adj'
gives "process_rlimits: soft and hard" "100 200 300 400" 'echo $(ulimit -Sn) $(ulimit -Hn) $(ulimit -Sc) $(ulimit -Hc)' "p['rlimits'] = [{'type': 'RLIMIT_NOFILE', 'soft': 100, 'hard': 200}, {'type': 'RLIMIT_CORE', 'soft': 300 * 512, 'hard': 400 * 512}]"
refused "process_rlimits_fail: an unknown type" "RLIMIT_TEST" "p['rlimits'] = [{'type': 'RLIMIT_TEST', 'soft': 1, 'hard': 1}]"
refused "process_rlimits_fail: one twice" "twice" "p['rlimits'] = [{'type': 'RLIMIT_CORE', 'soft': 1, 'hard': 1}] * 2"
refused "process_rlimits_fail: soft above hard" "" "p['rlimits'] = [{'type': 'RLIMIT_CORE', 'soft': 2, 'hard': 1}]"
if [ -e /sys/kernel/security/apparmor ]; then
	refused "linux_process_apparmor_profile: one that is not loaded" pparmor "p['apparmorProfile'] = 'nosuch'"
else
	refused "linux_process_apparmor_profile: this kernel has none, which is told" "process.apparmorProfile: this kernel runs no AppArmor" "p['apparmorProfile'] = 'x'"
fi
if [ -e /sys/fs/selinux/enforce ]; then skip "linux_mount_label: SELinux is there; its labels are not this test's"; else
	refused "linux_mount_label: this kernel has no SELinux, which is told" "linux.mountLabel: this kernel runs no SELinux" "l['mountLabel'] = 'system_u:object_r:x:s0'"
fi
gives "linux_process: arguments of nothing but a name are looked up in PATH" ran 'echo ran' "p['args'][0] = 'sh'; p['env'] = ['PATH=/nosuch:/bin']"

# --- names, root, mounts
gives "hostname: set" spec-host 'hostname' "c['hostname'] = 'spec-host'"
refused "hostname: without a uts namespace is refused" hostname "c['hostname'] = 'x'; l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'uts']"
gives "root_readonly_true: it is" ro 'touch /x 2>/dev/null || echo ro' "c['root']['readonly'] = True"
gives "root_readonly_true: else it is not" "" 'touch /x || echo ro'
mkdir -p "$T/one" "$T/two"
echo one >"$T/one/f"
echo two >"$T/two/f"
gives "mounts: in the order of the list" "two one" 'echo $(cat /m/f /m2/one/f)' "c['mounts'] += [{'destination': '/m', 'type': 'bind', 'source': '$T/one', 'options': ['rbind']}, {'destination': '/m', 'type': 'bind', 'source': '$T/two', 'options': ['rbind']}, {'destination': '/m2', 'type': 'tmpfs', 'source': 'tmpfs'}, {'destination': '/m2/one', 'type': 'bind', 'source': '$T/one', 'options': ['bind']}]"
gives "mounts: source and options" "none:size=1024k:nosuid:noatime" 'sed -n "s,^\([^ ]*\) /m tmpfs.*nosuid.*noatime.*size=\([0-9k]*\).*,\1:size=\2:nosuid:noatime,p" /proc/mounts' "c['mounts'] += [{'destination': '/m', 'type': 'tmpfs', 'source': 'none', 'options': ['nosuid', 'noatime', 'size=1m']}]"
gives "mounts: what is a tmpfs's is left out of a bind" one 'cat /m/f' "c['mounts'] += [{'destination': '/m', 'source': '$T/one', 'options': ['bind', 'mode=755', 'size=1k']}]"
ok "mounts: which is told" grep -q "size=1k is not of a bind" "$T/log"
refused "mounts: any other word of a bind's is refused" "unknown option idmap=uids" "c['mounts'] += [{'destination': '/m', 'source': '$T/one', 'options': ['bind', 'idmap=uids=0-1-1']}]"
for k in shared slave private unbindable; do
	gives "mounts: propagation $k, and r$k" "$(echo $k | sed 's/private/-/; s/slave/-/') $(echo $k | sed 's/private/-/; s/slave/-/')" 'for d in /m1 /m2; do f=$(sed -n "s,^[^ ]* [^ ]* [^ ]* [^ ]* $d [^ ]* \(.*\)- tmpfs.*,\1,p; s,^[^ ]* [^ ]* [^ ]* [^ ]* $d [^ ]* \(.*\)- ext4.*,\1,p" /proc/self/mountinfo); case $f in *shared*) echo -n "shared ";; *unbindable*) echo -n "unbindable ";; *) echo -n "- ";; esac; done | sed "s/ $//"' \
		"c['mounts'] += [{'destination': '/m1', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['$k']}, {'destination': '/m2', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['r$k']}]"
done
refused "mounts: a relative destination is beneath the root; the root itself is refused" "is the root" "c['mounts'] += [{'destination': '/', 'type': 'tmpfs'}]"
gives "linux_masked_paths: file and directory" "0 0" 'echo $(cat /etc/passwd | busybox wc -c) $(ls /bin/../dir | busybox wc -l)' "l['maskedPaths'] = ['/etc/passwd', '/dir']"
mkdir -p "$B/rootfs/deep/sub"
echo x | tee "$B/rootfs/deep/f" >"$B/rootfs/deep/sub/f"
mknod "$B/rootfs/deep/null" c 1 3
mkfifo "$B/rootfs/deep/fifo"
deep="os.environ['PATHS'].split()"
export PATHS="/deep /deep/sub /deep/f /deep/sub/f /nosuch"
gives "linux_masked_paths: one beneath another, and one that is not there" "[]" 'echo "[$(ls /deep)]"' "l['maskedPaths'] = $deep"
gives "linux_readonly_paths: one beneath another" "ro ro ro" 'for f in /deep/x /deep/f /deep/sub/f; do (echo x >$f) 2>/dev/null || echo -n "ro "; done | sed "s/ $//"' "l['readonlyPaths'] = $deep"
export PATHS="/deep/null /deep/fifo"
gives "linux_masked_paths: a device and a fifo" "1:3 1:3" 'echo $(stat -c %t:%T /deep/null /deep/fifo)' "l['maskedPaths'] = $deep"
gives "linux_readonly_paths: a device and a fifo" "ro ro" 'for f in /deep/null /deep/fifo; do chmod 700 $f 2>/dev/null || echo -n "ro "; done | sed "s/ $//"' "l['readonlyPaths'] = $deep"
refused "linux_masked_paths: a relative one" linux.maskedPaths "l['maskedPaths'] = ['etc']"
gives "linux_readonly_paths: file and directory, and what is beneath" "ro ro ro" 'for f in /etc/passwd /dir/x /dir/sub/x; do (echo x >$f) 2>/dev/null || echo -n "ro "; done | sed "s/ $//"' "os.makedirs('$B/rootfs/dir/sub', exist_ok=True); l['readonlyPaths'] = ['/etc/passwd', '/dir']"
refused "linux_readonly_paths: a relative one" linux.readonlyPaths "l['readonlyPaths'] = ['etc']"
for k in shared slave private unbindable; do
	gives "linux_rootfs_propagation: $k" "$(echo $k | sed 's/slave/private/')" 'f=$(sed -n "s,^.* / / [^ ]* \(.*\) - .*,\1,p; s,^[^ ]* [^ ]* [^ ]* [^ ]* / [^ ]* \(.*\) - .*,\1,p" /proc/self/mountinfo | head -n 1); case $f in *shared*) echo shared;; *unbindable*) echo unbindable;; *) echo private;; esac' "l['rootfsPropagation'] = '$k'"
done
gives "linux_sysctl: set" "1 3" 'echo $(cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/core/somaxconn)' "l['sysctl'] = {'net.ipv4.ip_forward': '1', 'net.core.somaxconn': '3'}"
refused "linux_seccomp: an errno for an action that has none is an error" errnoRet "l['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{'names': ['getcwd'], 'action': 'SCMP_ACT_KILL', 'errnoRet': 5}]}"
refused "linux_seccomp: names are needed" names "l['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{'names': [], 'action': 'SCMP_ACT_KILL'}]}"
gives "linux_seccomp: the action is taken" "denied ok" 'mkdir /tmp/x 2>/dev/null || echo -n "denied "; rmdir /tmp/x 2>/dev/null; echo ok' "l['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_ERRNO'}]}"
# A profile of 2017: what shale itself does under it are the calls of then.
old="execve fcntl close read write exit_group setresuid setresgid capset prctl brk arch_prctl mmap munmap mprotect ioctl getuid set_tid_address set_robust_list prlimit64 readlink getrandom rt_sigaction rt_sigprocmask getpid getppid uname getcwd stat fstat fcntl dup2 wait4 open sigaltstack lseek"
for nnp in False True; do for more in execveat "" "execveat sendto recvfrom"; do
	gives "linux_seccomp: a profile older than close_range: ${more:-execve alone}, noNewPrivileges $nnp" ran "echo ran" "p['noNewPrivileges'] = $nnp; l['seccomp'] = {'defaultAction': 'SCMP_ACT_ERRNO', 'syscalls': [{'names': '$old $more'.split(), 'action': 'SCMP_ACT_ALLOW'}]}"
done; done
gives "linux_seccomp: and no file of the runtime's stays open under it" "0 1 2 3" 'cd /proc/self/fd; echo *' "p['noNewPrivileges'] = True; l['seccomp'] = {'defaultAction': 'SCMP_ACT_ERRNO', 'syscalls': [{'names': '$old chdir getdents64 openat newfstatat'.split(), 'action': 'SCMP_ACT_ALLOW'}]}"

# --- devices
gives "linux_devices: type, numbers, mode, owner; a fifo" "character special file:1:7:660:3:4 block special file:7:0:600:0:0 fifo:::644:0:0" \
	'for d in a b p; do echo -n "$(stat -c %F:%t:%T:%a:%u:%g /dev/$d | sed "s/fifo:0:0/fifo::/") "; done | sed "s/ $//"' \
	"l['devices'] = [{'path': '/dev/a', 'type': 'c', 'major': 1, 'minor': 7, 'fileMode': 0o660, 'uid': 3, 'gid': 4}, {'path': '/dev/b', 'type': 'b', 'major': 7, 'minor': 0, 'fileMode': 0o600}, {'path': '/dev/p', 'type': 'p', 'fileMode': 0o644}]"
gives "linux_devices: outside of /dev" "1:3" 'stat -c %t:%T /elsewhere/null' "l['devices'] = [{'path': '/elsewhere/null', 'type': 'c', 'major': 1, 'minor': 3}]"
echo file >"$B/rootfs/taken"
refused "linux_devices: a file that is there and is not it is an error" taken "l['devices'] = [{'path': '/taken', 'type': 'c', 'major': 1, 'minor': 3}]"

# --- namespaces
gives "linux_ns_nopath: each is a new one" "0" 'n=0; for k in $NS; do test "$(readlink "/proc/self/ns/${k%%=*}")" != "${k#*=}" || n=$((n + 1)); done; echo $n' \
	"p['env'].append('NS=' + ' '.join(f'{k}=' + os.readlink(f'/proc/self/ns/{k}') for k in 'cgroup ipc mnt net pid uts'.split()))"
gives "linux_ns_itype: what is left out is the runtime's (but mount)" "0" 'n=0; for k in $NS; do test "$(readlink "/proc/self/ns/${k%%=*}")" = "${k#*=}" || n=$((n + 1)); done; echo $n' \
	"p['env'].append('NS=' + ' '.join(f'{k}=' + os.readlink(f'/proc/self/ns/{k}') for k in 'cgroup ipc net pid user uts time'.split()))" \
	"l['namespaces'] = [{'type': 'mount'}]; c.pop('hostname'); c['mounts'] = [{'destination': '/proc', 'type': 'bind', 'source': '/proc', 'options': ['rbind']}]; l['maskedPaths'] = l['readonlyPaths'] = []"
refused "linux_ns_itype: without a mount namespace the mounts would be the host's: refused by name" "without a mount namespace" "l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'mount']"
unshare -n -i -u sleep 91 &
holder=$!
for _ in $(seq 100); do [ "$(readlink "/proc/$holder/ns/uts")" = "$(readlink /proc/self/ns/uts)" ] || break; sleep 0.05; done
for k in net:network ipc:ipc uts:uts; do
	gives "linux_ns_path: ${k#*:}" "$(readlink "/proc/$holder/ns/${k%:*}")" "readlink /proc/self/ns/${k%:*}" "[n for n in l['namespaces'] if n['type'] == '${k#*:}'][0]['path'] = '/proc/$holder/ns/${k%:*}'; c.pop('hostname')"
done
refused "linux_ns_path: one that is not there" "/nosuch" "l['namespaces'][1]['path'] = '/nosuch'"
refused "linux_ns_path_type: one of another type" "another type" "l['namespaces'][1] = {'type': 'network', 'path': '/proc/$holder/ns/uts'}"
refused "linux_ns_path_type: a file that is none" "another type" "l['namespaces'][1] = {'type': 'network', 'path': '/etc/passwd'}"
kill "$holder"
wait "$holder" 2>/dev/null || true
chmod 711 "$T"
for k in uid gid; do
	gives "linux_${k}_mappings: as given" "0 1000 2000 10000 70000 1" "sed 's/^ *//' /proc/self/${k}_map | tr -s ' \n' ' ' | sed 's/ $//'" \
		"l['namespaces'] += [{'type': 'user'}]; l['uidMappings'] = l['gidMappings'] = [{'containerID': 0, 'hostID': 1000, 'size': 2000}, {'containerID': 10000, 'hostID': 70000, 'size': 1}]; c['mounts'] = [m for m in c['mounts'] if m['type'] != 'cgroup']"
done

# --- groups: at an absolute path and at a relative one
group=shale-spec-$$
undo="runtime_clean; find /sys/fs/cgroup -depth -path '*$group*' -type d -exec rmdir {} + 2>/dev/null"
# limits TOPIC CONTROLLER WANT FILES LINE: what the files of a group say, for both kinds of path; without the controller it is refused by name
limits() {
	for kind in "" relative_; do
		place="/$group/c"
		[ -z "$kind" ] || place="$group/c"
		if ! has_v1 cpu; then skip "linux_cgroups_$kind$1: this host has v2 alone (vm_runtime.t)"; elif ! has_v1 "$2"; then
			refused "linux_cgroups_$kind$1: this kernel has no $2, which is told" "this host has no $2 controller" "l['cgroupsPath'] = '$place'; $5"
		else
			sh_cfg 'sleep 100' "l['cgroupsPath'] = '$place'" "$5"
			ok "linux_cgroups_$kind$1: create" rt create -b "$B" "cg$1"
			is "linux_cgroups_$kind$1: the process is in it" "/$group/c" "$(sed -n "s/^[0-9]*:\([^:]*,\)\{0,1\}$2\(,[^:]*\)\{0,1\}://p" "/proc/$(field "cg$1" pid)/cgroup")"
			is "linux_cgroups_$kind$1: its files" "$3" "$(cd "/sys/fs/cgroup/$2/$group/c" && set -f && echo $(cat $4))"
			rt delete -f "cg$1"
			is "linux_cgroups_$kind$1: delete takes it away" "" "$(find /sys/fs/cgroup -path "*$group/c" -type d)"
		fi
	done
}
limits cpus cpu "512 50000 25000" "cpu.shares cpu.cfs_period_us cpu.cfs_quota_us" "l['resources']['cpu'] = {'shares': 512, 'quota': 25000, 'period': 50000, 'cpus': '0', 'mems': '0'}"
limits memory memory "67108864 33554432 20" "memory.limit_in_bytes memory.soft_limit_in_bytes memory.swappiness" "l['resources']['memory'] = {'limit': 67108864, 'reservation': 33554432, 'swappiness': 20}"
limits pids pids 1000 pids.max "l['resources']['pids'] = {'limit': 1000}"
disk=$(awk 'NR > 2 && $4 ~ /^[a-z]+$/ { print $1 ":" $2; exit }' /proc/partitions)
limits blkio blkio "$disk 102400 $disk 204800 $disk 300 $disk 400" "blkio.throttle.read_bps_device blkio.throttle.write_bps_device blkio.throttle.read_iops_device blkio.throttle.write_iops_device" \
	"l['resources']['blockIO'] = {f'throttle{k}Device': [{'major': ${disk%:*}, 'minor': ${disk#*:}, 'rate': r}] for k, r in {'ReadBps': 102400, 'WriteBps': 204800, 'ReadIOPS': 300, 'WriteIOPS': 400}.items()}"
limits hugetlb hugetlb "4194304" "hugetlb.2MB.limit_in_bytes" "l['resources']['hugepageLimits'] = [{'pageSize': '2MB', 'limit': 4194304}]"
limits network net_cls "255" "net_cls.classid" "l['resources']['network'] = {'classID': 255}"
limits devices devices "c 10:229 rw b 8:0 r c 1:3 rwm c 1:5 rwm c 1:7 rwm c 1:8 rwm c 1:9 rwm c 5:0 rwm c 5:2 rwm c 136:* rwm c *:* m b *:* m" "devices.list" "l['resources']['devices'] = [{'allow': False, 'access': 'rwm'}, {'allow': True, 'type': 'c', 'major': 10, 'minor': 229, 'access': 'rw'}, {'allow': True, 'type': 'b', 'major': 8, 'minor': 0, 'access': 'r'}]"

if has_v1 pids; then
	sh_cfg 'true' "l['cgroupsPath'] = '/$group/d'" "l['resources']['pids'] = {'limit': 1000}"
	rt run -d -b "$B" dr >/dev/null 2>&1 </dev/null
	until_stopped dr
	is "delete_resources: until delete its group is there" "/sys/fs/cgroup/pids/$group/d" "$(ls -d /sys/fs/cgroup/pids/$group/d)"
	ok "delete_resources: delete" rt delete dr
	is "delete_resources: then it is not" "" "$(find /sys/fs/cgroup -path "*$group/d" -type d)"
	sh_cfg 'sleep 100'
	mkdir -p "/sys/fs/cgroup/pids/$group/mine"
	rt create -b "$B" do >/dev/null 2>&1 </dev/null
	field do pid >"/sys/fs/cgroup/pids/$group/mine/cgroup.procs"
	rt start do
	ok "delete_only_create_resources: delete" rt delete -f do
	ok "delete_only_create_resources: a group that others made for it stays" rmdir "/sys/fs/cgroup/pids/$group/mine"
else
	skip "delete_resources, delete_only_create_resources: this host has v2 alone (vm_runtime.t)"
fi

# --- hooks
for k in prestart poststart poststop; do
	printf '#!/bin/sh\ncat >%s/state.%s\necho %s >>%s/order\n' "$T" "$k" "$k" "$T" >"$T/$k.sh"
	chmod 755 "$T/$k.sh"
done
: >"$T/order"
rm -f "$marker"
sh_cfg "echo program >>/order; sleep 100" "c['hooks'] = {k: [{'path': f'$T/{k}.sh', 'args': [f'{k}.sh']}] for k in ('prestart', 'poststart', 'poststop')}" "c['mounts'] += [{'destination': '/order', 'source': '$T/order', 'options': ['bind']}]" "c['annotations'] = {'k': 'v'}"
rt create -b "$B" hk >/dev/null 2>&1 </dev/null
is "prestart: run before the program" "prestart" "$(cat "$T/order")"
rt start hk
try "poststart: run after the program has begun" sh -c "test \"\$(sort $T/order | tr '\n' ' ')\" = 'poststart prestart program '"
until_stopped hk & rt kill hk KILL
wait $! || true
is "poststop: not before delete" 0 "$(grep -c poststop "$T/order" || true)"
ok "hooks: delete" rt delete hk
is "poststop: by delete" "poststop" "$(tail -n 1 "$T/order")"
is "hooks: each once" 4 "$(wc -l <"$T/order")"
is "hooks_stdin: each has the state" "created hk v running hk v stopped hk v" "$(for k in prestart poststart poststop; do python3 -c "import json,sys; j = json.load(open(sys.argv[1])); print(j['status'], j['id'], j['annotations']['k'])" "$T/state.$k"; done | tr '\n' ' ' | sed 's/ $//')"
refused "prestart_fail: the container is not made" hooks.prestart "c['hooks'] = {'prestart': [{'path': '/bin/false'}]}"
is "prestart_fail: nothing of it stays" "" "$(rt list -q)"
: >"$T/order"
sh_cfg 'sleep 100' "c['hooks'] = {'poststart': [{'path': '/bin/false'}, {'path': '$T/poststart.sh'}]}"
rt create -b "$B" psf >/dev/null 2>&1 </dev/null
code 1 "poststart_fail: start fails (since 1.2.1; a warning before)" rt start psf
has "poststart_fail: it is told" "hooks.poststart[0]"
ok "poststart_fail: the container is stopped" until_stopped psf
is "poststart_fail: no other hook is run" "" "$(cat "$T/order")"
ok "poststart_fail: delete" rt delete psf
gives "poststop_fail: told, and the others are run" "ran" 'echo ran' "c['hooks'] = {'poststop': [{'path': '/bin/false'}, {'path': '$T/poststop.sh'}]}"
is "poststop_fail: the next one was" "poststop" "$(cat "$T/order")"
refused "hooks: a path that is relative is refused" hooks.prestart "c['hooks'] = {'prestart': [{'path': 'false'}]}"
refused "hooks: a timeout of 0 is refused" timeout "c['hooks'] = {'prestart': [{'path': '/bin/true', 'timeout': 0}]}"
# --- features: what it says is so, word by word, and nothing else is
rt features >"$T/features.json"
cat >"$T/features.py" <<'EOF2'
import json, os, sys
f, kind, out, base, src = sys.argv[1:]
f, c = json.load(open(f)), json.load(open(base))
p, l, s = c['process'], c['linux'], f['linux']['seccomp']
p['terminal'] = c['root']['readonly'] = False
p['args'] = ['echo', 'ran']
if kind == 'words':
    # Those of the superblock need a file system; what is of other fields is tried elsewhere.
    for i, o in enumerate(w for w in f['mountOptions'] if w not in ('idmap', 'ridmap', 'remount', 'tmpcopyup')):
        supers = o in ('sync', 'dirsync', 'mand', 'lazytime')
        c['mounts'].append({'destination': f'/words/{i}', 'type': 'tmpfs' if supers else 'bind', 'source': src, 'options': [o] if supers else ['bind', o]})
    l['namespaces'] = [{'type': n} for n in f['linux']['namespaces'] if n != 'user']
    p['capabilities'] = {k: f['linux']['capabilities'] for k in ('bounding', 'permitted', 'effective')}
elif kind == 'seccomp':
    names = iter('acct add_key bpf delete_module finit_module init_module kexec_load keyctl pivot_root quotactl reboot request_key settimeofday swapoff swapon sethostname setdomainname'.split())
    calls = [{'names': [next(names)], 'action': a} for a in s['actions'] if a not in ('SCMP_ACT_NOTIFY', 'SCMP_ACT_ALLOW')]
    calls += [{'names': [next(names)], 'action': 'SCMP_ACT_ERRNO', 'args': [{'index': 0, 'value': 1, 'valueTwo': 1, 'op': o}]} for o in s['operators']]
    l['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'architectures': s['archs'], 'flags': [x for x in s['supportedFlags'] if x != 'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'], 'syscalls': calls}
elif kind == 'hooks':
    mark = os.path.join(src, 'hook')
    c['hooks'] = {h: [{'path': mark, 'args': ['hook', h]}] for h in f['hooks'] if h != 'startContainer'}
json.dump(c, open(out, 'w'))
EOF2
features() { python3 "$T/features.py" "$T/features.json" "$1" "$B/config.json" "$T/config.json" "$T/one"; }
features words
is "features: every mount option, namespace and capability is known" ran "$(rt run -b "$B" words 2>"$T/err" </dev/null)"
is "features: no capability of theirs is unknown" "" "$(grep -o 'CAP_[A-Z_]* is unknown' "$T/log" | grep -v CAP_TEST | sort -u)"
features seccomp
is "features: every action, operator, architecture and flag is known" ran "$(rt run -b "$B" filters 2>"$T/err" </dev/null)"
printf '#!/bin/sh\necho "$1" >>%s/hooks.ran\n' "$T" >"$T/one/hook"
chmod 755 "$T/one/hook"
features hooks
rt run -b "$B" hooks >/dev/null 2>"$T/err" </dev/null || true
is "features: every hook is run" "$(python3 -c 'import json,sys; print(*sorted(h for h in json.load(open(sys.argv[1]))["hooks"] if h != "startContainer"))' "$T/features.json")" "$(echo $(sort "$T/hooks.ran"))"
for w in nosuch rnosuch; do refused "features: an option that is not named: $w" "$w" "c['mounts'] += [{'destination': '/w', 'source': '$T/one', 'options': ['bind', '$w']}]"; done
feature() { python3 -c 'import json,sys; v = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): v = v.get(k)
print(json.dumps(v))' "$T/features.json" "$1"; }
is "features: intelRdt, users of systemd: no" "false false" "$(feature linux.intelRdt.enabled) $(feature linux.cgroup.systemdUser)"
refused "features: intelRdt is refused" linux.intelRdt "l['intelRdt'] = {}"
is "features: v1, v2, systemd, rdma" "true true true true" "$(echo $(for k in v1 v2 systemd rdma; do feature linux.cgroup.$k; done))"
is "features: versions" "$("$RUNTIME" --version | sed -n 's/spec: //p')" "$(feature ociVersionMax | tr -d '"')"
is "features: annotations that are obeyed" '["org.systemd.property."]' "$(feature potentiallyUnsafeConfigAnnotations)"
is "nothing is left" "" "$(rt list -q; find /sys/fs/cgroup -path "*$group*" -type d -not -name "$group")"
find /sys/fs/cgroup -depth -name "$group" -type d -exec rmdir {} + 2>/dev/null || true
no_leaks
done_testing
