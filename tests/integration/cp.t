# SPDX-License-Identifier: Apache-2.0
# cp: both ways, archives, running and stopped containers, and containers that fight back.
. "$(dirname "$0")/lib.sh"
base
cd "$T"
canary=$T/canary
mkdir "$canary" && echo untouched >"$canary/file"
is_safe() { is "$1" "untouched file" "$(cat "$canary/file") $(ls "$canary" | tr '\n' ' ' | sed 's/ $//')"; }
shale create --name stopped --network none -v "$T/vol:/vol" busybox sleep 1000 >/dev/null
shale run -d --name running --network none -v "$T/vol:/vol" busybox sleep 1000 >/dev/null
mkdir -p dir/sub && echo one >dir/one && echo two >dir/sub/two && ln -s /etc/shadow dir/link && chmod 640 dir/one
touch -d 2001-02-03T04:05:06Z dir/one
echo plain >file
sh_in() { shale exec running sh -c "$1"; }

# --- what goes where, as docker cp has it, in both kinds ----------------------------------------------------------
for c in stopped running; do
	ok "$c: a file by a new name" shale cp file $c:/new
	ok "$c: back" shale cp $c:/new back-$c
	is "$c: as it was" plain "$(cat back-$c)"
	ok "$c: a file into a directory" shale cp file $c:/tmp
	ok "$c: a file over a file" shale cp dir/one $c:/new
	ok "$c: a directory by a new name" shale cp dir $c:/fresh
	ok "$c: into one that is there" shale cp dir $c:/tmp
	ok "$c: its contents" shale cp dir/. $c:/home
	ok "$c: all of it back" shale cp $c:/tmp tmp-$c
	is "$c: names" "dir dir/link dir/one dir/sub dir/sub/two file" "$(cd tmp-$c && find . -mindepth 1 | sed 's,./,,' | sort | tr '\n' ' ' | sed 's/ $//')"
	is "$c: mode and time" "640 2001-02-03" "$(stat -c '%a %y' tmp-$c/dir/one | cut -d' ' -f1,2)"
	is "$c: a link is a link" /etc/shadow "$(readlink tmp-$c/dir/link)"
	code 1 "$c: a directory over a file" shale cp dir $c:/new
	code 1 "$c: into what is not there" shale cp file $c:/no/such/file
	code 1 "$c: a file as a directory" shale cp file $c:/nosuch/
	code 1 "$c: from what is not there" shale cp $c:/nosuch .
	has "$c: by its name" "$c:/nosuch"
	ok "$c: into a volume" shale cp file $c:/vol/from-$c
	is "$c: is the host's" plain "$(cat vol/from-$c)"
	ok "$c: out as an archive" sh -c "'$SHALE' cp $c:/fresh - | tar t | sort >names"
	is "$c: names in it" "fresh/ fresh/link fresh/one fresh/sub/ fresh/sub/two" "$(tr '\n' ' ' <names | sed 's/ $//')"
	ok "$c: in from one" sh -c "tar cz dir | '$SHALE' cp - $c:/var"
	is "$c: unpacked" one "$(shale cp $c:/var/dir/one - | tar xO)"
	ok "$c: a relative path is from the root" shale cp $c:etc/passwd pw
