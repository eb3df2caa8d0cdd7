# SPDX-License-Identifier: Apache-2.0
# A database that is missing, of a newer shale, or no database at all: said, and nothing of the store is touched.
. "$(dirname "$0")/lib.sh"
base
db=$SHALE_ROOT/db.sqlite
# After the prompt the import is still being synced.
try "the base is on the disk" python3 -c 'import sqlite3,sys; sys.exit(sqlite3.connect(sys.argv[1],timeout=30).execute("SELECT count(*) FROM images WHERE durable=0").fetchone()[0])' "$db"
sleep 0.5
mkdir "$T/keep"
cp -a "$db"* "$T/keep"
state() { (cd "$SHALE_ROOT" && find snap blobs | sort | sha256sum); }
before=$(state)
rm -f "$db"*
code 1 "a missing database" shale images
has "is said" "db.sqlite is missing, and 1 layers are there"
has "with what to do" "put it back"
code 1 "prune does not begin either" shale builder prune -f
if [ -e "$db" ]; then fail "no new one is made"; else pass "no new one is made"; fi
head -c 65536 /dev/urandom >"$db"
chmod 600 "$db"
code 1 "no database at all" shale images
has "is said" "not a database"
rm -f "$db"*
cp -a "$T/keep/." "$SHALE_ROOT"
version=$(python3 -c 'import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); v=c.execute("PRAGMA user_version").fetchone()[0]; c.execute("PRAGMA user_version=%d" % (v+1)); c.commit(); print(v)' "$db")
(cd "$SHALE_ROOT" && sha256sum db.sqlite >"$T/sum")
code 1 "a newer database" shale images
has "is refused" "newer shale"
code 125 "by run too" shale run --rm busybox true
ok "not a byte of it is written" sh -c "cd '$SHALE_ROOT' && sha256sum -c --quiet '$T/sum'"
is "untouched" $((version + 1)) "$(python3 -c 'import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute("PRAGMA user_version").fetchone()[0])' "$db")"
is "no layer was touched" "$before" "$(state)"
python3 -c 'import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute("PRAGMA user_version=%s" % sys.argv[2]); c.commit()' "$db" "$version"
ok "with the old one back all is well" shale verify
no_leaks
done_testing
