# SPDX-License-Identifier: Apache-2.0
# build --platform: one or several, their arguments, bases and index; programs of another machine where binfmt_misc runs them.
. "$(dirname "$0")/lib.sh"
base
c=$T/c
mkdir "$c"
python3 -B "$top/tests/integration/mkarm.py" "$c/sh"
chmod 755 "$c/sh"
arch_of() { shale inspect --format '{{.Os}}/{{.Architecture}}{{if .Variant}}/{{.Variant}}{{end}}' "$1"; }
env_of() { shale inspect --format '{{join .Config.Env " "}}' "$1"; }

# --- one ---
cat >"$c/Dockerfile" <<'E'
FROM scratch
ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDARCH
ENV SAW="$TARGETPLATFORM:$TARGETOS:$TARGETARCH:$TARGETVARIANT:$BUILDARCH"
COPY sh /bin/sh
E
ok "for arm64" shale build --platform arm64 -t arm "$c"
is "the image says it" linux/arm64 "$(arch_of arm)"
is "the arguments are the target's and ours" "SAW=linux/arm64:linux:arm64::amd64" "$(env_of arm | sed 's/.*SAW/SAW/')"
ok "for arm" shale build --platform linux/arm -t arm7 "$c"
is "which is arm/v7" "linux/arm/v7 linux/arm/v7:linux:arm:v7:amd64" "$(arch_of arm7) $(env_of arm7 | sed 's/.*SAW=//')"
code 1 "no platform" shale build --platform linux/x/y/z "$c"
has "is said" "--platform linux/x/y/z: want OS/ARCHITECTURE"

# --- bases ---
printf 'FROM busybox\nCOPY sh /x\n' >"$c/Dockerfile.base"
code 1 "a base that is for another platform" shale build --platform arm64 -f "$c/Dockerfile.base" "$c"
has "is not taken for it" "image 'busybox' is for linux/amd64 here, not for linux/arm64"
printf 'FROM --platform=$BUILDPLATFORM busybox AS b\nRUN echo built >/b\nFROM arm\nCOPY --from=b /b /b\n' >"$c/Dockerfile.cross"
ok "FROM --platform: built here, for there" shale build --platform linux/arm64 -t cross -f "$c/Dockerfile.cross" "$c"
is "is for there" linux/arm64 "$(arch_of cross)"
printf 'FROM --platform=linux/s390x scratch\nCOPY sh /x\n' >"$c/Dockerfile.s390x"
ok "FROM --platform=linux/s390x" shale build -t s390x -f "$c/Dockerfile.s390x" "$c"
is "is for that" linux/s390x "$(arch_of s390x)"

# --- several: an index ---
ok "two platforms" shale build --platform linux/amd64,linux/arm64 --platform arm64 -t multi --iidfile "$T/iid" --metadata-file "$T/meta" "$c"
has "say which index came out" "is the index"
is "the name means the image for this machine here" linux/amd64 "$(arch_of multi)"
is "and so does --iidfile" "$(shale inspect --format '{{.Id}}' multi)" "$(cat "$T/iid")"
index=$(sed -n 's/.*"containerimage.digest": "\(.*\)".*/\1/p' "$T/meta")
is "no other image is left without a name" "" "$(shale images -q -f dangling=true)"
ok "as an OCI layout" shale save --format oci-dir -o "$T/oci" multi
is "it is the index" "$index" "$(python3 -c 'import json; print(json.load(open("'"$T/oci/index.json"'"))["manifests"][0]["digest"])')"
cat >"$T/walk.py" <<'E'
import hashlib, json, os, sys
d = sys.argv[1]
def read(x):
    b = open(os.path.join(d, 'blobs/sha256', x['digest'].split(':')[1]), 'rb').read()
    assert hashlib.sha256(b).hexdigest() == x['digest'].split(':')[1] and len(b) == x['size']
    return b
for m in json.loads(read(json.load(open(d + '/index.json'))['manifests'][0]))['manifests']:
    i = json.loads(read(m))
    config = json.loads(read(i['config']))
    [read(l) for l in i['layers']]
    print(m['platform']['architecture'], config['architecture'], len(i['layers']))
