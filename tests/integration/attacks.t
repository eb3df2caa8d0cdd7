# SPDX-License-Identifier: Apache-2.0
# The attacks of the field, tried for real; a canary outside the container must stay as it is. T numbers name the attack.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/c" "$T/canary" && cd "$T/c"
echo safe >"$T/canary/file"
chmod 644 "$T/canary/file"
canary() { # canary NAME: nothing out there changed
	is "$1: the canary is untouched" "safe 644 0 1" \
		"$(cat "$T/canary/file") $(stat -c '%a %u' "$T/canary/file") $(find "$T/canary" -mindepth 1 | wc -l)"
}
build() { shale build --network none "$@" .; }
run() { shale run --rm --network none "$@"; }
mktar() { python3 "$top/tests/integration/evil.py" "$1" "$T/canary" >"$T/evil.tar"; }

# T1: a directory of the context turns into a symlink to the host and back while COPY reads it
mkdir -p ctx/dir && echo inside >ctx/dir/file
printf 'FROM busybox\nCOPY dir /got\n' >ctx/Dockerfile
python3 - "$PWD/ctx" "$T/canary" <<'EOF' &
import os, sys, time
ctx, canary = sys.argv[1:]
end = time.time() + 6
while time.time() < end:
    try:
        os.rename(ctx + "/dir", ctx + "/away")
        os.symlink(canary, ctx + "/dir")
        os.unlink(ctx + "/dir")
        os.rename(ctx + "/away", ctx + "/dir")
    except OSError:
        pass
EOF
racer=$!
leak=0
for i in $(seq 20); do
	if shale build --no-cache --network none -t t1 ctx >/dev/null 2>&1; then
		[ "$(run t1 cat /got/file 2>/dev/null)" != safe ] || leak=1
	fi
done
kill "$racer" 2>/dev/null || true
wait "$racer" 2>/dev/null || true
is "T1: COPY never read through the swapped symlink" 0 "$leak"
canary T1

# T2, T3: traps in the image's own programs and libraries are never run by shale
mkdir trap && printf '#!/bin/sh\necho trapped >>/trapped; echo pwned >%s\n' "$T/canary/pwned" >trap/sh
chmod 755 trap/sh
tar -czf trap/a.tar.gz -C ctx Dockerfile
cat >Dockerfile <<'EOF'
FROM busybox
COPY trap/sh /usr/bin/tar
COPY trap/sh /usr/bin/gzip
COPY trap/sh /usr/bin/xz
COPY trap/sh /usr/bin/unpigz
COPY trap/sh /usr/bin/git
COPY trap/sh /lib/libnss_files.so.2
COPY trap/sh /lib/x86_64-linux-gnu/libnss_files.so.2
ADD trap/a.tar.gz /out/
COPY --chown=www-data trap/sh /owned
USER www-data
EOF
ok "T2, T3: names are looked up, an archive is unpacked" build -t t2
code 1 "T2, T3: no trap was run" run -u root t2 ls /trapped
is "T2: the name was found as data" 33 "$(run t2 id -u)"
canary "T2, T3"

# T4: a program that is the runtime itself
printf '#!/proc/self/exe\n' >self && chmod 755 self
printf 'FROM busybox\nCOPY self /self\nRUN ln -s /proc/self/exe /exe\nCMD ["/self"]\n' >Dockerfile
before=$(sha256sum "$SHALE" "$(dirname "$SHALE")/shale-build")
ok "T4: image" build -t t4
run t4 >/dev/null 2>&1 || true
run t4 /exe >/dev/null 2>&1 || true
is "T4: /proc/self/exe inside is not shale" "" \
	"$(run t4 sh -c 'readlink /proc/1/exe' | grep shale || true)"
is "T4: shale's binaries are untouched" "$before" "$(sha256sum "$SHALE" "$(dirname "$SHALE")/shale-build")"

# T5, T6: images in which the places of our mounts lead elsewhere
for d in proc sys dev; do
	for to in "$T/canary" ../../../../.."$T/canary"; do
		mktar "link-$d=$to"
		shale import "$T/evil.tar" evil >/dev/null 2>&1 || true
		run evil /bin/true >/dev/null 2>&1 || true
		run evil /bin/sh -c 'echo x >/proc/sys/x; echo x >/dev/x; echo x >/sys/x' >/dev/null 2>&1 || true
	done
	canary "T5, T6: /$d as a symlink"
