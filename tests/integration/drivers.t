# SPDX-License-Identifier: Apache-2.0
# The same layers on fuse-overlayfs and on plain directories: one driver reads what another has written, and the tests of
# builds, containers, the cache and common shapes hold for all.
. "$(dirname "$0")/lib.sh"
base
others=copy
if [ -x /usr/bin/fuse-overlayfs ] && [ -e /dev/fuse ]; then
	others="copy fuse-overlayfs"
else
	skip "fuse-overlayfs is not here"
fi
run() { shale --driver "$1" run --rm --network none "$2" sh -c "$3"; }
# The daemons that hold files of this store.
daemons() {
	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/exe" 2>/dev/null)" != /usr/bin/fuse-overlayfs ] || ls -l "$p/fd" 2>/dev/null | grep -F "$T" |
			head -n 1
	done
}
no_daemon() { [ -z "$(daemons)" ]; }

code 2 "a driver that is none" shale --driver aufs images
has "is refused with those that are" "fuse-overlayfs"

# Metacopies and renamed directories: what overlayfs alone can read, others get expanded.
mkdir "$T/c" && cd "$T/c"
cat >Dockerfile <<'EOF2'
FROM busybox
RUN mkdir -p /d/sub/deep /e && for i in 1 2 3 4 5 6 7 8 9; do seq 1 5000 >/d/sub/f$i; done && ln /d/sub/f1 /d/link && \
	echo x >/d/sub/deep/x && echo gone >/e/gone
RUN chown -R 7:8 /d && ln /d/sub/f2 /d/second
RUN mv /d /moved && rm -r /e && mkdir /e && echo new >/e/new
RUN mv /moved/sub /inner && chmod 600 /inner/f3 && mv /inner/deep /moved/deep
EOF2
sum="find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /etc/hosts -o -path /etc/hostname -o -path \
	/etc/resolv.conf \\) -prune -o -type f -print0 | sort -z | xargs -0 md5sum; find /moved /inner /e ! -type d | sort |
	xargs stat -c '%n %F %a %u %g %s %Y'; find /moved /inner /e -type d | sort | xargs stat -c '%n %F %a %u %g'"
ok "a build that changes owners and renames" shale build --network none -t own .
ok "its layers are metacopies and redirects" sh -c "getfattr -R -d -m trusted.overlay $SHALE_ROOT/snap |
	grep -q metacopy && getfattr -R -d -m trusted.overlay $SHALE_ROOT/snap | grep -q redirect"
want=$(run overlay own "$sum")
is "there is something to compare" 9 "$(echo "$want" | grep -c '/inner/f[0-9] .* 7 8')"
for d in $others; do
	is "$d reads the same bytes, owners, modes and times" "$want" "$(run "$d" own "$sum")"
	is "$d, once more" "$want" "$(run "$d" own "$sum")"
	ok "$d builds it" shale --driver "$d" build --no-cache --network none -t "own-${d%%-*}" .
	is "without metacopies" 0 "$(getfattr -d -m trusted.overlay -R "$(shale inspect --format \
		'{{range .Layers}}{{.Dir}} {{end}}' "own-${d%%-*}" | awk '{ print $3 }')" 2>/dev/null | grep -c metacopy || true)"
	# Two names of one lower file are one to fuse-overlayfs: chown -R reaches the first of them only.
	strip() { echo "$1" | sed '/moved\/link/d; s/ [0-9]*$//'; }
	is "and overlayfs reads the same in it" "$(strip "$want")" "$(strip "$(run overlay "own-${d%%-*}" "$sum")")"
	ok "info names it" shale --driver "$d" info
	has "as the driver" "$d"
done

# A container goes on under another driver with all that it was.
for d in $others; do
	shale --driver "$d" run -d --name "c-$d" own sh -c 'while :; do sleep 1; done' >/dev/null
	shale exec "c-$d" sh -c 'echo 1 >/one; rm /moved/link; rm -r /inner/; mkdir /inner; echo in >/inner/in; touch -d @5 /e/new'
	ok "$d: diff of a running container" shale --driver "$d" diff "c-$d"
	is "$d: is what was done" "C /e,C /e/new,C /inner,A /inner/in,C /moved,D /moved/link,A /one" \
		"$(grep -v /inner/f "$T/out" | LC_ALL=C sort -k 2 | paste -sd,)"
	shale stop -t 0 "c-$d" >/dev/null
	shale --driver "$d" diff "c-$d" >"$T/before"
	look="cat /one /inner/in; ls /inner /moved; stat -c %Y /e/new"
	ok "$d: restarted under overlayfs" shale --driver overlay start "c-$d"
	is "$d: everything is there" "1 in in deep second 5" "$(shale exec "c-$d" sh -c "$look" | grep -v : | paste -sd' ' |
		tr -s ' ')"
	shale exec "c-$d" sh -c 'echo 2 >>/one'
	shale stop -t 0 "c-$d" >/dev/null
	ok "$d: and back" shale --driver "$d" start "c-$d"
	is "$d: with what was added" "1 2" "$(shale exec "c-$d" cat /one | paste -sd' ')"
	shale stop -t 0 "c-$d" >/dev/null
	is "$d: the differences are the same" "$(cat "$T/before")" "$(shale --driver "$d" diff "c-$d")"
	shale rm -f "c-$d" >/dev/null
done

# kill -9 of everything of ours leaves no daemon and no mount.
for d in $others; do
	"$SHALE" --driver "$d" run --rm --network none busybox sleep 1000 &
	pid=$!
	sleep 1
	kill -9 "$pid"
	wait "$pid" 2>/dev/null || true
	try "$d: no daemon is left after kill -9" no_daemon
	ok "$d: and the store goes on" shale --driver "$d" run --rm --network none busybox true
done
try "no daemon is left at all" no_daemon

for d in $others; do
	for t in build containers cache shapes; do
		ok "$d: $t.t" env SHALE_DRIVER="$d" sh "$top/tests/integration/$t.t"
	done
done
no_leaks
done_testing
