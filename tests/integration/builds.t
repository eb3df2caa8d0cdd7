# SPDX-License-Identifier: Apache-2.0
# Records of builds, and the logs of their steps.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" "$T/v" && cd "$T/ctx"
build() { shale build --network none -v "$T/v:/v:rw" "$@" .; }
printf 'FROM busybox\nRUN echo first; echo to stderr >&2\nENV A=1\nRUN seq 100000; printf end\n' >Dockerfile
ok "a build" build -t app
id=$(sed -n 's/.*, build \([0-9a-f]*\)$/\1/p' "$T/err")
is "has a name of 12 digits" 12 "${#id}"
ok "which is listed" shale builds ls
has "with its state" complete
has "and what it made" app
is "-q: the name alone" "$id" "$(shale builds ls -q)"
seq 100000 >"$T/want"
printf end >>"$T/want"
shale logs "$id" 4 >"$T/got"
if cmp -s "$T/want" "$T/got"; then pass "a step's log is whole, to the byte"; else fail "a step's log is whole, to the byte"; fi
is "both streams are in it" "first to stderr" "$(shale logs @last 2 | tr '\n' ' ' | sed 's/ $//')"
shale logs "$id" >"$T/got"
is "the whole log names the steps" 2 "$(grep -c '^#[24] RUN' "$T/got")"
code 1 "a step without a log" shale logs "$id" 3
has "is said" "is no RUN, or was cached"
is "inspect knows the steps" "FROM busybox" "$(shale builds inspect -f '{{(index .Steps 0).text}}' @last)"
is "and the image" "$(shale images -q --no-trunc app)" "$(shale builds inspect -f '{{.Image}}' "$id")"
ok "a cached build" build -t app
is "is the last one now" "3 of 4" "$(shale builds ls --format '{{.Cached}}' | head -n 1)"
is "@2 is the one before" "$id" "$(shale builds inspect -f '{{.ID}}' @2)"
printf 'FROM busybox\nRUN echo oops; exit 3\n' >Dockerfile
code 1 "a build that fails" build
is "is recorded as such" failed "$(shale builds inspect -f '{{.Status}}' @last)"
is "with its log" oops "$(shale logs @last 2)"
if shale builds inspect -f '{{.Error}}' @last | grep -q 'exit code 3'; then pass "and why"; else fail "and why"; fi

# While it runs.
printf 'FROM busybox\nRUN echo begun; touch /v/begun; while [ ! -e /v/go ]; do sleep 0.1; done; echo ended\n' >Dockerfile
"$SHALE" build --network none -v "$T/v:/v:rw" . >/dev/null 2>&1 &
pid=$!
try "one is running" test -e "$T/v/begun"
is "which ls tells" running "$(shale builds ls --format '{{.Status}}' | head -n 1)"
code 1 "it is not removed" shale builds rm @last
has "since it runs" "is running"
shale logs -f @last >"$T/followed" &
follower=$!
try "its log is followed" grep -q begun "$T/followed"
touch "$T/v/go"
wait $pid
rc=0
wait $follower || rc=$?
is "to its end" "0 ended" "$rc $(tail -n 1 "$T/followed")"
rm "$T/v/go" "$T/v/begun"
printf 'FROM busybox\nRUN touch /v/begun; sleep 1000\n' >Dockerfile
"$SHALE" build --network none -v "$T/v:/v:rw" . >/dev/null 2>&1 &
pid=$!
try "another is running" test -e "$T/v/begun"
kill -9 $pid
wait $pid 2>/dev/null || true
is "killed, it is lost" lost "$(shale builds ls --format '{{.Status}}' | head -n 1)"

ok "a record is removed" shale builds rm "$id"
code 1 "and is gone" shale builds inspect "$id"
if ls "$SHALE_ROOT/logs/$id."* >/dev/null 2>&1; then fail "with its logs"; else pass "with its logs"; fi
printf '[gc]\nbuilds = 1\n' >"$T/conf"
touch "$SHALE_ROOT/logs/ffffffffffffffffffffffffffffffff.log"
ok "gc keeps as many as it is told" env SHALE_CONF="$T/conf" "$SHALE" gc
is "the last one, which is lost" lost "$(shale builds ls --format '{{.Status}}')"
if [ -e "$SHALE_ROOT/logs/ffffffffffffffffffffffffffffffff.log" ]; then fail "a log without a record goes"; else pass "a log without a record goes"; fi
ok "all go" shale builds rm --all
is "none is left" "" "$(shale builds ls -q)$(ls "$SHALE_ROOT/logs")"
code 1 "@last of none" shale logs @last
has "says so" "no build @last"
code 2 "no name" shale builds rm
no_leaks
done_testing
