# SPDX-License-Identifier: Apache-2.0
# Stages side by side, and a step that several need at once.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" "$T/v" && cd "$T/ctx"
build() { shale build --network none -v "$T/v:/v:rw" "$@" .; }

# Each of two stages ends only when the other is under way.
cat >Dockerfile <<'D'
FROM busybox AS one
RUN touch /v/one; i=0; while [ ! -e /v/two ]; do i=$((i+1)); [ $i -lt 300 ] || exit 1; sleep 0.1; done; printf 'half a line'; echo 1 >/one
FROM busybox AS two
RUN touch /v/two; i=0; while [ ! -e /v/one ]; do i=$((i+1)); [ $i -lt 300 ] || exit 1; sleep 0.1; done; printf 'half a line'; echo 2 >/two
FROM busybox AS unneeded
RUN exit 9
FROM scratch
COPY --from=one /one /
COPY --from=two /two /
D
ok "stages that do not need each other run side by side" build -t both
cp "$T/err" "$T/lines"
is "each step's output is its own" 2 "$(grep -c '| half a line$' "$T/lines")"
is "steps are numbered once" 1 "$(grep -c '^#1 .*\[1/7\]' "$T/lines")"
ok "again" build -t both
is "all from the cache" 4 "$(grep -c CACHED "$T/err")"
ok "json names the step of every line" build --no-cache --progress json
is "which both stages have" 2 "$(grep '"event":"output"' "$T/err" | grep -o '"step":[0-9]*' | sort -u | wc -l)"

cat >Dockerfile <<'D'
FROM busybox AS a
RUN mkdir /v/alone && sleep 0.3 && rmdir /v/alone && echo a
FROM busybox AS b
RUN mkdir /v/alone && sleep 0.3 && rmdir /v/alone && echo b
FROM busybox AS c
RUN mkdir /v/alone && sleep 0.3 && rmdir /v/alone && echo c
FROM scratch
COPY --from=a /bin/busybox /a
COPY --from=b /bin/busybox /b
COPY --from=c /bin/busybox /c
D
ok "--jobs 1: one at a time" build --jobs 1
code 1 "which is not so without" build --no-cache
rmdir "$T/v/alone" 2>/dev/null || true

cat >Dockerfile <<'D'
FROM busybox AS slow
RUN sleep 1000
FROM busybox AS wrong
RUN sleep 0.3; exit 3
FROM scratch
COPY --from=slow /bin/busybox /a
COPY --from=wrong /bin/busybox /b
D
start=$(date +%s)
code 1 "a stage that fails ends the others" build
if [ $(($(date +%s) - start)) -lt 60 ]; then pass "at once"; else fail "at once"; fi
has "and is the one that is named" "Dockerfile:4:1: RUN: ended with exit code 3"
is "in one message" 1 "$(grep -c '^shale:' "$T/err")"

# One step, needed at the same time by two stages, by two builds.
cat >Dockerfile <<'D'
FROM busybox AS a
RUN echo x >>/v/count; sleep 1
FROM busybox AS b
RUN echo x >>/v/count; sleep 1
FROM scratch
COPY --from=a /bin/busybox /a
COPY --from=b /bin/busybox /b
D
build >"$T/other" 2>&1 &
other=$!
ok "two builds of two stages that need the same step" build
cp "$T/err" "$T/lines"
rc=0
wait $other || rc=$?
is "both succeed" 0 $rc
is "it ran once" 1 "$(wc -l <"$T/v/count")"
is "and all but one waited" 3 "$(cat "$T/other" "$T/lines" | grep -c 'under way elsewhere')"

printf 'FROM busybox\nRUN touch /v/begun; [ -e /v/again ] || sleep 1000\n' >Dockerfile
"$SHALE" build --network none -v "$T/v:/v:rw" . >"$T/other" 2>&1 &
holder=$!
try "a build is in its step" test -e "$T/v/begun"
build >"$T/lines" 2>&1 &
other=$!
try "another waits for it" grep -q 'under way elsewhere' "$T/lines"
touch "$T/v/again"
kill -9 $holder
wait $holder 2>/dev/null || true
rc=0
wait $other || rc=$?
is "when its builder is killed, who waits runs it" 0 $rc
no_leaks
done_testing
