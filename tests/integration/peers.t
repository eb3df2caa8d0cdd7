# SPDX-License-Identifier: Apache-2.0
# Dockerfiles for every rule of the language, built and compared, config and tree, with what BuildKit and buildah made of them:
# tests/data/peers. Where shale differs on purpose stands in its file `differences`, with the reason. PEERS_CASES="a b" takes these alone.
. "$(dirname "$0")/lib.sh"
peers=$top/tests/data/peers
base
mkdir "$T/web" "$T/images" "$T/w"
python3 "$peers/server.py" "$T/web" "$T/port" >/dev/null 2>&1 &
undo="kill $!"
for _ in $(seq 100); do [ ! -s "$T/port" ] || break; sleep 0.1; done
url=http://127.0.0.1:$(cat "$T/port")
PEERS_SECRET='from the environment'
export url PEERS_SECRET peers T SHALE
sleep 1 # what is of this second is new
since=$(date +%s)

# What one case takes: its context, the image that it rests on, itself. Its exit status is in a file beside.
cat >"$T/one" <<'EOF2'
w=$T/w/$1
sh "$peers/context.sh" "$peers/cases/$1" "$w"
[ ! -e "$peers/cases/$1/args" ] || eval "set -- \"\$1\" $(cat "$peers/cases/$1/args")"
name=$1
shift
cd "$w/ctx"
{
	[ ! -e Dockerfile.first ] || "$SHALE" build --network none -f Dockerfile.first -t "first:$name" .
	"$SHALE" build --network none "$@" -t "case:$name" .
} >"$w/log" 2>&1 </dev/null
echo $? >"$w/rc"
EOF2
cases=${PEERS_CASES:-$(cd "$peers/cases" && echo *)}
echo "$cases" | tr ' ' '\n' | xargs -P 2 -n 1 sh "$T/one"
built=
for c in $cases; do
	[ "$(cat "$T/w/$c/rc")" != 0 ] || built="$built case:$c"
done
# shellcheck disable=SC2086
ok "they are saved" shale save -o "$T/all.tar" $built
ok "and read" python3 "$peers/image.py" "$T/all.tar" "$top/build/base.tar" "$since" "$T/images"

for c in $cases; do
	[ "$(cat "$T/w/$c/rc")" = 0 ] || echo fails >"$T/images/$c"
done
# shellcheck disable=SC2086
python3 "$peers/compare.py" "$peers" "$T/images" $cases >"$T/list"
while read -r is c; do
	if [ "$is" = ok ]; then pass "$c"; else
		cp "$T/images/$c.amiss" "$T/out"
		tail -n 3 "$T/w/$c/log" >"$T/err"
		fail "$c"
	fi
done <"$T/list"
is "every difference is of a case" "" "$(sed -n 's|^== ||p' "$peers/differences" | tr ' ' '\n' | while read -r c; do [ "$c" = '*' ] || [ -d "$peers/cases/$c" ] || echo "$c"; done)"
undo=
kill $! 2>/dev/null || true
no_leaks
done_testing
