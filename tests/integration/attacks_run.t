# SPDX-License-Identifier: Apache-2.0
# T1, T2, T3, T21, T27, T28, T29, T31, T32 against run, exec, cp and the OCI runtime (attacks.t has those against build). A canary of the
# host's stays as it is; a library that a container would have us load, or a program that it would have us run, leaves its mark.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/runtime.sh"
base
mkdir "$T/canary" "$T/w" && cd "$T/w"
echo safe >"$T/canary/file"
canary() { is "$1: the canary is untouched" "safe 1" "$(cat "$T/canary/file") $(find "$T/canary" -mindepth 1 | wc -l)"; }
run() { shale run --rm --network none "$@"; }
stop_racers() { [ -z "${racer:-}" ] || { kill "$racer" 2>/dev/null || true; wait "$racer" 2>/dev/null || true; racer=; }; }
undo='runtime_clean; stop_racers'
# A library that tells when it is loaded, by whom and where it can
printf '#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void loaded(void) { close(open("%s/pwned", O_CREAT | O_WRONLY, 0600)); close(open("/pwned", O_CREAT | O_WRONLY, 0600)); }\n' "$T/canary" >trap.c
gcc -shared -fPIC -o trap.so trap.c
LD_PRELOAD=$PWD/trap.so /bin/true
is "T2: the trap is one" "$T/canary/pwned /pwned" "$(echo $(ls "$T/canary/pwned") $(ls /pwned))"
rm "$T/canary/pwned" /pwned

# --- T1: what is swapped while it is used
mkdir -p vol/d
(while :; do
	mv vol/d vol/real 2>/dev/null
	ln -s "$T/canary" vol/d
	rm -f vol/d
	mv vol/real vol/d
done) >/dev/null 2>&1 &
racer=$!
cfg "p['args'] = ['true']" "c['mounts'] += [{'destination': '/vol', 'type': 'bind', 'source': '$T/w/vol', 'options': ['rbind']}, {'destination': '/vol/d/x', 'type': 'tmpfs', 'source': 'tmpfs'}, {'destination': '/vol/d/y/z', 'type': 'bind', 'source': '/etc/hostname', 'options': ['bind']}]" \
	"l['devices'] = [{'path': '/vol/d/node', 'type': 'c', 'major': 1, 'minor': 3}]; l['maskedPaths'] += ['/vol/d']; l['readonlyPaths'] += ['/vol/d']"
tried=0
for turn in $(seq 12); do
	run -v "$T/w/vol:/vol" --tmpfs /vol/d/x -v /etc/hostname:/vol/d/y/z busybox true >/dev/null 2>&1 && tried=$((tried + 1))
	run -v "$T/w/vol:/vol" -w /vol/d/new/work busybox true >/dev/null 2>&1 || true
	rt run -b "$B" "swap$turn" >/dev/null 2>&1 </dev/null && tried=$((tried + 1))
done || true
is "T1: places of mounts in a volume that another swaps: some were mounted" yes "$([ "$tried" -gt 0 ] && echo yes)"
canary "T1 run, runtime"
shale run -d --name held --network none -v "$T/w/vol:/vol" -v "$T/canary:/seen:ro" busybox sleep 1000 >/dev/null
for turn in $(seq 12); do
	shale cp trap.c held:/vol/d/file >/dev/null 2>&1 || true
	shale cp held:/vol/d/file - >>got 2>/dev/null || true
	shale exec -w /vol/d held cat file >>got 2>/dev/null || true
	shale exec -w /vol/d held touch made >/dev/null 2>&1 || true
done
stop_racers
is "T1: nothing was read through the link" "" "$(grep -a '^safe' got || true)"
canary "T1 cp, exec"
shale rm -f held >/dev/null

