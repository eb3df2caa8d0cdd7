# SPDX-License-Identifier: Apache-2.0
# Debian 12's kernel (6.1) with cgroup v2 alone: containers and builds with users of their own; and what comes back of networks and
# containers after a power cut.
. "$(dirname "$0")/lib.sh"
. "$top/tests/crash/vm.sh"
if netavark=$(vm_netavark); then VM_MODULES="$VM_MODULES $VM_NET_MODULES"; else
	skip "no networks: $(echo "$netavark" | tail -n 1)"
	netavark=
fi
base
# shellcheck disable=SC2086
if ! why=$(vm_prepare "$SHALE" "$(dirname "$SHALE")/shale-build" $netavark); then
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
try "import" shale import /base.tar busybox
printf 'FROM busybox\nCOPY f /f\nRUN cat /f >/g && mkdir /e && chown 5 /f\n' >/c/Dockerfile
echo content >/c/f
try "build" shale build --network none -t app /c
# Users of their own: ext4 and overlay know idmapped mounts since 5.19, tmpfs since 6.3.
mkdir -m 777 /disk/v
echo host >/disk/v/f
try "run --userns auto" shale run --name mapped --network none --userns auto -v made:/data -v /disk/v:/bare -v /disk/v:/mapped:idmap --tmpfs /t app sh -c \
	'cat /g && echo w >/w && chown 5:6 /w /e && echo d >/data/d && echo m >/mapped/m && echo b >/bare/b && echo t >/t/t && chown 7 /t/t && stat -c %u /bare/f /mapped/f'
is "it sees the host's owners only where asked" "content 65534 0" "$(echo $(cat /tmp/out))"
is "what it owns in its layer are plain numbers" 5:6 "$(shale cp mapped:/w - | tar -tv | awk '{ print $2 }' | tr / :)"
is "so in a volume and a bind with idmap, not in another" "0 0 1" "$(stat -c %u /disk/store/volumes/made/*/d /disk/v/m /disk/v/b | sed 's/^[1-9][0-9]\{7,\}$/1/' | xargs)"
try "commit" shale commit mapped mappedimage
is "as an image it is like any" "w 5:6" "$(shale run --rm --network none mappedimage sh -c 'cat /w; stat -c %u:%g /w' | xargs)"
try "exec" sh -c 'shale run -d --name mapped2 --network none --userns auto app sleep 1000 && shale exec mapped2 touch /x && shale rm -f mapped2'
is "a terminal of theirs" "0:5 600" "$(shale run -d -t --name term --network none --userns auto app stat -c '%u:%g %a' /dev/console >/dev/null; shale wait term >/dev/null; shale logs term | tr -d '\r'; shale rm term >/dev/null)"
is "private, keep-id" "0 5 nobody" "$(shale run --rm --network none --userns private app id -u) $(shale run --rm --network none --userns keep-id:uid=5,gid=6 -v /disk/v:/bare app sh -c 'echo k >/tmp/k; id -u') $(stat -c %u /disk/v/b | sed 's/^[1-9][0-9]\{7,\}$/nobody/')"
is "container:" same "$(shale run -d --name first --network none --userns auto app sleep 1000 >/dev/null; a=$(shale exec first cat /proc/self/uid_map); [ "$a" = "$(shale run --rm --network none --userns container:first app cat /proc/self/uid_map)" ] && echo same; shale rm -f first >/dev/null)"
is "host: the host's users" " 0 0 4294967295" "$(shale run --rm --network none --userns host app cat /proc/self/uid_map | tr -s ' ')"
printf 'FROM app\nCOPY --chown=7:8 f /h\nRUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t touch /cache/c /t/t && chown 3:4 /g && chown -R 9 /e && mv /e /i && id -u >/u\nRUN cat /proc/self/uid_map >/map\n' >/c/D3
try "build --userns private" shale build --network none --userns private -f /c/D3 -t private /c
is "the image has plain owners" "7:8 3:4 9:0 0" "$(shale run --rm --network none private sh -c 'stat -c %u:%g /h /g /i; cat /u' | xargs)"
is "its steps had a range" 1 "$(shale run --rm --network none private cat /map | grep -c ' 0 *1879048192')"
mkdir -p /mnt
mount -t tmpfs tmpfs /mnt
try "a store on tmpfs" shale --root /mnt/s import /base.tar busybox
is "cannot show owners by a user namespace before 6.3" 1 "$(shale --root /mnt/s run --rm --network none --userns auto busybox true 2>&1 | grep -c 'owners by a user namespace')"
is "nor for a build" 1 "$(printf 'FROM busybox\nRUN true\n' | shale --root /mnt/s build --network none --userns private - 2>&1 | grep -c 'owners by a user namespace')"
is "nothing of it is left" "" "$(shale --root /mnt/s ps -aq)"
try "rm" shale rm -v mapped
try "verify" shale verify
is "nothing is mounted" "" "$(grep overlay /proc/mounts)"
EOF
[ -z "$netavark" ] || cat >>"$T/guest" <<'EOF'
# Networks, up to the power cut.
page='echo "$0" >/index.html; exec httpd -f -p 80 -h /'
try "network create" shale network create one
try "one that is to be always there" shale run -d --name web --restart always --network one -p 8080:80 busybox sh -c "$page" web
try "one that nobody wants again" shale run -d --name plain --network one busybox sleep 1000
try "one that a user stopped" sh -c 'shale run -d --name stopped --restart unless-stopped --network one busybox sleep 1000 && shale stop -t 0 stopped'
try "one of the default network" shale run -d --name other --restart unless-stopped --network bridge -p 127.0.0.1:8081:80 busybox sh -c "$page" other
try "one with users of its own" shale run -d --name ids --restart always --network one --userns auto busybox sleep 1000
shale exec ids sh -c 'echo own >/own; chown 5 /own'
range=$(shale exec ids cat /proc/self/uid_map)
echo "$range" >/disk/range && sync
is "ports lead there" "web other" "$(echo $(wget -q -O - http://127.0.0.1:8080/; wget -q -O - http://127.0.0.1:8081/))"
is "names, too" "web web" "$(echo $(shale exec plain wget -q -O - http://web/) $(shale exec ids wget -q -O - http://web/))"
echo CUT
sleep 1000
EOF
vm_guest "$T/guest" "$top/build/base.tar" base.tar
rc=0
vm_boot "$T/disk" 300 "$T/log" "${netavark:+CUT}" || rc=$?
is "the machine came to its end" 0 "$rc"
vm_answers "before"
if [ -n "$netavark" ]; then
	vm_words >"$T/guest"
	cat >>"$T/guest" <<'EOF'
