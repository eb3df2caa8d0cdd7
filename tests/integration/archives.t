# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016
# Archives between stores of our own: export, import, save and load with each format and compression.
. "$(dirname "$0")/lib.sh"
base
# What a tree has: kinds, modes, owners, sizes, times, links, content.
tree() { (cd "$1" && find . -mindepth 1 | LC_ALL=C sort | while read -r f; do stat -c '%n %F %a %u:%g %h %t:%T %Y' "$f"; done; find . -type f | LC_ALL=C sort | xargs sha256sum); }

# export
ok "a container that has stopped" shale run --name cc --network none busybox sh -c \
	'mkdir -p /d/e && echo text >/d/f && ln /d/f /d/e/hard && ln -s f /d/soft && mkfifo /d/fifo && chown 7:8 /d/f && chmod 4755 /d/f && rm -r /home'
ok "export to a file" shale export -o "$T/c.tar" cc
mkdir "$T/x" && tar -C "$T/x" --numeric-owner -xpf "$T/c.tar"
is "has what it made" "text 7:8 4755 2" "$(cat "$T/x/d/f") $(stat -c '%u:%g %a %h' "$T/x/d/f")"
is "with links and the fifo" "f fifo" "$(readlink "$T/x/d/soft") $(stat -c %F "$T/x/d/fifo")"
is "not what it removed" "" "$(ls -d "$T/x/home" 2>/dev/null)"
ok "nothing is hidden by whiteouts" sh -c "! tar -tf $T/c.tar | grep '\.wh\.'"
ok "to a pipe" sh -c "$SHALE container export cc | cmp - $T/c.tar"
ok "a running one" shale run -d --name rr --network none -v "$T/x:/vol" busybox sh -c 'echo now >/new; sleep 100'
try "has written" shale exec rr test -s /new
ok "is exported" shale export -o "$T/r.tar" rr
is "with what it wrote" now "$(tar -xOf "$T/r.tar" new)"
is "without what is mounted" "" "$(tar -tf "$T/r.tar" | grep -E '^(vol|proc|sys|dev)/.' || true)"
shale rm -f rr >/dev/null
code 1 "one that is not there" shale export -o "$T/none.tar" nosuch
ok "makes no file" test ! -e "$T/none.tar"
ok "import of it" shale import -c 'CMD ["cat","/d/e/hard"]' "$T/c.tar" again
is "runs" text "$(shale run --rm --network none again)"
shale create --name dd again >/dev/null
shale export dd >"$T/d.tar"
is "and is exported with the same tree" "" "$(mkdir "$T/y" && tar -C "$T/y" --numeric-owner -xpf "$T/d.tar" && tree "$T/x" >"$T/1" && tree "$T/y" | diff "$T/1" - | head)"
shale rm cc dd >/dev/null

# save and load
cd "$T"
mkdir ctx
cat >ctx/Dockerfile <<'EOF'
FROM busybox
RUN mkdir -p /d/gone /d/kept && echo 1 >/d/gone/f && seq 200000 >/d/kept/f && ln /d/kept/f /d/kept/hard
RUN rm -r /d/gone && chown 1000:1000 /d/kept/f && head -c 1500000 /dev/urandom >/d/random
CMD ["cat", "/d/kept/f"]
EOF
ok "an image" shale build --network none -t img:1 ctx
id=$(shale images -q --no-trunc img:1)
for f in docker-archive oci-archive; do
	for c in none gzip zstd; do
		ok "$f $c" shale save --format $f --compression $c -o "$T/$f.$c" img:1
		ok "$f $c: to a pipe, the same" sh -c "$SHALE save --format $f --compression $c img:1 | cmp - $T/$f.$c"
		SHALE_ROOT=$T/$f.$c.store
		ok "$f $c: load from a pipe" sh -c "cat $T/$f.$c | $SHALE load"
		is "$f $c: the same ID" "$id" "$(shale images -q --no-trunc img:1)"
		SHALE_ROOT=$T/$f.$c.store2
		ok "$f $c: load from the file, in place" shale load -i "$T/$f.$c"
		is "$f $c: nothing half done is left" "$id 0" "$(shale images -q --no-trunc img:1) $(find "$SHALE_ROOT/tmp" -maxdepth 1 -name "[0-9]*" | wc -l)"
		ok "$f $c: verify" shale verify
		SHALE_ROOT=$T/store
	done
