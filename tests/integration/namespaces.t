# SPDX-License-Identifier: Apache-2.0
# --pid, --ipc, --uts, --cgroupns, --userns: what containers share, and users of their own.
. "$(dirname "$0")/lib.sh"
base

# --- users of a range of its own
printf '[containers]\nusers = 3000000000:140000\n' >"$T/conf"
export SHALE_CONF="$T/conf"
mkdir -m 700 "$T/v"
echo root only >"$T/v/secret"
if ! shale run --rm --network none --userns auto busybox true >"$T/out" 2>"$T/err" && grep -q "owners by a user namespace" "$T/err"; then
	skip "this file system cannot show owners by a user namespace"
	done_testing
	exit
fi
cat >"$T/Dockerfile" <<'D'
FROM busybox
RUN mkdir -p /data && echo filled >/data/f && chown -R 7:8 /data && echo w:x:1234:1234::/home/w:/bin/sh >>/etc/passwd
D
shale build --network none -q -t img -f "$T/Dockerfile" "$T" >/dev/null
ok "a container with users of its own" shale run -d --name one --network none --userns auto -v "$T/v:/bare" -v "$T/v:/mapped:idmap" \
	-v named:/data --tmpfs /t --mount type=cache,target=/c img sh -c 'touch /new; chown 5:6 /new; sleep 1000'
ok "a second" shale run -d --name two --network none --userns auto img sleep 1000
map() { shale exec "$1" cat /proc/self/uid_map | tr -s ' '; }
is "the first has the first of the range" " 0 3000000000 65536" "$(map one)"
is "the second what follows" " 0 3000065536 65536" "$(map two)"
code 125 "a third finds none" shale run --rm --network none --userns auto busybox true
has "and is told" "are all given to containers"
ok "a smaller one fits" shale run --rm --network none --userns auto:size=2000 busybox true
shale rm -f one >/dev/null
ok "what went is given again" shale run -d --name one --network none --userns auto -v "$T/v:/bare" -v "$T/v:/mapped:idmap" -v named:/data \
	--tmpfs /t --mount type=cache,target=/c -e A=b img sh -c 'touch /new; chown 5:6 /new; sleep 1000'
is "from its beginning" " 0 3000000000 65536" "$(map one)"
is "inspect tells" "auto 0:3000000000:65536" "$(shale inspect -f '{{.HostConfig.UsernsMode}} {{index .HostConfig.IDMappings.UidMap 0}}' one)"
try "its program is done" shale exec one sh -c '[ "$(stat -c %u /new)" = 5 ]'
is "owners are plain inside" "/ 0:0
/etc/hosts 0:0
/dev 0:0
/dev/shm 0:0
/t 0:0
/c 0:0
/new 5:6
/data/f 7:8
/mapped/secret 0:0" "$(shale exec one stat -c '%n %u:%g' / /etc/hosts /dev /dev/shm /t /c /new /data/f /mapped/secret)"
code 1 "the host's files are the host's" shale exec one cat /bare/secret
has "unless they are asked for" "Permission denied"
is "by idmap" "root only" "$(shale exec one cat /mapped/secret)"
ok "writing there" shale exec one sh -c 'echo x >/mapped/new; chown 9 /mapped/new /data/f; touch /data/g'
is "is written with plain owners" "9:0 9:8 0:0" \
	"$(echo $(stat -c %u:%g "$T/v/new" "$SHALE_ROOT/volumes/named/_data/f" "$SHALE_ROOT/volumes/named/_data/g"))"
