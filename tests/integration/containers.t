# SPDX-License-Identifier: Apache-2.0
# Containers as users have them: run, the life of one in the background, logs, exec, diff, and what kill -9 leaves.
. "$(dirname "$0")/lib.sh"
base
cd "$T"
run() { shale run --rm --network none "$@"; }
state() { shale container inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
is_state() { [ "$(state "$1")" = "$2" ]; }
out() { cat "$T/out"; }

# --- run ---------------------------------------------------------------------------------------------------------
ok "run" run busybox true
is "run --rm leaves no row" "" "$(shale ps -aq)"
ok "stdout comes through" run busybox echo hello
is "as it was written" hello "$(out)"
is "stdin with -i" "in put" "$(echo in put | shale run --rm -i --network none busybox cat)"
is "no stdin without -i" "" "$(echo in put | shale run --rm --network none busybox cat)"
is "stderr is apart" "e" "$(shale run --rm --network none busybox sh -c 'echo o; echo e >&2' 2>&1 >/dev/null)"
code 7 "the program's status" run busybox sh -c 'exit 7'
code 143 "killed by a signal: 128 + 15" run busybox sh -c 'kill -TERM $$; sleep 1; trap - TERM; exit 143'
code 127 "no such program" run busybox /no/such
has "says what may not be there" "it is not in the container, or its interpreter or loader is not"
has "named" "/no/such"
code 126 "not executable" run busybox /etc/passwd
code 125 "no such image" run nosuchimage true
code 125 "unknown option" shale run --no-such-option busybox
is "failed ones leave no row with --rm" "" "$(shale ps -aq)"
is "host name is the short id" 12 "$(run busybox hostname | tr -d '\n' | wc -c)"
is "--hostname" box "$(run --hostname box busybox hostname)"
has_host() { run --hostname box --add-host db:10.1.2.3 busybox cat /etc/hosts; }
ok "hosts file" has_host
has "--add-host" "10.1.2.3	db"
is "working directory" /tmp "$(run -w /tmp busybox pwd)"
is "working directory is made" /new/dir "$(run -w /new/dir busybox pwd)"
is "user" "1000:1000" "$(run -u 1000:1000 busybox sh -c 'echo $(id -u):$(id -g)')"
is "-e" "a b" "$(run -e 'X=a b' busybox sh -c 'echo "$X"')"
is "-e NAME takes the host's" "from host" "$(FROM_HOST='from host' shale run --rm --network none -e FROM_HOST busybox sh -c 'echo "$FROM_HOST"')"
printf '# comment\n\nF=1 2\n' >env
is "--env-file" "1 2" "$(run --env-file env busybox sh -c 'echo "$F"')"
SECRET_OF_HOST=leak run busybox env >"$T/out"
hasnt "nothing else of the host's environment" leak
has "PATH" "PATH=/usr/local/sbin:"
has "HOME" "HOME=/"
is "--entrypoint" "x y" "$(run --entrypoint echo busybox x y)"
is "--read-only" "ro" "$(run --read-only busybox sh -c 'echo x >/x 2>/dev/null || echo ro')"
mkdir vol && echo host >vol/f
is "-v" host "$(run -v "$T/vol:/data" busybox cat /data/f)"
ok "-v is writable" run -v "$T/vol:/data" busybox sh -c 'echo inside >/data/g'
is "and seen on the host" inside "$(cat vol/g)"
code 1 "-v :ro is not" run -v "$T/vol:/data:ro" busybox sh -c 'echo x >/data/h'
is "-v of a file" host "$(run -v "$T/vol/f:/etc/one" busybox cat /etc/one)"
is "-v relative" host "$(run -v ./vol:/data busybox cat /data/f)"
ok "-v makes a missing directory" run -v "$T/fresh:/data" busybox touch /data/x
ok "on the host" test -f fresh/x
is "--tmpfs" tmpfs "$(run --tmpfs /t busybox sh -c "grep ' /t ' /proc/mounts | cut -d' ' -f3")"
is "--ulimit" 77 "$(run --ulimit nofile=77 busybox sh -c 'ulimit -n')"
is "--network none has only lo" lo "$(run busybox ls /sys/class/net)"
is "a container is process 1" 1 "$(run busybox sh -c 'echo $$')"
code 3 "--init passes the status on" run --init busybox sh -c '[ $$ != 1 ] && exit 3'
yes 0123456789 | head -c 3000000 >big
is "much output, relayed with --rm off" "$(cksum <big)" "$(shale run --name big --network none -v "$T/big:/big" busybox cat /big | cksum)"
is "much output, direct" "$(cksum <big)" "$(run -v "$T/big:/big" busybox cat /big | cksum)"
is "much input" "$(cksum <big)" "$(run -i busybox cat <big | cksum)"
ok "rm" shale rm big

# --- names -------------------------------------------------------------------------------------------------------
ok "create --name" shale create --name one --network none busybox sh -c 'echo started; exit 4'
id=$(out)
is "an id of 64 digits" 64 "$(printf %s "$id" | tr -d -c 0-9a-f | wc -c)"
code 125 "the name is taken" shale create --name one busybox true
has "and by whom" "$(printf %.12s "$id")"
code 125 "bad names" shale create --name a/b busybox true
is "found by a prefix" "$id" "$(shale container inspect -f '{{.Id}}' "$(printf %.8s "$id")")"
code 1 "unknown container" shale rm nosuch
is "state created" "created 0" "$(state one)"
code 4 "start -a gives the status" shale start -a one
is "and the output" started "$(out)"
is "state exited" "exited 4" "$(state one)"
is "the log has it" started "$(shale logs one)"
code 4 "it starts again" shale start -a one
is "the log has both" 2 "$(shale logs one | wc -l)"
ok "rm" shale rm one
code 1 "it is gone" shale container inspect one

# --- in the background ---------------------------------------------------------------------------------------------
ok "run -d" shale run -d --name bg --network none busybox sh -c 'trap "echo bye; exit 5" TERM; echo up; while :; do sleep 0.1; done'
is "prints the id" 64 "$(tr -d -c 0-9a-f <"$T/out" | wc -c)"
is "running" "running 0" "$(state bg)"
is "ps" bg "$(shale ps --format '{{.Names}}')"
is "ps -s has one column more" "NAMES SIZE" "$(shale ps -s | sed -n '1s/.*\(NAMES\) */\1 /p')"
is "which a format may name alone" "$(shale ps -s | awk 'NR == 2 { print $NF }')" "$(shale ps --format '{{.Size}}')"
is "and json has with -s only" "0 1" "$(shale ps --format json | grep -c '"Size"' || true) $(shale ps -s --format json | grep -c '"Size"')"
is "ps -q -f name" "$(shale container inspect -f '{{.Id}}' bg | cut -c1-12)" "$(shale ps -q -f name=bg)"
try "its log" sh -c "'$SHALE' logs bg | grep up"
is "exec" "in" "$(shale exec bg echo in)"
code 9 "exec passes the status on" shale exec bg sh -c 'exit 9'
code 127 "exec: no such program" shale exec bg /no/such
is "exec -e -w -u" "v /tmp 12" "$(shale exec -e V=v -w /tmp -u 12 bg sh -c 'echo $V $(pwd) $(id -u)')"
is "exec -i" "piped" "$(echo piped | shale exec -i bg cat)"
ok "exec sees the same files" shale exec bg sh -c 'echo kept >/kept'
ok "exec -d" shale exec -d bg sh -c 'echo det >/det'
try "ran" shale exec bg test -f /det
ok "two starts: the second is fine when it runs" shale start bg
code 1 "rm of a running one" shale rm bg
has "says what to do" "stop it"
(sleep 0.5; shale stop bg >/dev/null) &
is "wait prints the status" 5 "$(shale wait bg)"
wait
is "stop sent SIGTERM" "exited 5" "$(state bg)"
is "the log to its end" bye "$(shale logs --tail 1 bg)"
ok "start after stop" shale start bg
is "the writable layer is kept" kept "$(shale exec bg cat /kept)"
ok "diff" shale diff bg
is "only what was changed" "A /det
A /kept" "$(out)"
begin=$(date +%s)
ok "kill" shale kill bg
try "ends it" is_state bg "exited 137"
ok "it was quick" test $(($(date +%s) - begin)) -lt 5
ok "start once more" shale start bg
ok "rm -f" shale rm -f bg
masked() { shale run --rm --network none "$@" busybox sh -c 'grep -q " /proc/[^s]" /proc/mounts && echo masked; touch /proc/sys/vm/swappiness 2>/dev/null && echo open'; }
is "paths of the kernel are masked" masked "$(masked | xargs)"
is "unless systempaths says otherwise" "open" "$(masked --security-opt systempaths=unconfined | xargs)"
ok "labels and AppArmor may be off" shale run --rm --network none --security-opt label=disable --security-opt apparmor=unconfined busybox true
cat >"$T/profile.json" <<'J'
{ "defaultAction": "SCMP_ACT_ALLOW", "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] }], "syscalls": [
  { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
  { "name": "symlink", "action": "SCMP_ACT_ERRNO", "includes": { "caps": ["CAP_SYS_ADMIN"] } },
  { "names": ["umask"], "action": "SCMP_ACT_KILL", "includes": { "arches": ["s390x"] } },
  { "names": ["chmod", "fchmodat"], "action": "SCMP_ACT_KILL", "includes": { "minKernel": "99.0" } },
  { "names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 1, "value": 511, "op": "SCMP_CMP_EQ" }], "includes": { "minKernel": "4.8" } }
] }
J
tries='mkdir /d 2>/dev/null && echo -n "mkdir "; ln -s x /l 2>/dev/null && echo -n "link "; chmod 777 /tmp 2>/dev/null || echo -n "no 777 "; chmod 700 /tmp && umask'
shale run -d --name filtered --network none --security-opt "seccomp=$T/profile.json" busybox sleep 1000 >/dev/null
is "a seccomp profile of one's own" "link no 777 0022" "$(shale exec filtered sh -c "$tries")"
is "its rules for capabilities" "mkdir no 777 0022" "$(shale run --rm --network none --cap-add SYS_ADMIN --security-opt "seccomp=$T/profile.json" busybox sh -c "$tries")"
sed -i 's/SCMP_ACT_ALLOW/SCMP_ACT_NOTIFY/' "$T/profile.json"
ok "its file may change" shale restart -t 0 filtered
shale rm -f filtered >/dev/null
code 125 "one that needs a listener" shale run --rm --security-opt "seccomp=$T/profile.json" busybox true
has "is refused" "nobody listens to SCMP_ACT_NOTIFY"
echo '{ "defaultAction": "SCMP_ACT_MAYBE" }' >"$T/profile.json"
code 125 "one that is none" shale create --security-opt "seccomp=$T/profile.json" busybox true
code 125 "nor is a missing one" shale create --security-opt "seccomp=$T/nosuch.json" busybox true
if [ -e /usr/share/containers/seccomp.json ]; then
	ok "Podman's" shale run --rm --network none --security-opt seccomp=/usr/share/containers/seccomp.json busybox sh -c 'mkdir /d && sleep 0 && ! mount -t tmpfs t /d 2>/dev/null'
else skip "there is none of Podman's"; fi
code 125 "but not something else" shale run --rm --security-opt apparmor=mine busybox true
both='echo out; echo err >&2'
is "-a stdout" out "$(shale run --rm --network none -a stdout busybox sh -c "$both" 2>&1)"
is "-a stderr" err "$(shale run --rm --network none -a STDERR busybox sh -c "$both" 2>&1)"
is "-a both" "out err" "$(shale run --rm --network none -a stdin -a stdout -a stderr busybox sh -c "$both" 2>&1 | xargs)"
code 127 "what goes wrong is told in any case" shale run --rm --network none -a stdout busybox /nosuch
has "by name" /nosuch
code 125 "-a with -d" shale run -d -a stdout busybox true
code 125 "-a of something else" shale run -a stdlog busybox true
code 125 "--quiet" shale run --rm -q --pull missing 127.0.0.1:1/nosuch true
hasnt "says nothing of a pull" "Unable to find"
is "ps -a is empty" "" "$(shale ps -aq)"
ok "one that ignores SIGTERM" shale run -d --name deaf --network none busybox sleep 1000
begin=$(date +%s)
ok "stop -t 1 kills it" shale stop -t 1 deaf
is "with 137" "exited 137" "$(state deaf)"
ok "after a second" test $(($(date +%s) - begin)) -lt 6
ok "prune" shale container prune -f
has "names what went" "Total reclaimed space"
is "nothing is left" "" "$(shale ps -aq)"
ok "run -d --rm" shale run -d --rm --name brief --network none busybox sh -c 'sleep 0.7; exit 6'
is "wait for one that is removed at its end" 6 "$(shale wait brief)"
try "it removed itself" sh -c "! '$SHALE' container inspect brief >/dev/null 2>&1"
code 127 "run -d of what is not there" shale run -d --name broken --network none busybox /no/such
is "it stays as created" "created 127" "$(state broken)"
ok "rm" shale rm broken
shale create --name race --network none busybox sleep 100 >/dev/null
for i in 1 2 3 4; do shale start race >/dev/null 2>&1 & done
wait
is "four starts at once, one process" 1 "$(shale exec race ps | grep -c 'sleep 100')"
ok "rm -f" shale rm -f race

# --- logs ------------------------------------------------------------------------------------------------------------
shale run --name talk --network none busybox sh -c 'echo one; echo two >&2; printf three' >/dev/null 2>&1
is "logs in order" "one
two
three" "$(shale logs talk 2>&1)"
is "streams are kept apart" "two" "$(shale logs talk 2>&1 >/dev/null)"
is "--tail" "two
three" "$(shale logs --tail 2 talk 2>&1)"
is "--timestamps" 3 "$(shale logs -t talk 2>&1 | grep -c '^20[0-9-]*T[0-9:.]*Z ')"
is "--since the future" "" "$(shale logs --since 2099-01-01 talk 2>&1)"
ok "rm" shale rm talk
shale run -d --name slow --network none busybox sh -c 'for i in 1 2 3; do echo $i; sleep 0.3; done' >/dev/null
is "logs -f goes on to the end" "1
2
3" "$(shale logs -f slow)"
ok "rm" shale rm -f slow

# --- what kill -9 leaves ------------------------------------------------------------------------------------------------
ok "run -d" shale run -d --name lost --network none busybox sleep 1000
pid=$(shale container inspect -f '{{.State.Pid}}' lost)
monitor=$(sed 's/.*) //' "/proc/$pid/stat" | cut -d' ' -f2)
kill -9 "$monitor"
try "the monitor's end ends the container" is_state lost "exited 137"
is "and is told" "monitor lost" "$(shale container inspect -f '{{.State.Error}}' lost)"
ok "the process is gone" sh -c "! grep -q '^State:.[^Z]' /proc/$pid/status 2>/dev/null"
ok "it starts again" shale start lost
ok "rm -f" shale rm -f lost
"$SHALE" run --name fg --network none busybox sleep 1000 >/dev/null 2>&1 &
cli=$!
try "runs" is_state fg "running 0"
kill -9 $cli
wait $cli 2>/dev/null || true
try "kill -9 of the command ends it" is_state fg "exited 137"
ok "rm" shale rm fg
"$SHALE" run --rm --name int --network none busybox sh -c 'trap "exit 33" INT; touch /ready; while :; do sleep 0.05; done' &
cli=$!
try "runs" sh -c "'$SHALE' exec int test -f /ready"
kill -INT $cli
rc=0
wait $cli || rc=$?
is "signals are passed on, although our shell ignores them for jobs" 0 "$(ls "$SHALE_ROOT/containers" | wc -l)"
is "with the program's own answer" 33 $rc

# --- files in /etc that exist in memory alone: run --rm in the foreground without a network of its own ---------------------
"$SHALE" run --rm --name brief --network none --hostname box --add-host db:10.1.2.3 busybox sh -c 'echo "192.0.2.1 mine" >>/etc/hosts; touch /ready; while [ ! -e /end ]; do sleep 0.05; done' &
cli=$!
try "runs" sh -c "'$SHALE' exec brief test -f /ready"
id=$(shale ps -q --no-trunc)
is "its own names, and it may write" "10.1.2.3	db
192.0.2.1 mine
box" "$(shale exec brief sh -c 'tail -n 2 /etc/hosts; cat /etc/hostname')"
is "mountinfo tells the container's ID, as programs expect" "/$id/hostname" "$(shale exec brief grep ' /etc/hostname ' /proc/self/mountinfo | grep -o "/$id/hostname")"
is "its /dev has nothing of that" "" "$(shale exec brief sh -c 'ls -a /dev' | grep -F "$id" || true)"
is "who shares its network has its names" "10.1.2.3	db" "$(shale run --rm --network container:brief busybox grep db /etc/hosts)"
code 1 "nobody else can attach" shale attach brief
has "and is told why" "was run with --rm in the foreground"
ok "pause makes what it needs" shale pause brief
ok "unpause" shale unpause brief
ok "cp into it" shale cp "$T/err" brief:/end
rc=0
wait $cli || rc=$?
is "its end" 0 $rc
code 1 "of one that is read-only they are, too" shale run --rm --read-only --network none busybox sh -c 'echo x >>/etc/hosts'
code 1 "also of one that stays" shale run --name stays --read-only --network none busybox sh -c 'echo x >>/etc/hostname'
ok "rm" shale rm stays

# --- all of it is gone ---------------------------------------------------------------------------------------------------
is "no container" "" "$(shale ps -aq)"
try "the disk is freed" sh -c "[ -z \"\$(ls '$SHALE_ROOT/trash')\" ]"
# --- all, the latest, and those of files
code 2 "stop of none" shale stop
has "says how" "name a container, or give --all or --latest"
code 2 "all and a name" shale rm -a x
for c in w1 w2 w3; do shale run -d --name "$c" --network none --cidfile "$T/$c.id" busybox sleep 1000 >/dev/null; done
states() { shale ps -a --format '{{.Names}} {{.State}}' --filter name=w | sort | tr '\n' ' '; }
ok "pause -a" shale pause -a
is "all" "w1 paused w2 paused w3 paused " "$(states)"
ok "unpause --latest" shale unpause -l
is "one" "w1 paused w2 paused w3 running " "$(states)"
ok "unpause -a" shale unpause -a
is "the others" "w1 running w2 running w3 running " "$(states)"
ok "stop -l" shale stop -t 0 -l
ok "stop --cidfile" shale stop -t 0 --cidfile "$T/w1.id"
is "those two" "w1 exited w2 running w3 exited " "$(states)"
ok "stop --ignore" shale stop -t 0 -i nosuch w3
code 1 "stop without" shale stop nosuch
ok "restart -a" shale restart -t 0 -a
is "all run" "w1 running w2 running w3 running " "$(states)"
ok "kill -a" shale kill -a
try "none does" sh -c "! '$SHALE' ps -q | grep ."
ok "start of one" shale start w2
code 1 "rm -a" shale rm -a
is "leaves what runs" "w2 running " "$(states)"
ok "stop -a" shale stop -t 0 -a
ok "rm --cidfile" shale rm --cidfile "$T/w2.id" --ignore --cidfile "$T/nosuch.id"
is "all are gone" "" "$(states)"
for c in gone slow; do shale run -d --name "$c" --network none busybox sleep 1000 >/dev/null; done
shale stop -t 3 -a >/dev/null 2>&1 &
stop=$!
sleep 1
ok "rm of one while stop -a waits for another" shale rm -f gone
ok "it was to be stopped, and is" wait $stop
ok "rm" shale rm slow
ok "rm -i" shale rm -i nosuch
code 1 "the latest of none" shale rm -l
try "no directory of a container" sh -c "[ -z \"\$(ls '$SHALE_ROOT/containers')\" ]"
# Others run beside this test: those of containers that this store had.
own_groups() {
	grep -o '[0-9a-f]\{64\}' "$SHALE_ROOT/events" | sort -u >"$T/ids"
	find /sys/fs/cgroup -type d -path '*/shale/*' 2>/dev/null | grep -Ff "$T/ids" || true
}
first=$(own_groups)
[ -z "$first" ] || sleep 3
is "there were containers" 0 "$([ -s "$T/ids" ]; echo $?)"
is "no cgroup" "" "$(own_groups | head -3)"
no_leaks
done_testing
