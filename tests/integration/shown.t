# SPDX-License-Identifier: Apache-2.0
# container mount: the file system of a container where the host sees it.
. "$(dirname "$0")/lib.sh"
base
undo='for d in "$T"/m*; do while mountpoint -q "$d" 2>/dev/null; do umount -l "$d"; done; done'
at=$(printf '%x.%s' "$(stat -c %d "$SHALE_ROOT")" "$(stat -c %i "$SHALE_ROOT")")
mkdir "$T/m1" "$T/m2"
shale create --name box --network none busybox sh -c 'cat /f; echo run >/r; exec sleep 1000' >/dev/null
ok "one that never ran" shale container mount box "$T/m1"
is "says where" "$T/m1" "$(cat "$T/out")"
is "nosuid and nodev, and writable" "rw,nosuid,nodev" "$(findmnt -no VFS-OPTIONS "$T/m1" | cut -d, -f1-3)"
own=$(shale container mount box)
is "is there already" "$T/m1" "$own"
echo host >"$T/m1/f"
ln -s / "$T/m1/out"
is "the list" "box $T/m1" "$(shale container mount --format '{{.Container}} {{.Dir}}')"
is "which has no images" "" "$(shale image mount --format '{{.Dir}}')"
is "the store stays closed" "700 700" "$(stat -c %a "$SHALE_ROOT" "/run/shale/$at" | tr '\n' ' ' | sed 's/ $//')"
code 1 "a place inside the store" shale container mount box "$SHALE_ROOT/tmp"
echo copied >"$T/c"
ok "cp to it meanwhile" shale cp "$T/c" box:/c
is "goes the same way" copied "$(cat "$T/m1/c")"
is "diff" "A /c A /f A /out" "$(shale diff box | tr '\n' ' ' | sed 's/ $//')"
ok "it starts" shale start box
try "and sees what was written there" sh -c "'$SHALE' logs box | grep -x host"
try "which sees what it writes" cat "$T/m1/r"
ok "it stops" shale stop -t 0 box
ok "the mount stays" test -e "$T/m1/r"
ok "it starts once more" shale start box
is "setuid programs work in it" "" "$(shale exec box awk '$2 == "/" && $4 ~ /nosuid/' /proc/mounts)"
is "not where the host sees it" "rw,nosuid,nodev" "$(findmnt -no VFS-OPTIONS "$T/m1" | cut -d, -f1-3)"
ok "unmount" shale container unmount box
is "says from where" "$T/m1" "$(cat "$T/out")"
code 1 "again" shale container unmount box
has "is none" "is not mounted"
own=$(shale container mount box)
is "one that runs, at a place of its own" host "$(cat "$own/f")"
is "that root alone enters" 700 "$(stat -c %a "$own/..")"
echo late >"$own/late"
is "it sees what is written" late "$(shale exec box cat /late)"
is "its volumes are not there" "" "$(ls -A "$own/proc")"
is "nor is its root the host's" / "$(readlink "$own/out")"
shale kill box >/dev/null && shale wait box >/dev/null
ok "it ends, and starts again" shale start box
is "with what was there" late "$(shale exec box cat /late)"
ok "commit" shale commit box seen
is "has it all" "host late" "$(shale run --rm --network none seen cat /f /late | tr '\n' ' ' | sed 's/ $//')"
(cd "$own" && exec sleep 30) &
holder=$!
try "somebody stands in it" sh -c '[ "$(readlink "/proc/$0/cwd")" = "$1" ]' $holder "$own"
mkdir -p "/run/shale/ffff.$$/mounts"
ok "rm takes the mount away" shale rm -f box
code 1 "and its directory" test -e "$own"
ok "nor is anything of it left" test ! -e "/run/shale/$at"
ok "or of a store that nothing is of mounted" test ! -e "/run/shale/ffff.$$"
is "nothing is listed" "" "$(shale container mount --format '{{.Dir}}')"
kill $holder
ok "run --rm" shale run -d --rm --name brief --network none --read-only busybox sleep 1000
ok "mounted" shale container mount brief "$T/m2"
ok "is written to all the same" touch "$T/m2/x"
shale kill brief >/dev/null
try "and goes with its end" sh -c "! mountpoint -q '$T/m2'"
if shale run --name users --network none --userns auto busybox sh -c 'touch /x; chown 5 /x' >/dev/null 2>&1; then
	first=$(shale inspect -f '{{index .HostConfig.IDMappings.UidMap 0}}' users | cut -d: -f2)
	ok "one with users of its own" shale container mount users "$T/m2"
	is "shows those" "$first $((first + 5))" "$(stat -c %u "$T/m2" "$T/m2/x" | tr '\n' ' ' | sed 's/ $//')"
	ok "cp to it" sh -c "tar -C '$T' -cf - --owner=12 --group=13 c | '$SHALE' cp - users:/ && '$SHALE' cp '$T/c' users:/d"
	is "is theirs" "$first $((first + 12))" "$(stat -c %u "$T/m2/d" "$T/m2/c" | tr '\n' ' ' | sed 's/ $//')"
	ok "cp -a from it" shale cp -a users:/c "$T/back"
	is "is as it was inside" 12:13 "$(stat -c %u:%g "$T/back")"
	ok "starts" shale start -a users
	ok "unmount --all" shale container umount --all
	shale rm users >/dev/null
fi
ok "mounted by umount(8)'s measure" shale create --name gone --network none busybox true
shale container mount gone "$T/m1" >/dev/null
umount "$T/m1"
is "what that took away is not listed" "" "$(shale container mount --format '{{.Dir}}')"
ok "and does not count" shale start -a gone
ok "verify" shale verify
no_leaks
done_testing