ok "exec as a user" shale exec -u w one sh -c '[ $(id -u) = 1234 ]; touch /tmp/w; ! touch /etc/w'
is "is that user of the range" 3000001234 "$(shale exec -d -u w one sleep 777; shale top one -o user,args | awk '/777/ { print $1 }')"
is "--privileged is all rights in there" 000001fffeffffff "$(shale exec --privileged one awk '/CapEff/ { print $2 }' /proc/self/status)"
code 1 "and none of the host" shale exec --privileged one sh -c 'echo 1 >/proc/sys/kernel/panic'
echo copied >"$T/f"
ok "cp to it" shale cp "$T/f" one:/etc/copied
ok "cp of an archive" sh -c "tar -C '$T' -cf - --owner=12 --group=13 f | '$SHALE' cp - one:/etc"
is "are root's, or as the archive says" "0:0 12:13" "$(echo $(shale exec one stat -c %u:%g /etc/copied /etc/f))"
code 1 "cp of an owner that it does not have" sh -c "tar -C '$T' -cf - --owner=70000 --group=0 f | '$SHALE' cp - one:/bare"
has "is refused" "f: owner 70000 is beyond the 65536 users"
is "and is not the next one's" 3000000000 "$(stat -c %u "$T/v/f")"
ok "cp -a from it" shale cp -a one:/new "$T/got"
is "is as it was inside" 5:6 "$(stat -c %u:%g "$T/got")"
is "as a tar, too" 5/6 "$(shale cp one:/new - | tar --numeric-owner -tvf - | awk '{ print $2 }')"
ok "between two" sh -c "'$SHALE' cp -a one:/new - | '$SHALE' cp -a - two:/"
is "as well" 5:6 "$(shale exec two stat -c %u:%g /new)"
mkdir -m 700 "$T/acl" && echo listed >"$T/acl/f" && chmod 600 "$T/acl/f"
if setfacl -m u:1001:rx,d:u:1002:rx "$T/acl" 2>/dev/null && setfacl -m u:1001:r,g:1003:r "$T/acl/f"; then
	ok "cp -a of an ACL" shale cp -a "$T/acl" one:/srv
	is "lets in who it names" listed "$(shale exec -u 1001 one cat /srv/f)"
	code 1 "and nobody else" shale exec -u 1002 one cat /srv/f
	ok "cp -a from it" shale cp -a one:/srv "$T/acl2"
	is "is as it was" "$(cd "$T/acl" && getfacl -nR .)" "$(cd "$T/acl2" && getfacl -nR .)"
	setfacl -m u:70000:r "$T/acl/f"
	code 1 "one of a user that it does not have" shale cp -a "$T/acl" one:/mnt
	has "is refused" "ACL: id 70000 is beyond the 65536 users"
	setfacl -x u:70000 "$T/acl/f"
	shale exec one rm -r /srv /mnt
else skip "this file system has no ACLs"; fi
is "diff" "A /etc/copied A /etc/f" "$(echo $(shale diff one | grep /etc/))"
is "export" 5/6 "$(shale export one | tar --numeric-owner -tvf - new | awk '{ print $2 }')"
ok "commit" shale commit one committed
is "plain in the image" 5:6 "$(shale run --rm --network none committed stat -c %u:%g /new)"
ok "restart" shale restart -t 0 one
is "keeps its users" " 0 3000000000 65536" "$(map one)"
is "another may have the same" " 0 3000000000 65536" "$(shale run --rm --network none --userns container:one busybox cat /proc/self/uid_map | tr -s ' ')"
ok "which it keeps" shale run -d --name heir --network none --userns container:one busybox sleep 1000
is "as inspect tells" 0:3000000000:65536 "$(shale inspect -f '{{index .HostConfig.IDMappings.UidMap 0}}' heir)"
shale rm -f one >/dev/null
code 125 "from others, when who had it first is gone" shale run --rm --network none --userns auto busybox true
has "and none is left" "are all given to containers"
shale kill heir >/dev/null
shale wait heir >/dev/null
ok "cp to it" shale cp "$T/f" heir:/etc/copied
if [ -n "$(getfacl -s "$T/acl" 2>/dev/null)" ]; then
	ok "cp -a of an ACL" shale cp -a "$T/acl" heir:/srv
	is "is plain in the layer" "$(cd "$T/acl" && getfacl -nR .)" "$(cd "$SHALE_ROOT"/snap/*/fs/srv && getfacl -nR .)"
fi
shale rm heir >/dev/null
is "until it goes, too" " 0 3000000000 65536" "$(shale run --rm --network none --userns auto busybox cat /proc/self/uid_map | tr -s ' ')"
is "the store knows none of them" "" "$(find "$SHALE_ROOT" -uid +65535 -o -gid +65535)"
is "a port below 1024 is theirs in a network of their own" hi \
	"$(shale run --rm --network none --userns private busybox sh -c 'nc -l -p 80 >/o & until echo hi | nc 127.0.0.1 80; do sleep 0.1; done 2>/dev/null; wait; cat /o')"
mkdir "$T/mine" && touch "$T/mine/f"
is "U gives files to its user" yes "$(shale run --rm --network none --userns auto -u 5:6 -v "$T/mine:/m:U" busybox sh -c 'echo yes >/m/f; cat /m/f')"
is "who is of its range" 3000000005:3000000006 "$(stat -c %u:%g "$T/mine/f")"
ok "with idmap" shale run --rm --network none --userns auto -u 5:6 -v "$T/mine:/m:U,idmap" busybox touch /m/f
is "by the number inside" 5:6 "$(stat -c %u:%g "$T/mine/f")"
code 125 "a user beyond the range" shale run --rm --network none --userns auto:size=2000 --user 5000 busybox true
has "is named" "user 5000:0 is beyond the 2000"
code 125 "all rights" shale run --rm --privileged --userns auto busybox true
has "exclude it" "exclude each other"
ok "keep-id" shale run -d --name kept --network none --userns keep-id:uid=5,gid=6 -v "$T/v:/bare" img sleep 1000
is "is everybody, and the user that is asked for" " 0 0 4294967295 5:6" "$(map kept) $(shale exec kept sh -c 'echo $(id -u):$(id -g)')"
is "with files as on the host" "0:0 / 7:8 /data/f" "$(echo $(shale exec -u 0 kept stat -c '%u:%g %n' / /data/f))"
is "and its rights to them" "root only" "$(shale exec -u 0 kept cat /bare/secret)"
code 1 "but none of the host" shale exec --privileged -u 0 kept mknod /x c 1 3
code 1 "nor to its devices" shale exec -u 0 kept mount -t tmpfs none /data
is "inspect tells" "keep-id:uid=5,gid=6 5:6 0:0:4294967295" \
	"$(shale inspect -f '{{.HostConfig.UsernsMode}} {{.Config.User}} {{index .HostConfig.IDMappings.UidMap 0}}' kept)"
