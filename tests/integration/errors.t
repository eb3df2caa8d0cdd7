# SPDX-License-Identifier: Apache-2.0
# Bad input: each message names what was done to which object, and the store stays usable.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" && cd "$T/ctx"
echo x >x
build() { shale build --network none "$@" .; }
bad() { # bad NAME DOCKERFILE-TEXT MESSAGE
	printf '%b' "$2" >Dockerfile
	code 1 "$1" build
	has "$1: the message" "$3"
}
bad "unknown instruction" 'FROM busybox\nRUM x\n' "Dockerfile:2"
has "the nearest one is suggested" "RUN"
has "the line is shown" "RUM x"
bad "unknown flag" 'FROM busybox\nCOPY --chwon=1 x /\n' "chown"
bad "missing base" 'FROM nosuch:1\n' "nosuch:1"
bad "unknown stage" 'FROM busybox\nCOPY --from=nosuch /x /\n' "nosuch"
bad "a stage that is its own base" 'FROM a AS b\nFROM c AS c2\nFROM b AS a\n' "Dockerfile:"
bad "COPY of nothing" 'FROM busybox\nCOPY nosuch /\n' "nosuch"
bad "COPY of a pattern that matches nothing" 'FROM busybox\nCOPY *.none /\n' "matches nothing"
bad "COPY out of the context" 'FROM busybox\nCOPY ../../etc/passwd /\n' "passwd"
bad "bad SHELL" 'FROM busybox\nSHELL x\n' "Dockerfile:2"
bad "empty file" '' "Dockerfile"
bad "a flag that no version has" 'FROM busybox\nRUN --mout=type=cache,target=/x true\n' "did you mean --mount?"
bad "one of another instruction" 'FROM busybox\nCOPY --mount=type=tmpfs,target=/y x /\n' "unknown flag of COPY: --mount"
bad "a RUN that fails" 'FROM busybox\nRUN exit 7\n' "exit code 7"
bad "a program that is not there" 'FROM busybox\nRUN ["/nosuch"]\n' "/nosuch"
bad "unterminated heredoc" 'FROM busybox\nRUN <<X\necho\n' "Dockerfile:2"
bad "an unknown user" 'FROM busybox\nUSER nosuch\nRUN true\n' "nosuch"
bad "a user that wraps" 'FROM busybox\nUSER 4294967296\nRUN true\n' "4294967296"
# What goes wrong while a build runs has its place as well.
at() { # at NAME DOCKERFILE-TEXT PLACE-AND-CAUSE SOURCE MARK
	bad "$1" "$2" "$3"
	has "$1: the source" "$4"
	has "$1: the mark" "$5"
}
at "a COPY" 'FROM busybox\nCOPY x nosuch /to/\n' "Dockerfile:2:8: COPY: nosuch: not found" "  2 | COPY x nosuch /to/" "    |        ^~~~~~"
at "a later line" 'FROM busybox\nRUN true\nCOPY x \\\n  nosuch /to/\n' "Dockerfile:4:3: COPY: nosuch: not found" "  4 |   nosuch /to/" "    |   ^~~~~~"
at "a RUN" 'FROM busybox\n\n  RUN exit 7\n' "Dockerfile:3:3: RUN: ended with exit code 7" "  3 |   RUN exit 7" "    |   ^~~"
at "a base" 'FROM nosuch:1\n' "Dockerfile:1:6: FROM: no image 'nosuch:1'" "  1 | FROM nosuch:1" "    |      ^~~~~~~~"
at "a stage" 'FROM busybox\nCOPY --from=nosuch /x /\n' "Dockerfile:2:13: COPY: no image 'nosuch'" "  2 | COPY --from" "    |             ^~~~~~"
at "a port" 'FROM busybox\nEXPOSE 80/x\n' "Dockerfile:2:1: EXPOSE 80/x: the protocol" "  2 | EXPOSE 80/x" "    | ^~~"
bad "a URL with a password" 'FROM busybox\nADD https://u:pw@127.0.0.1:1/f /f\n' "Dockerfile:2: ADD https://127.0.0.1:1/f /f: "
hasnt "does not show it" "u:pw"
printf 'FROM busybox\nONBUILD RUN exit 4\n' | shale build -q -t trigger - >/dev/null
bad "a trigger" '# it has no line of its own\nFROM trigger\n' "ONBUILD trigger of the base: Dockerfile:2: RUN exit 4: ended with exit code 4"
printf 'FROM busybox\nLABEL used=1\n' >Dockerfile
code 2 "unknown option" shale build --nosuch .
code 1 "unreadable context" shale build "$T/nosuch"
has "is named" "$T/nosuch"
code 1 "unknown target" shale build --target nosuch .
has "is named" "nosuch"
code 1 "unknown image" shale history nosuch
code 1 "bad tag" shale build -t 'Bad//Name' .
ok "an image" shale build -t used .
ok "a container" shale create --name holder used
code 1 "an image in use stays" shale rmi used
has "the reason names the container" "holder"
ok "rm" shale rm holder
ok "rmi" shale rmi used

