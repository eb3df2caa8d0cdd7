# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016
# What others make of our images, and we of theirs: skopeo, umoci, podman, buildah, docker.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/c" && cd "$T/c"
# podman makes a name of the path: lower case only
oci=/var/tmp/shale-test-oci.$$
undo="rm -rf $oci $oci.rich"
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
# Everything a layer may hold, to each tool and back: by config (the ID), manifest, and tree with all attributes.
SHALE_ROOT=$T/store
t=$T/tree
long=$(printf '%0200d' 7)
mkdir -p "$t/bin" "$t/d/opaque/sub" "$t/d/acl" "$t/$long/$long"
cp "$(command -v busybox)" "$t/bin/busybox"
for x in sh rm mkdir true touch ln; do ln "$t/bin/busybox" "$t/bin/$x"; done
echo 1 >"$t/d/opaque/a" && echo 2 >"$t/d/opaque/sub/b" && echo 3 >"$t/d/gone" && echo 4 >"$t/$long/$long/$long"
ln -s "../$long/$long" "$t/d/longlink" && echo 5 >"$t/d/old" && ln "$t/d/old" "$t/d/twin" && mkfifo "$t/d/fifo"
mknod "$t/d/char" c 1 3 && mknod "$t/d/block" b 7 200
truncate -s 20M "$t/d/sparse" && echo end >>"$t/d/sparse"
echo x >"$t/d/user" && setfattr -n user.shale -v "$(printf 'a\nb')" "$t/d/user"
echo x >"$t/d/cap" && setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 "$t/d/cap"
echo x >"$t/d/acl/f" && setfacl -m u:1234:rw,g:5:r "$t/d/acl/f" && setfacl -d -m u:1234:rwx "$t/d/acl"
chown -R 4000000:3000000 "$t/$long" && chmod 6711 "$t/d/user" && touch -d '1980-02-03 04:05:06' "$t/d/old"
tar --xattrs --xattrs-include='*' --acls --sparse -C "$t" -cf "$T/tree.tar" .
ok "a tree of all kinds" shale import "$T/tree.tar" rich0
printf 'FROM rich0\nRUN rm -r /d/opaque /d/gone && mkdir /d/opaque && touch /d/opaque/new\nRUN true\nRUN ln /d/user /d/user2\n' >Dockerfile.rich
ok "and an image with whiteouts, an opaque directory and an empty layer" shale build --network none -f Dockerfile.rich -t rich:1 .
for i in $(seq 127); do echo "COPY n$i /$((i % 9))/"; echo "$i" >"n$i"; done >steps
{ echo "FROM scratch" && cat steps; } >Dockerfile.deep
ok "one of 127 layers" shale build -q -f Dockerfile.deep -t deep:1 .
# Docker's limit.
{ echo "FROM scratch" && head -n 125 steps; } >Dockerfile.125
ok "and one of 125" shale build -q -f Dockerfile.125 -t deep:125 .
rich=$(shale images -q --no-trunc rich:1)
deep=$(shale images -q --no-trunc deep:1)
deep125=$(shale images -q --no-trunc deep:125)
attrs='cd "$1" && find . -mindepth 1 | LC_ALL=C sort | while read -r f; do stat -c "%n %F %a %u:%g %h %t:%T %Y" "$f" | sed "s/^\(.* directory [0-7]* [0-9:]* \)[0-9]* /\1/"; done
	find . -type f | LC_ALL=C sort | xargs sha256sum
	find . -mindepth 1 ! -type l | LC_ALL=C sort | xargs getfattr -h -d -m "^(user|security.capability|system)" -e hex 2>/dev/null'
