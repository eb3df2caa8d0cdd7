# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016
# Listing and care of images: filters, formats, histories of images that others made, prune.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/c" && cd "$T/c"
make() { printf 'FROM busybox\nLABEL %s\nRUN echo %s >/f\n' "$2" "$1" | shale build -q --network none -t "$1" -f - . >/dev/null; }
make me/one 'kind=app tier=1'
make me/two kind=app
make three kind=db
shale tag me/one host.example:5000/me/one:v1
names() { shale images --format '{{.Repository}}:{{.Tag}}' "$@" | sort | tr '\n' ' '; }
is "all of them" "busybox:latest host.example:5000/me/one:v1 me/one:latest me/two:latest three:latest " "$(names)"
is "a repository" "me/one:latest " "$(names me/one)"
is "with a tag" "host.example:5000/me/one:v1 " "$(names host.example:5000/me/one:v1)"
is "of another tag" "" "$(names me/one:v1)"
is "by its whole name" "me/two:latest " "$(names docker.io/me/two)"
is "a glob stops at a slash" "busybox:latest three:latest " "$(names '*')"
is "reference=" "me/one:latest me/two:latest " "$(names -f 'reference=me/*')"
is "any of several" "me/one:latest three:latest " "$(names -f 'reference=me/[a-o]*' -f 'reference=t?ree:late*')"
code 1 "what is no pattern" shale images -f 'reference=a[b'
has "is refused" "is no pattern"
is "label=KEY" "host.example:5000/me/one:v1 me/one:latest me/two:latest three:latest " "$(names -f label=kind)"
is "label=KEY=VALUE, all of them" "host.example:5000/me/one:v1 me/one:latest " "$(names -f label=kind=app -f label=tier=1)"
is "label!=" "busybox:latest three:latest " "$(names -f 'label!=kind=app')"
is "before=" "busybox:latest host.example:5000/me/one:v1 me/one:latest " "$(names -f before=me/two)"
is "since=" "me/two:latest three:latest " "$(names -f since=me/one)"
is "both" "me/two:latest " "$(names -f since=me/one -f before=three)"
is "several: the tightest" "busybox:latest " "$(names -f before=me/two -f before=me/one)"
is "until=, long ago" "" "$(names -f until=24h)"
is "until=, a time to come" 5 "$(shale images -q -f until=2100-01-01 | wc -l)"
code 1 "until= of something else" shale images -f until=soon
code 1 "an unknown filter" shale images -f size=1
has "names those there are" "reference="
make three kind=new
is "dangling=true" "<none>:<none> " "$(names -f dangling=true)"
is "dangling=false" 5 "$(shale images -q -f dangling=false | wc -l)"
ok "json" shale images --format json busybox
has "has docker's names" '"Repository":"busybox","Tag":"latest","ID":"'
is "a table of one's own" "REPOSITORY TAG" "$(shale images --format 'table {{.Repository}}\t{{.Tag}}' | head -n 1 | tr -s ' ')"
code 1 "a field that there is not" shale images --format '{{.Nope}}'

is "--sort repository" "busybox host.example:5000/me/one me/one me/two three <none>" "$(shale images --sort repository --format '{{.Repository}}' | grep -v none | tr '\n' ' ')<none>"
is "--sort size: the smallest first" busybox "$(shale images --sort size --format '{{.Repository}}' | head -n 1)"
code 1 "--sort of something else" shale images --sort colour
has "names what there is" "repository"
is "-n: without heads" busybox "$(shale images -n busybox | cut -d' ' -f1)"
is "-f id=" "me/two:latest " "$(names -f "id=$(shale images -q me/two)")"
is "-f after=" "$(names -f since=me/two)" "$(names -f after=me/two)"
ok "tag with several names" shale tag me/two more/one more/two:2
is "gives all" "more/one:latest more/two:2 " "$(names -f 'reference=more/*')"
code 1 "one of which is none" shale tag me/two more/three 'A B'
is "gives nothing" "" "$(names more/three)"
id=$(shale images -q me/two)
ok "untag" shale untag me/two more/one
is "tells" "Untagged: more/one:latest" "$(cat "$T/out")"
code 1 "a name of another image" shale untag me/two busybox
has "is told" "is no name of me/two"
ok "untag all names" shale untag more/two:2 more/two:2 me/two
ok "leaves the image" shale tag "$id" me/two
is "as it was" "" "$(names -f 'reference=more/*')"

