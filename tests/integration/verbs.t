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
# Whoever asks whether a restart holds it does not hold it.
asked=$T/store/containers/$(shale container inspect -f '{{.Id}}' brief)/restarted
ok "stop while another asks" flock -s "$asked" "$SHALE" stop brief
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
# Who shares its processes, in a group with limits
id=$(shale run -d --name guest --pid container:fore --memory 64m --network none busybox sleep 1005)
own_group() { grep -c "/shale/$id\$" "/proc/$(shale inspect -f '{{.State.Pid}}' guest)/cgroup"; }
groups=$(own_group)
ok "top, with a guest" shale top fore
has "finds its own" "sleep 1003"
hasnt "not the guest's" "sleep 1005"
ok "pause" shale pause fore
is "the guest stays in its group" "$groups" "$(own_group)"
is "and goes on" "$(printf 'paused\nrunning')" "$(shale inspect -f '{{.State.Status}}' fore guest)"
ok "unpause" shale unpause fore
ok "rm -f" shale rm -f guest fore top
wait

# --- in the foreground, without a group and without a terminal -------------------------------------------------------
group() { find /sys/fs/cgroup -depth -type d -name "$1" 2>/dev/null; }
mkfifo "$T/fifo"
sleep 1000 >"$T/fifo" &
writer=$!
"$SHALE" run -i --name fore2 --network none busybox sh -c 'while :; do echo x >>/n; echo tick; sleep 0.05; done & while read -r l; do echo "got $l"; [ "$l" != end ] || break; done; exit 7' \
	>"$T/own" 2>&1 <"$T/fifo" &
fore=$!
try "one that writes and reads" grep -q tick "$T/own"
id=$(shale ps -q --no-trunc -f name=fore2)
is "has no group" "" "$(group "$id")"
ok "pause" shale pause fore2
is "makes one" 1 "$(group "$id" | wc -l)"
is "ps knows" "running 1" "$(shale inspect -f '{{.State.Status}} {{.State.Paused}}' fore2 | sed 's/paused true/running 1/')"
lines=$(wc -l <"$SHALE_ROOT/$(shale inspect -f '{{.UpperDir}}' fore2 | sed "s,^$SHALE_ROOT/,,")/n")
sleep 0.4
is "all its processes stand still" "$lines" "$(wc -l <"$SHALE_ROOT/$(shale inspect -f '{{.UpperDir}}' fore2 | sed "s,^$SHALE_ROOT/,,")/n")"
ok "unpause" shale unpause fore2
ok "and once more" sh -c "'$SHALE' pause fore2 && '$SHALE' unpause fore2"
# As a kill in the middle of the first pause leaves it
g=$(group "$id")
first=$(shale inspect -f '{{.State.Pid}}' fore2)
echo "$first" >"${g%/shale/*}/cgroup.procs"
ok "pause with half a group" shale pause fore2
is "takes in the others" 1 "$(grep -cx "$first" "$g/cgroup.procs")"
ok "unpause" shale unpause fore2
ok "exec" shale exec fore2 true
timeout 20 "$SHALE" attach fore2 >"$T/seen" 2>&1 <<-END &
	word
END
guest=$!
try "attach sees what it writes" grep -q tick "$T/seen"
echo end >"$T/fifo"
rc=0
wait $fore || rc=$?
is "its end is run's status" 7 "$rc"
rc=0
wait $guest || rc=$?
is "and attach's" 7 "$rc"
is "its group is gone" "" "$(group "$id")"
kill $writer
"$SHALE" run --rm --name brief --network none busybox sleep 1004 &
try "one with --rm" is_state brief "running 0"
code 1 "has no place for others" shale attach brief
has "and is told why" "was run with --rm in the foreground"
id=$(shale ps -q --no-trunc -f name=brief)
ok "it can be paused all the same" shale pause brief
ok "and removed" shale rm -f brief
wait
is "its group is gone, too" "" "$(group "$id")"
shale rm fore2 >/dev/null
ok "one that writes 100 kB" shale run --name wrote --network none busybox sh -c 'head -c 100000 /dev/urandom >/f'
size=$(shale inspect -s -f '{{.SizeRw}}' wrote)
if [ "$size" -ge 100000 ] && [ "$size" -lt 200000 ]; then pass "inspect -s has it"; else fail "inspect -s has it ($size)"; fi
is "and so has container inspect" "$size" "$(shale container inspect --size -f '{{.SizeRw}}' wrote)"
is "not unless asked" "" "$(shale inspect wrote | grep SizeRw || true)"
ok "rm" shale rm wrote
code 125 "a signature that nobody checks is not promised" shale run --disable-content-trust=false --rm busybox true
has "and it is said" 'is not true, and there is nothing else'
code 1 "top of what is not there" shale top top
no_leaks
done_testing
