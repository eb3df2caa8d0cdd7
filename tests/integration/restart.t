# SPDX-License-Identifier: Apache-2.0
# Restart policies, after ends, kills and a reboot, and health checks.
. "$(dirname "$0")/lib.sh"
base
state() { shale container inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }
count() { shale container inspect -f '{{.RestartCount}}' "$1"; }
runs() { [ "$(shale logs "$1" | grep -c run)" -ge "$2" ]; }
run() { shale run -d --network none "$@" >/dev/null; }
keeper() { ps -o ppid= -p "$(shale container inspect -f '{{.State.Pid}}' "$1")" | tr -d ' '; }

run --name some --restart on-failure:2 busybox sh -c 'echo run; exit 3'
try "on-failure:2 ends" is_state some "exited 3"
is "after three runs" 3 "$(shale logs some | grep -c run)"
is "counted" 2 "$(count some)"
is "the policy is told" "on-failure 2" "$(shale container inspect -f '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}' some)"
run --name fine --restart on-failure busybox sh -c 'echo run; exit 0'
try "on-failure: 0 is none" is_state fine "exited 0"
is "one run" 1 "$(shale logs fine | grep -c run)"
run --name ever --restart always busybox sh -c 'echo run; sleep 0.1'
try "always: again and again" runs ever 3
ok "ps" shale ps -f name=ever
ok "stop" shale stop ever
sleep 0.7
is "a stop is one" exited "$(state ever | cut -d' ' -f1)"
ok "start" shale start ever
m=$(shale logs ever | grep -c run)
try "it goes on" runs ever $((m + 2))
for i in $(seq 40); do ! is_state ever "restarting 0" || break; sleep 0.05; done
ok "rm -f between two runs" shale rm -f ever
is "is the end" "" "$(shale ps -aq -f name=ever)"
run --name killed --restart always busybox sh -c 'echo run; sleep 1000'
old=$(shale container inspect -f '{{.State.Pid}}' killed)
kill -9 "$old"
try "kill -9 of the program" runs killed 2
ok "kill" shale kill killed
sleep 0.5
is "shale kill is the end" "exited 137" "$(state killed)"
shale start killed >/dev/null
m=$(shale logs killed | grep -c run)
kill -9 "$(keeper killed)"
restarted() { is_state killed "running 0" && runs killed $((m + 1)); }
try "kill -9 of the monitor: the policy holds" restarted
ok "rm -f" shale rm -f killed
code 125 "--rm and --restart" shale run --rm --restart always --network none busybox true
code 125 "no policy" shale run --restart nosuch --network none busybox true
code 125 "no number" shale run --restart on-failure:x --network none busybox true
code 4 "in the foreground, too" shale run --name fg --network none --restart on-failure:1 busybox sh -c 'echo run; exit 4'
ok "rm" shale rm fg some fine

# --- a reboot: rows of another boot ----------------------------------------------------------------------------------
for p in always unless-stopped on-failure no; do
	run --name "up-$p" --restart $p busybox sleep 1000
	run --name "down-$p" --restart $p busybox sleep 1000
	shale stop -t 0 "down-$p" >/dev/null
done
pids=
for c in $(shale ps -q); do
	pids="$pids /proc/$(shale container inspect -f '{{.State.Pid}}' "$c")"
	kill -9 "$(keeper "$c")"
done
# shellcheck disable=SC2086
try "their processes are gone" sh -c "! ls -d $pids 2>/dev/null | grep ."
# A boot leaves no groups.
for c in $(ls "$SHALE_ROOT/containers"); do
	find /sys/fs/cgroup -maxdepth 3 -path "*/shale/$c" -exec rmdir {} + 2>/dev/null || true
done
sqlite3 "$SHALE_ROOT/db.sqlite" "UPDATE containers SET boot='another'"
ok "system start" shale system start
is "starts those that ran, and always" "down-always up-always up-on-failure up-unless-stopped" "$(sort "$T/out" | tr '\n' ' ' | sed 's/ $//')"
is "they run" 4 "$(shale ps -q | wc -l)"
ok "once more" shale system start
is "does nothing" "" "$(cat "$T/out")"
# shellcheck disable=SC2046
ok "rm -f" shale rm -f $(shale ps -aq)

# --- health --------------------------------------------------------------------------------------------------------
health() { shale container inspect -f '{{.State.Health.Status}} {{.State.Health.FailingStreak}}' "$1"; }
is_health() { [ "$(health "$1")" = "$2" ]; }
run --name early --health-cmd true --health-interval 1h --health-start-period 1h --health-start-interval 100ms busybox sleep 1000
try "in the start period it is looked at more often" is_health early "healthy 0"
shale rm -f early >/dev/null
run --name sick --health-cmd 'echo looked; test -e /well' --health-interval 100ms --health-retries 2 busybox sleep 1000
is "starting" "starting 0" "$(health sick)"
try "unhealthy" sh -c "'$SHALE' ps -f health=unhealthy -q | grep ."
has_status() { shale ps --format '{{.Status}}'; }
ok "ps" has_status
has "says so" "(unhealthy)"
shale exec sick touch /well
try "healthy" is_health sick "healthy 0"
is "its log" "looked" "$(shale container inspect -f '{{(index .State.Health.Log 0).Output}}' sick | head -1)"
is "at most five" 5 "$(sleep 1; shale container inspect -f '{{len .State.Health.Log}}' sick)"
run --name slow --health-cmd 'sleep 1000' --health-interval 100ms --health-timeout 200ms --health-retries 1 busybox sleep 1000
try "a check that takes too long has failed" is_health slow "unhealthy 1"
is "and is gone" 1 "$(shale top slow | grep -c 'sleep 1000')"
run --name young --health-cmd false --health-interval 100ms --health-start-period 1h --health-retries 1 busybox sleep 1000
try "looked at" sh -c "'$SHALE' container inspect -f '{{len .State.Health.Log}}' young | grep -v 0"
is "but not counted in its start period" "starting 0" "$(health young)"
printf 'FROM busybox\nHEALTHCHECK --interval=100ms --retries=1 CMD ["test", "-e", "/well"]\n' | shale build -q -t checked - >/dev/null
run --name img checked sleep 1000
try "the image's HEALTHCHECK" is_health img "unhealthy 1"
run --name none --no-healthcheck checked sleep 1000
is "--no-healthcheck" null "$(shale container inspect -f '{{json .State}}' none | grep -o '"Health"' || echo null)"
# shellcheck disable=SC2046
# While it is between two lives, too
shale run -d --name waited --restart on-failure:2 --network none busybox sh -c 'exit 5' >/dev/null
try "it has ended once" sh -c "[ \"\$('$SHALE' container inspect -f '{{.RestartCount}}' waited)\" -ge 1 ]"
ok "wait" shale wait waited
is "for its last end" "5 exited 2" "$(cat "$T/out") $(shale container inspect -f '{{.State.Status}} {{.RestartCount}}' waited)"
ok "rm -f" shale rm -f $(shale ps -aq)
no_leaks
done_testing
