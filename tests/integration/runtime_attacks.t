# SPDX-License-Identifier: Apache-2.0
# Attacks on the OCI runtime by who controls the image or what runs in the container; a canary of the host stays as it is.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/runtime.sh"
mkdir "$T/host"
echo canary >"$T/host/canary"
before=$(sha256sum "$(readlink -f "$RUNTIME")")
fresh() { # a rootfs of its own to be spoilt
	rm -rf "$T/evil"
	cp -a "$B" "$T/evil"
}
evil() { i=$((i + 1)); rt run -b "$T/evil" "e$i"; }
evil_cfg() { sh_cfg "$@" && cp "$B/config.json" "$T/evil/config.json"; }
untouched() { is "$1: the host is untouched" "canary canary" "$(echo "$(ls "$T/host")" "$(cat "$T/host/canary")")"; }

# T5, T6: what is mounted goes where the image has a symlink
for d in proc sys dev; do
	fresh
	ln -s "$T/host" "$T/evil/rootfs/$d"
	evil_cfg "echo it ran"
	evil >"$T/out" 2>"$T/err" </dev/null || true
	if [ "$d" = dev ]; then pass "a /dev that is a symlink stays inside"; elif grep -q "it ran" "$T/out"; then fail "/$d as a symlink is refused"; else pass "/$d as a symlink is refused"; fi
	untouched "/$d to the host"
done
fresh
mkdir "$T/evil/rootfs/a"
ln -s ../../../../../../../../..$T/host "$T/evil/rootfs/a/up"
ln -s "$T/host" "$T/evil/rootfs/abs"
evil_cfg 'echo ran' "c['mounts'] += [{'destination': '/a/up/x', 'type': 'tmpfs'}, {'destination': '/abs/y/z', 'type': 'tmpfs'}, {'destination': '/abs/file', 'source': '/etc/hostname', 'options': ['bind']}]"
ok "mount points through symlinks stay inside" evil
untouched "mount points"
fresh
ln -s /proc "$T/evil/rootfs/p"
evil_cfg 'echo it ran' "c['mounts'] += [{'destination': '/p/sys', 'type': 'tmpfs'}]"
code 1 "a mount that a symlink leads into /proc" evil
evil_cfg 'echo it ran' "c['mounts'] += [{'destination': '/proc/self/attr', 'type': 'tmpfs'}]"
code 1 "a mount over a part of /proc" evil
evil_cfg 'cat /proc/uptime' "c['mounts'] += [{'destination': '/proc/uptime', 'source': '/etc/hostname', 'options': ['bind']}]"
ok "but over the files that lxcfs has" evil

# T7: /dev/null is not what it seems
fresh
mkdir "$T/evil/rootfs/dev"
ln -s "$T/host/canary" "$T/evil/rootfs/dev/null"
evil_cfg 'echo stolen >/proc/kcore; echo it ran' "c['mounts'] = [m for m in c['mounts'] if not m['destination'].startswith('/dev')]; l['maskedPaths'] = ['/etc/passwd']"
code 1 "a /dev/null that the image brings is no null" evil
untouched "/dev/null"
# T8: nor is /dev/console
fresh
mkdir "$T/evil/rootfs/dev"
ln -s "$T/host/canary" "$T/evil/rootfs/dev/console"
evil_cfg 'echo it ran' "c['mounts'] = [m for m in c['mounts'] if m['destination'] in ('/proc', '/dev/pts')]; p['terminal'] = True"
evil >"$T/out" 2>&1 </dev/null || true
untouched "/dev/console"

