# SPDX-License-Identifier: Apache-2.0
# events: what was done, in order, filtered, followed; stats.
. "$(dirname "$0")/lib.sh"
base
begin=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
sleep 0.1
actions() { shale events --since "$begin" --until "$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)" --format '{{.Action}}' "$@" | tr '\n' ' ' | sed 's/ $//'; }

shale run --rm --name brief --network none busybox true
is "run --rm" "create start die destroy" "$(actions -f container=brief)"
shale run -d --name one -l k=v --network none busybox sh -c 'trap "exit 5" TERM; while :; do sleep 0.02; done' >/dev/null
for verb in pause unpause; do shale $verb one >/dev/null; done
shale exec one true
shale stop one >/dev/null
shale rename one two
shale rm two >/dev/null
is "one in the background" "create start pause unpause exec_start exec_die kill die stop rename destroy" "$(actions -f label=k=v)"
is "its exit code" 5 "$(shale events --since "$begin" --until "$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)" -f container=one -f event=die --format '{{.Actor.Attributes.exitCode}}')"
is "filters: alternatives of a key" "create destroy" "$(actions -f event=create -f event=destroy -f container=brief)"
shale run -d --name three -l k=w --network none busybox sleep 100 >/dev/null
shale rename three four
shale kill four >/dev/null
shale wait four >/dev/null
shale rm four >/dev/null
is "who was renamed ends by the new name" four "$(shale events --since "$begin" --until "$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)" -f label=k=w -f event=die --format '{{.Actor.Attributes.name}}')"
shale volume create vol >/dev/null
shale volume rm vol >/dev/null
is "volumes" "create destroy" "$(actions -f type=volume -f volume=vol)"
# --- of images and networks
shale tag busybox ev:1
shale save -o "$T/ev.tar" ev:1
shale rmi ev:1 >/dev/null
shale load -q -i "$T/ev.tar" >/dev/null
shale import -c 'LABEL kind=thing' "$top/build/base.tar" ev:2 >/dev/null
shale run --name made --network none busybox touch /x
shale commit made ev:3 >/dev/null
shale rm made >/dev/null
shale rmi ev:1 ev:2 >/dev/null
shale image prune -f >/dev/null
id=$(shale images -q --no-trunc ev:3)
is "images" "tag save untag tag load tag import tag untag untag delete prune" "$(actions -f type=image)"
is "by name" "tag untag tag load untag" "$(actions -f image=ev:1)"
is "with any tag" "tag untag tag load tag import tag untag untag" "$(actions -f image=ev)"
is "by label" "tag import" "$(actions -f label=kind=thing)"
is "a commit names its image" "$id" "$(shale events --since "$begin" --until "$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)" -f event=commit --format '{{.Actor.Attributes.imageID}}')"
is "by its id" "delete" "$(actions -f event=delete -f image="$(shale events --since "$begin" --until "$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)" -f event=delete --format '{{.id}}')")"
is "scope" "" "$(actions -f scope=swarm)"
shale volume prune -f >/dev/null
is "a prune" prune "$(actions -f type=volume -f event=prune)"
shale network create --disable-dns evnet >/dev/null
shale network rm evnet >/dev/null
is "networks" "create destroy" "$(actions -f network=evnet)"
shale run -d --name well --network none --health-cmd 'test -e /ok' --health-interval 100ms --health-retries 1 busybox sleep 1000 >/dev/null
sick() { [ "$(actions -f event=health_status -f container=well)" = "health_status: unhealthy" ]; }
try "health" sick
shale exec well touch /ok
well() { [ "$(actions -f event=health_status -f container=well)" = "health_status: unhealthy health_status: healthy" ]; }
try "both ways" well
shale rm -f well >/dev/null
is "an image's" 5 "$(actions -f image=busybox -f event=create | wc -w)"
is "until" "" "$(shale events --since "$begin" --until "$begin")"
shale events --since "$begin" --until "$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)" >"$T/lines"
is "lines as docker's" 4 "$(grep -cE '^20[0-9-]+T[0-9:]+\.[0-9]{9}Z container [a-z]+ [0-9a-f]{64} \(.*name=brief.*\)$' "$T/lines")"
shale events --since "$begin" --until "$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)" --format json >"$T/json"
ok "json" python3 -c 'import json, sys; a = [json.loads(l) for l in open(sys.argv[1])]; assert a[0]["Type"] == "container" and a[0]["timeNano"] > 0' "$T/json"
"$SHALE" events --format '{{.Action}} {{.Actor.Attributes.name}}' >"$T/live" &
reader=$!
sleep 0.3
# More than fits in one file: a reader that follows loses none.
yes 'a line that a full disk has cut' | head -n 140000 >>"$SHALE_ROOT/events"
shale run --rm --name live --network none busybox true
shale run --rm --name later --network none busybox true
all() { [ "$(grep -cE ' (live|later)$' "$T/live")" = 8 ]; }
try "followed, over a rotation" all
ok "rotated" test -s "$SHALE_ROOT/events.1"
kill $reader
wait $reader 2>/dev/null || true
code 2 "no such filter" shale events -f nosuch=1
code 2 "no time" shale events --since nonsense
ok "every byte belongs to somebody" sh -c "'$SHALE' du --format '{{.Type}} {{.TotalCount}}' | grep 'Orphans 0'"

# --- stats -----------------------------------------------------------------------------------------------------------
shale run -d --name busy --network none -m 64m busybox sh -c 'while :; do :; done' >/dev/null
shale run -d --name idle --network none busybox sleep 1000 >/dev/null
ok "stats" shale stats --no-stream
has "both" busy
has "and" idle
hasnt "by their groups" "no control group"
shale run -d --name shm --network none -m 64m busybox sh -c 'dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; touch /done; sleep 1000' >/dev/null
try "memory that no process has mapped" shale exec shm test -e /done
ok "is counted" sh -c "'$SHALE' stats --no-stream --format '{{.MemUsage}}' shm | awk '{ sub(\"MB\", \"\", \$1); exit !(\$1 > 20) }'"
shale rm -f shm >/dev/null
"$SHALE" run --rm --name fore --network none busybox sleep 1000 >/dev/null 2>&1 &
fore=$!
try "one without a group" shale stats --no-stream fore
has "is said to be" "container fore has no control group"
shale kill fore >/dev/null
wait $fore || true
shale stats --no-stream --format '{{.Name}} {{.PIDs}} {{.CPUPerc}} {{.MemUsage}}' busy >"$T/one"
is "of one: name and processes" "busy 1" "$(cut -d' ' -f1,2 "$T/one")"
is "of its limit" 1 "$(grep -c "/ 67.1MB" "$T/one")"
ok "it is busy" awk '{ sub("%", "", $3); busy = $3 > 2 } END { exit !busy }' "$T/one"
ok "json" shale stats --no-stream --format json idle
has "is" '"CPUPerc":"0.00%"'
code 1 "of what is not there" shale stats --no-stream nosuch
timeout 2.7 "$SHALE" stats --format '{{.Name}}' idle >"$T/stream" || true
ok "it goes on" test "$(wc -l <"$T/stream")" -ge 2
ok "rm -f" shale rm -f busy idle
no_leaks
done_testing
