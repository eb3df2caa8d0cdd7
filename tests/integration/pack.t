# SPDX-License-Identifier: Apache-2.0
# Compressed layers have the same bytes with any number of threads and on a CPU without features, and are what others read.
. "$(dirname "$0")/lib.sh"
bin=$top/build/release
ok "the compressor alone" make -s -C "$top" build/release/tests/run-pack
pack() { "$bin/tests/run-pack" "$@" <"$T/in"; }
# Text, noise, of which there is a block without anything else, and zeros: over the end of several blocks.
{ seq 100000; head -c 3700000 /dev/urandom; head -c 400000 /dev/zero; cat "$bin/libbase.a"; } | head -c 5300001 >"$T/in"
slow=
if [ "$(uname -m)" = x86_64 ] && command -v qemu-x86_64 >/dev/null; then
	slow="qemu-x86_64 -cpu qemu64,-sse3,-cx16"
	is "the other CPU has not what this one has" "" \
		"$($slow /lib64/ld-linux-x86-64.so.2 --help | grep -E 'x86-64-v[234] \(supported')"
else
	skip "no qemu-x86_64: not tried on another CPU"
fi
for c in "gzip 1" "gzip 7" "gzip 9" "zstd 1" "zstd 3" "zstd 9"; do
	# shellcheck disable=SC2086
	set -- $c
	pack "$1" "$2" 1 >"$T/one"
	pack "$1" "$2" 2 >"$T/two"
	pack "$1" "$2" 5 | cmp - "$T/one" 2>"$T/err" && cmp "$T/one" "$T/two" 2>"$T/err" && pass "$c: the same with 1, 2 and 5 threads" ||
		fail "$c: the same with 1, 2 and 5 threads"
	# shellcheck disable=SC2086
	[ -z "$slow" ] || is "$c: and on a CPU without features" "$(sha256sum <"$T/one")" \
		"$($slow "$bin/tests/run-pack" "$1" "$2" 2 <"$T/in" | sha256sum)"
	ok "$c: $1 reads it" sh -c "$1 -dc <$T/one | cmp - $T/in"
done
is "nothing at all is an empty member" 0 "$(: | "$bin/tests/run-pack" gzip 7 2 | gzip -dc | wc -c)"
is "or frame" 0 "$(: | "$bin/tests/run-pack" zstd 3 2 | zstd -dc | wc -c)"
code 1 "no such level" sh -c "$bin/tests/run-pack gzip 13 1 <$T/in"
done_testing
