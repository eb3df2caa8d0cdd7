# SPDX-License-Identifier: Apache-2.0
# Two hundred processes at once on one store: nobody waits for ever, no row is lost, nothing is left behind.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" "$T/rc"
printf 'FROM busybox\nRUN echo cached >/cached\nLABEL a=b\n' >"$T/ctx/Dockerfile"
ok "a build for the others to find" shale build -t shared "$T/ctx"
images=$(shale images -aq | sort -u | wc -l)

# one I: what the I-th process does; its failure is kept.
one() {
	rc=0
	case $(($1 % 8)) in
	0) timeout 120 "$SHALE" run --rm --network none busybox sh -c "echo $1 >/f; cat /f" >"$T/rc/out.$1" ;;
	1) timeout 120 "$SHALE" create --name "made$1" --network none busybox true >/dev/null ;;
	2) timeout 120 "$SHALE" tag shared "name$1" ;;
	3) timeout 120 "$SHALE" build -q -t "built$1" "$T/ctx" >/dev/null ;;
	4) timeout 120 "$SHALE" tag busybox "gone$1" && timeout 120 "$SHALE" rmi "gone$1" >/dev/null ;;
	5) timeout 120 "$SHALE" create --name "away$1" busybox true >/dev/null && timeout 120 "$SHALE" rm "away$1" >/dev/null ;;
	6) timeout 120 "$SHALE" images >/dev/null && timeout 120 "$SHALE" ps -a >/dev/null ;;
	7) timeout 120 "$SHALE" import -c "LABEL n=$1" "$top/build/base.tar" "imported$1" >/dev/null && timeout 120 "$SHALE" inspect "imported$1" >/dev/null ;;
	esac 2>"$T/rc/err.$1" || rc=$?
	echo "$rc" >"$T/rc/rc.$1"
}
# A new store, which each of them would make
for i in $(seq 30); do
	for k in 1 2 3 4 5 6; do
		SHALE_ROOT=$T/new$i "$SHALE" images -q 2>>"$T/new.err" &
	done
	wait
done
is "six make a store at once" "" "$(cat "$T/new.err")"
i=0
while [ $i -lt 200 ]; do
	one $i &
	i=$((i + 1))
done
wait
bad=
i=0
while [ $i -lt 200 ]; do
	[ "$(cat "$T/rc/rc.$i")" = 0 ] || bad="$bad $i:$(cat "$T/rc/rc.$i"):$(tail -n 1 "$T/rc/err.$i")"
	[ $((i % 8)) != 0 ] || [ "$(cat "$T/rc/out.$i")" = $i ] || bad="$bad $i:output"
	i=$((i + 1))
done
is "all two hundred succeed" "" "$bad"
is "every created container is there, no removed one" 25 "$(shale ps -aq | wc -l)"
is "every tag" 25 "$(shale images --format '{{.Repository}}' | grep -c '^name')"
is "every build's name" 25 "$(shale images --format '{{.Repository}}' | grep -c '^built')"
is "every import" 25 "$(shale images --format '{{.Repository}}' | grep -c '^imported')"
is "no name that was removed" 0 "$(shale images --format '{{.Repository}}' | grep -c '^gone' || true)"
is "no image twice" $((images + 25)) "$(shale images -aq | sort -u | wc -l)"
ok "all is whole" shale verify
has "says verify" "OK: "
no_leaks
done_testing
