# SPDX-License-Identifier: Apache-2.0
# Logs in files of a limited size: nothing is lost while they are followed, the oldest go.
. "$(dirname "$0")/lib.sh"
base
d() { echo "$SHALE_ROOT/containers/$(shale container inspect -f '{{.Id}}' "$1")"; }
run() { shale run --network none "$@"; }

run --name few --log-opt max-size=10k --log-opt max-file=3 busybox seq 1 2000 >/dev/null
is "three files" "log log.1 log.2" "$(cd "$(d few)" && ls log* | tr '\n' ' ' | sed 's/ $//')"
is "none is longer" 0 "$(find "$(d few)" -name 'log*' -size +10k | wc -l)"
is "the end is there" 2000 "$(shale logs few | tail -1)"
m=$(shale logs few | head -1)
is "without a gap" "$(seq "$m" 2000 | cksum)" "$(shale logs few | cksum)"
ok "but not all of it" test "$m" -gt 1
is "--tail over files" "$(seq 1801 2000 | cksum)" "$(shale logs --tail 200 few | cksum)"
is "--tail 1" 2000 "$(shale logs --tail 1 few)"
is "--tail 0" "" "$(shale logs --tail 0 few)"
run --name one --log-opt max-size=10k busybox seq 1 2000 >/dev/null
is "one file when no number is given" log "$(cd "$(d one)" && ls log*)"
is "its end" 2000 "$(shale logs one | tail -1)"
run -d --name live --log-opt max-size=20k --log-opt max-file=50 busybox sh -c 'i=0; while [ $i -lt 40 ]; do i=$((i + 1)); seq $((i * 100 - 99)) $((i * 100)); sleep 0.02; done' >/dev/null
is "followed over rotations" "$(seq 1 4000 | cksum)" "$(shale logs -f live | cksum)"
ok "there were some" test "$(ls "$(d live)" | grep -c 'log')" -gt 5
is "read later" "$(seq 1 4000 | cksum)" "$(shale logs live | cksum)"
ok "rm" shale rm few one live
for bad in max-size=x max-file=0 max-file=101 nosuch=1; do code 125 "refused: $bad" run --rm --log-opt $bad busybox true; done
code 125 "no other driver" run --rm --log-driver syslog busybox true
no_leaks
done_testing
