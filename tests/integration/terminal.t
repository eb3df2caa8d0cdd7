# SPDX-License-Identifier: Apache-2.0
# Terminals: run, exec, start and attach at one, its size, its signals, and leaving it.
. "$(dirname "$0")/lib.sh"
base
here=$(dirname "$0")
tty() { python3 "$here/terminal.py" "$@"; }
state() { shale container inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }
run="$SHALE run -it --network none"

# --- run -it -------------------------------------------------------------------------------------------------------
code 7 "run -it gives the status" tty '?# ' 'echo a$((1+1))b; exit 7\r' '?a2b' -- $run --rm busybox sh
is "--rm: no row" "" "$(shale ps -aq)"
code 0 "the size is there before the program" tty '?24 80' -- $run --rm busybox stty size
code 0 "and follows" tty '?ready' '=31x99' '?31 99' 'q\r' -- $run --rm busybox sh -c 'trap "stty size; exit" WINCH; echo ready; while :; do sleep 0.05; done'
code 0 "raw: ctrl-c goes to the program" tty '?ready' '\x03' '?got it' -- $run --rm busybox sh -c 'trap "echo got it; exit 0" INT; echo ready; while :; do sleep 0.05; done'
code 143 "a signal to shale is passed on" tty '?ready' '!TERM' '?bye' -- $run --rm busybox sh -c 'trap "echo bye; exit 143" TERM; echo ready; while :; do sleep 0.05; done'
code 0 "our terminal is as it was" tty '?done' '?-icanon' -- sh -c "$run --rm busybox true; stty -icanon; stty -a | grep -o .icanon; echo done; stty -a | grep -o -- -icanon"
code 125 "no terminal, no -it" shale run -it --rm --network none busybox true
has "says so" "not a terminal"
ok "much output comes whole" sh -c "python3 '$here/terminal.py' -- $run --rm busybox seq 1 20000 | tr -d '\r' | cksum >'$T/got'"
is "all of it" "$(seq 1 20000 | cksum)" "$(cat "$T/got")"

# --- leaving -------------------------------------------------------------------------------------------------------
code 0 "ctrl-p ctrl-q leave it" tty '?# ' 'x=kept\r' '\x10\x11' -- $run --name one busybox sh
is "it runs on" "running 0" "$(state one)"
code 0 "attach comes back to it" tty '?# ' 'echo $x\r' '?kept' '\x10\x11' -- "$SHALE" attach one
code 0 "ctrl-p alone goes through" tty '?# ' 'echo \x10y | od -c\r' '?od -c' '~0.3' '\x10\x11' -- "$SHALE" attach one
code 0 "other keys" tty '?# ' 'a' '~0.2' '\x10\x11' '~0.2' '\x01z' -- "$SHALE" attach --detach-keys ctrl-a,z one
is "still there" "running 0" "$(state one)"
code 125 "keys that are none" tty -- "$SHALE" run -it --detach-keys ctrl-pq --rm busybox true
code 1 "attach without a terminal" shale attach one
code 5 "its end is attach's status" tty '?# ' '\rexit 5\r' -- "$SHALE" attach one
is "and its own" "exited 5" "$(state one)"
code 1 "attach to what does not run" shale attach one
code 0 "start -ai goes the same way" tty '?# ' '\x10\x11' -- "$SHALE" start -ai one
is "left" "running 0" "$(state one)"
ok "two at once" sh -c "python3 '$here/terminal.py' '?both' '\x10\x11' -- '$SHALE' attach one >'$T/first' & sleep 0.7; python3 '$here/terminal.py' '?# ' 'echo bo\$((0))th | tr -d 0\r' '?both' '\x10\x11' -- '$SHALE' attach one; wait"
is "each sees what the other does" 1 "$(grep -c '^both' "$T/first")"
ok "rm -f" shale rm -f one

# --- without a terminal ---------------------------------------------------------------------------------------------
shale run -d -i --name pipe --network none busybox sh -c 'while read -r l; do echo "got $l"; [ "$l" != end ] || exit 3; done' >/dev/null
printf 'one\nend\n' >"$T/lines"
rc=0
shale attach pipe <"$T/lines" >"$T/piped" 2>&1 || rc=$?
is "attach feeds stdin" "got one
got end" "$(cat "$T/piped")"
is "and gives the status" 3 $rc
is "the log has it as well" "got one
got end" "$(shale logs pipe)"
ok "rm" shale rm pipe
shale run -d --name sig --network none busybox sh -c 'trap "echo term; exit 9" TERM; while :; do sleep 0.05; done' >/dev/null
"$SHALE" attach sig >"$T/sig" &
cli=$!
sleep 0.5
kill -TERM $cli
rc=0
wait $cli || rc=$?
is "signals are passed on" 9 $rc
shale start sig >/dev/null
"$SHALE" attach --sig-proxy=false sig >"$T/sig" 2>&1 &
cli=$!
sleep 0.5
kill -TERM $cli
wait $cli || true
is "--sig-proxy=false: only attach ends" "running 0" "$(state sig)"
ok "rm -f" shale rm -f sig
"$SHALE" run --rm --name fore --network none busybox sleep 1000 &
cli=$!
try "one in the foreground" is_state fore "running 0"
code 1 "has its keeper's stdin" shale attach fore
has "and says whose" "$cli"
ok "rm -f" shale rm -f fore
wait $cli 2>/dev/null || true

# --- exec -----------------------------------------------------------------------------------------------------------
shale run -d --name box --network none busybox sleep 1000 >/dev/null
code 4 "exec -it" tty '?# ' 'stty size; exit 4\r' '?24 80' -- "$SHALE" exec -it box sh
code 0 "its size follows" tty '?ready' '=40x50' '?40 50' -- "$SHALE" exec -it box sh -c 'trap "stty size; exit" WINCH; echo ready; while :; do sleep 0.05; done'
code 0 "left by its keys" tty '?ready' '\x10\x11' -- "$SHALE" exec -it box sh -c 'echo ready; sleep 1; echo alive >/alive; sleep 1000'
try "it runs on" shale exec box test -f /alive
tty '?ready' '#' -- "$SHALE" exec -it box sh -c 'trap "echo >/hup; exit" HUP; echo ready; while :; do sleep 0.05; done' >/dev/null || true
try "a hang-up of the terminal is one inside" shale exec box test -f /hup
code 127 "no such program" tty -- "$SHALE" exec -it box /no/such
code 125 "no terminal" shale exec -it box true
ok "rm -f" shale rm -f box
no_leaks
done_testing