links() { ip -o link | grep -c 'shale\|veth'; }
rules() { iptables-save 2>/dev/null | grep -c -e '-d 10\.\|-s 10\.\|--dport'; }
is "nothing is there before the first command" "0 0 no" "$(links) $(rules) $([ -e /run/shale ] && echo yes || echo no)"
is "states are right at that" "ids exited other exited plain exited stopped exited web exited" "$(echo $(shale ps -a --format '{{.Names}} {{.State}}' | sort))"
is "and why" "255 the machine went down" "$(shale container inspect -f '{{.State.ExitCode}} {{.State.Error}}' web)"
is "nobody has an address" "" "$(shale container inspect -f '{{.NetworkSettings.IPAddress}}' web)"
is "nor is there a rule or a link" "0 0" "$(links) $(rules)"
is "the policies hold" "ids other web" "$(echo $(shale system start | sort))"
is "they run" "ids other web" "$(echo $(shale ps --format '{{.Names}}' | sort))"
is "ports lead there again" "web other" "$(echo $(wget -q -O - http://127.0.0.1:8080/; wget -q -O - http://127.0.0.1:8081/))"
try "the other one starts" shale start plain
is "names are there again" web "$(shale exec plain wget -q -O - http://web/)"
is "users of their own are the same" "$(cat /disk/range) own 5" "$(shale exec ids cat /proc/self/uid_map) $(echo $(shale exec ids sh -c 'cat /own; stat -c %u /own'))"
is "once more nothing is to be done" "" "$(shale system start)"
try "rm -f" sh -c 'shale rm -f $(shale ps -aq)'
try "network rm" shale network rm one
is "no link, rule or group is left" "0 0" "$(echo $(links) $(rules) $(find /sys/fs/cgroup -path '*shale*' -type d -name '*[0-9a-f][0-9a-f][0-9a-f][0-9a-f]*'))"
is "nor a namespace" 1 "$(for p in /proc/[0-9]*; do readlink "$p/ns/net"; done | sort -u | wc -l)"
try "verify" shale verify
EOF
	vm_guest "$T/guest"
	rc=0
	vm_boot "$T/disk" 300 "$T/log" || rc=$?
	is "after the power cut it came to its end" 0 "$rc"
	vm_answers "after the power cut"
fi
done_testing
