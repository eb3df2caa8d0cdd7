# SPDX-License-Identifier: Apache-2.0
# A machine that went down, as the store sees it (the real power cuts are in tests/crash), and kill -9 at any moment of a build.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" && cd "$T/ctx"
build() { shale build --network none "$@" .; }
sql() { python3 -c 'import sqlite3,sys; c=sqlite3.connect(sys.argv[1],timeout=30); print("\n".join("|".join(map(str,r)) for r in c.execute(sys.argv[2]))); c.commit()' \
	"$SHALE_ROOT/db.sqlite" "$1"; }
durable() { [ "$(sql 'SELECT count(*) FROM images WHERE durable=0')" = 0 ] &&
	[ "$(sql 'SELECT count(*) FROM snapshots WHERE durable=0 AND kind=3')" = 0 ]; }
# What is not durable now was made before the machine went down.
crash() {
	sql "UPDATE snapshots SET boot='before' WHERE durable=0" >/dev/null
	sql "UPDATE images SET boot='before' WHERE durable=0" >/dev/null
	sql "UPDATE steps SET boot='before' WHERE durable=0" >/dev/null
	: >"$SHALE_ROOT/db.lock"
}
undurable() { # undurable IMAGE: as if the sync after its build had not come to an end
	id=$(shale images -q --no-trunc "$1")
	sql "UPDATE snapshots SET durable=0 WHERE id=(SELECT snapshot FROM images WHERE id='$id')" >/dev/null
	sql "UPDATE steps SET durable=0 WHERE snapshot=(SELECT snapshot FROM images WHERE id='$id')" >/dev/null
	sql "UPDATE images SET durable=0 WHERE id='$id'" >/dev/null
}

printf 'FROM busybox\nRUN echo one >/one\n' >Dockerfile
ok "an image" build -t app
one=$(shale images -q --no-trunc app)
try "is on the disk soon after the prompt" durable
printf 'FROM busybox\nRUN echo one >/one\nRUN echo two >/two\n' >Dockerfile
ok "a newer one of the same tag" build -t app -t only
ok "a container of it" shale create --name lost app true
try "is on the disk too" durable
crash
ok "the machine restarts when all is on the disk" shale images
hasnt "nothing is dropped" "dropped"
undurable app
crash
ok "it goes down before the sync" shale images
has "what was dropped is told" "dropped 1 images, 1 containers and 1 build steps"
has "and the tags" "1 tags name the image before again, 1 are gone"
is "the tag names its last durable image" "$one" "$(shale images -q --no-trunc app)"
is "which runs" one "$(shale run --rm --network none app cat /one)"
is "a tag without one is gone" "" "$(shale images -q only)"
is "the container too" "" "$(shale ps -aq)"
ok "it is told once" shale images
hasnt "only" "dropped"
ok "the build is made again" build -t app
has "from the step that is left" "cached 1 of 3"
is "and is whole" two "$(shale run --rm --network none app cat /two)"
try "durable" durable
ok "build --sync" build --no-cache --sync -t synced
ok "is durable at the prompt" durable
# Beside what others have dirty on the machine only its own files are synced; who else syncs here meanwhile is why it is tried again.
beside() { # beside WORD: "trace: synced WORD…"
	for i in 1 2 3 4 5 6 7 8; do
		rm -f "$T"/dirt.*
		head -c 600000000 /dev/zero >"$T/dirt.$i" # a new one: what ext4 finds cut to nothing it writes when it is closed
		awk '/^Dirty:/ { exit $2 < 300000 }' /proc/meminfo || continue
		SHALE_TRACE=sync "$SHALE" build --no-cache --sync --network none -t beside . >"$T/out" 2>"$T/err" || return 1
		! grep -q "^trace: synced $1" "$T/err" || return 0
	done
	return 1
}
ok "beside dirty pages: its own files" beside "its own files"
ok "is durable" durable
is "and whole" two "$(shale run --rm --network none beside cat /two)"
printf 'FROM busybox\nRUN mkdir /d && cd /d && seq 1001 | xargs touch\n' >Dockerfile
ok "too many of them: the file system" beside "the file system"
ok "is durable" durable
rm "$T"/dirt.*
printf 'FROM busybox\nRUN echo one >/one\nRUN echo two >/two\n' >Dockerfile

# kill -9 at any moment of a build: in three rounds the time of a whole build is swept.
mkdir src
for i in $(seq 50); do echo "$i" >"src/$i"; done
printf 'FROM busybox AS a\nCOPY src /src\nRUN cat /src/* >/all\nRUN rm -r /src && mkdir /src && mv /all /src\nFROM busybox\nCOPY --from=a /src /out\nRUN chown -R 1:1 /out\nLABEL x=1\n' >Dockerfile
t0=$(date +%s%N)
build --no-cache -t swept >/dev/null 2>&1
ms=$((($(date +%s%N) - t0) / 1000000))
bad=
rounds=${SHALE_TEST_LONG:+300}
rounds=${rounds:-40}
for i in $(seq "$rounds"); do
	setsid "$SHALE" build --network none --no-cache -t swept . >"$T/out" 2>"$T/err" </dev/null &
	pid=$!
	sleep "$(awk -v i="$i" -v n="$rounds" -v ms="$ms" 'BEGIN { printf "%.4f", ms * i / n * 1.1 / 1000 }')"
	kill -9 "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	got=$(shale run --rm --network none swept cat /out/all 2>"$T/err" | wc -l)
	[ "$got" = 50 ] || bad="$bad $i:$got"
	[ -z "$(findmnt -n -t overlay -o TARGET | grep "$T")" ] || bad="$bad $i:mounted"
done
is "the tag runs after each of $rounds kills" "" "$bad"
ok "and a build" build -t swept
is "right" 50 "$(shale run --rm --network none swept cat /out/all | wc -l)"
ok "what the killed ones left goes" shale image prune -a -f --now
ok "and the cache" shale builder prune -f
left=$(find "$SHALE_ROOT/snap" -mindepth 1 -maxdepth 1 | wc -l)

is "no layer and no directory is left" "0 0" "$(sql 'SELECT count(*) FROM snapshots') $left"
# kill -9 of a container's foreground run in its first moments: nothing of it stays
left=
for i in $(seq 30); do
	setsid "$SHALE" run --rm --network none busybox sleep "77$i.77" >/dev/null 2>&1 </dev/null &
	pid=$!
	sleep "$(awk -v i="$i" 'BEGIN { printf "%.4f", i * 0.0015 }')"
	kill -9 "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
done
sleep 0.3
for i in $(seq 30); do
	left="$left$(pgrep -x -f "sleep 77$i.77" || true)"
done
is "no process is left of a run that was killed in its first moments" "" "$left"
no_leaks
done_testing
