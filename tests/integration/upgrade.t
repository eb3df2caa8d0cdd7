# SPDX-License-Identifier: Apache-2.0
# A store of an earlier schema opens and migrates; an old program beside a new one writes nothing any more; monitors
# outlive the program that started them.
. "$(dirname "$0")/lib.sh"
base
db=$SHALE_ROOT/db.sqlite
mkdir "$T/ctx"
printf 'FROM busybox\nRUN echo one >/one\nCOPY f /f\nCMD ["cat", "/f"]\n' >"$T/ctx/Dockerfile"
echo content >"$T/ctx/f"
# sql STATEMENTS: as another program would
sql() { python3 -c 'import sqlite3,sys
c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for s in sys.argv[2].split(";"):
    for row in c.execute(s):
        print("|".join(map(str, row)))' "$db" "$1"; }
ok "an image" shale build -t app "$T/ctx"
ok "a container with a file of its own" shale run --name kept --network none busybox sh -c 'echo mine >/mine'
# Nobody who finishes after the prompt may be at work while the schema is taken back.
settled() { [ "$(sql 'SELECT count(*) FROM images WHERE durable=0')" = 0 ]; }
try "all is on the disk" settled
newest=$(sql 'PRAGMA user_version')
rows() { shale images -a --no-trunc --format '{{.ID}} {{.Repository}} {{.Tag}} {{.Size}}' | sort; shale ps -a --format '{{.Names}} {{.Image}} {{.State}}'; shale history --format "{{.ID}} {{.CreatedBy}} {{.Size}}" app; }
rows >"$T/before"

# back TO: the schema as it was, one step at a time.
to_6="DROP TABLE networks; PRAGMA user_version=6"
to_5="DROP TABLE builds; PRAGMA user_version=5"
to_4="DROP TABLE indexes; DROP TABLE index_blobs; DROP TABLE tag_docs; DROP TABLE manifest_lists; PRAGMA user_version=4"
to_3="DROP TABLE cache_mounts; PRAGMA user_version=3"
to_2="DROP TABLE layer_blobs; DROP TABLE manifests; DROP TABLE repo_digests; DROP TABLE remote_blobs; PRAGMA user_version=2"
to_1="DROP TABLE trash; ALTER TABLE layers DROP COLUMN disk; ALTER TABLE images DROP COLUMN pinned; ALTER TABLE steps DROP COLUMN pinned; PRAGMA user_version=1"
back() { at=$newest; while [ "$at" -gt "$1" ]; do at=$((at - 1)); eval "sql \"\$to_$at\""; done; }
for old in 6 5 4 3 2 1; do
	sleep 1
	back $old
	ok "schema $old: opens" shale images
	is "schema $old: is the newest now" "$newest" "$(sql 'PRAGMA user_version')"
	rows >"$T/after"
	is "schema $old: the same images, containers, history" "$(cat "$T/before")" "$(cat "$T/after")"
	ok "schema $old: the cache hits" shale build "$T/ctx"
	is "schema $old: with every step" 3 "$(grep -c CACHED "$T/err")"
	is "schema $old: the image runs" content "$(shale run --rm --network none app)"
	ok "schema $old: the container's layer is there" shale diff kept
	has "schema $old: with its file" "A /mine"
	ok "schema $old: verify" shale verify
done

# An old program is in the middle of a build while a newer one migrates the store.
printf 'FROM busybox\nRUN touch /v/started; while [ ! -e /v/go ]; do sleep 0.1; done\nRUN echo two >/two\n' >"$T/ctx/Dockerfile"
mkdir "$T/v"
shale build --no-cache -v "$T/v:/v:rw" -t app "$T/ctx" >"$T/build.out" 2>"$T/build.err" &
build=$!
try "a build is in its step" test -e "$T/v/started"
steps=$(sql "SELECT count(*) FROM steps")
sql "PRAGMA user_version=$((newest + 1))"
touch "$T/v/go"
rc=0
wait $build || rc=$?
is "the build of the old program fails" 1 $rc
cp "$T/build.err" "$T/err"
: >"$T/out"
if grep -q 'newer shale' "$T/build.err"; then pass "and says that the store is newer now"; else fail "and says that the store is newer now"; fi
is "it wrote no row" "$steps" "$(sql "SELECT count(*) FROM steps")"
sql "PRAGMA user_version=$newest"
is "the tag is as it was" content "$(shale run --rm --network none app)"
ok "all is whole" shale verify

# The programs are replaced while a container runs.
ok "an installation" make -s -C "$top" install DESTDIR="$T/inst"
new=$T/inst/usr/local/bin/shale
ok "a container of the old program" "$new" run -d --name service --network none busybox sh -c 'trap "exit 7" TERM; echo up; while :; do sleep 0.1; done'
cp "$new" "$new.next"
mv "$new.next" "$new"
up() { "$new" logs service | grep -q up; }
try "its log" up
ok "the new program enters it" "$new" exec service true
code 0 "and stops it" "$new" stop service
is "the old monitor has recorded the exit" 7 "$("$new" inspect --format '{{.State.ExitCode}}' service)"
ok "and it is removed" "$new" rm service
no_leaks
done_testing