# --- T2, T3: libraries and programs of the container's
printf 'FROM busybox\n' >Dockerfile
printf '#!/bin/sh\necho pwned >/trapped\n' >trap.sh
chmod 755 trap.sh
for l in libnss_files.so.2 libnss_compat.so.2 libnss_systemd.so.2 libc.so.6 libacl.so.1; do printf 'COPY trap.so /lib/x86_64-linux-gnu/%s\nCOPY trap.so /lib/%s\n' "$l" "$l" >>Dockerfile; done
for p in tar gzip xz unpigz zstd bzip2 git ps getent id.host newuidmap nsenter; do echo "COPY trap.sh /usr/bin/$p" >>Dockerfile; done
printf 'RUN echo /lib/libnss_files.so.2 >/etc/ld.so.preload; echo "passwd: files systemd" >/etc/nsswitch.conf; echo "victim:x:77:78::/home/victim:/bin/sh" >>/etc/passwd; echo "extra:x:99:victim" >>/etc/group\n' >>Dockerfile
ok "T2: an image of traps" shale build --network none -t traps .
shale run -d --name trap --network none traps sh -c 'exec sleep 1000' >/dev/null
is "T2: run -u by the image's files as data" "77 78 99" "$(echo $(run -u victim traps sh -c 'id -u; id -G'))"
is "T2: exec -u" "77 78 99" "$(echo $(shale exec -u victim trap sh -c 'id -u; id -G'))"
is "T2: run --group-add" "1 99 " "$(run -u 1:1 --group-add extra traps sh -c 'id -G' | tr '\n' ' ')"
ok "T2: top" shale top trap
ok "T2: top with columns" shale top trap -o pid,user,args
tar czf in.tar.gz trap.c
tar cJf in.tar.xz trap.c
for a in in.tar.gz in.tar.xz; do ok "T3: cp of $a" sh -c "'$SHALE' cp - trap:/tmp <$a"; done
ok "T3: cp -a out" shale cp -a trap:/etc/passwd out.passwd
ok "T3: diff" shale diff trap
ok "T3: export" sh -c "'$SHALE' export trap >out.tar"
ok "T3: commit" shale commit trap traps2
is "T2, T3: nothing of the container's was loaded or run" "" "$(shale exec trap sh -c 'ls /trapped /pwned 2>/dev/null' || true)$(ls /trapped /pwned 2>/dev/null)"
canary "T2, T3"
cp -a "$B" "$T/evil"
mkdir -p "$T/evil/rootfs/lib/x86_64-linux-gnu"
cp trap.so "$T/evil/rootfs/lib/x86_64-linux-gnu/libnss_files.so.2"
cp trap.so "$T/evil/rootfs/lib/libnss_files.so.2"
echo /lib/libnss_files.so.2 >"$T/evil/rootfs/etc/ld.so.preload"
sh_cfg 'sleep 100' "p['user'] = {'uid': 77, 'gid': 78}"
cp "$B/config.json" "$T/evil/"
ok "T2: the runtime" rt run -d -b "$T/evil" t2
ok "T2: its exec" rt exec t2 true
ok "T2: its ps" rt ps t2
rt delete -f t2
is "T2: nothing was loaded" "" "$(ls "$T/evil/rootfs/pwned" /pwned 2>/dev/null || true)"
canary "T2 runtime"

# --- T21: a part of a volume leads out of it
shale volume create parts >/dev/null
run -v parts:/v busybox sh -c "ln -s $T/canary /v/abs; ln -s ../../../../../../../../..$T/canary /v/up; mkdir /v/d; ln -s /proc/1/root$T/canary /v/magic; echo in >/v/d/in"
is "T21: a part is mounted" in "$(run --mount type=volume,src=parts,target=/p,volume-subpath=d busybox cat /p/in)"
for s in abs up magic d/../up ../../../../../../../../.."$T/canary" "$T/canary"; do
	run --mount "type=volume,src=parts,target=/p,volume-subpath=$s" busybox sh -c 'cat /p/file; touch /p/pwned' >>parts 2>/dev/null || true
