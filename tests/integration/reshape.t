#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build --squash and --fold: fewer layers, fewer bytes, the same tree; here, and where podman unpacks it.
. "$(dirname "$0")/lib.sh"
base
c=$T/ctx
mkdir -p "$c/app/sub"
echo one >"$c/app/one"
head -c 300000 /dev/urandom >"$c/app/sub/blob"
ln -s one "$c/app/link"
head -c 65536 /dev/zero >"$c/app/zeros"

layers() { shale inspect --format '{{len .RootFS.Layers}}' "$1"; }
image_id() { shale inspect --format '{{.Id}}' "$1"; }
# Of every path beneath a directory all that a layer keeps, and the contents
sum() {
	(cd "$1" && find . -mindepth 1 -printf '%P %y %m %U:%G %s %Ts %l\n' | sed 's/^\([^ ]* d [^ ]* [^ ]*\) .*/\1/' | sort
	find . -type f -print0 | sort -z | xargs -0 sha256sum
	find . -print0 | sort -z | xargs -0 getfattr -h -d -m - 2>/dev/null | grep -v selinux) | sha256sum
}
tree() {
	dir=$(shale image mount "$1")
	sum "$dir"
	shale image unmount "$1" >/dev/null
}
differing() { shale image diff "$@" | grep '^[ACD] /' || true; }
same() { is "$1" "$(tree "$2")" "$(tree "$3")"; }

# --- one layer ---
cat >"$c/Dockerfile" <<'E'
FROM busybox AS low
RUN mkdir -p /data/keep /data/gone && echo a >/data/keep/a && echo b >/data/gone/b && rm /bin/cat
FROM low
LABEL x=1
COPY app /srv/app
RUN rm -r /data/gone && mkdir /data/gone && echo new >/data/gone/new && chmod 711 /data /
RUN mv /srv/app /srv/moved && chown -R 7:8 /srv/moved && ln /srv/moved/one /srv/moved/two
ENV y=2
RUN rm -r /tmp; echo t >/data/keep/a
E
ok "a build as it is" shale build -t plain "$c"
ok "and squashed" shale build --squash -t squashed "$c"
has "whose last step says it" "SQUASH 5 layers"
is "what the build made is one layer on the base" 2 "$(layers squashed)"
is "its base is as it was" "$(shale inspect --format '{{index .RootFS.Layers 0}}' plain)" \
	"$(shale inspect --format '{{index .RootFS.Layers 0}}' squashed)"
is "image diff finds no file that differs" "" "$(differing plain squashed)"
same "every path, content, owner, mode and time is the same" plain squashed
is "the config is unchanged" "$(shale inspect --format '{{json .Config}}' plain)" "$(shale inspect --format '{{json .Config}}' squashed)"
shale history --no-trunc --format '{{.CreatedBy}}|{{.Layer}}' squashed >"$T/history"
is "the history has its rows, and one for the layer" 2 "$(grep -c '|sha256' "$T/history")"
is "the squashed ones have none" 7 "$(grep -c '|$' "$T/history")"
ok "again" shale build --squash -t squashed2 "$c"
has "it is found in the cache" "cached 8 of 10"
is "as the same image" "$(image_id squashed)" "$(image_id squashed2)"
ok "the steps' own layers still serve" shale build -t plain2 "$c"
is "all of them" "$(image_id plain)" "$(image_id plain2)"
printf 'FROM scratch\nCOPY app /a\nCOPY app /b\n' >"$c/Dockerfile.scratch"
ok "on nothing" shale build --squash -t bare -f "$c/Dockerfile.scratch" "$c"
is "is one layer" 1 "$(layers bare)"