done
mktar "link-etc=$T/canary"
shale import "$T/evil.tar" evil >/dev/null 2>&1 || true
shale run --rm evil /bin/true >/dev/null 2>&1 || true
canary "T6: /etc as a symlink"
mktar "link-work=$T/canary"
shale import --change 'WORKDIR /work/sub' "$T/evil.tar" evil >/dev/null 2>&1 || true
run evil /bin/true >/dev/null 2>&1 || true
printf 'FROM evil\nWORKDIR /work/other\nCOPY self /work/self\n' >Dockerfile
build -t evil2 >/dev/null 2>&1 || true
canary "T6: WORKDIR and COPY through a symlink"
printf 'FROM busybox\nVOLUME /proc\nVOLUME /../../../etc\n' >Dockerfile
build -t vol >/dev/null 2>&1 || true
run vol true >/dev/null 2>&1 || true
code 125 "T5: a mount over /proc is refused" run -v "$T/canary:/proc" busybox true
canary T5

# T7, T8: /dev/null and pts replaced in the image
mktar "link-dev/null=$T/canary/file"
shale import "$T/evil.tar" evil >/dev/null 2>&1 || true
is "T7: /dev/null is the device" "1:3" "$(run evil /bin/sh -c 'stat -c "%t:%T" /dev/null' 2>/dev/null || echo 1:3)"
run evil /bin/sh -c 'echo pwned >/proc/kcore; echo pwned >/dev/null' >/dev/null 2>&1 || true
canary T7
mktar "link-dev/pts/0=$T/canary/file"
shale import "$T/evil.tar" evil >/dev/null 2>&1 || true
script -qec "$SHALE run --rm -t --network none evil /bin/true" /dev/null >/dev/null 2>&1 || true
canary T8

# T11, T12, T13, T14
caps='grep -E "Cap(Inh|Amb)" /proc/self/status'
want="CapInh:	0000000000000000
CapAmb:	0000000000000000"
is "T11: run has no inheritable capability" "$want" "$(run busybox sh -c "$caps")"
printf 'FROM busybox\nRUN %s >/caps\n' "$caps" >Dockerfile
ok "T11: a step" build -t t11
is "T11: nor has a RUN step" "$want" "$(run t11 cat /caps)"
shale run -d --name t11 --network none busybox sleep 1000 >/dev/null
is "T11: nor has exec" "$want" "$(shale exec t11 sh -c "$caps")"
is "T12: the primary group is among the groups" "no" \
	"$(run -u 1:2 busybox sh -c 'grep -q "^Groups:.*\b2\b" /proc/self/status && echo no || echo yes')"
code 1 "T13: the cgroup file system is read-only" run busybox sh -c 'mkdir /sys/fs/cgroup/x || mkdir /sys/fs/cgroup/memory/x'
for fd in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	run -w "/proc/self/fd/$fd" busybox cat ../../../../../../..$T/canary/file >>"$T/t14" 2>/dev/null || true
	shale exec -w "/proc/self/fd/$fd" t11 cat ../../../../../../..$T/canary/file >>"$T/t14" 2>/dev/null || true
	printf 'FROM busybox\nWORKDIR /proc/self/fd/%s\nRUN cat ../../../../../../..%s >/leak && grep safe /leak\n' "$fd" "$T/canary/file" >Dockerfile
	build >>"$T/t14" 2>/dev/null || true
done
is "T14: no working directory is outside" "" "$(cat "$T/t14")"
shale rm -f t11 >/dev/null

# T15
for u in 4294967296 +0 0x0 1: name:999 -1 99999999999999999999 4294967295; do
	code 125 "T15: user $u is refused" run -u "$u" busybox true
done
shale run -d --name t15 --network none busybox sleep 1000 >/dev/null
for u in 4294967296 +0 1: name:999 -1 4294967295; do
	code 125 "T15: user $u is refused by exec" shale exec -u "$u" t15 true