done
is "T21: what leads out is not" "" "$(grep safe parts || true)"
canary T21
shale volume rm parts >/dev/null

# --- T27: propagation and other words of mounts
for p in sharedx 4096 MS_SHARED 'rshared,suid' '' rslave,rshared; do
	rc=0
	run --mount "type=bind,src=$T/canary,target=/m,bind-propagation=$p" busybox true >/dev/null 2>"$T/err" || rc=$?
	case $rc in 125) pass "T27: bind-propagation=$p is refused" ;; *) fail "T27: bind-propagation=$p (exit $rc)" ;; esac
done
for o in sharedx 0x1000 rslave:rshared bogus; do code 125 "T27: -v …:$o is refused" run -v "$T/canary:/m:$o" busybox true; done
for o in rsharedx 1048576 MS_REC; do refused "T27: the runtime: $o" "$o" "c['mounts'] += [{'destination': '/m', 'type': 'bind', 'source': '$T/canary', 'options': ['bind', '$o']}]"; done
is "T27: a container's mounts stay its own" "" "$(run --privileged -v "$T/canary:/m" busybox mount -t tmpfs x /m; grep "$T/canary" /proc/self/mountinfo || true)"
canary T27

# --- T28: names that are paths
mkdir -p "$T/victim"
echo '{"id": "victim", "pid": 1}' >"$T/victim/state.json"
for id in ../victim ../../etc . .. a/../../victim '' -x "$T/victim"; do
	for v in create state start kill delete exec pause update; do
		more=
		[ "$v" != exec ] || more=true
		rc=0
		rt "$v" -- "$id" $more >/dev/null 2>&1 </dev/null || rc=$?
		[ "$rc" != 0 ] || { [ "$v" = delete ] && false; } || fail "T28: runtime $v \"$id\""
	done
	rt delete --force -- "$id" >/dev/null 2>&1 || true
done
is "T28: the runtime: no id is a path" state.json "$(ls "$T/victim")"
for v in ../../etc "../..$T/canary" .. . a/b; do
	code 125 "T28: a volume named $v" run --mount "type=volume,src=$v,target=/x" busybox true
	code 1 "T28: it is not made" shale volume create "$v"
done
for c in ../../etc / .. '' "../../..$T/canary"; do
	code 1 "T28: rm \"$c\"" shale rm -- "$c"
	code 125 "T28: --network container:$c" shale run --rm --network "container:$c" busybox true
done
for net in ../../etc .. "$T/canary"; do code 125 "T28: --network $net" run --network "$net" busybox true; done
code 1 "T28: rename" shale rename trap ../../x
code 125 "T28: --cidfile that is there" run --cidfile "$T/canary/file" busybox true
code 125 "T28: --hostname that is a path" run --hostname "../../$T/canary" busybox true
canary T28

# --- T29: a passwd that hangs, leads out, is huge
for how in 'rm /etc/passwd /etc/group; mkfifo /etc/passwd /etc/group' 'rm /etc/passwd /etc/group; ln -s /proc/kmsg /etc/passwd; ln -s /dev/zero /etc/group' 'rm /etc/passwd /etc/group; busybox truncate -s 9G /etc/passwd; busybox truncate -s 9G /etc/group' \
	'rm -r /etc/passwd /etc/group; mkdir /etc/passwd /etc/group'; do
	shale run -d --name odd --network none traps sh -c "$how; touch /done; exec sleep 1000" >/dev/null
	try "T29: $how" shale cp odd:/done -
	code 125 "T29: exec -u does not hang: ${how#*; }" timeout 20 "$SHALE" exec -u victim odd true
	has "T29: and tells why" "/etc/passwd of the image"
	ok "T29: top: ${how#*; }" timeout 20 "$SHALE" top odd
	ok "T29: cp -a: ${how#*; }" timeout 20 "$SHALE" cp -a trap.c odd:/tmp/
	shale rm -f odd >/dev/null
	rm -rf "$T/evil/rootfs/etc/passwd" "$T/evil/rootfs/etc/group"
	(cd "$T/evil/rootfs" && eval "$(echo "$how" | sed 's,busybox ,,g; s, /etc, etc,g; s,rm etc/passwd etc/group,true,; s,rm -r etc/passwd etc/group,true,')")
	ok "T29: the runtime: ${how#*; }" timeout 20 "$RUNTIME" --root "$T/rt" run -d -b "$T/evil" t29
	ok "T29: its exec: ${how#*; }" timeout 20 "$RUNTIME" --root "$T/rt" exec -u 5:6 t29 true
	rt delete -f t29