done
ok "without a compression, none" sh -c "$SHALE save img:1 | cmp - $T/docker-archive.none"
size() { stat -c %s "$T/$1"; }
for c in "gzip 1" "gzip 12" "zstd 1" "zstd 19"; do
	set -- $c
	ok "level $c" shale save --compression "$1" --compression-level "$2" -o "$T/$1.$2" img:1
done
ok "higher levels are smaller" test "$(size gzip.12)" -lt "$(size gzip.1)" -a "$(size zstd.19)" -lt "$(size zstd.1)"
ok "than none, all" test "$(size gzip.1)" -lt "$(size docker-archive.none)" -a "$(size zstd.1)" -lt "$(size docker-archive.none)"
ok "OCI layout" shale save --format oci-dir --compression zstd -o "$T/dir" img:1
ok "is loaded" env SHALE_ROOT="$T/dir.store" "$SHALE" load -i "$T/dir"
is "with the same ID" "$id" "$(SHALE_ROOT=$T/dir.store shale images -q --no-trunc img:1)"
code 1 "a compression that there is not" shale save --compression lz4 -o "$T/x.tar" img:1
has "is named" lz4
code 1 "nor a level" shale save --compression gzip --compression-level 13 -o "$T/x.tar" img:1
code 1 "nor one without compression" shale save --compression-level 3 -o "$T/x.tar" img:1
ok "several at once" sh -c "$SHALE tag img:1 two && $SHALE save img:1 busybox two >$T/three.tar"
SHALE_ROOT=$T/three
ok "are loaded" shale load -i "$T/three.tar"
is "all of them" 3 "$(grep -c '^Loaded image: ' "$T/out")"
SHALE_ROOT=$T/store
# An archive that is read in place: links are followed in it, and nowhere else.
mkdir "$T/a" && tar -xf "$T/docker-archive.none" -C "$T/a"
layer=$(cd "$T/a" && ls -d */layer.tar | head -n 1)
SHALE_ROOT=$T/links
mkdir "$T/a/x" && mv "$T/a/$layer" "$T/a/x/1" && ln -s ../x/1 "$T/a/$layer" && tar -C "$T/a" -cf "$T/links.tar" .
ok "a layer by a symlink" shale load -i "$T/links.tar"
is "is the layer" "$id" "$(shale images -q --no-trunc img:1)"
SHALE_ROOT=$T/links2
ln -sfn "../../../../../../$T/a/x/1" "$T/a/$layer" && tar -C "$T/a" -cf "$T/out.tar" .
code 1 "not from outside" shale load -i "$T/out.tar"
ln -sfn "layer.tar" "$T/a/$layer" && tar -C "$T/a" -cf "$T/loop.tar" .
code 1 "nor in a circle" shale load -i "$T/loop.tar"
head -c $(($(size docker-archive.none) / 2)) "$T/docker-archive.none" >"$T/half.tar"
code 1 "half an archive" shale load -i "$T/half.tar"
has "is cut short" "cut short"
is "none of it is an image" "" "$(shale images -q)"
SHALE_ROOT=$T/store
# The compressed layers are kept with their layer, known to du, and go with it.
is "du knows each blob" 0 "$(shale du | awk '$1 == "Orphans" { print $2 }')"
ok "rmi" shale rmi -f --now img:1 two again busybox
ok "and the cache" shale builder prune -af
is "leave no blob" 0 "$(find "$T/store/blobs" -type f | wc -l)"
no_leaks
done_testing
