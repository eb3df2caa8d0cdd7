# SPDX-License-Identifier: Apache-2.0
# What the store holds and to whom it belongs; removing, undoing, pruning; limits; a full disk.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" && cd "$T/ctx"
printf 'FROM busybox\nLABEL kind=app\nRUN echo 1 >/a\nRUN head -c 300000 /dev/urandom >/b\n' >Dockerfile
build() { shale build --network none "$@" .; }
column() { shale du --format '{{.Type}}|{{.Bytes}}' | sed -n "s/^$1|//p"; }
whole() { [ "$(column All)" = "$(du -sB1 "$SHALE_ROOT" | cut -f1)" ]; }
quiet() { ! shale ps -aq | grep -q . && [ ! -e "$SHALE_ROOT/tmp/busy" ]; }

ok "an image" build -t app
laid() { [ -e "$SHALE_ROOT/reserve" ]; }
try "the limits were looked at after it" laid
ok "a container" shale create --name keep app true
try "every byte is somebody's: du(1) counts the same" whole
is "no orphans" 0 "$(column Orphans)"
mkdir "$SHALE_ROOT/snap/9999" && echo x >"$SHALE_ROOT/snap/9999/f"
echo x >"$SHALE_ROOT/blobs/sha256/0000000000000000000000000000000000000000000000000000000000000000"
ok "du -v" shale du -v
has "a directory without a row is an orphan" "orphan: snap/9999"
has "a blob as well" "orphan: blobs/sha256/0000"
has "an image has what it shares and what is its own" "UNIQUE"
ok "system df is the same" shale system df
has "as docker calls it" "Build Cache"
try "and the sum is still that of du(1)" whole
mkdir "$SHALE_ROOT/containers/$(printf %064d 7)"
ok "gc" shale gc
is "takes them away, and a container's without a row" "0 0" "$(column Orphans) $(find "$SHALE_ROOT/containers" -name '0000*' | wc -l)"
try "the sum is right still" whole
shale rm keep >/dev/null

# The trash
id=$(shale images -q --no-trunc app)
ok "rmi" shale rmi app
has "says that it can be undone" "shale builder prune"
ok "trash" shale trash
has "lists it with its name" "app:latest"
ok "undo" shale undo
has "says what is back" "Restored: app:latest"
is "it is the same image" "$id" "$(shale images -q --no-trunc app)"
is "which runs" 1 "$(shale run --rm --network none app cat /a)"
code 1 "nothing more to undo" shale undo
has "is said" "nothing is in the trash"
ok "rmi of two" sh -c "$SHALE tag app other; $SHALE rmi other; $SHALE rmi app"
build -t app >/dev/null 2>&1
ok "a name that was given anew" shale trash --empty
ok "pin" shale pin app
ok "prune -a" shale image prune -af
is "leaves what is pinned" "app" "$(shale images --format '{{.Repository}}')"
code 1 "rmi of it" shale rmi app
has "says so" "pinned"
ok "unpin" shale unpin app
before=$(du -sB1 --exclude='db.sqlite*' "$SHALE_ROOT" | cut -f1)
ok "rmi --now" shale rmi --now app
is "leaves nothing to undo" "" "$(shale trash --format "{{.Names}}" | grep app || true)"
ok "builder prune" shale builder prune -f
after=$(du -sB1 --exclude='db.sqlite*' "$SHALE_ROOT" | cut -f1)
if [ $((before - after)) -gt 300000 ]; then pass "the space is there when it returns"; else fail "$before $after"; fi
base

