# SPDX-License-Identifier: Apache-2.0
# The database is damaged or lost: said, with the way out; recover makes it anew from the rest of the store.
. "$(dirname "$0")/lib.sh"
base
db=$SHALE_ROOT/db.sqlite
mkdir "$T/ctx"
cat >"$T/ctx/Dockerfile" <<'X'
FROM busybox
RUN mkdir /d && echo one >/d/one && echo two >/d/two
RUN chown -R 7 /d && mv /d /e && rm /e/two
COPY f /f
CMD ["cat", "/f", "/e/one"]
X
echo content >"$T/ctx/f"
sql() { python3 -c 'import sqlite3,sys
c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for row in c.execute(sys.argv[2]):
    print("|".join(map(str, row)))' "$db" "$1"; }
ok "an image" shale build --network none -t app -t me/app:2 "$T/ctx"
ok "build cache of no image" sh -c "printf 'FROM app\nRUN echo x >/x\n' | '$SHALE' build --network none -f - -t gone '$T/ctx' && '$SHALE' rmi --now gone"
ok "a name that moves" shale tag busybox move
ok "and another that goes" sh -c "'$SHALE' tag app move && '$SHALE' tag app away && '$SHALE' rmi away"
mkdir -p "$T/o" "$T/tree/etc"
echo foreign >"$T/tree/etc/one"
tar --format=gnu -C "$T/tree" -cf "$T/o/layer.tar" ./etc
printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
	"$(sha256sum "$T/o/layer.tar" | cut -d' ' -f1)" >"$T/o/config.json"
echo '[{"Config":"config.json","RepoTags":["foreign:1"],"Layers":["layer.tar"]}]' >"$T/o/manifest.json"
ok "an image made elsewhere" sh -c "tar -C '$T/o' -cf - . | '$SHALE' load"
code 3 "a container that has ended" shale run --name ended --network none -e K=v app sh -c 'echo mine >/mine; rm /f; exit 3'
ok "a container that never ran" shale create --name fresh --network none app
ok "a network" shale network create --ipv6 --label a=b net
ok "and one that goes" sh -c "'$SHALE' network create left && '$SHALE' network rm left"
settled() { [ "$(sql 'SELECT count(*) FROM images WHERE durable=0')" = 0 ]; }
try "all is on the disk" settled
sleep 0.5
rows() {
	shale images -a --no-trunc --format '{{.ID}} {{.Repository}} {{.Tag}} {{.Size}}' | sort
	shale ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.Image}} {{.State}} {{.Command}}' | sort
	shale network inspect net
	shale network ls --format '{{.Name}}'
	shale inspect --format '{{.State.ExitCode}} {{.Config.Env}}' ended
	sql "SELECT l.snapshot,s.parent,diff_id,chain_id,size,tar_size,s.flags FROM layers l JOIN snapshots s ON s.id=l.snapshot ORDER BY 1"
}
rows >"$T/before"
ok "recover of a whole database" shale recover
has "does nothing" "nothing was done"
sql "PRAGMA wal_checkpoint(TRUNCATE)" >"$T/out"
cp -a "$SHALE_ROOT" "$T/keep"