# T9: the mount point is exchanged for a symlink while it is mounted on
fresh
mkdir "$T/evil/rootfs/v" "$T/evil/rootfs/v/d"
evil_cfg 'true' "c['mounts'] += [{'destination': '/v/d/x', 'type': 'tmpfs'}]"
(while [ ! -e "$T/stop" ]; do
	mv "$T/evil/rootfs/v/d" "$T/evil/rootfs/v/e" 2>/dev/null
	ln -s "$T/host" "$T/evil/rootfs/v/d" 2>/dev/null
	rm -f "$T/evil/rootfs/v/d" 2>/dev/null
	mv "$T/evil/rootfs/v/e" "$T/evil/rootfs/v/d" 2>/dev/null
done) >/dev/null 2>&1 &
racer=$!
for _ in 1 2 3 4 5 6 7 8; do evil >/dev/null 2>&1 </dev/null || true; done
touch "$T/stop"
wait "$racer" || true
untouched "a race"

# T4: the runtime's own binary
fresh
printf '#!/proc/self/exe\n' >"$T/evil/rootfs/bin/self"
chmod +x "$T/evil/rootfs/bin/self"
evil_cfg '' "p['args'] = ['/bin/self']"
evil >"$T/out" 2>"$T/err" </dev/null || true
is "/proc/self/exe as the program does not run the runtime" "" "$(grep -i usage "$T/out" || true)"
evil_cfg 'sleep 96'
ok "create" rt create -b "$T/evil" own
pid=$(rt state own | python3 -c 'import json,sys; print(json.load(sys.stdin)["pid"])')
ok "start" rt start own
rt exec own sh -c 'for p in /proc/[0-9]*; do for n in 1 2 3; do (echo overwritten >$p/exe) 2>/dev/null; done; done; readlink /proc/[0-9]*/exe' >"$T/exes" 2>/dev/null || true
is "no process inside is the runtime" 0 "$(grep -c shale "$T/exes" || true)"
ok "delete" rt delete -f own
is "the binary is what it was" "$before" "$(sha256sum "$(readlink -f "$RUNTIME")")"

# T14: an fd of the runtime's as the working directory
exec 8<"$T/host"
for f in 3 4 5 6 7 8 9 10 11 12 13 14; do
	sh_cfg 'ls; cat ../../canary canary' "p['cwd'] = '/proc/self/fd/$f'"
	i=$((i + 1))
	rt run -b "$B" "cwd$i" >>"$T/cwd" 2>>"$T/cwderr" </dev/null && echo "ran with fd $f" >>"$T/cwd"
done || true
is "none is entered" "" "$(cat "$T/cwd")"
cfg "p['args'] = ['sleep', '95']"
ok "create for exec" rt create -b "$B" cw
ok "start it" rt start cw
for f in 3 4 5 6 7 8 9 10; do rt exec --cwd "/proc/self/fd/$f" cw ls >>"$T/cwd" 2>/dev/null </dev/null || true; done
is "nor by exec" "" "$(cat "$T/cwd")"
is "exec has no fd of ours" "0 1 2 3 " "$(rt exec cw sh -c 'ls /proc/self/fd | tr "\n" " "')"
exec 8<&-
# T15: users
for u in 4294967296 4294967295 +0 0x0 -1 ' 0' 0: 1:4294967295 root; do code 1 "exec as \"$u\"" rt exec -u "$u" cw true; done
# T11, T12
gives "no capability is inheritable" "0000000000000000 0000000000000000" 'echo $(grep -E "CapInh|CapAmb" /proc/self/status | sed "s/.*:.//")'
ok "nor in exec" rt exec cw sh -c 'grep -E "CapInh|CapAmb" /proc/self/status | grep -qv 0000000000000000 && exit 1; exit 0'
echo secret >"$B/rootfs/denied"
chown 0:50 "$B/rootfs/denied"
chmod 604 "$B/rootfs/denied"
gives "the primary group is a supplementary one" "no" 'cat /denied 2>/dev/null || echo no' "p['user'] = {'uid': 9, 'gid': 50}; p['capabilities'] = {}"
# T13
gives "the groups are read-only" "no" 'for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/x 2>/dev/null && echo made; done; echo no'
# T30, T35
SECRET=of-the-host gives "no variable of ours" "" 'printenv SECRET'
gives "a new network has nothing but loopback" "lo" 'ls /sys/class/net | tr "\n" " " | sed "s/ *$//"'
# T10: sizes
refused "a word of megabytes" "longer than 1048576 bytes" "p['args'] = ['x' * (3 << 20)]"
for t in "l['uidMappings'] = [{'containerID': 0, 'hostID': 4294967290, 'size': 4294967295}]" "p['user']['uid'] = 4294967296" "p['user']['uid'] = -1" "l['maskedPaths'] = [5]" "p['rlimits'] = [5]" "c['mounts'] = {'a': 1}" "c['hooks'] = []"; do
	refused "odd: $t" "" "$t"