done
sh_in 'ln -s passwd /etc/other'
ok "-L follows" shale cp -L running:/etc/other other
is "what it leads to" root "$(head -c 4 other)"
ln -sf passwd lnk
shale cp lnk running:/etc/lnk
ok "a link to a file is written through" shale cp file running:/etc/lnk
is "it stays a link" "passwd plain" "$(sh_in 'echo $(readlink /etc/lnk) $(cat /etc/passwd)')"
ok "a file that is bound" shale cp file running:/etc/hosts
is "is written to" plain "$(sh_in 'cat /etc/hosts')"
ok "all of a running one" shale cp -q running:/ whole
is "but what the kernel shows" "" "$(ls whole/proc whole/sys 2>/dev/null | grep -v : || true)"
chown 12:34 dir/one
shale cp dir/one running:/mine && shale cp -a dir/one running:/theirs
is "owners: root's, with -a as they are" "0:0 12:34" "$(sh_in 'stat -c %u:%g /mine /theirs' | tr '\n' ' ' | sed 's/ $//')"
sh_in 'cp /bin/busybox /suid && chmod 4755 /suid'
shale cp running:/suid suid
is "setuid does not come out" 755 "$(stat -c %a suid)"
sh_in 'mkdir /nodes && mknod /nodes/disk b 8 0 && mkfifo /nodes/pipe'
ok "devices do not come out" shale cp running:/nodes nodes
has "and are counted" "1 devices"
is "a pipe does" pipe "$(ls nodes)"
code 2 "neither side" shale cp file other
code 2 "both sides" shale cp stopped:/new running:/x
code 1 "no such container" shale cp nosuch:/x .
ok "names with a colon: ./" sh -c "echo c >a:b && '$SHALE' cp ./a:b running:/colon"
is "there" c "$(sh_in 'cat /colon')"

# --- hostile ones -------------------------------------------------------------------------------------------------
sh_in "ln -s $canary /out; ln -s ../../../../../../../..$canary /up; ln -s /proc/1/root$canary /magic; ln -s / /slash"
for l in out up magic; do
	rc=0
	shale cp file "running:/$l/file" >/dev/null 2>&1 || rc=$?
	shale cp file "running:/$l" >/dev/null 2>&1 || true
	shale cp dir/. "running:/$l" >/dev/null 2>&1 || true
done
is_safe "symlinks to the host lead nowhere"
shale exec -d running sh -c 'mkdir -p /race/d; while :; do
	mv /race/d /race/real; ln -s '"$canary"' /race/d; rm /race/d; mv /race/real /race/d; done'
for i in $(seq 60); do
	shale cp file running:/race/d/file >/dev/null 2>&1 || true
	shale cp dir running:/race/d >/dev/null 2>&1 || true
	tar c file | "$SHALE" cp - running:/race/d >/dev/null 2>&1 || true
done
is_safe "a directory swapped for a link while files go in"
mkdir -p secret && echo secret >secret/file
shale exec -d running sh -c 'mkdir -p /leak/d && echo mine >/leak/d/file; while :; do
	mv /leak/d /leak/real; ln -s '"$T"'/secret /leak/d; rm /leak/d; mv /leak/real /leak/d; done'
for i in $(seq 60); do shale cp running:/leak/d/file "leak$i" >/dev/null 2>&1 || true; done
is "nor is the host read while they come out" 0 "$(cat leak[0-9]* 2>/dev/null | grep -c secret || true)"
ok "rm -f" shale rm -f running
# What a name of the container's could load or run: nothing is.
mkdir trap && printf '#!/bin/sh\ntouch /pwned\n' >trap/xz && chmod 755 trap/xz
cp trap/xz trap/gzip && cp trap/xz trap/tar
shale run -d --name trap --network none -v "$T/trap:/usr/local/bin" busybox sleep 1000 >/dev/null
tar cJ file >in.tar.xz
ok "a compressed archive" sh -c "'$SHALE' cp - trap:/tmp <in.tar.xz"
is "no program of the container unpacked it" "" "$(shale exec trap sh -c 'ls /pwned 2>/dev/null || true')$(ls /pwned 2>/dev/null)"
python3 - <<'P' >evil.tar
import io, sys, tarfile
t = tarfile.open(fileobj=sys.stdout.buffer, mode="w|")
for name, target in (("l", "/"), ("up", "../../..")):
    i = tarfile.TarInfo(name)
    i.type, i.linkname = tarfile.SYMTYPE, target
    t.addfile(i)
i = tarfile.TarInfo("l/evil-by-link")
i.size = 1
t.addfile(i, io.BytesIO(b"x"))
t.close()
P
"$SHALE" cp - trap:/tmp <evil.tar >/dev/null 2>&1 || true
is "a link in an archive leads nowhere" "" "$(ls /evil-by-link 2>/dev/null)"
ok "rm -f" shale rm -f trap stopped
no_leaks
done_testing