# lower DIRS: the tree of layer directories, topmost first. By mount(2): the new calls take 256 characters a value.
lower() { unshare -m --propagation private sh -c "mount -t tmpfs none /mnt && mkdir /mnt/m /mnt/none && LIBMOUNT_FORCE_MOUNT2=always mount -t overlay -o ro,redirect_dir=on,metacopy=on,lowerdir=\$0:/mnt/none none /mnt/m && sh -c '$attrs' - /mnt/m" "$1"; }
ours() { lower "$(shale inspect --format '{{range .Layers}}{{.Dir}} {{end}}' "$1" | awk '{ for (i = NF; i > 0; i--) printf "%s%s", $i, (i > 1 ? ":" : "") }')"; }
ours rich:1 >"$T/rich.list"
ok "its tree has all that" sh -c "grep -q 'd/block block special file 644 0:0 1 7:c8' $T/rich.list && grep -q system.posix_acl_default $T/rich.list && grep -q security.capability $T/rich.list && ! grep -q 'd/gone ' $T/rich.list"
# back TOOL FILE ID NAME: what the tool has made of it is the image that it was
back() {
	SHALE_ROOT=$T/back
	ok "$1: load what it wrote" shale load -i "$2"
	is "$1: the same ID" "$3" "$(shale images -q --no-trunc "$4")"
	[ "$3" != "$rich" ] || is "$1: the same tree" "" "$(ours "$4" | diff "$T/rich.list" - | head -n 10)"
	shale rmi -f --now "$4" >/dev/null 2>&1 || true
	SHALE_ROOT=$T/store
}
# is_tree TOOL: its tree, in a file, since what a pipe leads into counts for itself
is_tree() { is "$1: its tree equals ours" "" "$(diff "$T/rich.list" "$T/theirs.list" | head -n 10)"; }

shale save --format oci-archive --compression zstd -o "$T/zstd.tar" rich:1
shale save --format oci-archive --compression gzip -o "$T/gzip.tar" rich:1
shale save -o "$T/plain.tar" rich:1
shale save --compression gzip -o "$T/both.tar" rich:1 deep:125
shale save --format oci-archive --compression zstd --compression-level 1 -o "$T/deep.tar" deep:1

ok "skopeo copies a layout" skopeo copy -q "oci-archive:$T/zstd.tar" "oci-archive:$T/sk.tar:example.org/rich:1"
is "skopeo: the same manifest" "$(tar -xOf "$T/zstd.tar" index.json | grep -o 'sha256:[0-9a-f]*')" \
	"$(tar -xOf "$T/sk.tar" index.json | grep -o 'sha256:[0-9a-f]*')"
back skopeo "$T/sk.tar" "$rich" example.org/rich:1
ok "skopeo makes an archive for docker of it" skopeo copy -q "oci-archive:$T/gzip.tar" "docker-archive:$T/sk2.tar:rich:2"
back "skopeo, docker-archive" "$T/sk2.tar" "$rich" rich:2

pod() { podman --root "$T/pod2/root" --runroot "$T/pod2/run" --storage-driver overlay "$@"; }
ok "podman loads zstd" pod load -q -i "$T/zstd.tar"
if m=$(pod image mount "$rich" 2>/dev/null); then
	sh -c "$attrs" - "$m" >"$T/theirs.list"
	is_tree podman
	pod image unmount "$rich" >/dev/null
else
	skip "podman cannot mount an image here"
fi
ok "podman loads 127 layers" pod load -q -i "$T/deep.tar"
ok "podman saves them" pod save -q --format oci-archive -o "$T/pod3.tar" "$deep"
SHALE_ROOT=$T/back
ok "podman, 127 layers: load" shale load -i "$T/pod3.tar"
has "podman, 127 layers: the same ID" "$deep"
SHALE_ROOT=$T/store
# Its docker-archive has no zstd.
pod rmi -af >/dev/null 2>&1 || true
ok "podman loads gzip" pod load -q -i "$T/gzip.tar"
ok "podman saves it" pod save -q --format oci-archive -o "$T/pod.tar" "$rich"
pod tag "$rich" example.org/pod:1 || true
ok "podman saves it for docker" pod save -q -o "$T/pod2.tar" example.org/pod:1
back podman "$T/pod2.tar" "$rich" example.org/pod:1
SHALE_ROOT=$T/back
ok "podman, OCI: load" shale load -i "$T/pod.tar"
has "podman, OCI: the same ID" "$rich"
SHALE_ROOT=$T/store
pod rmi -af >/dev/null 2>&1 || true

