# SPDX-License-Identifier: Apache-2.0
# Volumes: named, without a name, of images; --mount and --volumes-from.
. "$(dirname "$0")/lib.sh"
base
cd "$T"
out() { cat "$T/out"; }
run() { shale run --rm --network none "$@"; }
names() { shale volume ls -q "$@" | tr '\n' ' ' | sed 's/ $//'; }
printf 'FROM busybox\nRUN mkdir -p /data/sub && echo from image >/data/sub/f && chown 7:8 /data && chmod 750 /data\nVOLUME /data\n' >Dockerfile
shale build -q -t withvol . >/dev/null

# --- named ones ----------------------------------------------------------------------------------------------------
ok "volume create" shale volume create --label a=b --label c one
is "prints the name" one "$(out)"
ok "twice is fine" shale volume create one
is "inspect" "one local b" "$(shale volume inspect -f '{{.Name}} {{.Driver}} {{.Labels.a}}' one)"
place=$(shale volume inspect -f '{{.Mountpoint}}' one)
ok "it is a directory" test -d "$place"
ok "written by one container" run -v one:/v busybox sh -c 'echo kept >/v/f'
is "read by the next" kept "$(run -v one:/v busybox cat /v/f)"
is "on the host" kept "$(cat "$place/f")"
code 1 "ro" run -v one:/v:ro busybox sh -c 'echo x >/v/g'
ok "a new one is made by its use" run -v two:/v busybox true
is "ls" "one two" "$(names)"
is "ls -f name" two "$(names -f name=tw)"
is "ls -f label" one "$(names -f label=a=b)"
shale create --name user --network none -v one:/v busybox true >/dev/null
is "ls -f dangling=true" two "$(names -f dangling=true)"
is "ls -f dangling=false" one "$(names -f dangling=false)"
code 1 "rm of one in use" shale volume rm one
has "says by whom" user
ok "container rm" shale rm -v user
is "keeps it" "one two" "$(names)"
ok "volume rm" shale volume rm two
code 1 "rm of what is not there" shale volume rm two
ok "rm -f" shale volume rm -f two
code 1 "inspect of what is not there" shale volume inspect two
code 1 "a bad name" shale volume create a/b
code 1 "rm of a path" shale volume rm ../snap
code 125 "a bad name in -v" run -v 'a b:/v' busybox true
code 125 "a bad option" run -v one:/v:nosuch busybox true
has "says which there are" nocopy
ok "without a name" shale volume create
ok "volume prune" shale volume prune -f
is "takes those without a name" one "$(names)"

# --- the first content ---------------------------------------------------------------------------------------------
is "copied up at first use" "from image 7:8 750" "$(run -v fresh:/data withvol sh -c 'echo $(cat /data/sub/f) $(stat -c "%u:%g %a" /data)')"
ok "changed" run -v fresh:/data withvol sh -c 'rm -r /data/sub; echo x >/data/x'
is "only at first use" x "$(run -v fresh:/data withvol ls /data)"
is "nocopy" "" "$(run -v empty:/data:nocopy withvol ls /data)"
is "an empty one waits for its content" "" "$(run -v empty:/nosuch busybox ls /nosuch)"
is "and gets it" sub "$(run -v empty:/data withvol ls /data)"
for i in 1 2 3 4; do run -v many:/data withvol cat /data/sub/f >"m$i" & done
wait
is "four at once see all of it" 4 "$(cat m1 m2 m3 m4 | grep -c 'from image')"
for i in empty fresh many; do shale volume rm $i >/dev/null; done

# --- those of images -----------------------------------------------------------------------------------------------
is "VOLUME: a volume of its own" "from image" "$(run withvol cat /data/sub/f)"
is "gone with --rm" one "$(names)"
shale run --name anon --network none withvol sh -c 'echo mine >/data/mine' >/dev/null
is "one without a name" 2 "$(shale volume ls -q | wc -l)"
is "is not part of the layer" "" "$(shale diff anon)"
is "inspect" "volume /data true" "$(shale container inspect -f '{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}{{end}}' anon)"
shale create --name other --network none --volumes-from anon withvol cat /data/mine >/dev/null
is "--volumes-from" mine "$(shale start -a other)"
is "--volumes-from :ro" "mine ro" "$(run --volumes-from anon:ro withvol sh -c 'echo $(cat /data/mine) $(echo x 2>/dev/null >/data/y || echo ro)')"
code 125 "of what is not there" run --volumes-from nosuch busybox true
ok "rm -v" shale rm -v anon
is "another one uses it still" 2 "$(shale volume ls -q | wc -l)"
ok "rm -v of the last" shale rm -v other
is "takes it" one "$(names)"
ok "-v /path" shale run --name bare --network none -v /p busybox touch /p/f
is "one without a name" 2 "$(shale volume ls -q | wc -l)"
ok "rm without -v" shale rm bare
is "keeps it" 2 "$(shale volume ls -q | wc -l)"
ok "volume prune" shale volume prune -f
is "takes it" one "$(names)"
is "-v over a VOLUME takes its place" kept "$(run -v one:/data withvol cat /data/f)"
is "and none is made" one "$(names)"

