# SPDX-License-Identifier: Apache-2.0
# T17: archives and documents that are small and would become large, with memory for programs limited: a clear error, no image, the store as
# it was. And the memory that large images take that are none of these.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/c" && cd "$T/c"
bomb() { python3 "$top/tests/integration/bombs.py" "$1" >"$T/bomb.tar"; }
# 300 MB of addresses: libraries and stacks are part of them
small() { prlimit --as=300000000 "$SHALE" "$@"; }
refused() { # refused KIND TEXT: load of it fails with that text, and nothing stays
	bomb "$1"
	code 1 "load: $1" small load -i "$T/bomb.tar"
	has "load: $1: says why" "$2"
	is "load: $1: no image" "" "$(shale images -q bomb)"
}
refused gzip "larger than the free space"
refused zstd "larger than the free space"
refused pax f0
refused pax-size "more than 1 MiB"
refused json-depth "deeper than 64"
refused json-values "more than 100000 values"
refused json-large "larger than"
refused manifest-values "more than 100000 values"

# The same trees by import and by ADD
for kind in tree-gzip tree-zstd tree-pax tree-pax-size; do
	bomb "$kind"
	code 1 "import: $kind" small import "$T/bomb.tar" bomb
	cp "$T/bomb.tar" bomb.tar
	printf 'FROM scratch\nADD bomb.tar /\n' >Dockerfile
	code 1 "ADD: $kind" small build --network none .
done
rm bomb.tar

# What is no bomb: long names, a large config
for kind in names config-4m; do
	bomb "$kind"
	ok "load: $kind" python3 -c 'import resource, subprocess, sys
rc = subprocess.run(sys.argv[2:]).returncode
kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
open(sys.argv[1], "w").write(str(kib))
sys.exit(rc)' "$T/kib" "$SHALE" load -i "$T/bomb.tar"
	kib=$(cat "$T/kib")
	is "load: $kind: in 64 MiB (took $kib KiB)" yes "$([ "$kib" -le 65536 ] && echo yes || echo no)"
done
# Four layers whose windows are 32 MiB each: read side by side, but these one at a time.
mkdir far
for i in 1 2 3 4; do
	head -c 36000000 /dev/urandom >far/f
	tar -C far -cf far.tar f
	echo "\"sha256:$(sha256sum <far.tar | cut -d' ' -f1)\"" >"far.id$i"
	cat far.tar | zstd -qc1 --long=25 >"far$i.zst"
done
printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%s]}}' "$(cat far.id* | paste -sd,)" >far.json
echo '[{"Config":"far.json","RepoTags":["far:latest"],"Layers":["far1.zst","far2.zst","far3.zst","far4.zst"]}]' >manifest.json
tar -cf "$T/far.tar" manifest.json far.json far?.zst
rm -r far far.* far?.zst manifest.json
ok "layers that look far back" python3 -c 'import resource, subprocess, sys
rc = subprocess.run(sys.argv[2:]).returncode
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(rc)' "$T/kib" "$SHALE" load -i "$T/far.tar"
kib=$(cat "$T/kib")
is "take 64 MiB together (took $kib KiB)" yes "$([ "$kib" -le 65536 ] && echo yes || echo no)"
rm "$T/far.tar"
# A limit of one's own: what unpacks to more is not taken, what unpacks to less is
mib() { printf "$1" >"$T/shale.conf"; export SHALE_CONF="$T/shale.conf"; }
python3 "$top/tests/integration/bombs.py" mib >"$T/mib.tar"
python3 "$top/tests/integration/bombs.py" tree-mib >mib.tar
printf 'FROM scratch\nADD mib.tar /\n' >Dockerfile
for by in option setting; do
	set -- --max-layer-size 1m
	[ $by = option ] || { mib '[store]\nmax-layer-size = 1MB\n'; set --; }
	code 1 "load: $by" shale load "$@" -i "$T/mib.tar"
	has "says the limit" "larger than the limit of"
	code 1 "import: $by" shale import "$@" mib.tar limited
	code 1 "ADD: $by" shale build "$@" --network none -t limited .
	has "ADD says the limit, too" "larger than the limit of"
	is "no image: $by" "" "$(shale images -q limited; shale images -q bomb:mib)"
done
ok "an option overrules the setting: load" shale load --max-layer-size 2m -i "$T/mib.tar"
ok "import" shale import --max-layer-size none mib.tar limited
ok "ADD" shale build --max-layer-size 2m --network none -t limited .
mib '[store]\nmax-layer-size = much\n'
code 1 "a setting that is no size" shale images
has "is named" "max-layer-size"
unset SHALE_CONF
code 1 "nor is such an option taken" shale load --max-layer-size much -i "$T/mib.tar"
has "by name" "--max-layer-size"

shale rmi --now bomb:mib bomb:1 limited >/dev/null

# What a codec wants to look back on is memory: 32 MiB for a layer, xz -9 for a tree
refused zstd-window "window of more than 32 MiB"
refused xz-9 "more than 34 MiB"
for kind in tree-xz-9 tree-zstd-20; do
	bomb $kind
	ok "import: $kind" shale import "$T/bomb.tar" window
done
bomb tree-zstd-window
code 1 "import: tree-zstd-window" shale import "$T/bomb.tar" window
has "says the window" "window of more than 32 MiB"

# The disk fills up while a file is written: given up when it cannot fit any more, not when all is full
mkdir "$T/small"
mount -t tmpfs -o size=96m,mode=700 tmpfs "$T/small"
undo='umount "$T/small"'
python3 - "$SHALE" "$T/small" >"$T/said" 2>&1 <<'EOP' || true
import os, subprocess, sys, tarfile
shale, dir = sys.argv[1:]
p = subprocess.Popen([shale, "--root", dir + "/store", "import", "-", "late"], stdin=subprocess.PIPE)
i = tarfile.TarInfo("f")
i.size = 60 << 20
p.stdin.write(i.tobuf())
p.stdin.write(os.urandom(8 << 20))
with open(dir + "/other", "wb") as f:
    f.write(bytes(56 << 20))
try:
    p.stdin.write(os.urandom(52 << 20))
    p.stdin.close()
except BrokenPipeError:
    pass
p.wait()
EOP
is "a disk that fills up meanwhile" 1 "$(grep -c 'larger than the free space' "$T/said")"
try "its disk is let go" umount "$T/small"
undo=

du=$(du -sk "$SHALE_ROOT/tmp" | cut -f1)
is "nothing is left in tmp" yes "$([ "$du" -lt 100 ] && echo yes || echo no)"
no_leaks
done_testing