# prune
old=$(shale images -q --no-trunc -f dangling=true)
shale create --name user me/two true >/dev/null
is "prune by a label that it has not" "Total reclaimed space: 0B" "$(shale image prune -f --filter label=kind=app | tail -n 1)"
is "by one that it must not have" "Total reclaimed space: 0B" "$(shale image prune -f --filter 'label!=kind' | tail -n 1)"
is "by age" "Total reclaimed space: 0B" "$(shale image prune -f --filter until=1h | tail -n 1)"
ok "prune" shale image prune -f
has "takes what has no name" "deleted: $old"
is "and nothing else" 5 "$(shale images -q | wc -l)"
code 2 "dangling= of something else" shale image prune -f --filter dangling=maybe
ok "prune --filter dangling=false" shale image prune -f --filter dangling=false --filter label=kind
is "leaves what a container uses and what the filter does not mean" "busybox:latest me/two:latest " "$(names)"
ok "prune -a" shale image prune -af
is "leaves what a container uses" "me/two:latest " "$(names)"
ok "undo" shale undo
shale rm user >/dev/null

# Histories of others: none, too short, too long, without times and texts.
cat >"$T/mk.py" <<'PY'
import hashlib, io, json, sys, tarfile
def layer(name):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w") as t:
        i = tarfile.TarInfo(name); i.size = len(name); t.addfile(i, io.BytesIO(name.encode()))
    return b.getvalue()
layers = [layer(n) for n in ("a", "bb", "ccc")]
by = lambda n, **k: {"created": "2020-01-02T03:04:05Z", "created_by": n, **k}
cases = {"none": None, "short": [by("ADD a")], "long": [by("1"), by("2"), by("3"), by("4")],
         "bare": [{}, {"comment": "buildkit.exporter.image.v0"}, {"created_by": ""}, {"empty_layer": True}]}