again() {
	await_quiet
	rm -rf "${SHALE_ROOT:?}"
	cp -a "$T/keep" "$SHALE_ROOT"
}
no_database() { rm -f "$db" "$db-wal" "$db-shm"; }
zeroes() { dd if=/dev/zero of="$db" bs=4096 seek=1 count=$(($(stat -c %s "$db") / 4096 - 1)) conv=notrunc 2>/dev/null; }
# All since the first moment, which knew nothing.
no_log() {
	no_database
	sql "PRAGMA journal_mode=WAL" >"$T/out"
}
damaged() { # damaged NAME MESSAGE COMMAND…
	name=$1 message=$2
	shift 2
	again
	"$@"
	code 1 "$name: the next command fails" shale ps -a
	has "$name: says why" "$message"
	has "$name: and the way out" "shale recover"
	ok "$name: recover" shale recover
	has "$name: counts" "Brought back: 3 images, 5 names, 6 layers, 2 containers, 1 networks"
	has "$name: names what is not brought back" "Not brought back: build steps"
	hasnt "$name: nothing else is lost" "Lost:"
	is "$name: the damaged one is kept" 1 "$(find "$SHALE_ROOT" -maxdepth 1 -name 'db.sqlite.damaged.*' | wc -l)"
	rows >"$T/after"
	is "$name: the same rows" "$(cat "$T/before")" "$(cat "$T/after")"
	ok "$name: verify" shale verify
	is "$name: the image runs" "content one" "$(shale run --rm --network none app | tr '\n' ' ' | sed 's/ $//')"
}
damaged "zeroed pages" "database" zeroes
ok "the container starts" shale start -a fresh
has "with its command" content
code 3 "the other as well" shale start -a ended
ok "its files are there" shale diff ended
has "its own" "A /mine"
has "what it removed" "D /f"
ok "rm" shale rm ended fresh
ok "a build" shale build --network none -t app "$T/ctx"
has "runs anew" "cached 0 of"
ok "prune of what nobody needs" shale builder prune -af
ok "and all is whole" shale verify
damaged "a truncated one" "database" truncate -s 20000 "$db"
damaged "an empty one" "database is empty" truncate -s 0 "$db"
damaged "none" "db.sqlite is missing" no_database
damaged "the log lost" "database is empty" no_log

# Of an earlier release: nothing is kept beside the rows until its first gc.
again
rm "$SHALE_ROOT/names" "$SHALE_ROOT/networks" "$SHALE_ROOT"/containers/*/record
python3 - "$SHALE_ROOT"/snap/* <<'X'
import os, sys
for d in sys.argv[1:]:
    for p, n in ((d, "trusted.shale.snap"), (d + "/table", "trusted.shale.layer")):
        if os.path.exists(p) and n in os.listxattr(p):
            os.removexattr(p, n)
X
ok "a store of an earlier release: gc" shale gc
no_database
ok "recover" shale recover
rows >"$T/after"
is "the same rows" "$(cat "$T/before")" "$(cat "$T/after")"

# A rename that was killed before it came to the record, and the old name is another's.
again
shale create --name first --network none busybox true >/dev/null
shale create --name second --network none busybox true >/dev/null
sed -i 's/"name":"second"/"name":"first"/' "$SHALE_ROOT"/containers/*/record
no_database
ok "two of one name: recover" shale recover
has "the name is told" "Lost: name first of container"
is "both are back" 2 "$(shale ps -a --format '{{.Names}}' | grep -c '^first$\|^recovered-')"

# What cannot be brought back is named, and the rest is.
again
top=$(sql "SELECT snapshot FROM images JOIN tags ON tags.image=images.id WHERE name LIKE '%/app:latest'")
no_database
rm -rf "${SHALE_ROOT:?}/snap/$top"
for f in "$SHALE_ROOT"/containers/*/record; do
	echo '{' >"$f"
	break
done
ok "with a layer and a record lost as well: recover" shale recover
has "the image is named" "is lost"
has "its name" "Lost: name docker.io/library/app:latest"
has "the container" "Lost: container"
has "the others are back" "Brought back: 2 images, 2 names"
ok "verify" shale verify
is "they run" busybox "$(shale run --rm --network none busybox echo busybox)"

# A newer one is not touched, nor one that is in use.
again
ok "a container that runs" shale run -d --name busy --network none busybox sleep 100
code 1 "recover waits for nobody" shale recover --force
has "says who is in the way" "mounted already (by process"
ok "rm" shale rm -f busy
sql "PRAGMA user_version=999" >"$T/out"
(cd "$SHALE_ROOT" && sha256sum db.sqlite >"$T/sum")
code 1 "a newer database" shale recover --force
has "is refused" "newer shale"
ok "untouched" sh -c "cd '$SHALE_ROOT' && sha256sum -c --quiet '$T/sum'"
no_leaks
done_testing