done
python3 -c 'print("["*100000)' >"$T/evil/config.json"
code 1 "a config of depth" evil
head -c 5000000 /dev/zero >"$T/evil/config.json"
code 1 "a config of size" evil
# Who answers for systemd is odd: it closes, refuses, lies about lengths, answers something else
cat >"$T/bus.py" <<'EOF2'
import socket, struct, sys
path, n = sys.argv[1], 0
auth = b'DATA\r\nOK ' + b'1' * 32 + b'\r\nERROR\r\n'
answers = [b'', b'REJECTED EXTERNAL\r\n', b'x' * 4096, auth,
           auth + b'B' + b'\2\0\1' + struct.pack('>III', 0, 1, 0),
           auth + b'l' + b'\2\0\1' + struct.pack('<III', 0xffffffff, 1, 0xffffffff),
           auth + b'l' + b'\2\0\1' + struct.pack('<III', 0, 1, 8) + b'\5\1u\0\1\0\0',
           auth + b'l' + b'\2\0\1' + struct.pack('<III', 0, 1, 16) + b'\4\1s\0' + struct.pack('<I', 0xfffffff0) + b'a' * 8,
           auth + b'l' + b'\3\0\1' + struct.pack('<III', 4, 1, 8) + b'\5\1u\0\1\0\0\0' + struct.pack('<I', 99)]
s = socket.socket(socket.AF_UNIX); s.bind(path); s.listen(1)
open(path + '.up', 'w')
for a in answers:
    c, _ = s.accept()
    try:
        c.recv(4096)
        c.sendall(a)
        c.shutdown(socket.SHUT_WR)
        while c.recv(4096): pass
    except OSError: pass
    n += 1
print(n)
EOF2
python3 "$T/bus.py" "$T/bus" >"$T/answered" & bus=$!
while [ ! -e "$T/bus.up" ]; do sleep 0.05; done
sh_cfg 'echo it ran'
for turn in 1 2 3 4 5 6 7 8 9; do
	code 1 "an odd bus $turn" env DBUS_SYSTEM_BUS_ADDRESS="unix:path=$T/bus" timeout 20 "$RUNTIME" --root "$T/rt" --systemd-cgroup run -b "$B" bus
	has "is told" "systemd cannot be asked"
done
wait "$bus" || true
is "each answer was given" 9 "$(cat "$T/answered")"
[ -e /run/systemd/private ] || code 1 "no bus" env DBUS_SYSTEM_BUS_ADDRESS="unix:path=$T/nosuch" "$RUNTIME" --root "$T/rt" --systemd-cgroup run -b "$B" bus
# T32, kill -9 of the runtime at any time: delete --force clears up
cfg "p['args'] = ['sleep', '94']"
for ms in 0 1 2 3 5 8 12 20 30 40; do
	i=$((i + 1))
	"$RUNTIME" --root "$T/rt" create -b "$B" "k$i" </dev/null >/dev/null 2>&1 &
	one=$!
	sleep "0.0$(printf %02d "$ms")"
	kill -9 "$one" 2>/dev/null || true
	wait "$one" 2>/dev/null || true
	rt delete -f "k$i" >/dev/null 2>&1 || true
done
ok "delete" rt delete -f cw
is "killed at any time nothing stays" "" "$(rt list -q)"
is "no group either" "" "$(find /sys/fs/cgroup -path '*shale/k[0-9]*' -type d)"
no_leaks
done_testing
