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
du=$(du -sk "$SHALE_ROOT/tmp" | cut -f1)
is "nothing is left in tmp" yes "$([ "$du" -lt 100 ] && echo yes || echo no)"
no_leaks
done_testing