with tarfile.open(sys.argv[1], "w") as t:
    def add(name, data):
        i = tarfile.TarInfo(name); i.size = len(data); t.addfile(i, io.BytesIO(data))
    manifest = []
    for i, l in enumerate(layers):
        add(f"{i}.tar", l)
    for name, h in cases.items():
        c = {"architecture": "amd64", "os": "linux", "created": "2021-01-01T00:00:00Z", "author": name, "config": {},
             "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(l).hexdigest() for l in layers]}}
        if h is not None:
            c["history"] = h
        add(name + ".json", json.dumps(c).encode())
        manifest.append({"Config": name + ".json", "RepoTags": ["h/" + name + ":1"], "Layers": [f"{i}.tar" for i in range(3)]})
    add("manifest.json", json.dumps(manifest).encode())
PY
ok "images of others" sh -c "python3 $T/mk.py $T/h.tar && $SHALE load -i $T/h.tar"
rows() { shale history --format '{{.ID}}|{{.CreatedAt}}|{{.CreatedBy}}|{{.Size}}|{{.Layer}}' --no-trunc "h/$1:1"; }
is "no history: a row a layer" "3B 2B 1B" "$(rows none | cut -d'|' -f4 | tr '\n' ' ' | sed 's/ $//')"
is "a short one" "(not recorded) (not recorded) ADD a" "$(rows short | cut -d'|' -f3 | tr '\n' ' ' | sed 's/ $//')"
is "one that tells of more layers" "4 3 2 1: 0B 3B 2B 1B" "$(rows long | cut -d'|' -f3 | tr '\n' ' ' | sed 's/ $//'): $(rows long | cut -d'|' -f4 | tr '\n' ' ' | sed 's/ $//')"
for h in none short long bare; do
	is "$h: ID, CREATED, CREATED BY and SIZE are there in each row" "" "$(rows $h | grep -vE '^sha256:[0-9a-f]{64}\|20[0-9-]*T[0-9:]*Z\|[^|]+\|[0-9]+B\|(sha256:[0-9a-f]{64})?$' || true)"
	is "$h: each layer has its row" "$(shale inspect --format '{{range .Layers}}{{println .DiffID}}{{end}}' "h/$h:1" | grep . | tac)" "$(rows $h | cut -d'|' -f5 | grep .)"
	is "$h: the topmost is the image" "$(shale inspect --format '{{.Id}}' "h/$h:1")" "$(rows $h | head -n 1 | cut -d'|' -f1)"
done

# mount
at=$(stat -c '%D' "$SHALE_ROOT" 2>/dev/null).$(stat -c %i "$SHALE_ROOT")
undo="$SHALE image unmount -fa >/dev/null 2>&1"
mkdir "$T/m1" "$T/m2"
cat >A <<'D'
FROM busybox
RUN mkdir -p /d/gone /d/kept /d/empty && echo 1 >/d/gone/f && echo 2 >/d/kept/f && ln /d/kept/f /d/kept/hard && ln -s f /d/kept/soft
RUN chown -R 5:6 /bin && mv /d/kept /d/moved && mkfifo /d/fifo && echo one >/d/same-size && touch /d/x && chmod 4755 /d/x
RUN rm -r /d/gone && mkdir /d/gone && echo new >/d/gone/f && echo later >>/d/moved/f
ENV PATH=/bin KEEP=1 ONLY=a
LABEL l=1
EXPOSE 80
D
cat >B <<'D'
FROM busybox
RUN mkdir -p /d/gone /d/kept /d/empty && echo 1 >/d/gone/f && echo 2 >/d/kept/f && ln /d/kept/f /d/kept/hard && ln -s f /d/kept/soft
RUN chown -R 5:6 /bin && mkdir /d/fifo && echo two >/d/same-size && rm -r /home && rm /d/kept/soft && ln -s g /d/kept/soft
RUN chmod 600 /d/kept/hard && chown 7 /d/gone && touch -d @1 /d/gone/f
ENV PATH=/sbin:/bin KEEP=1
LABEL l=1 more=
CMD ["x"]
D
for i in A B; do shale build -q --network none -t cmp:$i -f $i . >/dev/null; done
ok "image mount" shale image mount cmp:A "$T/m1"
is "says where" "$T/m1" "$(cat "$T/out")"
is "read-only, nosuid and nodev" "ro,nosuid,nodev" "$(findmnt -no VFS-OPTIONS "$T/m1" | cut -d, -f1-3)"
own=$(shale image mount cmp:B)
ok "without a directory: one of the run state" test -d "$own/d/fifo"
is "which stays the same" "$own" "$(shale image mount cmp:B)"
is "the list" "cmp:A $T/m1 cmp:B $own" "$(shale image mount --format '{{.Image}} {{.Dir}}' | sort | tr '\n' ' ' | sed 's/ $//')"
code 1 "rmi of a mounted image" shale rmi cmp:A
has "names the mount" "mounted at $T/m1"
ok "prune -a" shale image prune -af
is "leaves it too" "A B" "$(shale images --format '{{.Tag}}' cmp | sort | tr '\n' ' ' | sed 's/ $//')"
code 1 "another image at the same place" shale image mount cmp:B "$T/m1"
has "is refused" "is mounted at $T/m1"
ok "the same one again" shale image mount cmp:A "$T/m1"
code 1 "a place inside the store" shale image mount cmp:B "$SHALE_ROOT/tmp"
has "is refused" "inside the store"
shale import "$top/build/base.tar" cmp:base >/dev/null
ok "an image of one layer" shale image mount cmp:base "$T/m2"
is "is not to be written to either" "ro,nosuid,nodev" "$(findmnt -no VFS-OPTIONS "$T/m2" | cut -d, -f1-3)"
(cd "$T/m2" && sleep 30) & holder=$!
sleep 0.1
code 1 "unmount while it is in use" shale image unmount "$T/m2"
has "says so" "files in it are open"
ok "by force" shale image unmount -f "$T/m2"
kill $holder 2>/dev/null || true

# diff: what the two mounts show
cat >"$T/cmp.py" <<'PY'
import os, stat, sys
def tree(root):
    t = {}
    for d, dirs, files in os.walk(root):
        for n in dirs + files + ([""] if d == root else []):
            p = os.path.join(d, n) if n else d
            s = os.lstat(p)
            what = (stat.S_IFMT(s.st_mode), stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, int(s.st_mtime))
            if stat.S_ISREG(s.st_mode): what += (open(p, "rb").read(),)
            if stat.S_ISLNK(s.st_mode): what += (os.readlink(p),)
            t["/" + os.path.relpath(p, root) if p != root else "/"] = what
    return t
a, b = tree(sys.argv[1]), tree(sys.argv[2])
for p in sorted(set(a) | set(b), key=lambda p: p.split("/")):
    if a.get(p) != b.get(p) and p != "/":  # of which no layer tells
        print("A" if p not in a else "D" if p not in b else "C", p)
PY
python3 "$T/cmp.py" "$T/m1" "$own" >"$T/want"
ok "there is something to compare" test "$(wc -l <"$T/want")" -gt 10
for o in "" --read; do
	# shellcheck disable=SC2086
	code 1 "image diff $o: they differ" shale image diff --times $o --format '{{if .Path}}{{.Kind}} {{.Path}}{{end}}' cmp:A cmp:B
	is "in what the mounts show" "" "$(grep . "$T/out" | diff "$T/want" - | head)"
done
code 1 "image diff" shale image diff cmp:A cmp:B
has "a variable" "C Env.PATH: /bin -> /sbin:/bin"
has "one that is gone" "D Env.ONLY: a"
has "a label without value" "A Labels.more"
has "a port" "D ExposedPorts.80/tcp"
has "a command" 'C Cmd: ["/bin/sh"] -> ["x"]'
has "a mode" "A /d/kept/hard"
has "a target" "C /d/fifo (fifo -> directory)"
has "a content of the same size" "C /d/same-size (content)"
hasnt "what is the same" "KEEP"
hasnt "of what only changed its time nothing is said" "C /d/gone/f (time"
code 1 "the other way round" shale image diff cmp:B cmp:A
has "an addition is a deletion" "D Labels.more"
code 0 "image diff of the same" shale image diff cmp:A cmp:A
is "is silent" "" "$(cat "$T/out")"
code 2 "of what is not there" shale image diff cmp:A nosuch
code 1 "json" shale image diff --format json cmp:A cmp:B
has "has the fields" '{"Kind":"C","Path":null,"Field":"Env.PATH","Changed":[],"Old":"/bin","New":"/sbin:/bin"'
has "and what of a path changed" '"Changed":["content"]'

ok "unmount by image" shale image unmount cmp:A
is "says from where" "$T/m1" "$(cat "$T/out")"
code 1 "again" shale image unmount cmp:A
umount "$own"
is "what umount(8) took away is not listed" "" "$(shale image mount --format '{{.Dir}}')"
ok "nor is anything of it left" test ! -e "/run/shale/$at"
"$SHALE" image mount cmp:B "$T/m1" >/dev/null
mkdir "$T/m1/x" 2>/dev/null || true
ok "all" shale image unmount --all
ok "rmi after it" shale rmi cmp:B

# tree
printf 'FROM cmp:base\nRUN echo >/x\n' | shale build -q --network none -t cmp:x -f - . >/dev/null
ok "image tree" shale image tree
has "the base is shared" "3 images"
is "a line a layer, and the sum" "$(($(shale image tree --format '{{.Layer}}' | wc -l) + 1))" "$(shale image tree | wc -l)"
is "json: each layer's parent is there" "" "$(shale image tree --format '{{.Parent}}' | grep . | sort -u | while read -r p; do shale image tree --format '{{.ChainID}}' | grep -qx "$p" || echo "$p"; done)"
shale load -q -i "$T/h.tar" >/dev/null
ok "of one image" shale image tree h/none:1
has "has what shares layers with it" h/long:1
hasnt "leaves out what does not" cmp:A
ok "an image that exists" shale image exists h/none:1
code 1 "one that does not" shale image exists h/nosuch:1
is "without a word" "" "$(cat "$T/out" "$T/err")"
code 125 "a name that is none" shale image exists 'A B'
shale volume create vol >/dev/null
ok "a volume" shale volume exists vol
for kind in container volume network; do code 1 "no such $kind" shale $kind exists nosuch; done
is "when it was tagged" 1 "$(shale image inspect -f '{{.Metadata.LastTagTime}}' h/none:1 | grep -c '^20')"
shale tag h/none:1 h/other:1
shale create --name user h/short:1 true >/dev/null
code 2 "rmi of nothing" shale rmi
ok "rmi -i of what is not there" shale rmi -i nosuch
is "says nothing" "" "$(cat "$T/err")"
code 1 "rmi -a" shale rmi -a
has "names the container that holds one" user
is "takes all others" "h/short:1 " "$(names)"
shale rm user >/dev/null
ok "and then that" shale rmi --all
is "none is left" "" "$(names)"
no_leaks
done_testing