E
is "with two whole images" "amd64 amd64 1 arm64 arm64 1" "$(python3 "$T/walk.py" "$T/oci" | xargs)"
ok "and -o type=oci gives the same" shale build --platform linux/amd64,linux/arm64 -t multi -o "type=oci,tar=false,dest=$T/oci2" "$c"
is "byte for byte" "" "$(diff -r "$T/oci/blobs" "$T/oci2/blobs" 2>&1)"
both() { shale build --platform linux/amd64,linux/arm64 -o "type=oci,tar=false,dest=$T/o1,$1" -o "type=oci,tar=false,dest=$T/o2,$2" "$c"; }
ok "what one output says of compression holds beside what another says of annotations" both compression=zstd annotation.k=v
is "for both" "2 2" "$(for o in o1 o2; do grep -l '"k":"v"' "$T/$o/blobs/sha256/"* | xargs grep -l 'tar+zstd' | wc -l; done | xargs)"
code 1 "two annotations" both annotation.k=v annotation.k=w
has "are one too many" "outputs of one index have the same annotations"
ok "skopeo reads the one for arm64" skopeo inspect --override-arch arm64 "oci:$T/oci:latest"
printf 'FROM multi\nCOPY Dockerfile /f\n' >"$c/Dockerfile.multi"
ok "FROM an index" shale build --platform arm64 -t chosen -f "$c/Dockerfile.multi" "$c"
is "takes the image for the platform" "linux/arm64 linux/arm64:linux:arm64::amd64" "$(arch_of chosen) $(env_of chosen | sed 's/.*SAW=//')"
ok "-o local" shale build --platform linux/amd64,arm64 -o "$T/local" "$c"
is "has a directory for each" "linux_amd64 linux_arm64" "$(find "$T/local" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | xargs)"
code 1 "-o tar of several" shale build --platform linux/amd64,arm64 -o "type=tar,dest=$T/tar" "$c"
ok "verify" shale verify

# --- programs of another machine ---
printf 'FROM arm\nRUN anything\n' >"$c/Dockerfile.run"
# A handler is the whole kernel's: this one is here for a moment, under a name of its own.
here=$T/binfmt
mkdir "$here"
handlers() { unshare -m sh -c 'mount -t binfmt_misc none "$0" && cat "$0"/[a-z]* 2>/dev/null' "$here"; }
if handlers 2>/dev/null | grep -q aarch64; then
	skip "this host has a handler for arm64 already"
else
	code 1 "without a handler" shale build --platform arm64 -f "$c/Dockerfile.run" "$c"
	has "the message names what is missing" "no binfmt_misc handler for arm64 with the flag F (qemu-user-static brings one)"
	qemu=$(command -v qemu-aarch64-static || true)
	magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
	mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
	# It goes with its mount; on older kernels it has to be taken back.
	cat >"$T/with" <<'E'
mount -t binfmt_misc none "$1" && printf %s "$2" >"$1/register" || exit 99
dir=$1
shift 2
"$@"
rc=$?
echo -1 >"$dir/shale-test-arm64"
exit $rc
E
	with() { unshare -m sh "$T/with" "$here" ":shale-test-arm64:M::$magic:$mask:$qemu:F" "$@"; }
	if [ -n "$qemu" ] && with true 2>/dev/null; then
		ok "with one" with "$SHALE" build --platform arm64 -t ran -f "$c/Dockerfile.run" "$c"
		ok "the tree, from the cache" shale build --platform arm64 -o "$T/ran" -f "$c/Dockerfile.run" "$c"
		is "the program has run" "ran on arm64" "$(cat "$T/ran/ran")"
		# --cache-to of both, found by a store that could not run one of them
		shale tag busybox base-amd64
		shale tag arm base-arm64
		shale save -o "$T/bases.tar" base-amd64 base-arm64 2>/dev/null
		printf 'FROM base-$TARGETARCH AS tools\nRUN echo x >/ran\nFROM base-$TARGETARCH\nCOPY --from=tools /ran /got\nRUN echo y >/ran\n' >"$c/Dockerfile.cache"
		cache="--network none -f $c/Dockerfile.cache --platform linux/amd64,linux/arm64"
		cached() { sed -n 's/.*cached \([0-9]* of [0-9]*\).*/\1/p' "$T/err" | xargs; }
		# shellcheck disable=SC2086
		ok "--cache-to of two platforms" with "$SHALE" build $cache -t both --cache-to "type=local,dest=$T/max,mode=max" --cache-to "type=local,dest=$T/min" "$c"
		for mode in max min; do
			SHALE_ROOT=$T/there-$mode shale load -q -i "$T/bases.tar" >/dev/null
			# shellcheck disable=SC2086
			ok "elsewhere (mode=$mode)" env SHALE_ROOT="$T/there-$mode" "$SHALE" build $cache -t both --cache-from "type=local,src=$T/$mode" "$c"
			is "each has its steps (mode=$mode)" "3 of 5 3 of 5" "$(cached)"
		done
	else
		skip "binfmt_misc or qemu-user-static is not here"
	fi
fi
no_leaks
done_testing
