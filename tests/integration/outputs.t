# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016
# What a build delivers: -o, --push, --annotation, --metadata-file.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" && cd "$T/ctx"
echo one >a.txt
cat >Dockerfile <<'EOF'
FROM busybox AS make
RUN mkdir -p /tree/sub /tree/empty && echo file >/tree/sub/f && ln /tree/sub/f /tree/hard && ln -s sub/f /tree/soft && touch -d @1000000000 /tree/sub/f /tree/sub
RUN ln -s /etc /tree/out && mkfifo /tree/fifo && echo x >/tree/suid && chown 1000:1000 /tree/suid && chmod 6755 /tree/suid
RUN head -c 1048576 /dev/zero >/tree/zero && chmod 1777 /tree/empty && mknod /tree/null c 1 3
FROM scratch AS files
COPY --from=make /tree /
COPY a.txt /
FROM make AS image
RUN echo image >/image
FROM make AS test
RUN echo test >/test
EOF
build() { shale build --network none "$@" .; }
hashed() { python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM layers").fetchone()[0])' "$T/store/db.sqlite"; }
had=$(hashed)

# --- files ---
ok "-o DIR" build --target files -o "$T/new/dir"
has "makes no image" "no image in"
has "a device is left out, and named" "left out: 1 devices"
is "no image is there but the base" 1 "$(shale images -aq | wc -l)"
is "no layer was hashed" "$had" "$(hashed)"
cd "$T/new/dir"
is "all is there" "a.txt empty fifo hard out soft sub sub/f suid zero" "$(find . -mindepth 1 | cut -c3- | LC_ALL=C sort | xargs)"
is "content" "file one" "$(cat sub/f) $(cat a.txt)"
is "names of one file" "$(stat -c %i sub/f)" "$(stat -c %i hard)"
is "symlinks" "sub/f /etc" "$(readlink soft) $(readlink out)"
is "times" "1000000000 1000000000" "$(stat -c %Y sub sub/f | xargs)"
is "modes, without setuid" "755 1777" "$(stat -c %a suid empty | xargs)"
is "all of it belongs to who builds" "0:0" "$(find . -printf '%U:%G\n' | sort -u)"
is "a FIFO" fifo "$(stat -c %F fifo)"
cd "$T/ctx"
ok "under sudo" env SUDO_UID=1234 SUDO_GID=4321 "$SHALE" build --network none --target files -o type=local,dest="$T/sudo" .
is "it belongs to the caller" "1234:4321" "$(find "$T/sudo" -printf '%U:%G\n' | sort -u)"

printf 'FROM scratch\nARG TARGETARCH\nCOPY a.txt /$TARGETARCH/\n' >both
ok "several platforms" build -f both --platform linux/amd64,linux/arm64 -o "$T/split"
is "have a directory each" "linux_amd64/amd64/a.txt linux_arm64/arm64/a.txt" "$(cd "$T/split" && find . -type f | cut -c3- | sort | xargs)"
ok "platform-split=false" build -f both --platform linux/amd64,linux/arm64 -o type=local,dest="$T/merged",platform-split=false
is "puts them together" "amd64/a.txt arm64/a.txt" "$(cd "$T/merged" && find . -type f | cut -c3- | sort | xargs)"

# --- what is there already ---
mkdir -p "$T/over/sub" "$T/victim" && echo mine >"$T/over/mine" && echo old >"$T/over/a.txt"
ln -s "$T/victim" "$T/over/empty" && ln -s "$T/victim/target" "$T/over/zero" && chmod 700 "$T/over/sub"
ok "over files" build --target files -o "$T/over"
is "others stay" mine "$(cat "$T/over/mine")"
is "a file is replaced" one "$(cat "$T/over/a.txt")"
is "symlinks are replaced, not followed" "directory regular file" "$(stat -c %F "$T/over/empty" "$T/over/zero" | xargs)"
is "nothing is written through one" "" "$(ls "$T/victim")"
is "a directory keeps its mode" 700 "$(stat -c %a "$T/over/sub")"
rm "$T/over/hard" && mkdir "$T/over/hard" && echo keep >"$T/over/hard/keep"
code 1 "a file does not replace a directory" build --target files -o "$T/over"
has "which is named" "hard is a directory at the destination"
is "it stays" keep "$(cat "$T/over/hard/keep")"
is "nothing unfinished is left" "" "$(find "$T/over" -name '.shale.*')"
printf 'FROM busybox\nRUN mkdir -p /r/d && ln -s %s /r/d/l\nFROM scratch\nCOPY --from=0 /r /\n' "$T/victim" >link
printf 'FROM busybox\nRUN mkdir -p /r/d/l && echo bad >/r/d/l/bad\nFROM scratch\nCOPY --from=0 /r /\n' >deep
ok "a symlink that leads away" build -f link -o "$T/two"
ok "and the next build writes beneath that name" build -f deep -o "$T/two"
is "in a directory of its own" bad "$(cat "$T/two/d/l/bad")"
is "not where it led" "" "$(ls "$T/victim")"

# --- tar ---
ok "type=tar" build --target files -o type=tar,dest="$T/files.tar"
mkdir "$T/untar" && tar -C "$T/untar" -xpf "$T/files.tar"
is "has everything" "1000:1000 6755 character special file" "$(stat -c '%u:%g %a' "$T/untar/suid") $(stat -c %F "$T/untar/null")"
build --target files -o - 2>/dev/null >"$T/stdout.tar"
ok "-o - is a tar on standard output" cmp "$T/files.tar" "$T/stdout.tar"
build --target files -o type=tar 2>/dev/null >"$T/stdout2.tar"
ok "as type=tar without a place" cmp "$T/files.tar" "$T/stdout2.tar"
ok "cacheonly" build --target test -o type=cacheonly
is "still no image, nothing hashed" "1 $had" "$(shale images -aq | wc -l) $(hashed)"
ok "quiet" build -q --target test -o type=cacheonly --iidfile "$T/none"
is "prints nothing" "" "$(cat "$T/out")"
ok "and no --iidfile" test ! -e "$T/none"

# --- images ---
ok "an image from steps that were not hashed" build --target image -t img
has "they are used" "cached 3 of"
ok "is whole" shale verify
is "and right" "image 1048576" "$(shale run --rm --network none img sh -c 'echo $(cat /image) $(wc -c </tree/zero)')"
before=$(hashed)
ok "--no-cache, with a stage that is not in the image" build --no-cache --target files -t files
is "hashes the image's two layers alone" $((before + 2)) "$(hashed)"
ok "type=oci and type=docker" build --target image -t one -t two:x --annotation org.example.a=b \
	-o type=oci,dest="$T/oci.tar",annotation.c=d,compression=zstd -o type=docker,dest="$T/docker.tar" \
	--metadata-file "$T/meta.json"
id=$(shale images -q --no-trunc two:x)
is "the archive is the image" "$id ['one:latest', 'two:x']" "$(tar -xOf "$T/docker.tar" manifest.json |
	python3 -c 'import json, sys; m = json.load(sys.stdin)[0]; print("sha256:" + m["Config"][:64], m["RepoTags"])')"
