# SPDX-License-Identifier: Apache-2.0
# kill -9 of a verb at any moment, of a monitor, of a program: the next command finds the state right, and nothing is left.
. "$(dirname "$0")/lib.sh"
base
groups() { find /sys/fs/cgroup -depth -type d -name "$1" 2>/dev/null | head -1; }
states() { shale ps -a --format '{{.State}}' "$@" 2>>"$T/bad" | sort -u | tr '\n' ' ' | sed 's/ $//'; }
say() { echo "$*" >>"$T/bad"; }
: >"$T/bad"
# Each begins with one that runs, "up", and one that does not, "down".
begin() {
	[ -n "$(shale ps -q -f name=up -f status=running)" ] ||
		shale run -d --name up --network none -v data:/data busybox sleep 1313 >>"$T/ids" 2>>"$T/bad" || say "no container to begin with"
	[ -n "$(shale ps -aq -f name=down)" ] || shale create --name down --network none busybox true >>"$T/ids" 2>>"$T/bad" || say "nor another"
}
verb() {
	case $1 in
	run-d) exec "$SHALE" run -d --name new --network none busybox sleep 1313 ;;
	run-rm) exec "$SHALE" run --rm --name new --network none busybox sleep 1313 ;;
	start) exec "$SHALE" start down ;;
	stop) exec "$SHALE" stop -t 0 up ;;
	rm-f) exec "$SHALE" rm -f up ;;
	exec) exec "$SHALE" exec up sleep 1314 ;;
	exec-d) exec "$SHALE" exec -d up sleep 1314 ;;
	cp) exec "$SHALE" cp "$T/big" up:/big ;;
	commit) exec "$SHALE" commit up image ;;
	restart) exec "$SHALE" restart -t 0 up ;;
	rename) exec "$SHALE" rename up other ;;
	update) exec "$SHALE" update -m 80m up ;;
	pause) exec "$SHALE" pause up ;;
	mount) exec "$SHALE" container mount up ;;
	esac
}
# What may be seen after it: of the one that ran, by either name.
may_be() {
	case $1:$2 in
	stop:running | stop:exited | restart:running | restart:exited | pause:running | pause:paused | rm-f: | rm-f:running | rm-f:exited) ;;
	rm-f:removing) ;;
	stop:* | restart:* | pause:* | rm-f:*) return 1 ;;
	*:running) ;;
	*) return 1 ;;
	esac
}
head -c 4000000 /dev/zero >"$T/big"
rounds=${SHALE_TEST_LONG:+40}
rounds=${rounds:-2}
for v in run-d run-rm start stop rm-f exec exec-d cp commit restart rename update pause mount; do
	for i in $(seq "$rounds"); do
		begin
		(verb $v) >"$T/said" 2>&1 </dev/null &
		pid=$!
		sleep "$(awk -v i="$i" -v n="$rounds" -v r="$(od -An -N2 -tu2 /dev/urandom)" 'BEGIN { printf "%.4f", (i - 1 + r / 65536) / n * 0.08 }')"
		kill -9 $pid 2>/dev/null || true
		wait $pid 2>/dev/null || true
		up=$(states -f name=up -f name=other)
		for _ in $(seq 100); do # whoever lets it go on is on the way
			[ "$v:$up" = commit:paused ] || break
			sleep 0.1
			up=$(states -f name=up -f name=other)
		done
		may_be $v "$up" || say "$v $i: it is '$up'"
		case $v in stop | restart | rm-f) goes=1 ;; *) goes= ;; esac # what is on its way to its end
		if [ "$up" = running ] && [ ! "$goes" ]; then
			name=$(shale ps --format '{{.Names}}' -f name=up -f name=other)
			[ "$(timeout 20 "$SHALE" exec "$name" echo 1 2>"$T/said")" = 1 ] || say "$v $i: exec in $name: $(cat "$T/said")"
		fi
		case $v in run-d | run-rm) shale ps -aq --no-trunc -f name=new >>"$T/ids" ;; esac
		gone="other new"
		[ "$up" = running ] && [ ! "$goes" ] && [ "$name" = up ] || gone="up $gone"
		for c in $gone; do
			[ -z "$(shale ps -aq -f name=$c)" ] || timeout 30 "$SHALE" rm -f $c >"$T/said" 2>&1 || say "$v $i: rm -f $c: $(cat "$T/said")"
		done
	done
done
shale rm -f $(shale ps -aq) >"$T/said" 2>&1 || say "rm -f: $(cat "$T/said")"
while read -r id; do
	[ -z "$(groups "$id")" ] || say "a group is left: $(groups "$id")"
done <"$T/ids"
: >"$T/err"
cp "$T/bad" "$T/out"
if [ ! -s "$T/bad" ]; then pass "14 verbs, killed $rounds times each"; else fail "14 verbs, killed $rounds times each"; fi
is "no program of theirs is left" "" "$(pgrep -f '^sleep 131[34]$' | while read -r p; do [ ! -e "/proc/$p/exe" ] || echo "$p"; done)"

# --- the monitor and the program themselves
for who in monitor program both; do
	: >"$T/ids"
	begin
	monitor=$(pgrep -f "monitor $(head -n 1 "$T/ids")")
	program=$(shale inspect -f '{{.State.Pid}}' up)
	case $who in
	monitor) kill -9 "$monitor" ;;
	program) kill -9 "$program" ;;
	both) kill -9 "$monitor" "$program" ;;
	esac
	ended() { [ "$(states -f name=up)" = exited ]; }
	try "$who: it has ended" ended
	is "with the status of that" 137 "$(shale inspect -f '{{.State.ExitCode}}' up)"
	ok "it starts again" shale start up
	ok "and works" shale exec up test -d /data
	ok "and goes" shale rm -f up down
	is "with its groups" "" "$(groups "$(head -n 1 "$T/ids")")"
done
ok "verify" shale verify
ok "gc" shale gc
ok "every byte belongs to somebody" sh -c "'$SHALE' du --format '{{.Type}} {{.TotalCount}}' | grep 'Orphans 0'"
no_leaks
done_testing