done
rm -rf "$T/evil/rootfs/etc/passwd"
ln -s "$T/canary/file" "$T/evil/rootfs/etc/passwd"
sh_cfg 'echo $HOME' "p['user'] = {'uid': 0, 'gid': 0}"
cp "$B/config.json" "$T/evil/"
is "T29: the runtime reads no passwd of the host's" / "$(rt run -b "$T/evil" t29 </dev/null)"
shale rm -f trap >/dev/null

# --- T31: labels and annotations are words and no orders
printf 'FROM busybox\nLABEL org.systemd.property.ExecStartPre="/bin/touch %s/pwned" run.oci.hooks.stdout=%s/pwned io.containers.autoupdate=registry io.containerd.runc.v2.group=x com.docker.compose.project=x shale.privileged=true io.kubernetes.cri-o.userns-mode=host run.oci.keep_original_groups=1 run.oci.mount_context_type=x run.oci.handler=krun\n' "$T/canary" "$T/canary" >Dockerfile
ok "T31: labels that others take for orders" shale build --network none -t labels .
is "T31: they give no right" "0000000000000000" "$(run --cap-drop all labels sh -c 'sed -n "s/CapEff:.//p" /proc/self/status')"
shale create --name lab --network none labels true >/dev/null
is "T31: they are labels and no annotations" "registry {}" "$(shale inspect -f '{{index .Config.Labels "io.containers.autoupdate"}} {{json .HostConfig.Annotations}}' lab)"
shale rm lab >/dev/null
gives "T31: the runtime obeys none of others' annotations" "10" 'id -G' "c['annotations'] = {'run.oci.keep_original_groups': '1', 'run.oci.hooks.stdout': '$T/canary/pwned', 'run.oci.handler': 'krun', 'run.oci.mount_context_type': 'x', 'org.systemd.property.ExecStartPre': \"'touch $T/canary/pwned'\"}; p['user'] = {'uid': 10, 'gid': 10}"
canary T31

# --- T32: no socket that a container in the host's network could reach
grep -o '@.*' /proc/net/unix | sort -u >before || true
shale run -d --name host --network host busybox sleep 1000 >/dev/null
shale run -d -t --name tty --network host busybox sleep 1000 >/dev/null
cfg "p['args'] = ['sleep', '100']" "l['namespaces'] = [n for n in l['namespaces'] if n['type'] != 'network']; c['mounts'] = [m for m in c['mounts'] if m['type'] != 'sysfs']"
ok "T32: the runtime in the host's network" rt run -d -b "$B" t32
is "T32: no abstract socket is new" "" "$(grep -o '@.*' /proc/net/unix | sort -u | grep -i 'shale\|oci\|monitor' || true)"
is "T32: none is seen from inside" "" "$(shale exec host cat /proc/net/unix | grep -o '@.*' | grep -i shale || true)"
is "T32: sockets of the file system are root's alone" "" "$(find "$SHALE_ROOT" /run/shale -type s -perm /077 2>/dev/null || true)"
rt delete -f t32
shale rm -f host tty >/dev/null
canary end
is "nothing is left" "" "$(rt list -q)"
no_leaks
done_testing
