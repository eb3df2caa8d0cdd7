# SPDX-License-Identifier: Apache-2.0
# What is done to a container: restart, pause, rename, top, port.
. "$(dirname "$0")/lib.sh"
base
state() { shale container inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }
pid() { shale container inspect -f '{{.State.Pid}}' "$1"; }
out() { cat "$T/out"; }
loop='trap "exit 5" TERM; trap "exit 6" USR1; i=0; while :; do i=$((i + 1)); echo $i >/count; sleep 0.02; done'

# --- restart -------------------------------------------------------------------------------------------------------
shale run -d --name one --network none busybox sh -c "$loop" >/dev/null
old=$(pid one)
ok "restart" shale restart one
is "prints the name" one "$(out)"
is "it runs" "running 0" "$(state one)"
ok "as another process" test "$old" != "$(pid one)"
ok "stop -s" shale stop -s USR1 one
is "sends that signal" "exited 6" "$(state one)"
ok "restart starts one that does not run" shale restart one
is "running" "running 0" "$(state one)"
code 1 "restart of nothing" shale restart nosuch
code 2 "an odd signal" shale restart -s NOSUCH one
shale run -d --rm --name brief --network none busybox sh -c "$loop" >/dev/null
ok "restart of one with --rm" shale restart brief
is "it is still there" "running 0" "$(state brief)"
ok "stop" shale stop brief
try "then it goes" sh -c "! '$SHALE' container inspect brief >/dev/null 2>&1"

# --- pause ---------------------------------------------------------------------------------------------------------
shale exec -d one sh -c 'while :; do date +%s%N >/later; sleep 0.02; done'
try "a second process" shale exec one test -s /later
ok "pause" shale pause one
is "inspect says so" "paused true true" "$(shale container inspect -f '{{.State.Status}} {{.State.Paused}} {{.State.Running}}' one)"
has_paused() { shale ps --format '{{.Status}} {{.State}}'; }
ok "ps" has_paused
has "says so" "(Paused) paused"
is "ps -f status=paused" one "$(shale ps -f status=paused --format '{{.Names}}')"
is "ps -f status=running" "" "$(shale ps -f status=running --format '{{.Names}}')"
root=/proc/$(pid one)/root
a=$(cat "$root/count" "$root/later")
sleep 0.3
is "nothing in it moves, nor what exec brought" "$a" "$(cat "$root/count" "$root/later")"
code 1 "pause again" shale pause one
code 1 "attach" shale attach one
ok "unpause" shale unpause one
moves() { [ "$a" != "$(cat "$root/count" "$root/later")" ]; }
try "it moves" moves
code 1 "unpause again" shale unpause one
shale pause one >/dev/null
ok "stop of a paused one" shale stop one
is "its own way out" "exited 5" "$(state one)"
code 1 "pause of what does not run" shale pause one
shale start one >/dev/null
shale pause one >/dev/null
ok "rm -f of a paused one" shale rm -f one
"$SHALE" run --name fore --network none busybox sleep 1000 &
try "one in the foreground" is_state fore "running 0"
code 1 "without a group cannot be" shale pause fore
has "says why" "control group"
ok "rm -f" shale rm -f fore
wait

# --- rename, port --------------------------------------------------------------------------------------------------
shale create --name first --network none busybox true >/dev/null
shale create --name second --network none busybox true >/dev/null
ok "rename" shale rename first other
is "the new name" /other "$(shale container inspect -f '{{.Name}}' other)"
code 1 "the old one is gone" shale container inspect first
code 1 "a name that is taken" shale rename other second
code 1 "no name" shale rename other a/b
ok "container rename" shale container rename other first
ok "port" shale port first
is "prints nothing" "" "$(out)"
code 1 "no such port" shale port first 80/tcp
ok "rm" shale rm first second

# --- top -----------------------------------------------------------------------------------------------------------
shale run -d --name top --network none busybox sh -c 'sleep 1001 & exec sleep 1002' >/dev/null
try "two processes" sh -c "[ \"\$('$SHALE' top top | wc -l)\" = 3 ]"
ok "top" shale top top
has "with their commands" "sleep 1001"
has "and the usual columns" "PPID"
is "columns that were asked for" "PID,CMD" "$(shale top top -o pid,args | head -1 | tr -s ' ' | tr ' ' ,)"
is "podman's way" "$(pid top)" "$(shale top top pid args | awk '/sleep 1002/ { print $1 }')"
ok "aux" shale top top aux
has "has memory" "%MEM"
code 2 "no such column" shale top top -o nosuch
"$SHALE" run --name fore --network none busybox sleep 1003 &
try "one in the foreground" is_state fore "running 0"
ok "top without a group" shale top fore
has "finds it" "sleep 1003"
is "and nothing else" 2 "$(wc -l <"$T/out")"
ok "rm -f" shale rm -f fore top
wait
code 1 "top of what is not there" shale top top
no_leaks
done_testing
