# SPDX-License-Identifier: Apache-2.0
# More layers than the kernel mounts at once: 600, then 760. The lowest are merged; the image stays what it was.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/c" && cd "$T/c"
echo 0 >f0
echo 1 >f1
# Marks of every kind in the part that is merged: whiteouts, an opaque directory, hardlinks, a metacopy, a renamed
# directory, a file that becomes a directory and one that becomes a file.
cat >Dockerfile <<'EOF2'
FROM busybox
RUN mkdir -p /d/sub /o/p /t && echo a >/d/a && ln /d/a /d/b && echo lower >/o/old && echo lower >/o/p/old && \
	echo gone >/gone && echo f >/file && echo s >/d/sub/s && chmod 2755 /t
RUN rm /gone && rm -r /o && mkdir -p /o/p && echo new >/o/p/new
RUN chown 5:6 /d/sub/s && mv /d /e
RUN rm /file && mkdir /file && echo in >/file/in && mv /e/sub /sub && echo more >>/sub/s
RUN rm -r /file && echo again >/file && ln /e/b /e/c
EOF2
for i in $(seq 1 594); do echo "COPY f$((i % 2)) /n/$i"; done >>Dockerfile
ok "a build of 600 layers" shale build --network none -t deep .
is "warns once that others cannot run it" 1 "$(grep -c 'more than 127 layers' "$T/err")"
is "it has 600" 600 "$(shale inspect --format '{{len .RootFS.Layers}}' deep)"
files() { sed '/^$/d' | paste -sd' '; }
look='ls /n | wc -l; cat /n/1 /n/594; ls -R /e /o /sub; cat /e/* /o/p/new /sub/s /file; stat -c "%u:%g %a" /sub/s /t; ls /gone'
want="594 1 0 /e: a b c /o: p /o/p: new /sub: s a a a new s more again 5:6 644 0:0 2755"
is "it shows what the layers say" "$want" "$(shale run --rm --network none deep sh -c "$look" 2>/dev/null | files)"
# shellcheck disable=SC2012
is "one directory is merged" 1 "$(ls -d "$SHALE_ROOT"/snap/*/tree.* | wc -l)"
is "a link made over the merged part holds" 2 "$(shale run --rm --network none deep stat -c %i /e/b /e/c | uniq -c |
	awk '{ print $1 }')"
is "it can be changed" "x 5:6" "$(shale run --rm --network none deep \
	sh -c 'rm /sub/s && echo x >/sub/s && chown 5:6 /sub/s && cat /sub/s && stat -c %u:%g /sub/s' | files)"
tree=$(echo "$SHALE_ROOT"/snap/*/tree.*)
before=$(find "$tree" -printf '%p %y %m %U:%G %s %T@\n' | sort | md5sum)
printf 'FROM deep\nRUN rm -r /n/1 /sub && echo top >/e/a\n' >D2
for i in $(seq 601 759); do echo "COPY f0 /n/$i"; done >>D2
ok "a build on it, to 760" shale build --network none -f D2 -t deeper .
is "shows the same" "752 top" "$(shale run --rm --network none deeper sh -c 'ls /n | wc -l; ls /sub; cat /e/a' 2>/dev/null | files)"
# shellcheck disable=SC2012
is "with one more merged directory" 2 "$(ls -d "$SHALE_ROOT"/snap/*/tree.* | wc -l)"
is "the first was not touched" "$before" "$(find "$tree" -printf '%p %y %m %U:%G %s %T@\n' | sort | md5sum)"
# Killed while it merges, or a machine that went down: what is half made is never used.
for t in "$SHALE_ROOT"/snap/*/tree.*; do mv "$t" "${t%.*}.00000000"; done
mkdir -p "$(dirname "$tree")/new.tree/n"
is "what an earlier boot left is made anew" "752 top" \
	"$(shale run --rm --network none deeper sh -c 'ls /n | wc -l; cat /e/a' | files)"
for d in copy fuse-overlayfs; do
	[ $d = copy ] || [ -x /usr/bin/fuse-overlayfs ] || { skip "no fuse-overlayfs"; continue; }
	is "$d shows the same" "$want" "$(shale --driver $d run --rm --network none deep sh -c "$look" 2>/dev/null | files)"
done
ok "the images go" shale rmi deeper deep
ok "and their layers" shale builder prune -f
try "with what was merged" sh -c "! ls -d $SHALE_ROOT/snap/*/tree.* $SHALE_ROOT/trash/* 2>/dev/null"
no_leaks
done_testing
