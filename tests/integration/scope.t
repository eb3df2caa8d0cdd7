# SPDX-License-Identifier: Apache-2.0
# build --cache-scope: step records and cache mounts of one scope are not seen from another.
. "$(dirname "$0")/lib.sh"
base
mkdir -p "$T/ctx" && cd "$T/ctx"
echo a >a
printf 'FROM busybox\nENV A=1\nCOPY a /a\nWORKDIR /w\nRUN true\n' >Dockerfile
build() { shale build --network none "$@"; }
cached() { sed -n 's/.*cached \([0-9]* of [0-9]*\).*/\1/p' "$T/err"; }
ok "untrusted" build --cache-scope pr -t p .
ok "the release" build -t r .
is "takes nothing of it" "0 of 5" "$(cached)"
ok "untrusted again" build --cache-scope pr .
is "finds its own" "4 of 5" "$(cached)"
ok "another one" build --cache-scope pr2 --explain .
has "is told so" "scope "
is "and does not" "0 of 5" "$(cached)"
printf 'FROM busybox\nRUN --mount=type=cache,id=c,target=/c cat /c/who >/who 2>/dev/null; echo $W >>/c/who\n' >D2
sed -i 's/^RUN/ARG W\nRUN/' D2
ok "a cache mount" build --cache-scope pr --build-arg W=evil -f D2 .
ok "of the release" build --build-arg W=good -f D2 -t r2 .
is "is another one" "" "$(shale run --rm --network none r2 cat /who)"
ok "and in the scope" build --cache-scope pr --build-arg W=x -f D2 -t r3 .
is "the same" "evil" "$(shale run --rm --network none r3 cat /who)"
ok "cache ls" shale cache ls --format '{{.ID}}'
has "names the scope" "scope:pr/c"
ok "cache rm" shale cache rm scope:pr/c
code 1 "a scope with a slash" build --cache-scope a/b .
has "is refused" "--cache-scope: want"
no_leaks
done_testing