if command -v buildah >/dev/null; then
	bld() { buildah --root "$T/bld/root" --runroot "$T/bld/run" --storage-driver overlay "$@"; }
	ok "buildah pulls it" bld pull -q "docker-archive:$T/plain.tar"
	c=$(bld from --pull-never "$rich" 2>"$T/err") || true
	if m=$(bld mount "$c" 2>>"$T/err"); then
		sh -c "$attrs" - "$m" >"$T/theirs.list"
		is_tree buildah
		bld umount "$c" >/dev/null
	else
		fail "buildah mounts it"
	fi
	bld rm -a >/dev/null 2>&1 || true
	ok "buildah writes it" bld push -q "$rich" "docker-archive:$T/bld.tar:example.org/bld:1"
	back buildah "$T/bld.tar" "$rich" example.org/bld:1
	bld rmi -af >/dev/null 2>&1 || true
else
	skip "no buildah"
fi

shale save --format oci-dir -o "$oci.rich" rich:1
ok "umoci unpacks it" umoci unpack --image "$oci.rich:1" "$T/bundle2"
sh -c "$attrs" - "$T/bundle2/rootfs" >"$T/theirs.list"
is_tree umoci
ok "umoci makes an image" sh -c "umoci init --layout $T/um && umoci new --image $T/um:a && umoci insert --image $T/um:a $T/bundle2/rootfs/d /d"
SHALE_ROOT=$T/back
ok "umoci: load it" shale load -i "$T/um"
id=$(sed -n 's/^Loaded image ID: //p' "$T/out")
is "umoci: the tree equals its" "" "$(ours "$id" | grep '^\./d/' | grep -v posix_acl >"$T/1"; grep '^\./d/' "$T/rich.list" | diff - "$T/1" | head -n 10)"
SHALE_ROOT=$T/store

# dockerd in namespaces of its own, on a socket that only we know, without any network.
if command -v dockerd >/dev/null; then
	mkdir "$T/docker"
	echo '{}' >"$T/docker/daemon.json"
	unshare -m -n --propagation private sh -c 'mount -t tmpfs tmpfs /run
		exec dockerd --config-file "$0/daemon.json" --data-root "$0/data" --exec-root "$0/exec" --pidfile "$0/pid" -H "unix://$0/sock" \
			--iptables=false --ip6tables=false --bridge=none --ip-forward=false --storage-driver overlay2' "$T/docker" >"$T/docker/log" 2>&1 &
	dockerd=$!
	undo="$undo; kill $dockerd; wait $dockerd"
	dock() { python3 "$top/tests/integration/docker.py" "$T/docker/sock" "$@"; }
	ok "dockerd" dock wait
	ok "docker loads two images" sh -c "python3 $top/tests/integration/docker.py $T/docker/sock load <$T/both.tar"
	has "docker: by name" "Loaded image: rich:1"
	has "docker: both" "Loaded image: deep:125"
	dock inspect rich:1 >"$T/json"
	is "docker: the same ID" "$rich" "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["Id"])' <"$T/json")"
	lower "$(python3 -c 'import json, sys; d = json.load(sys.stdin)["GraphDriver"]["Data"]; print(d["UpperDir"] + ":" + d["LowerDir"])' <"$T/json")" >"$T/theirs.list"
	is_tree docker
	dock save rich:1 >"$T/dock.tar"
	back docker "$T/dock.tar" "$rich" rich:1
	dock save deep:125 >"$T/dock2.tar"
	back "docker, 125 layers" "$T/dock2.tar" "$deep125" deep:125
	kill "$dockerd"
	wait "$dockerd" 2>/dev/null || true
	undo="rm -rf $oci $oci.rich"
	is "dockerd and its containerd are gone" "" "$(grep -lsaF "$T/docker" /proc/[0-9]*/cmdline || true)"
else
	skip "no dockerd"
fi

no_leaks
done_testing
