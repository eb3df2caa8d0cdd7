# SPDX-License-Identifier: Apache-2.0
# build --twice: what comes out is the same without the cache, or each file that is not is named.
. "$(dirname "$0")/lib.sh"
base
SOURCE_DATE_EPOCH=1700000000
export SOURCE_DATE_EPOCH
mkdir -p "$T/ctx" && cd "$T/ctx"
echo a >a
printf 'FROM busybox\nCOPY a /a\nRUN echo same >/same && mkdir /d && echo x >/d/x\n' >Dockerfile
build() { shale build --network none "$@"; }
ok "a build that is the same each time" build --twice -t good .
has "has a name" "cached 0 of 3"
is "one image is left" 1 "$(shale images -q good | wc -l)"
is "and nothing dangles" 0 "$(shale images -q --filter dangling=true | wc -l)"
ok "from the cache, and again" build --twice -q -t good .
is "-q prints one ID" 1 "$(wc -l <"$T/out")"
good=$(shale images -q --no-trunc good)
cat >Dockerfile <<'EOD'
FROM busybox
COPY a /a
RUN cat /proc/sys/kernel/random/uuid >/content; echo same >/same
RUN --mount=type=cache,target=/c touch /mode; [ ! -e /c/x ] || chmod 600 /mode; touch /c/x
RUN touch /owner; read -r u </proc/sys/kernel/random/uuid; chown $((0x$(echo "$u" | cut -c1-6))) /owner
RUN touch /time; read -r u </proc/sys/kernel/random/uuid; touch -d @$((0x$(echo "$u" | cut -c1-6))) /time
EOD
code 1 "one that is not" build --twice -t good .
has "its content is named" "differs: /content (content"
has "and its mode" "differs: /mode (mode "
has "and its owner" "differs: /owner (owner "
has "and its time" "differs: /time (time "
has "nothing else" "differ in 4 places"
is "the name has not moved" "$good" "$(shale images -q --no-trunc good)"
unset SOURCE_DATE_EPOCH
printf 'FROM busybox\nRUN echo x >/x; sleep 1\n' >D3
code 1 "times alone" build --twice -f D3 .
has "are a difference, with a way out" "in times only: --timestamp"
ok "that way" build --twice --timestamp 0 -f D3 .
printf 'FROM busybox\nRUN false\n' >D2
code 1 "a step that fails" build --twice -f D2 .
has "fails the first time" "ended with exit code 1"
code 1 "a Dockerfile that is read once" build --twice -f - .
has "is refused" "--twice compares images"
no_leaks
done_testing