is "another may share them" " 0 0 4294967295" "$(shale run --rm --network none --userns container:kept busybox cat /proc/self/uid_map | tr -s ' ')"
ok "and when it has ended" sh -c "'$SHALE' create --name heir --network none --userns container:kept busybox true && '$SHALE' rm -f kept"
ok "cp to it" shale cp "$T/f" heir:/etc/copied
shale rm heir >/dev/null
is "-u wins, else it is root" "8 0" "$(echo $(shale run --rm --network none --userns keep-id -u 8 img id -u) $(shale run --rm --network none --userns keep-id --user '' img id -u))"
for w in never keep-id:uid=x auto:size=1 container: 'ns:/x'; do code 125 "--userns $w" shale run --rm --userns "$w" busybox true; done
shale rm -f two >/dev/null

# --- processes
ok "the host's processes" shale run -d --name host --network none --pid host busybox sh -c 'sleep 771 & sleep 772 & exec sleep 773'
own=$(shale inspect -f '{{.State.Pid}}' host)
is "are seen" "$own" "$(shale exec host sh -c "ls -d /proc/$own" | tr -dc 0-9)"
is "its own are what top shows" "sleep 771 sleep 772 sleep 773" "$(echo $(shale top host -o args | grep sleep | sort))"
kids=$(shale top host -o pid | tail -n +2)
ok "kill" shale kill host
shale wait host >/dev/null
left=
for p in $kids; do [ ! -d "/proc/$p" ] || left="$left $p"; done
is "takes all along" "" "$left"
ok "a program that ends" shale run --rm --network none --pid host busybox sh -c 'sleep 774 & exec true'
hasnt "leaves none either" 774
ok "its processes for another" shale run -d --name pids --network none busybox sleep 775
is "are seen there" "sleep 775" "$(shale run --rm --network none --pid container:pids busybox sh -c 'tr "\0" " " </proc/1/cmdline' | sed 's/ $//')"
ok "a guest" shale run -d --name guest --network none --pid container:pids busybox sleep 776
ok "goes with its host" shale kill pids
is "as it was killed" 137 "$(shale wait guest)"
code 125 "of one that has ended" shale run --rm --pid container:pids busybox true
has "there are none" "container pids is not running"
shale rm -f pids guest host >/dev/null

# --- memory, names, groups
ok "shareable memory" shale run -d --name mem --network none --ipc shareable --shm-size 1m busybox sh -c 'echo word >/dev/shm/w; sleep 1000'
try "has something" shale exec mem cat /dev/shm/w
is "which another sees" word "$(shale run --rm --network none --ipc container:mem busybox cat /dev/shm/w)"
is "in its namespace" "$(shale exec mem readlink /proc/self/ns/ipc)" "$(shale run --rm --ipc container:mem busybox readlink /proc/self/ns/ipc)"
ok "private memory" shale run -d --name mine --network none busybox sleep 1000
code 125 "is not shared" shale run --rm --ipc container:mine busybox true
has "and why" "was not made with --ipc shareable"
is "the host's" "$(readlink /proc/self/ns/ipc)" "$(shale run --rm --ipc host busybox readlink /proc/self/ns/ipc)"
code 1 "none" shale run --rm --ipc none busybox ls -d /dev/shm
is "the host's name" "$(uname -n)" "$(shale run --rm --network none --uts host busybox hostname)"
is "is in that namespace" "$(readlink /proc/self/ns/uts)" "$(shale run --rm --uts host busybox readlink /proc/self/ns/uts)"
code 125 "and is not changed" shale run --rm --uts host --hostname x busybox true
is "the host's groups" "$(readlink /proc/self/ns/cgroup)" "$(shale run --rm --cgroupns host busybox readlink /proc/self/ns/cgroup)"
ok "can be seen, not written to" shale run --rm --cgroupns host busybox sh -c '! mkdir /sys/fs/cgroup/x'
for o in pid ipc uts cgroupns; do code 125 "--$o of another kind" shale run --rm --$o other busybox true; done
code 125 "sysctl of the host's memory" shale run --rm --ipc host --sysctl kernel.shmmax=1 busybox true
has "is refused" "it is the host's"
shale rm -f mem mine >/dev/null
no_leaks
done_testing