mkdir "$T/oci" && tar -C "$T/oci" -xf "$T/oci.tar"
cat >"$T/check.py" <<'EOF'
import json, sys
d, meta = sys.argv[1], json.load(open(sys.argv[2]))
i = json.load(open(d + "/index.json"))
digest = i["manifests"][0]["digest"]
m = json.load(open(d + "/blobs/sha256/" + digest[7:]))
print(m["annotations"] == {"c": "d", "org.example.a": "b"}, {l["mediaType"].split("+")[1] for l in m["layers"]}, len(i["manifests"]),
      meta["containerimage.digest"] == digest, meta["containerimage.config.digest"] == m["config"]["digest"], meta["image.name"],
      bool(meta["buildx.build.ref"]))
EOF
is "annotations, codec, names and metadata" "True {'zstd'} 2 True True docker.io/library/one:latest,docker.io/library/two:x True" \
	"$(python3 "$T/check.py" "$T/oci" "$T/meta.json")"
ok "an OCI layout as a directory, and files, at once" build --target image -o type=oci,tar=false,dest="$T/layout",name=named:1 -o "$T/files"
is "both are there" "1.0.0 image" "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["imageLayoutVersion"])' "$T/layout/oci-layout") $(cat "$T/files/image")"
is "name= is a tag as well" "$id" "$(shale images -q --no-trunc named:1)"

# --- --no-cache-filter, --timestamp, --pull ---
ok "--no-cache-filter" build --target image -t img --no-cache-filter=make
has "runs that stage, and what rests on it" "cached 0 of"
code 1 "a stage that is not there" build --target image -t img --no-cache-filter=image,other
has "is named" "--no-cache-filter other: no stage has this name"
ok "one of several" build --target image -t img --no-cache-filter image
has "the stages beneath come from the cache" "cached 3 of 6"
ok "--timestamp" build --target image -t stamp --timestamp 1234567890
first=$(shale images -q --no-trunc stamp)
is "is the image's time" 2009-02-13T23:31:30Z "$(shale inspect --format '{{.Created}}' stamp)"
is "and of every new file, older ones too" "1234567890 1234567890" "$(shale run --rm --network none stamp stat -c %Y /tree/sub/f /image | xargs)"
ok "again without cache" build --target image -t stamp --timestamp 1234567890 --no-cache-filter image
is "gives the same image" "$first" "$(shale images -q --no-trunc stamp)"
code 1 "a time that is none" build --timestamp yesterday
has "says so" "want seconds since 1970"
ok "--pull=false, a switch" build --target image --pull=false -t img
code 1 "--pull alone asks the registry" build --target image --pull -t img