done
is "T4: exec of /proc/self/exe is not shale" "" "$(shale exec t15 /proc/self/exe --version 2>/dev/null || true)"
is "T4: and it stays what it was" "$before" "$(sha256sum "$SHALE" "$(dirname "$SHALE")/shale-build")"
shale rm -f t15 >/dev/null

# T9: a container turns a directory of a volume into a symlink and back, while others start with a mount beneath it and cp goes there
mkdir "$T/v9" "$T/m9"
echo m9 >"$T/m9/f"
shale run -d --name t9 --network none -v "$T/v9:/v" busybox sh -c "while :; do mkdir /v/d; rmdir /v/d; rm -rf /v/d; ln -s $T/canary /v/d; rm /v/d; ln -s ../../../../../../..$T/canary /v/d; rm /v/d; done 2>/dev/null" >/dev/null
for _ in $(seq 15); do
	run -v "$T/v9:/v" -v "$T/m9:/v/d/sub" busybox sh -c 'echo x >/v/d/sub/g; echo x >/v/d/new' >/dev/null 2>&1 || true
	shale cp "$T/m9/f" t9:/v/d/ >/dev/null 2>&1 || true
	shale cp "$T/m9/f" t9:/v/d/file >/dev/null 2>&1 || true
done
is "T9: no mount came to the host" "" "$(grep "$T/canary" /proc/self/mountinfo || true)"
is "T9: nothing was made there" "file" "$(ls "$T/canary")"
canary T9
shale rm -f t9 >/dev/null

# T16: the corpus of evil archives, by import and by ADD
for kind in symlink-dir symlink-file hardlink dotdot absolute root-symlink root-file chmod-link device trusted \
	long-name deep whiteout hard-to-symlink dir-over-link; do
	mktar "$kind"
	shale import "$T/evil.tar" evil16 >/dev/null 2>&1 || true
	cp "$T/evil.tar" evil.tar
	printf 'FROM busybox\nADD evil.tar /\nADD evil.tar /sub/\n' >Dockerfile
	build >/dev/null 2>&1 || true
	canary "T16: $kind"
done

# T21: a directory of a cache mount turns into a symlink to the host and back while another step mounts a part of it
mkdir "$T/v"
cat >Dockerfile <<EOF
FROM busybox
RUN --mount=type=cache,id=race,target=/c touch /v/up; while [ ! -e /v/done ]; do mkdir -p /c/a; echo in >/c/a/file; \\
    rm -r /c/a; ln -s $T/canary /c/a; rm /c/a; ln -s ../../../../../../../../../..$T/canary /c/a; rm /c/a; done
EOF
shale build --network none --no-cache -v "$T/v:/v:rw" . >/dev/null 2>&1 &
racer=$!
try "T21: a step that swaps" test -e "$T/v/up"
cat >Dockerfile <<'EOF'
FROM busybox
RUN --mount=type=cache,id=race,target=/m,source=a cat /m/file >/seen; echo pwned >/m/file; echo pwned >/m/made
EOF
leak=0
for i in $(seq 20); do
	if build --no-cache -t t21 >/dev/null 2>&1; then
		[ "$(run t21 cat /seen 2>/dev/null)" != safe ] || leak=1
	fi
done
touch "$T/v/done"
wait "$racer" || true
is "T21: no step read through the swapped symlink" 0 "$leak"
canary T21

# T22: a step puts symlinks to the host where the parents of its mount points were
mkdir -p "$T/canary2/b" && : >"$T/canary2/c"
cat >Dockerfile <<EOF
FROM busybox
RUN --mount=type=tmpfs,target=/a/b --mount=type=secret,id=k,target=/d/c \\
    mv /a /moved && mv /d /moved2 && ln -s $T/canary2 /a && ln -s $T/canary2 /d
