# SPDX-License-Identifier: Apache-2.0
# What others make of our images: an OCI layout for skopeo, umoci and podman, and docker-archive round trips.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/c" && cd "$T/c"
# podman makes a name of the path: lower case only
oci=/var/tmp/shale-test-oci.$$
undo="rm -rf $oci"
cat >Dockerfile <<'EOF'
FROM busybox
RUN mkdir -p /d/gone /d/kept && echo 1 >/d/gone/f && echo 2 >/d/kept/f && ln /d/kept/f /d/kept/hard && ln -s f /d/kept/soft
RUN rm -r /d/gone && chown 1000:1000 /d/kept/f && mv /d/kept /d/moved && mkfifo /d/fifo && chmod 4755 /bin/busybox
RUN rm -r /d/moved && mkdir /d/moved && echo new >/d/moved/n && chown -R 5:6 /home
ENV A=b
CMD ["true"]
EOF
ok "an image with every kind of change" shale build --network none -t img .
# Every attribute of every entry of a tree; /dev, /proc and the like are mounts inside a container.
list='cd "$1" && find . -mindepth 1 -path ./proc -prune -o -path ./sys -prune -o -path ./dev -prune -o -path ./etc -prune -o -print | sort |
	while read -r f; do stat -c "%n %F %a %u:%g %s" "$f" | sed "s/ directory \(.*\) [0-9]*$/ directory \1/"; done'
# shellcheck disable=SC2086
shale run --rm --network none img sh -c "$list" - / >"$T/ours"
ok "the tree inside a container has entries" test "$(wc -l <"$T/ours")" -gt 100

ok "save as an OCI layout" shale save --format oci-dir -o "$oci" img
ok "skopeo reads it" skopeo inspect "oci:$oci"
has "with its config" '"A=b"'
ok "umoci unpacks it" umoci unpack --image "$oci:latest" "$T/bundle"
sh -c "$list" - "$T/bundle/rootfs" >"$T/theirs" 2>/dev/null
is "umoci's tree equals ours" "" "$(diff "$T/ours" "$T/theirs" | head -n 10)"
pod() { podman --root "$T/pod/root" --runroot "$T/pod/run" --storage-driver vfs "$@"; }
ok "podman pulls it" pod pull -q "oci:$oci"
pid=$(cat "$T/out")
is "podman has the same ID" "$(shale images -q --no-trunc img)" "sha256:${pid#sha256:}"
if m=$(pod image mount "$pid" 2>/dev/null); then
	sh -c "$list" - "$m" >"$T/theirs" 2>/dev/null
	is "podman's tree equals ours" "" "$(diff "$T/ours" "$T/theirs" | head -n 10)"
	pod image unmount "$pid" >/dev/null
else
	skip "podman cannot mount an image here"
fi
pod rmi -f "$pid" >/dev/null 2>&1 || true

ok "save as docker-archive" shale save -o "$T/img.tar" img
ok "skopeo reads it" skopeo inspect "docker-archive:$T/img.tar"
SHALE_ROOT=$T/other
export SHALE_ROOT
ok "load in another store" shale load -i "$T/img.tar"
has "says the name" "Loaded image: img:latest"
id=$(shale images -q --no-trunc img)
is "with the same ID" "sha256:${pid#sha256:}" "$id"
ok "it runs" shale run --rm --network none img true
ok "an archive of two images" shale tag img second
ok "to a pipe" sh -c "$SHALE save img second >$T/two.tar"
SHALE_ROOT=$T/third
ok "and from one" sh -c "$SHALE load <$T/two.tar"
is "both are there" "2" "$(shale images -q | wc -l)"
for r in other third; do
	SHALE_ROOT=$T/$r
	shale rmi -f img second >/dev/null 2>&1 || true
done
SHALE_ROOT=$T/store
no_leaks
done_testing