if [ "$(id -u)" = 0 ]; then
	code 1 "not root" setpriv --reuid=65534 --regid=65534 --clear-groups "$SHALE" images
	has "is said" "root"
fi

# A store on a file system that cannot hold one
ovl=$T/ovl
mkdir -p "$ovl/l" "$ovl/u" "$ovl/w" "$ovl/m"
ok "an overlay to put a store on" mount -t overlay -o "lowerdir=$ovl/l,upperdir=$ovl/u,workdir=$ovl/w" overlay "$ovl/m"
undo="umount $ovl/m 2>/dev/null"
code 1 "a store on overlayfs is refused" env SHALE_ROOT="$ovl/m/s" "$SHALE" images
has "with the reason" "overlay"
umount "$ovl/m"
place=$T/place
mkdir "$place"
undo="umount $place 2>/dev/null"
refused() { # refused NAME MESSAGE…: the store there is refused, and nothing of it is left
	name=$1
	shift
	code 1 "a store on $name is refused" env SHALE_ROOT="$place/s" "$SHALE" images
	for message; do has "$name: $message" "$message"; done
}
mount -t ramfs ramfs "$place"
refused "a file system without attributes" "is on ramfs" "no extended attributes" "ext4, xfs, btrfs"
umount "$place"
truncate -s 16M "$T/types.img"
mkfs.ext4 -q -F -O ^filetype "$T/types.img"
mount -o loop "$T/types.img" "$place"
refused "one without d_type" "is on ext4" "d_type" "ftype=1"
umount "$place"
mount -t tmpfs -o ro tmpfs "$place"
refused "a read-only one" "Read-only file system" "ext4, xfs, btrfs"
umount "$place"
mount -t tmpfs tmpfs "$place"
ok "a store" env SHALE_ROOT="$place/s" "$SHALE" images
mount -o remount,ro "$place"
refused "one that became read-only" "is on tmpfs mounted read-only: remount it"
umount "$place"
mount -t tmpfs -o size=64k tmpfs "$place"
head -c 60k /dev/zero >"$place/f"
refused "a full one" "the tmpfs of" "is full"
umount "$place"
# Stands for NFS as well, which not every kernel can mount: both are known by their number.
mkdir "$T/l" "$T/u" "$T/w"
fuse-overlayfs -o "lowerdir=$T/l,upperdir=$T/u,workdir=$T/w" "$place" 2>"$T/err"
refused "a file system in user space" "is on fuse" "ext4, xfs, btrfs"
umount "$place"

# A full disk: the build fails, the store goes on
img=$T/full.img
truncate -s 24M "$img"
mkfs.ext4 -q -F "$img"
mkdir "$T/full"
mount -o loop "$img" "$T/full"
undo="umount $T/full 2>/dev/null"
(
	SHALE_ROOT=$T/full/s
	export SHALE_ROOT
	"$SHALE" import "$top/build/base.tar" busybox >/dev/null
)
printf 'FROM busybox\nRUN echo keep >/keep\nRUN dd if=/dev/zero of=/big bs=1M count=64\n' >Dockerfile
code 1 "a step that fills the disk fails" env SHALE_ROOT="$T/full/s" "$SHALE" build --network none .
has "with the system's reason" "No space left"
printf 'FROM busybox\nRUN echo keep >/keep\n' >Dockerfile
ok "and the next build works" env SHALE_ROOT="$T/full/s" "$SHALE" build --network none -t keep .
is "its image too" keep "$(SHALE_ROOT=$T/full/s "$SHALE" run --rm --network none keep cat /keep)"
sleep 1
ok "the file system can be unmounted" umount "$T/full"

# ^C, TERM and HUP in the middle of a RUN, and kill -9
printf 'FROM busybox\nRUN echo ready; sleep 100\n' >Dockerfile
for sig in INT TERM HUP KILL; do
	setsid "$SHALE" build --network none . >"$T/out" 2>"$T/err" </dev/null &
	pid=$!
	for _ in $(seq 100); do
		grep -q '| ready' "$T/err" && break
		sleep 0.05
	done
	is "$sig: no overlay mount is visible during a RUN" "" "$(findmnt -n -t overlay -o TARGET | grep "$T" || true)"
	t0=$(date +%s%N)
	kill -"$sig" "$pid"
	wait "$pid" 2>/dev/null && rc=0 || rc=$?
	ms=$((($(date +%s%N) - t0) / 1000000))
	if [ "$rc" != 0 ] && [ "$ms" -lt 1500 ]; then pass "$sig ends the build within a second"; else fail "$sig: $rc after $ms ms"; fi
	sleep 0.2
	is "$sig: the step's process is gone" "" "$(pgrep -f 'sleep 100$' -s 0 || true)"
	ok "$sig: the store is usable" shale images
done
no_leaks
done_testing
