# SPDX-License-Identifier: Apache-2.0
# Containers that fork without end, fill their log, their disk, their memory: each is held by its limits, and the one beside them does not notice.
. "$(dirname "$0")/lib.sh"
base
undo='for c in $("$SHALE" ps -aq); do "$SHALE" kill "$c"; done >/dev/null 2>&1'
# It writes, forks and allocates all the time, and ends when any of that fails.
shale run -d --name calm --network none -m 64m --pids-limit 50 busybox sh -c '
	n=0
	while dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>/dev/null && (true | true | true) && echo $n >/n; do n=$((n + 1)); sleep 0.02; done; exit 9' >/dev/null
pid=$(shale inspect -f '{{.State.Pid}}' calm)
counter() { shale exec calm cat /n; }
try "the one beside them works" counter
before=$(counter)
ok "one that forks without end" shale run -d --name forks --network none --pids-limit 40 -m 128m busybox sh -c 'while :; do sh -c "while :; do sleep 1000 & done" 2>/dev/null; done'
ok "one that fills its log" shale run -d --name talks --network none --log-opt max-size=64k --log-opt max-file=2 --cpus 0.3 busybox yes 'a line of its log'
ok "one that fills its memory" shale run -d --name eats --network none -m 32m --memory-swap 32m busybox sh -c 'exec tail /dev/zero'
ok "one that fills its disk" shale run -d --name writes --network none -m 64m --read-only --tmpfs /data:size=4m busybox sh -c 'cat /dev/zero >/data/x; echo full >/data/../dev/shm/said; exec sleep 1000'
ok "one that fills what all share" shale run -d --name files --network none --ulimit fsize=1000000 busybox sh -c 'while cat /dev/zero >/x; do :; done; echo held >/said; exec sleep 1000'
ok "one that wants all processors" shale run -d --name burns --network none --cpus 0.2 busybox sh -c 'while :; do :; done & while :; do :; done'
over() { [ "$(shale inspect -f '{{.State.Status}}' eats)" = exited ]; }
try "memory: it ends" over
is "killed" 137 "$(shale inspect -f '{{.State.ExitCode}}' eats)"
try "disk: it is told" shale exec writes grep full /dev/shm/said
is "at its size" 4194304 "$(shale exec writes stat -c %s /data/x)"
code 1 "and has no other place" shale exec writes touch /x
try "a file: it is told" shale exec files grep held /said
ok "at its limit" test "$(shale exec files stat -c %s /x)" -le 1000448
talked() { [ -e "$SHALE_ROOT/containers/$(shale ps -q --no-trunc -f name=talks)/log.1" ]; }
try "log: it goes on in a new file" talked
ok "and takes no more than two" test "$(cat "$SHALE_ROOT/containers/$(shale ps -q --no-trunc -f name=talks)"/log* | wc -c)" -le 150000
many() { [ "$(shale stats --no-stream --format '{{.PIDs}}' forks)" -ge 30 ]; }
try "forks: it is at its limit" many
ok "and not above" test "$(shale stats --no-stream --format '{{.PIDs}}' forks)" -le 40
gone_on() { [ "$(counter)" -gt "$((before + 3))" ]; }
try "the one beside them goes on" gone_on
is "the same process as before" "running $pid 0" "$(shale inspect -f '{{.State.Status}} {{.State.Pid}} {{.RestartCount}}' calm)"
ok "another can start" shale run --rm --network none busybox true
ok "a build, too" sh -c "echo 'FROM busybox
RUN echo x >/x' | '$SHALE' build --network none -"
for c in forks talks writes files burns; do ok "rm -f $c" timeout 60 "$SHALE" rm -f $c; done
is "it still does" running "$(shale inspect -f '{{.State.Status}}' calm)"
shale rm -f calm eats >/dev/null
no_leaks
done_testing