# --- attributes to where the data is ---
cat >"$c/Dockerfile" <<'E'
FROM busybox
COPY app /srv/app
RUN chown -R 1000:1000 /srv/app
RUN chmod 700 /srv/app/one && touch -d '2001-02-03 04:05:06' /srv/app/sub/blob && echo more >/srv/app/more
RUN rm /srv/app/zeros
E
ok "a chown after a COPY" shale build -t plain "$c"
ok "folded" shale build --fold -t folded "$c"
has "it says how much" "went into the layer beneath, "
is "image diff finds no file that differs" "" "$(differing --times plain folded)"
same "every path, content, owner, mode and time is the same" plain folded
is "a layer that has nothing left is gone" 4 "$(layers folded)"
is "and its row has none" 1 "$(shale history --no-trunc --format '{{.CreatedBy}}|{{.Layer}}' folded | grep -c 'chown.*|$')"
shale save --format oci-dir -o "$T/oci" folded
cat >"$T/tars.py" <<'E'
import json, os, sys, tarfile
d = sys.argv[1]
path = lambda n: os.path.join(d, 'blobs/sha256', n.split(':')[1])
m = json.load(open(path(json.load(open(d + '/index.json'))['manifests'][0]['digest'])))
for i, l in enumerate(m['layers']):
    for t in tarfile.open(path(l['digest'])):
        print(i, t.name, t.uid, t.size, oct(t.mode))
E
python3 "$T/tars.py" "$T/oci" >"$T/tars"
is "the file stands in one archive, with the new owner" "1 srv/app/sub/blob 1000 300000 0o644" "$(grep blob "$T/tars")"
shale save -o "$T/plain.tar" plain
shale save -o "$T/folded.tar" folded
less=$(($(stat -c %s "$T/plain.tar") - $(stat -c %s "$T/folded.tar")))
is "the image is smaller by what was there twice" yes "$([ $less -gt 600000 ] && echo yes || echo "no: $less")"
ok "again" shale build --fold -t folded2 "$c"
is "as the same image" "$(image_id folded)" "$(image_id folded2)"
ok "the steps' own layers still serve" shale build -t plain2 "$c"
is "all of them" "$(image_id plain)" "$(image_id plain2)"
ok "every layer is what its table says" shale verify

# --- by way of podman ---
if command -v podman >/dev/null; then
	pod() { podman --root "$T/podman" --runroot "$T/podman-run" --storage-driver vfs "$@"; }
	seen() {
		pod load -q -i "$1" >/dev/null
		sum "$(pod image mount "$2")"
		pod image umount "$2" >/dev/null
	}
	is "podman sees the same tree in both" "$(seen "$T/plain.tar" plain)" "$(seen "$T/folded.tar" folded)"
	is "which is the one that shale sees" "$(tree plain)" "$(seen "$T/folded.tar" folded)"
else
	skip "podman is not here"
fi

# --- where it is not possible ---
cat >"$c/Dockerfile" <<'E'
FROM busybox
RUN mkdir -p /l/d /m/sub && echo x >/l/a && ln /l/a /l/b && echo y >/l/d/c && echo z >/m/sub/f && echo w >/m/w
RUN chown 5 /l/a /l/b /m/w && mv /m/sub /m/moved && chown -R 6 /m/moved
RUN rm -r /l/d && mkdir /l/d && echo y >/l/d/c && chown 5 /l/d/c && rm /m/w && echo w >/m/w && chown 6 /m/w
RUN chmod 1700 /bin
RUN chmod 700 / && chown 5 /m
E
ok "links, renames, new things in old places" shale build -t plain "$c"
ok "folded as far as it goes" shale build --fold -t folded "$c"
has "what stays is said" "2 names of files that have several"
is "image diff finds no file that differs" "" "$(differing --times plain folded)"
same "every path, content, owner, mode and time is the same" plain folded
printf 'FROM busybox\nRUN chmod 700 /bin\n' >"$c/Dockerfile"
ok "what changes only the base's files" shale build --fold -t one "$c"
has "says that nothing can be folded" "nothing to fold: the build made one layer"
printf 'FROM busybox\nRUN touch /empty\nRUN chown 5 /empty\n' >"$c/Dockerfile"
ok "an empty file that is only chowned" shale build -t plain "$c"
ok "is squashed" shale build --squash -t one "$c"
same "and still there" plain one
code 1 "--squash and --fold exclude each other" shale build --fold --squash "$c"
no_leaks
done_testing
