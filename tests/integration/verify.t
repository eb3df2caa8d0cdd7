# SPDX-License-Identifier: Apache-2.0
# verify: each kind of damage in a store is found, named, and blamed on what uses it.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" && cd "$T/ctx"
cat >Dockerfile <<'X'
FROM busybox
RUN mkdir -p /d/sub /gone && echo content >/d/file && echo other >/d/other && echo lower >/gone/x && echo h >/d/h1 && ln /d/h1 /d/h2 && ln -s file /d/link
RUN rm /d/other && rm -r /gone && mkdir /gone && echo new >/gone/y && chown 5 /d/file
X
ok "an image" shale build --network none -t app .
ok "a container of it" shale create --name web app true
top() { python3 -c 'import sqlite3,sys; print(sqlite3.connect(sys.argv[1],timeout=30).execute("SELECT s.id,s.parent FROM images i JOIN snapshots s ON s.id=i.snapshot JOIN tags t ON t.image=i.id WHERE t.name LIKE ?",("%/"+sys.argv[2]+":%",)).fetchone()[int(sys.argv[3])])' "$SHALE_ROOT/db.sqlite" "$@"; }
upper=$(top app 0)
lower=$(top app 1)
L=$SHALE_ROOT/snap/$lower
U=$SHALE_ROOT/snap/$upper
cp -a "$L" "$T/keep.l"
cp -a "$U" "$T/keep.u"
restore() {
	rm -rf "$L" "$U"
	cp -a "$T/keep.l" "$L"
	cp -a "$T/keep.u" "$U"
}
ok "a store as it should be" shale verify
has "says so" "OK: 2 images, 3 layers"
ok "one image" shale verify app
has "with its layers" "OK: 1 image, 3 layers"
code 1 "an unknown image" shale verify nosuch

damaged() { # damaged NAME PATH WHAT COMMAND: run in the layer's fs
	name=$1 path=$2 what=$3
	shift 3
	(cd "$L/fs" && sh -ec "$*")
	code 1 "$name: found" shale verify app
	has "$name: the layer" "layer $lower"
	has "$name: the file" "$path"
	has "$name: what of it" "$what"
	has "$name: the image" "image app:latest"
	has "$name: the container" "container web"
	has "$name: the end" "DAMAGED 1 of 1 images"
	restore
}
damaged "bits of the same size and time" /d/file "content changed" \
	'touch -r d/file /tmp/ref.$$; printf X | dd of=d/file conv=notrunc 2>/dev/null; touch -r /tmp/ref.$$ d/file; rm /tmp/ref.$$'
damaged "a file cut short" /d/file "size 3 instead of 8" 'truncate -s 3 d/file'
damaged "a file gone" /d/file "file is missing" 'rm d/file'
damaged "an extra file" /d/more "file is extra" 'touch d/more'
damaged "another owner" /d/file "owner 7:0 instead of 0:0" 'chown 7 d/file'
damaged "another mode" /d/file "mode 4755 instead of 0644" 'chmod 4755 d/file'
damaged "another time" /d/file "mtime 1000 instead of" 'touch -d @1000 d/file'
damaged "an attribute" /d/file "xattr user.a is extra" \
	'python3 -c "import os; os.setxattr(\"d/file\", \"user.a\", b\"1\")"'
damaged "another type" /d/file "directory instead of file" 'rm d/file; mkdir d/file'
damaged "a symlink's target" /d/link "leads to another place" 'ln -sfn other d/link'
damaged "a directory gone" /d/sub "directory is missing" 'rmdir d/sub'
rm "$U/fs/d/other"
code 1 "a whiteout removed: found" shale verify
has "named" "/d/other"
has "what it was" "whiteout is missing"
has "in the layer" "layer $upper"
restore
setfattr -x trusted.overlay.opaque "$U/fs/gone" 2>/dev/null || python3 -c 'import os,sys; os.removexattr(sys.argv[1],"trusted.overlay.opaque")' "$U/fs/gone"
code 1 "an opaque mark removed: found" shale verify
has "named" "/gone"
has "what it was" "opaque mark is missing"
restore
rm "$L/table"
code 1 "a missing table: found" shale verify
has "named" "file table is missing"
printf X | dd of="$U/table" bs=1 seek=60 conv=notrunc 2>/dev/null
code 1 "a damaged table: found" shale verify
has "named" "file table is damaged"
restore
rm -r "$L"
code 1 "a layer without its directory: found" shale verify
has "named" "layer $lower"
restore
id=$(shale images -q --no-trunc app)
config=$SHALE_ROOT/blobs/sha256/${id#sha256:}
cp -a "$config" "$T/config"
printf X | dd of="$config" bs=1 seek=20 conv=notrunc 2>/dev/null
code 1 "a damaged config: found" shale verify
has "named" "config $(echo "${id#sha256:}" | cut -c1-12)"
has "with its image" "image app:latest"
has "and counted" "DAMAGED 1 of 2 images, 0 of 3 layers"
rm "$config"
code 1 "a missing config: found" shale verify
has "too" "DAMAGED 1 of 2 images"
cp -a "$T/config" "$config"
code 1 "json" sh -c "truncate -s 0 '$L/fs/d/file'; '$SHALE' verify --format json"
if python3 -c 'import json,sys; o=json.load(sys.stdin); d=o["Damage"][0]; assert not o["OK"] and o["DamagedLayers"]==2 and o["Damage"][1]["Damage"]=="rests on layer '"$lower"'" and d["Path"]=="/d/file" and "image app:latest" in d["UsedBy"]' <"$T/out"; then
	pass "json: is whole"
else
	fail "json: is whole"
fi
restore
# A layer made elsewhere keeps its blob: from it a damaged one is restored.
mkdir -p "$T/o/blobs/sha256" "$T/tree/etc"
echo one >"$T/tree/etc/one"
tar --format=gnu -C "$T/tree" -cf "$T/layer.tar" ./etc
sum=$(sha256sum "$T/layer.tar" | cut -d' ' -f1)
printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$sum" >"$T/o/config.json"
cp "$T/layer.tar" "$T/o/layer.tar"
echo '[{"Config":"config.json","RepoTags":["foreign:1"],"Layers":["layer.tar"]}]' >"$T/o/manifest.json"
ok "an image made elsewhere" sh -c "tar -C '$T/o' -cf - . | '$SHALE' load"
F=$SHALE_ROOT/snap/$(top foreign 0)
if [ -e "$F/origin" ]; then pass "has its blob kept"; else fail "has its blob kept"; fi
ok "and is right" shale verify
printf X | dd of="$F/fs/etc/one" conv=notrunc 2>/dev/null
code 1 "damage of it: found" shale verify foreign:1
has "named" "/etc/one"
ok "repaired" shale verify --repair foreign:1
has "from the blob" "restored from its blob"
is "the file" one "$(cat "$F/fs/etc/one")"
ok "is right again" shale verify
rm "$L/table"
ok "a missing table is written anew" shale verify --repair app
has "and said" "file table written anew"
ok "and is right" shale verify
printf X | dd of="$L/fs/d/file" conv=notrunc 2>/dev/null
code 1 "what has no blob cannot be repaired" shale verify --repair
has "what to do is said" "build steps are forgotten, build again app:latest"
ok "the build" shale build --network none -t app .
has "runs its steps anew" "cached 0 of 3"
restore
ok "and in the end all is well" shale verify
ok "rm" shale rm web
no_leaks
done_testing
