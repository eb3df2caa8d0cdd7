# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016
# build --cache-to and --cache-from: steps of one store are found by another, whose layers come only where they are read.
. "$(dirname "$0")/lib.sh"
store() {
	SHALE_ROOT=$T/$1
	export SHALE_ROOT
}
cached() { sed -n 's/.*cached \([0-9]* of [0-9]*\).*/\1/p' "$T/err"; }
build() { shale build --network none "$@"; }
rows() { python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM " + sys.argv[2]).fetchone()[0])' "$SHALE_ROOT/db.sqlite" "$1"; }
# What a killed one was writing stays for an hour.
blobs() { find "$1/blobs/sha256" -type f ! -name '.tmp-*' | wc -l; }
# Which of them are layers: those that are compressed
layer_blobs() { find "$1/blobs/sha256" -type f | while read -r f; do head -c 2 "$f" | od -An -tx1 | tr -d ' '; done | grep -c 1f8b || true; }

pids=
undo='for p in $pids; do kill "$p"; done'
serve() {
	reg=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	log=$T/registry.log
	printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n' "$T/registry" "$reg" >"$T/registry.yml"
	docker-registry serve "$T/registry.yml" >>"$log" 2>&1 &
	pids="$pids $!"
	for _ in $(seq 100); do
		python3 -c "import socket; socket.create_connection(('127.0.0.1', ${reg#*:}))" 2>/dev/null && return
		sleep 0.1
	done
}
gets() { grep -c "\"GET /v2/[^ ]*/$1/" "$log" || true; }

store a
base
shale save -o "$T/base.tar" busybox
mkdir -p "$T/c/src" && cd "$T/c"
echo a >src/a && echo b >src/b
cat >Dockerfile <<'EOF2'
FROM busybox AS build
ARG V=1
ENV W=2
WORKDIR /w/d
COPY src /src
RUN cat /src/a >/out && head -c 200000 /dev/urandom >/big
FROM busybox AS next
RUN --mount=type=bind,from=build,source=/src,target=/m cat /m/b >/n
FROM busybox
COPY --from=build /out /out
COPY --from=next /n /n
WORKDIR /w
RUN cat /out /n >/both
CMD ["cat", "/both"]
EOF2
ok "A builds and exports" build -t a --cache-to "type=local,dest=$T/dir/max,mode=max" .
ok "and once more, only the image's" build -t a --cache-to "type=local,dest=$T/dir/min" .
ida=$(shale images -q --no-trunc a)
is "an OCI layout" '{"imageLayoutVersion":"1.0.0"}' "$(cat "$T/dir/max/oci-layout")"
is "max: all layers, the same bytes once" 7 "$(layer_blobs "$T/dir/max")"
is "min: the image's" 4 "$(layer_blobs "$T/dir/min")"

new() { store "$1" && shale load -q -i "$T/base.tar" >/dev/null; }
new b
ok "B has all of it" build -t b --cache-from "type=local,src=$T/dir/max" .
is "every step is there" "11 of 14" "$(cached)"
is "the image is the same" "$ida" "$(shale images -q --no-trunc b)"
is "it runs" "a b" "$(shale run --rm --network none b | xargs)"
steps=$(rows steps)
layers=$(rows layers)
is "nothing else came" 5 "$layers"
ok "again" build -t b --cache-from "type=local,src=$T/dir/max" .
is "the same" "11 of 14" "$(cached)"
is "by the rows that are there now" "$steps" "$(rows steps)"

# What nobody reads is not fetched, also where a step runs
new c
ok "a test stage" build -o type=cacheonly --cache-from "type=local,src=$T/dir/max" .
is "is found whole" "11 of 14" "$(cached)"
is "and nothing of it comes" 1 "$(rows layers)"
sed 's|^CMD.*|RUN cat /both >/third|' Dockerfile >D2
ok "one more step" build -t c -f D2 --cache-from "type=local,src=$T/dir/max" .
is "stands on what was found" "10 of 14" "$(cached)"
is "whose stage comes, and no other" 6 "$(rows layers)"
sed 's/^RUN cat .src.a .*/&; echo changed/' Dockerfile >D3
ok "a change in the middle" build -t c3 -f D3 --cache-from "type=local,src=$T/dir/max" .
has "runs" "changed"
is "beside what did not change, or came out the same" "10 of 14" "$(cached)"
sed 's|/m/b >/n$|/m/b >/n; cp /n /n2|; s|^COPY --from=next .*|COPY --from=next /n /n2 /|' Dockerfile >D4
sed 's|^ARG V=1|ARG V=2|' Dockerfile >D5
sed 's|^RUN cat .src.a .*|RUN exit 5|' Dockerfile >D6
new c2
ok "only the image's" build -t c --cache-from "type=local,src=$T/dir/min" --target build .
is "knows that stage, whose layers are made here" "5 of 9" "$(cached)"
is "the same but for what is random" "a" "$(shale run --rm --network none c cat /out)"
ok "and again" build -t c --cache-from "type=local,src=$T/dir/min" --target build .
is "they are here" "5 of 6" "$(cached)"
ok "the image" build -t c --cache-from "type=local,src=$T/dir/min" .
is "has its own steps" "11 of 14 $ida" "$(cached) $(shale images -q --no-trunc c)"
new c5
ok "all of it with nothing here" build -t c --cache-from "type=local,src=$T/dir/min" .
is "has every step: nothing of the other stages is needed" "11 of 14 $ida" "$(cached) $(shale images -q --no-trunc c)"
is "and nothing of them came" 5 "$(rows layers)"
ok "what is found leaves again" build -t c --no-cache-filter next --cache-from "type=local,src=$T/dir/min" --cache-to "type=local,dest=$T/dir/min2" .
new c6
ok "to be found" build -t c --cache-from "type=local,src=$T/dir/min2" .
is "by the next" "11 of 14" "$(cached)"
new c7
ok "all of it leaves again" build -t c --cache-from "type=local,src=$T/dir/min" --cache-to "type=local,dest=$T/dir/min3" --cache-to "type=local,dest=$T/dir/max3,mode=max" .
is "without those stages" "11 of 14" "$(cached)"
is "as it came" "4 4" "$(layer_blobs "$T/dir/min3") $(layer_blobs "$T/dir/max3")"
new c8
ok "a RUN that reads another stage" build -t c -f D4 --cache-from "type=local,src=$T/dir/min3" .
is "has its steps made, then it runs" "6 of 17" "$(cached)"
is "upon them" "a b b" "$(shale run --rm --network none c cat /out /n /n2 | xargs)"
ok "and again" build -t c -f D4 --cache-from "type=local,src=$T/dir/min3" .
is "they are here as well" "11 of 14" "$(cached)"
new c9
echo b2 >src/b
ok "another content" build -t c --cache-from "type=local,src=$T/dir/min" .
is "makes what changed, on what was not there" "a b2" "$(shale run --rm --network none c | xargs)"
echo b >src/b
new c10
ok "a stage that came out the same" build -t c -f D5 --cache-from "type=local,src=$T/dir/max3" .
is "is found by its content" "$(shale images -q --no-trunc c | wc -l) 1" "1 $(tail -n 30 "$T/err" | grep -A1 'COPY --from=build' | grep -c CACHED)"
code 1 "what fails then" build -t c -f D6 --cache-from "type=local,src=$T/dir/min" --target build .
has "fails as it does here" "ended with exit code 5"
new c3
ok "into a scope" build -t c --cache-scope s --cache-from "type=local,src=$T/dir/max" .
ok "outside of it" build -t c .
is "nothing is known" "0 of 14" "$(cached)"
code 1 "a repaired step needs one" build --resume .

# A directory that is written again and again
store a
n1=$(blobs "$T/dir/max")
echo a2 >src/a
ok "another content" build -t a --cache-to "type=local,dest=$T/dir/max,mode=max" .
n2=$(blobs "$T/dir/max")
is "takes the place of the first" "$n1" "$n2"
ok "under another name" build -t a --cache-to "type=local,dest=$T/dir/max,tag=br-1,mode=max" .
echo a >src/a
ok "the first" build -t a --cache-to "type=local,dest=$T/dir/max,mode=max,compression=zstd" .
new d
echo a2 >src/a
ok "the other is there by its name" build --cache-from "type=local,src=$T/dir/max,tag=br-1" --cache-from "type=local,src=$T/dir/max" .
is "and found" "11 of 14" "$(cached)"
echo a >src/a
ok "zstd" build -t d --cache-from "type=local,src=$T/dir/max" .
is "is the same" "11 of 14 $ida" "$(cached) $(shale images -q --no-trunc d)"
store a
for i in 1 2 3 4; do
	build -q -t "p$i" --cache-to "type=local,dest=$T/dir/many,tag=t$i" . >/dev/null 2>"$T/p$i.err" &
	eval "w$i=$!"
done
rc=0
for w in $w1 $w2 $w3 $w4; do wait "$w" || rc=1; done
is "four at once" 0 "$rc"
is "each has its name" "t1 t2 t3 t4" "$(python3 -c 'import json, sys; print(*sorted(m["annotations"]["org.opencontainers.image.ref.name"] for m in json.load(open(sys.argv[1]))["manifests"]))' "$T/dir/many/index.json")"
is "what they have in common is there once" 6 "$(blobs "$T/dir/many")"
skopeo inspect --raw "oci:$T/dir/many:t3" >"$T/raw"
is "other tools read it" 'application/vnd.shale.cache.v1+json' "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["config"]["mediaType"])' "$T/raw")"

# Nothing of a secret, of arguments or instructions leaves
cat >DS <<'EOF2'
FROM busybox
ARG TOKEN
RUN --mount=type=secret,id=s --mount=type=secret,id=e,env=E test -n "$E" && wc -c </run/secrets/s >/n
EOF2
printf 'hunter2-in-a-file' >"$T/secret"
ok "secrets" env E=hunter2-in-env "$SHALE" build --network none -f DS --build-arg TOKEN=hunter2-in-arg --secret "id=s,src=$T/secret" --secret id=e,env=E \
	-t s --cache-to "type=local,dest=$T/dir/secret,mode=max" --cache-to type=inline .
is "stay out of what leaves" "" "$(grep -rl hunter2 "$T/dir/secret" || true)"
is "and an instruction" "" "$(grep -rl wc "$T/dir/secret/blobs" || true)"

# Killed: the next one finds a layout, and what is left of the killed one goes
for ms in 02 05 10 20; do
	setsid "$SHALE" build -q --network none -t k --cache-to "type=local,dest=$T/dir/kill,mode=max" . >/dev/null 2>&1 &
	sleep "0.$ms"
	kill -9 $! 2>/dev/null || true
	wait $! 2>/dev/null || true
done
ok "after kill -9" build -t k --cache-to "type=local,dest=$T/dir/kill,mode=max" .
is "all is there" 9 "$(blobs "$T/dir/kill")"

# A registry: the same, and what is fetched can be counted
serve
ok "to a registry" build -t "$reg/app:1" --cache-to "type=registry,ref=$reg/cache:main,mode=max" --push .
new r
: >"$log"
ok "from it, a test stage" build -o type=cacheonly --cache-from "$reg/cache:main" .
is "all is found" "11 of 14" "$(cached)"
is "by one manifest and its records" "1 1" "$(gets manifests) $(gets blobs)"
: >"$log"
ok "an image" build -t r --cache-from "type=registry,ref=$reg/cache:main" .
is "is found" "11 of 14" "$(cached)"
is "four layers come" 5 "$(gets blobs)"
is "and are right" "a b $ida" "$(shale run --rm --network none r | xargs) $(shale images -q --no-trunc r)"
: >"$log"
ok "again" build -t r --cache-from "$reg/cache:main" .
is "nothing comes but the records" 1 "$(gets blobs)"
: >"$log"
ok "on to another one, with what nobody had read" build -t r --cache-from "$reg/cache:main" --cache-to "$reg/cache:copy" --cache-to "type=registry,ref=$reg/cache:copy2,mode=max" .
is "which comes for that" 4 "$(gets blobs)"
new r2
ok "from there" build -o type=cacheonly --cache-from "$reg/cache:copy2" .
is "all is found" "11 of 14" "$(cached)"
ok "no such tag" build -o type=cacheonly --cache-from "$reg/cache:none" .
has "is a warning" "$reg/cache:none is not used"

# Inline: an image has its own steps' records
store a
printf 'FROM busybox\nCOPY src /src\nENV A=b\nRUN cat /src/* >/all\n' >DI
ok "inline" build -f DI -t "$reg/in:1" --cache-to type=inline --push .
idi=$(shale images -q --no-trunc "$reg/in:1")
is "in a field of its own" "3" "$(skopeo inspect --tls-verify=false --config --raw "docker://$reg/in:1" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["vnd.shale.cache.v1"]["records"]))')"
new i
: >"$log"
ok "from the image" build -f DI -o type=cacheonly --cache-from "$reg/in:1" .
is "all is found" "3 of 4" "$(cached)"
is "and only the config read" 1 "$(gets blobs)"
ok "as an image" build -f DI -t i --cache-from "$reg/in:1" --cache-to type=inline .
is "it is the same" "$idi" "$(shale images -q --no-trunc i)"
ok "as docker build was asked for it" build -f DI -t i2 --build-arg BUILDKIT_INLINE_CACHE=1 .
is "it is the same too" "$idi" "$(shale images -q --no-trunc i2)"
printf 'FROM i\nRUN true\n' >DJ
ok "an image upon it" build -f DJ -t j .
hasnt "has no records of another" "vnd.shale.cache"
shale save --format oci-dir -o "$T/j" j
is "in its config" "" "$(grep -rl vnd.shale.cache "$T/j/blobs" || true)"

# Hostile sources: nothing of them counts, and the build is right
store a
build -q -t h --cache-to "type=local,dest=$T/good,mode=max" . >/dev/null 2>&1
new h
evil() {
	rm -rf "$T/evil" && cp -r "$T/good" "$T/evil"
	python3 "$top/tests/integration/cacheio_evil.py" "$T/evil" "$1"
}
evil below
ok "layers upon others" build -o type=cacheonly --cache-from "type=local,src=$T/evil" .
is "are not found, only what has none" "2 of 14" "$(cached)"
for what in depth digest-path layer-range count not-json no-list swap-manifest; do
	evil $what
	ok "evil: $what" build -o type=cacheonly --cache-from "type=local,src=$T/evil" .
	has "is not used" "is not used"
done
new h2
evil other-bytes
code 1 "evil: a layer with other bytes" build -t x --cache-from "type=local,src=$T/evil" .
has "is refused" "sha256:"
code 1 "and no image" shale inspect x
evil truncated
code 1 "evil: half a layer" build -t x --cache-from "type=local,src=$T/evil" .
# What a step finds when it runs again may not be what it found where the records come from
cat >DW <<'EOF2'
FROM busybox AS one
RUN --mount=type=cache,target=/c head -c 100 /dev/urandom >/r; if [ -e /c/x ]; then mkdir /d; else : >/c/x; fi
WORKDIR /d
FROM busybox
COPY --from=one /bin/busybox /b
EOF2
printf 'FROM busybox\nRUN --mount=type=cache,target=/c : >/c/x\n' >DX
new w1
ok "a directory that WORKDIR makes" build -f DW -t w --cache-to "type=local,dest=$T/dir/w" .
new w2
build -q -f DX . >/dev/null 2>&1
ok "is there when it is made again" build -f DW -t w --target one --cache-from "type=local,src=$T/dir/w" .
is "then its layer is empty" "3 /d" "$(shale image inspect -f '{{len .RootFS.Layers}}' w) $(shale run --rm --network none w pwd)"
new w3
mkdir "$T/other" && echo secret >"$T/other/secret" && tar -C "$T/other" -cf "$T/other.tar" .
shale import "$T/other.tar" other >/dev/null
cp -r "$T/dir/w" "$T/graft"
python3 "$top/tests/integration/cacheio_evil.py" "$T/graft" graft "$(shale image inspect -f '{{index .RootFS.Layers 0}}' other)"
ok "evil: records of layers by names of others" build -f DW -t w --target one --cache-from "type=local,src=$T/graft" .
is "that image is not in this" "3 none" "$(shale image inspect -f '{{len .RootFS.Layers}}' w) $(shale run --rm --network none w sh -c '[ -e /secret ] || echo none')"
store a
mkdir "$T/victim" && touch "$T/victim/$(printf 'x' | sha256sum | cut -c1-64)"
store a
rm -rf "$T/link" && mkdir "$T/link" && ln -s "$T/victim" "$T/link/blobs"
code 1 "a directory with a symlink in it" build -t e --cache-to "type=local,dest=$T/link" .
mkdir "$T/link2" "$T/link2/blobs" && ln -s "$T/victim" "$T/link2/blobs/sha256"
code 1 "and another" build -t e --cache-to "type=local,dest=$T/link2" .
is "does not lead to others' files" 1 "$(find "$T/victim" -type f | wc -l)"

# Sources and places that are none
ok "no such directory" build -t a --cache-from "type=local,src=$T/none" .
has "is a warning" "--cache-from type=local,src=$T/none is not used"
code 1 "a place that cannot be" build -t e --cache-to "type=local,dest=/proc/none" .
has "is named" "--cache-to type=local,dest=/proc/none"
ok "though the image is there" shale inspect e
ok "unless it may fail" build -t e --cache-to "type=local,dest=/proc/none,ignore-error=true" .
# Several platforms in one place: the records of each
printf 'FROM scratch AS a\nARG TARGETARCH\nCOPY src /$TARGETARCH\nFROM scratch\nCOPY --from=a / /all\nWORKDIR /w\n' >DP
both="--platform linux/amd64,linux/arm64"
# shellcheck disable=SC2086
ok "several platforms" build $both -f DP -t p --cache-to "type=local,dest=$T/dir/p,mode=max" --cache-to "type=local,dest=$T/dir/pmin" --cache-to type=inline .
for p in amd64 arm64; do
	new "p-$p"
	ok "one of them" build --platform linux/$p -f DP -o type=cacheonly --cache-from "type=local,src=$T/dir/p" .
	is "has every step ($p)" "4 of 6" "$(cached)"
	ok "one of them, of the image's own" build --platform linux/$p -f DP -o type=cacheonly --cache-from "type=local,src=$T/dir/pmin" .
	is "has these ($p)" "4 of 6" "$(cached)"
done
new p-both
# shellcheck disable=SC2086
ok "both" build $both -f DP -t p --cache-from "type=local,src=$T/dir/p" --cache-to "type=local,dest=$T/dir/p,mode=max" .
is "have every step, and leave it again" "4 of 6 4 of 6" "$(cached | xargs)"
new p-again
ok "which the other one reads" build --platform linux/arm64 -f DP -o type=cacheonly --cache-from "type=local,src=$T/dir/p" .
is "again" "4 of 6" "$(cached)"
store a
code 1 "what is not known" build --cache-to type=gha .
has "is said" "want local, registry or inline"
code 1 "a key that is none" build --cache-from "type=local,dest=x" .
has "is said as well" "dest does not go with this type"

no_leaks
done_testing
