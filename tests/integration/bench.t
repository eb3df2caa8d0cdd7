# SPDX-License-Identifier: Apache-2.0
# shale bench, small: that it measures what it says, tells what it cannot, and leaves nothing. No figure is asserted.
. "$(dirname "$0")/lib.sh"
all=overlay,copy
[ ! -x /usr/bin/fuse-overlayfs ] || [ ! -e /dev/fuse ] || all=overlay,fuse-overlayfs,copy
n_drivers=$(echo "$all" | tr ',' '\n' | wc -l)
base

ok "bench" shale bench --size small --runs 1 --drivers "$all" --format json --svg "$T/chart.svg"
cp "$T/out" "$T/json"
query() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$T/json" "$1"; }
is "its size, rounds and drivers" "small 1 $all" "$(query 'r["size"] + " %d " % r["runs"] + ",".join(r["drivers"])')"
is "all works on all drivers" "$((13 * n_drivers))" "$(query 'len(r["results"])')"
is "what is missing says why" "" \
	"$(query '"".join(c["work"] for c in r["results"] if "samples" not in c and "install" not in c["missing"])')"
is "the others have figures" True "$(query 'all(c["minMs"] <= c["medianMs"] <= c["maxMs"] and c["cpuMs"] > 0
	for c in r["results"] if "samples" in c)' | tr -d '\n')"
is "the daemon's time is counted, and only there" "True True" "$(query '"%s %s" % (
	all(c["daemonCpuMs"] == 0 for c in r["results"] if "samples" in c and c["driver"] != "fuse-overlayfs"),
	any(c["daemonCpuMs"] > 0 for c in r["results"] if "samples" in c and c["driver"] == "fuse-overlayfs") or
	"fuse-overlayfs" not in r["drivers"])')"
is "the chart is one" "svg 13" "$(python3 -c 'import sys, xml.etree.ElementTree as e
t = e.parse(sys.argv[1]); print(t.getroot().tag.split("}")[1], len([x for x in t.iter() if (x.text or "").strip() in (
"mount walk-cold walk-warm create read-seq read-random write-seq write-random copy-up untar rm compile build".split())]))' "$T/chart.svg")"
ok "one work, as a table" shale bench --size small --runs 1 --only rm --drivers overlay
has "with its text" "rm -rf of 200 source files"
hasnt "and no other" "walk over"
code 2 "a size that is none" shale bench --size huge
code 2 "a driver that is none" shale bench --drivers aufs
code 1 "a work that is none" shale bench --only sleep
has "is named" "sleep"
code 1 "a chart that cannot be written" shale bench --size small --runs 1 --only rm --drivers overlay --svg /nowhere/x.svg
has "says so" "/nowhere/x.svg"

# Interrupted, it cleans up.
"$SHALE" bench --size small --runs 50 >"$T/out" 2>"$T/err" &
pid=$!
sleep 2
kill -TERM "$pid"
rc=0
wait "$pid" || rc=$?
is "SIGTERM ends it" 143 "$rc"
is "nothing of it is left in the store" "" "$(ls -A "$SHALE_ROOT/tmp" | grep -v "^sync" || true)"
no_leaks
done_testing