shale create --name holds -v one:/data -v "$T:/t" busybox true >/dev/null
shale create --name later busybox true >/dev/null
is "ps by a volume" "holds holds holds" "$(for v in one /data "$T"; do shale ps -a -f volume="$v" --format '{{.Names}}'; done | xargs)"
is "ps by what came before, after" "holds later" "$(shale ps -a -f before=later --format '{{.Names}}') $(shale ps -a -f since=holds --format '{{.Names}}')"
code 1 "by nobody" shale ps -a -f since=nosuch
shale rm holds later >/dev/null

# --- --mount -------------------------------------------------------------------------------------------------------
mkdir -p host/sub && echo hosted >host/f
is "bind" hosted "$(run --mount type=bind,source="$T/host",target=/m busybox cat /m/f)"
code 1 "bind, readonly" run --mount type=bind,src="$T/host",dst=/m,readonly busybox sh -c 'echo x >/m/g'
code 125 "a bind's source must be there" run --mount type=bind,src="$T/nosuch",dst=/m busybox true
is "volume" kept "$(run --mount source=one,target=/m busybox cat /m/f)"
run -v one:/v busybox sh -c 'mkdir -p /v/deep/er; echo deep >/v/deep/er/f; ln -s / /v/deep/root'
is "volume-subpath" deep "$(run --mount type=volume,src=one,dst=/m,volume-subpath=deep/er busybox cat /m/f)"
echo canary >canary
is "a subpath cannot leave it" "" "$(run --mount type=volume,src=one,dst=/m,volume-subpath=deep/root/"$T" busybox cat /m/canary 2>/dev/null)"
is "tmpfs" "tmpfs 700" "$(run --mount type=tmpfs,dst=/m,tmpfs-size=1m,tmpfs-mode=700 busybox sh -c 'echo $(grep " /m " /proc/mounts | cut -d" " -f3) $(stat -c %a /m)')"
is "image" "from image" "$(run --mount type=image,src=withvol,dst=/m,image-subpath=data busybox cat /m/sub/f)"
code 1 "an image is read-only" run --mount type=image,src=withvol,dst=/m busybox touch /m/x
shale create --name img --network none --mount type=image,src=withvol,dst=/m busybox cat /m/data/sub/f >/dev/null
ok "an image that is mounted" shale rmi -f withvol
is "stays for the container" "from image" "$(shale start -a img)"
ok "rm" shale rm img
ok "cache" run --mount type=cache,id=c1,dst=/m busybox sh -c 'echo cached >/m/f'
is "is there again" cached "$(run --mount type=cache,id=c1,dst=/m busybox cat /m/f)"
for bad in type=nosuch,dst=/m type=bind,dst=/m type=bind,src=rel,dst=/m type=volume,src=one type=volume,src=one,dst=m \
	type=volume,src=one,dst=/m,nosuch=1 type=tmpfs,dst=/m,tmpfs-size=x type=tmpfs,dst=/ type=volume,src=a/b,dst=/m \
	type=bind,src=/,dst=/m,bind-propagation=odd type=image,dst=/m type=bind,src=/,dst=/m,readonly=maybe; do
	code 125 "refused: $bad" run --mount "$bad" busybox true
done
unshare -m sh -e -c '
	mount --make-rprivate / && mkdir -p "$1/tree/in" && mount -t tmpfs t "$1/tree" && mkdir "$1/tree/in" && mount -t tmpfs t "$1/tree/in" && touch "$1/tree/in/f"
	"$2" run --rm --network none -v "$1/tree:/m:ro" busybox sh -c "touch /m/in/x 2>/dev/null || echo ro" >"$1/rro"
	"$2" run --rm --network none --mount type=bind,src="$1/tree",dst=/m,bind-recursive=disabled busybox ls /m/in >"$1/flat"
	mount --make-shared "$1/tree"
	"$2" run -d --name prop --network none -v "$1/tree:/m:rslave" -v "$1/tree:/p" busybox sleep 1000 >/dev/null
	mkdir "$1/tree/late" && mount -t tmpfs t "$1/tree/late" && touch "$1/tree/late/f"
	"$2" exec prop sh -c "ls /m/late; ls /p/late" >"$1/late"
	"$2" rm -f prop >/dev/null; umount "$1/tree/late" "$1/tree/in" "$1/tree"' sh "$T" "$SHALE" >"$T/out" 2>"$T/err" || fail "mounts of the host"