# --- a registry ---
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
reg=127.0.0.1:$port
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n' "$T/reg" "$reg" >"$T/reg.yml"
docker-registry serve "$T/reg.yml" >"$T/reg.log" 2>&1 &
pid=$!
undo='kill $pid'
try "the registry" python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))"
manifest() { skopeo inspect --tls-verify=false --raw "docker://$reg/$1"; }
ok "--push" build --target image -t "$reg/a/b:1" --push --annotation k=v --metadata-file "$T/meta.json"
is "annotated" "{'k': 'v'}" "$(manifest a/b:1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["annotations"])')"
is "the digest is in the metadata" "sha256:$(manifest a/b:1 | sha256sum | cut -c-64)" \
	"$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["containerimage.digest"])' "$T/meta.json")"
ok "type=registry" build --target image -o type=registry,name="$reg/a/c",oci-mediatypes=false,compression=uncompressed
is "in Docker's media types" "application/vnd.docker.distribution.manifest.v2+json application/vnd.docker.image.rootfs.diff.tar" \
	"$(manifest a/c | python3 -c 'import json, sys; m = json.load(sys.stdin); print(m["mediaType"], *{l["mediaType"] for l in m["layers"]})')"
ok "type=image,push=true" build --target image -o "\"type=image\",\"name=$reg/x:1,$reg/y:2\",push=true"
is "all names" 2 "$(for i in x:1 y:2; do manifest $i | grep -o schemaVersion; done | wc -l)"
digest_of() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["containerimage.digest"])' "$T/meta.json"; }
ok "push-by-digest" build --target image -o type=image,name="$reg/d/e",push=true,push-by-digest=true,name-canonical=true,unpack=false --annotation by=digest --metadata-file "$T/meta.json"
is "is there by its digest" "sha256:$(manifest "d/e@$(digest_of)" | sha256sum | cut -c-64)" "$(digest_of)"
code 1 "and has no name" manifest d/e
ok "an index of a platform by digest" build --target image -o type=image,name="$reg/d/f",push=true,push-by-digest=true --provenance=true --annotation index:i=n --annotation index,manifest:b=oth --metadata-file "$T/meta.json"
is "with annotations of its own" "{'b': 'oth', 'i': 'n'}" "$(manifest "d/f@$(digest_of)" | python3 -c 'import json, sys; print(dict(sorted(json.load(sys.stdin)["annotations"].items())))')"
code 1 "which has no name either" manifest d/f
code 1 "a registry that is not there" build --target image -t 127.0.0.1:1/x --push
has "fails the build" "push 127.0.0.1:1/x"

# --- words that are wrong, before anything is built ---
while IFS='|' read -r opts text; do
	# shellcheck disable=SC2086
	code 1 "$opts" build --target image $opts
	has "says why" "$text"
done <<'EOF'
-o type=nothing|want local, tar, oci, docker
-o type=local|dest= is missing
-o type=oci,tar=false|dest= is missing
-o type=image,name=x,push-by-digest=true|goes with push=true
-o type=oci,dest=x,oci-mediatypes=false|take type=docker
-o type=image,store=false|only true is done
--annotation index:a=b -o type=oci,dest=x|with several platforms or attestations
-o type=oci,destt=x,dest=y|did you mean dest?
-o type=tar,dest=-,compression=gzip|compression does not go with this type
-o type=oci,dest=x,compression=xz|want uncompressed, gzip or zstd
-o type=oci,dest=x,compression-level=3|goes with compression
-o dest=x|type= is missing
-o type=local,dest=-|a directory cannot go to standard output
-o - -o type=docker,dest=-|two outputs go to standard output
-o type=registry|nothing says where to push
--push|nothing says where to push
--annotation a=b|give --push or -o type=oci as well
--annotation index-descriptor:a=b --push -t x|want [manifest:|index:]KEY=VALUE
-o type=registry,name=x,oci-mediatypes=false,annotation.a=b|have no annotations
EOF
no_leaks
done_testing
