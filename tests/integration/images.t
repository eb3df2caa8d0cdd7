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
no_leaks
done_testing