is "read-only is recursive" ro "$(cat rro)"
is "bind-recursive=disabled" "" "$(cat flat)"
is "rslave sees what is mounted later, private does not" f "$(cat late)"

# --- U ---------------------------------------------------------------------------------------------------------------
mkdir -p "$T/u/sub/deep" "$T/u/over" "$T/out.d"
touch "$T/u/f" "$T/u/sub/deep/f" "$T/out.d/f" "$T/u/-n"
mkfifo "$T/u/fifo"
ln -s "$T/out.d" "$T/u/link"
ln -s "$T/u" "$T/way"
owners() { (cd "$1" && find . -exec stat -c '%u:%g' {} + | sort -u | xargs); }
unshare -m sh -e -c '
	mount --make-rprivate / && mount -t tmpfs t "$1/u/over" && touch "$1/u/over/f"
	"$2" run --name given --network none -u 1234:5678 -v "$1/way:/m:U" -v mine:/v:U busybox touch /m/sub/own /v/own
	stat -c %u:%g "$1/u/over" "$1/u/over/f"; umount "$1/u/over"' sh "$T" "$SHALE" >over 2>"$T/err" || fail "U"
is "U makes all of it the user's" "1234:5678 0:0" "$(owners "$T/u" | sed 's/^\(.*\) \(1234:.*\)$/\2 \1/')"
is "but another mount in it" "0:0 0:0 0:0" "$(echo $(cat over) $(stat -c %u:%g "$T/u/over"))"
is "and what a link leads to" "0:0 1234:5678" "$(owners "$T/out.d") $(stat -c %u:%g "$T/u/link")"
is "a volume, too" 1234:5678 "$(owners "$SHALE_ROOT/volumes/mine/_data")"
touch "$T/u/late"
ok "start" shale start -a given
is "does it again" 1234:5678 "$(stat -c %u:%g "$T/u/late")"
ok "--volumes-from" shale run --rm --network none --volumes-from given -u 77 busybox sh -c 'grep -q " /m " /proc/mounts && grep -q " /v " /proc/mounts'
is "leaves it so" "1234:5678 1234:5678" "$(stat -c %u:%g "$T/u/late") $(owners "$SHALE_ROOT/volumes/mine/_data")"
ok "--mount" run -u 8 --mount "type=bind,src=$T/u,dst=/m,U" --mount type=volume,src=mine,dst=/v,chown=true busybox true
is "as well" "8:0 8:0" "$(stat -c %u:%g "$T/u/sub/deep/f") $(owners "$SHALE_ROOT/volumes/mine/_data")"
ln -s /etc sys
for bad in / /etc /usr/. /proc/sys "$T/sys" /root "$SHALE_ROOT" "$SHALE_ROOT/volumes/mine" "$SHALE_ROOT/db.lock" "$T"; do
	code 125 "U of $bad" run -u 8 -v "$bad:/m:U" busybox true
	has "is refused" "option U does not change the owner of"
done
code 125 "with --mount as well" run -u 8 --mount "type=bind,src=/etc,dst=/m,chown" busybox true
is "which all stay root's" "0 0 0" "$(echo $(stat -c %u /etc /etc/passwd "$SHALE_ROOT"))"
(while [ ! -e "$T/done" ]; do mkdir -p "$T/u/sw/x"; rm -r "$T/u/sw"; ln -s "$T/out.d" "$T/u/sw"; rm "$T/u/sw"; done) 2>/dev/null &
racer=$!
for i in 1 2 3 4 5 6 7 8 9 10; do run -u $((i + 1000)) -v "$T/u:/m:U" busybox true 2>/dev/null || true; done
touch "$T/done"
wait $racer || true
is "T1: nothing behind a link that comes and goes" 0:0 "$(owners "$T/out.d")"
shale rm given >/dev/null
shale volume rm mine >/dev/null

# --- crashes ------------------------------------------------------------------------------------------------------
shale run -d --name gone --network none -v left:/d busybox sleep 1000 >/dev/null
kill -9 "$(ps -o ppid= -p "$(shale container inspect -f '{{.State.Pid}}' gone)")"
try "kill -9 of the monitor" sh -c "[ \"\$('$SHALE' container inspect -f '{{.State.Status}}' gone)\" = exited ]"
ok "its volume can go with it" sh -c "'$SHALE' rm gone && '$SHALE' volume rm left"
ok "df counts them" shale system df
has "one" Volumes
is "how many" 1 "$(awk '/Volumes/ { print $3 }' "$T/out")"
ok "volume prune -a" shale volume prune -af
is "takes all" "" "$(names)"
ok "the cache mount goes" shale cache rm c1
try "nothing is left of them" sh -c "[ -z \"\$(ls '$SHALE_ROOT/volumes' '$SHALE_ROOT/trash' | grep -v :)\" ]"
no_leaks
done_testing