# What would go, and why
build -t app >/dev/null 2>&1
sed -i 's/echo 1/echo 2/' Dockerfile
build -t app >/dev/null 2>&1
shale create --name idle busybox true >/dev/null
ok "prune --dry-run" shale prune --dry-run
has "names the container" "idle"
has "and its state" "Created"
has "and says that more hangs on it" "would go as well"
has "names the dangling image" "dangling: no name"
shale rm idle >/dev/null
ok "image prune --dry-run -a" shale image prune -a --dry-run
has "and the one without a container" "no container uses it"
ok "image prune --filter label" shale image prune -af --filter label=kind=none
is "takes what fits" 3 "$(shale images -q | wc -l)"
ok "image prune --filter until" shale image prune -af --filter until=1h
is "and what is old enough" 3 "$(shale images -q | wc -l)"
code 2 "a filter that is none" shale image prune -f --filter colour=red
ok "image prune" shale image prune -f --now
is "takes the dangling one" 2 "$(shale images -q | wc -l)"
ok "builder prune --dry-run" shale builder prune --dry-run
has "with the reason" "no image rests on it"
has "and the sum" "Would remove 2 build steps"
ok "builder prune --reserved-space" shale builder prune -f --reserved-space 1GB
ok "keeps the cache" shale builder prune --dry-run
has "all of it" "Would remove 2 build steps"
ok "builder prune --max-used-space" shale builder prune -f --max-used-space 1kB
ok "takes it" shale builder prune --dry-run
has "all" "Would remove 0 build steps"

# Settings
conf=$T/shale.conf
export SHALE_CONF="$conf"
printf '[gc]\nkeep-duration = 0s\nmax-used-space = 1kB\nreserved-space = 0\nmin-free-space = 0\n[trash]\nkeep-duration = 0s\n' >"$conf"
ok "info" shale info
has "tells where a value comes from" "$conf:3"
has "and what is built in" "default"
sed -i 's/echo 2/echo 3/' Dockerfile
build -t app >/dev/null 2>&1
gone() { shale builder prune --dry-run >"$T/plan" && grep -q 'Would remove 0' "$T/plan"; }
try "the limits apply after a build" gone
ok "rmi with no time in the trash" shale rmi app
nothing() { [ -z "$(shale trash -q)" ]; }
try "empties it" nothing
printf '[gc]\nkeep-duration = 1h\nreserved-space = 0\nmin-free-space = 0\n' >"$conf"
ok "a build of long ago by SOURCE_DATE_EPOCH" env SOURCE_DATE_EPOCH=1000 "$SHALE" build --network none --no-cache -t app .
shale rmi --now app >/dev/null
ok "gc" shale gc
ok "looks at when a step was used, not at its date" shale builder prune --dry-run
has "and keeps it" "Would remove 2 build steps"
printf '[gc]\nkeep-duratoin = 1h\n' >"$conf"
code 1 "an unknown setting" shale images
has "has its line" "shale.conf:2"
has "and what may have been meant" "keep-duration"
printf '[gc]\nmax-used-space = much\n' >"$conf"
code 1 "a value that does not fit" shale images
has "is named" "max-used-space"
unset SHALE_CONF

# A full disk: removing works, and a step that finds it full has it cleared once
img=$T/full.img
truncate -s 64M "$img"
mkfs.ext4 -q -F -m 0 "$img"
mkdir "$T/full"
mount -o loop "$img" "$T/full"
undo="umount $T/full 2>/dev/null || { sleep 2; umount -l $T/full; } 2>/dev/null"
store=$SHALE_ROOT
SHALE_ROOT=$T/full/s
base
printf 'FROM busybox\nRUN head -c 20000000 /dev/zero >/big\n' >Dockerfile
ok "an image of 20 MB" build -t big
reserved() { [ -e "$SHALE_ROOT/reserve" ]; }
try "a reserve is laid by" reserved
shale rmi big >/dev/null
shale create --name keep busybox true >/dev/null
head -c 60000000 /dev/zero >"$T/full/fill" 2>/dev/null || true
ok "rm on a full disk" shale rm keep
ok "prune too" shale prune -af
rm "$T/full/fill"
printf 'FROM busybox\nRUN head -c 20000000 /dev/zero >/big\nRUN true\n' >Dockerfile
base
ok "an image again" build -t big
shale rmi big >/dev/null
shale builder prune -f >/dev/null
printf 'FROM busybox\nRUN head -c 40000000 /dev/zero >/bigger\n' >Dockerfile
ok "a step that has room only without the trash" build -t bigger
is "runs" 40000000 "$(shale run --rm --network none bigger stat -c %s /bigger)"
ok "rmi --now" shale rmi --now bigger
shale builder prune -f >/dev/null
SHALE_ROOT=$store
sleep 1
ok "the file system can be unmounted" umount "$T/full"
no_leaks
done_testing