EOF
echo k >k
ok "T22: a step that moves its mount points" build --secret id=k,src=k -t t22
is "T22: nothing of the host's was removed" "b c" "$(echo $(ls "$T/canary2"))"
is "T22: what the step made stays" "$T/canary2 $T/canary2" "$(echo $(run t22 readlink /a) $(run t22 readlink /d))"
cat >Dockerfile <<'EOF'
FROM busybox
RUN mkdir -p /real && ln -s /real /lnk
RUN --mount=type=tmpfs,target=/lnk/x/y true
RUN --mount=type=tmpfs,target=/p/q mkdir /p/mine && mv /p /p2 && mkdir -p /p/q
EOF
ok "T22: a mount point behind a symlink" build -t t22
is "T22: leaves nothing" "" "$(run t22 ls -A /real)"
is "T22: a directory of the step's own stays where a mount point was" q "$(run t22 ls /p)"

# T26: binds and seeds from trees whose symlinks lead out
mkdir bad && ln -s / bad/l && ln -s "$T/canary" bad/abs && ln -s "../../../../../../../../..$T/canary" bad/rel
for src in /l /bad/l /bad/abs /bad/rel "/bad/l/..$T/canary" "../../../../..$T/canary"; do
	for kind in bind,rw,from=evil bind,rw cache,id=t26,from=evil cache,id=t26; do
		cat >Dockerfile <<EOF
FROM busybox AS evil
COPY bad /bad
RUN ln -s / /l
FROM busybox
RUN --mount=type=$kind,source=$src,target=/m cat /m/file /m$T/canary/file; echo pwned >/m/file; echo pwned >/m$T/canary/file; true
EOF
		build >>"$T/t26" 2>&1 || true
	done
done
is "T26: nothing was read" "" "$(grep '| safe' "$T/t26" || true)"
is "T26: and some of it was tried" yes "$(grep -q '| cat: ' "$T/t26" && echo yes)"
canary T26

# T27: propagation
for p in rshared shared rslave; do
	printf 'FROM busybox\nRUN --mount=type=bind,target=/m,bind-propagation=%s true\n' "$p" >Dockerfile
	code 1 "T27: bind-propagation=$p is refused" build
	has "T27: by name" "unknown key bind-propagation"
done

# T28: ids and targets that are paths
for id in ../../etc "../../../..$T/canary" "$T/canary" . .. seccomp; do
	printf 'FROM busybox\nRUN --mount=type=cache,id=%s,target=/x echo pwned >/x/file; echo pwned >/x/pwned\n' "$id" >Dockerfile
	ok "T28: the id $id is only a name" build --no-cache
done
for target in "../../../..$T/canary" "/../..$T/canary" "/x/../../..$T/canary" /proc /proc/self/attr /; do
	printf 'FROM busybox\nRUN --mount=type=tmpfs,target=%s touch %s/pwned\n' "$target" "$target" >Dockerfile
	build >/dev/null 2>&1 || true
done
canary T28
for name in ../../etc/x /etc/x a/../../b; do
	code 125 "T28: container name $name is refused" run --name "$name" busybox true
done

# T29: passwd as a FIFO, a symlink to the host, and huge
printf 'FROM busybox\nRUN rm /etc/passwd && mkfifo /etc/passwd\n' >Dockerfile
ok "T29: FIFO" build -t t29
code 125 "T29: a FIFO as passwd does not hang" timeout 10 "$SHALE" run --rm --network none -u someone t29 true
ids() { awk '/^[UG]id:/ { printf "%s ", $2 }' "$T/out"; }
ok "T29: a number needs no file" timeout 10 "$SHALE" run --rm --network none -u 5 t29 cat /proc/self/status
is "T29: it is that" "5 0 " "$(ids)"
printf 'FROM busybox\nRUN ln -sf %s /etc/passwd\n' /proc/1/environ >Dockerfile
ok "T29: symlink" build -t t29
code 125 "T29: a symlink as passwd" timeout 10 "$SHALE" run --rm --network none -u someone t29 true
printf 'FROM busybox\nRUN truncate -s 10G /etc/passwd\n' >Dockerfile
ok "T29: 10 GB sparse" build -t t29
code 125 "T29: a huge passwd" timeout 10 "$SHALE" run --rm --network none -u someone t29 true
shale run -d --name t29 --network none busybox sleep 1000 >/dev/null
for passwd in 'mkfifo /etc/passwd' 'ln -s /proc/1/environ /etc/passwd' 'mkdir /etc/passwd' 'truncate -s 10G /etc/passwd'; do
	shale exec t29 sh -c "rm -rf /etc/passwd /etc/group; $passwd; mkfifo /etc/group"
	code 125 "T29: exec by name, $passwd" timeout 10 "$SHALE" exec -u someone t29 true
	ok "T29: exec by number, $passwd" timeout 10 "$SHALE" exec -u 7:8 t29 cat /proc/self/status
	is "T29: it is that" "7 8 " "$(ids)"
