# SPDX-License-Identifier: Apache-2.0
# shale in a chroot, as build environments are: its containers' root is their mount namespace's own, not just a directory of it, or exec
# (and who has CAP_SYS_CHROOT) would stand in the host's files.
. "$(dirname "$0")/lib.sh"
base
R=$T/root
mkdir -p "$R/proc" "$R/sys" "$R/dev" "$R/store" "$R/tmp" "$R/run"
cp "$SHALE" "$R/shale"
echo canary >"$T/canary"
# Everything is mounted in a namespace of its own and goes with it.
cat >"$T/inside" <<EOS
set -eu
mount --bind "$R" "$R"
mount -t proc proc "$R/proc"
mount --rbind /sys "$R/sys"
mount --rbind /dev "$R/dev"
mount --bind "$SHALE_ROOT" "$R/store"
boxed() { chroot "$R" /shale --root /store "\$@"; }
boxed run --rm --network none busybox sh -c 'echo "run: \$(ls / | tr "\n" " ")"'
boxed run -d --name box --network none busybox sleep 1000 >/dev/null
boxed exec box sh -c 'echo "exec: \$(ls / | tr "\n" " ")"; [ ! -e $T/canary ] || echo "the canary is seen"; [ ! -e /proc/1/root$T/canary ] || echo "through pid 1"'
boxed rm -f box >/dev/null
EOS
ok "run and exec in a chroot" unshare -m --propagation private sh "$T/inside"
cp "$T/out" "$T/seen"
run=$(sed -n 's/^run: //p' "$T/seen")
if [ -n "$run" ]; then pass "run sees its root"; else fail "run sees its root"; fi
is "exec sees the same" "$run" "$(sed -n 's/^exec: //p' "$T/seen")"
is "and nothing of the host's" "" "$(grep canary "$T/seen")$(grep through "$T/seen")"
no_leaks
done_testing