done
shale rm -f t29 >/dev/null

# T30: nothing of the host's environment
is "T30: RUN and run start from an empty environment" "" "$(SECRET=x run busybox env | grep SECRET || true)"
printf 'FROM busybox\nRUN env | grep SECRET && exit 1 || true\n' >Dockerfile
ok "T30: nor does RUN see it" env SECRET=x "$SHALE" build --no-cache --network none .

# T33: other users of the host
code 2 "T33: nobody cannot enter the store" setpriv --reuid=65534 --regid=65534 --clear-groups ls "$SHALE_ROOT"
is "T33: mode 0700" 700 "$(stat -c %a "$SHALE_ROOT")"

# T35, T36, T37
is "T35: --network none has lo alone" "lo" "$(run busybox ls /sys/class/net)"
code 1 "T35: and no way out" run busybox sh -c 'wget -T 1 -q -O - http://127.0.0.1:18080/ || ping -c 1 -W 1 10.0.0.1'
ok "T36: info tells the kernel" shale info
has "T36" "$(uname -r)"
for c in 'mount -t tmpfs x /tmp' 'unshare -m true' 'chroot / true; swapon /x' 'dmesg -c' 'rmmod x' '! date -s @0 2>&1 | grep -q "not permitted"' \
	'mount -o remount,rw /proc/sys' 'losetup /dev/loop0 /x' 'ip link add d type dummy' 'pivot_root / /tmp' 'nsenter -t 1 -m true'; do
	if run busybox sh -c "$c" >"$T/out" 2>"$T/err"; then fail "T37: $c is denied"; else pass "T37: $c is denied"; fi
done
canary end
# T10: lengths that a careless sum would wrap or a careless buffer overflow. Each is refused with a word of what it is, or works.
long() { # long NAME TEXT BEFORE COUNT PATTERN AFTER: a line of a Dockerfile
	{
		printf 'FROM busybox\n%s' "$3"
		head -c "$4" /dev/zero | sed "s/\x0/$5/g"
		printf '%s\n' "$6"
	} >"$T/ctx/Long"
	rc=0
	shale build --network none -f "$T/ctx/Long" "$T/ctx" >"$T/out" 2>"$T/err" </dev/null || rc=$?
	is "T10: $1" "${2:+1}" "$(echo "$rc" | sed 's/^0$//')"
	[ -z "$2" ] || { shale build -q --network none -f "$T/ctx/Long" "$T/ctx" >"$T/out" 2>"$T/err" </dev/null || true; has "says \"$2\"" "$2"; }
}
mkdir -p "$T/ctx"
long "a Dockerfile of 2 MB" "larger than" 'ENV A=' 2000000 x ''
long "an argument of 200 kB" "Argument list too long" 'RUN true ' 200000 x ''
long "a variable of 200 kB" "" 'ENV A=' 100000 x ''
long "a user of 100 kB" "is out of range" 'USER ' 100000 9 '
RUN true'
long "a working directory of 100 kB" "File name too long" 'WORKDIR /' 50000 'a\\\/' ''
long "a file name of 5 kB" "File name too long" 'COPY Long /' 5000 a ''
long "100,000 ports" "" 'EXPOSE ' 100000 '8 ' ''
long "a port range of all" "" 'EXPOSE 1-65535' 0 x ''
long "an id of 2^64" "out of range" 'COPY --chown=18446744073709551616 Long /' 0 x ''
long "braces in braces" "deep" 'ARG A=' 5000 '${B:-' "$(head -c 5000 /dev/zero | sed 's/\x0/}/g')"
long "a secret's id of 10 kB" "id" 'RUN --mount=type=secret,required,id=' 10000 x ' true'
long "10,000 labels" "" 'LABEL' 10000 ' a=1' ''
no_leaks
done_testing
