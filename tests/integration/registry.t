# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016
# pull, push, login against Debian's docker-registry on loopback, and images that others put there.
. "$(dirname "$0")/lib.sh"
unset SHALE_PULL
HOME=$T/home
DOCKER_CONFIG=$T/home/.docker
export HOME DOCKER_CONFIG
unset REGISTRY_AUTH_FILE XDG_RUNTIME_DIR http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy
mkdir -p "$T/home"
pids=
undo='for p in $pids; do kill "$p"; done'
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# serve NAME [LINES]: a registry; $reg is where, $log its requests
serve() {
	reg=127.0.0.1:$(free_port)
	log=$T/$1.log
	printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n%b' \
		"$T/$1" "$reg" "${2:-}" >"$T/$1.yml"
	docker-registry serve "$T/$1.yml" >"$log" 2>&1 &
	pids="$pids $!"
	listens "${reg#*:}"
}
listens() {
	for _ in $(seq 100); do
		python3 -c "import socket; socket.create_connection(('127.0.0.1', $1))" 2>/dev/null && return
		sleep 0.1
	done
	echo "Bail out! nobody listens on port $1"
	exit 1
}
requests() { grep -cE '"(GET|HEAD|PUT|POST|PATCH) /v2/' "$log" || true; }
# What a tree has: names, modes, owners, sizes, times, content.
list='cd /d && find . | sort | while read -r f; do stat -c "%n %F %a %u:%g %Y" "$f"; done; find . -type f | sort | xargs sha256sum'
store() {
	SHALE_ROOT=$T/$1
	export SHALE_ROOT
}
skopeo_copy() { skopeo copy -q --src-tls-verify=false --dest-tls-verify=false "$@"; }

serve plain
base
mkdir "$T/c" && cd "$T/c"
cat >Dockerfile <<'EOF'
FROM busybox
RUN mkdir -p /d/gone /d/kept && echo 1 >/d/gone/f && echo 2 >/d/kept/f && ln /d/kept/f /d/kept/hard && ln -s f /d/kept/soft
RUN rm -r /d/gone && chown 1000:1000 /d/kept/f && mkfifo /d/fifo && chmod 4755 /bin/busybox
RUN rm -r /d/kept && mkdir /d/kept && echo new >/d/kept/n && head -c 3000000 /dev/urandom >/d/random
ENV A=b
CMD ["true"]
EOF
ok "an image" shale build --network none -t "$reg/me/img:v1" .
id=$(shale images -q --no-trunc "$reg/me/img:v1")
shale run --rm --network none "$reg/me/img:v1" sh -c "$list" >"$T/tree"

ok "push" shale push "$reg/me/img:v1"
has "says the repository" "The push refers to repository [$reg/me/img]"
has "that a layer went" ": Pushed"
digest=$(sed -n 's/^v1: digest: \(sha256:[0-9a-f]*\) size: [0-9]*$/\1/p' "$T/out")
is "and the digest" 71 "${#digest}"
is "which the registry has" "$digest" \
	"$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$reg/me/img:v1")"
ok "push again" shale push "$reg/me/img:v1"
hasnt "sends nothing" ": Pushed"
has "says so" "Layer already exists"
has "and the same digest" "$digest"
shale tag "$reg/me/img:v1" "$reg/other/img"
ok "to another repository" shale push "$reg/other/img"
has "its layers are mounted" "Mounted from me/img"
has "the tag is latest" "Using default tag: latest"

ok "rmi" shale rmi -f --now "$reg/me/img:v1" "$reg/other/img"
shale builder prune -f >/dev/null 2>&1 || true
is "no blob is left but the base's config and layer" 2 "$(find "$T/store/blobs" -type f | wc -l)"
ok "pull" shale pull "$reg/me/img:v1"
has "names the repository" "v1: Pulling from me/img"
has "each layer" ": Pull complete"
has "the digest" "Digest: $digest"
has "the status" "Status: Downloaded newer image for $reg/me/img:v1"
is "the image has the same ID" "$id" "$(shale images -q --no-trunc "$reg/me/img:v1")"
is "and the same tree" "" "$(shale run --rm --network none "$reg/me/img:v1" sh -c "$list" | diff "$T/tree" - | head)"
ok "verify" shale verify
before=$(requests)
ok "pull again" shale pull "$reg/me/img:v1"
has "is up to date" "Status: Image is up to date for $reg/me/img:v1"
is "by one request" 1 "$(($(requests) - before))"
ok "pull by digest" shale pull "$reg/me/img@$digest"
ok "by which it is found" shale inspect "$reg/me/img@$digest"
is "inspect names it" "$reg/me/img@$digest" "$(shale inspect --format '{{index .RepoDigests 0}}' "$reg/me/img:v1")"
is "images --digests as well" "v1 $digest" "$(shale images --digests --format '{{.Tag}} {{.Digest}}' "$reg/me/img")"
store digest
ok "pulled by digest alone" shale pull "$reg/me/img@$digest"
is "it has a row without tag" "$reg/me/img <none> $digest" "$(shale images --format '{{.Repository}} {{.Tag}} {{.Digest}}')"
shale tag "$reg/me/img@$digest" mine
ok "rmi by digest" shale rmi "$reg/me/img@$digest"
has "takes that away" "Untagged: $reg/me/img@$digest"
is "the image keeps its name" "mine latest" "$(shale images --format '{{.Repository}} {{.Tag}}')"
store store
ok "quiet" shale pull -q "$reg/me/img:v1"
is "prints the ID" "$id" "$(cat "$T/out")"
ok "push what was pulled" sh -c "$SHALE tag $reg/me/img:v1 $reg/again/img:x && $SHALE push $reg/again/img:x"
has "has the same manifest" "$digest"
ok "save it as OCI" shale save --format oci-dir -o "$T/kept" "$reg/me/img:v1"
ok "by the same manifest" test -s "$T/kept/blobs/sha256/${digest#sha256:}"
is "and its layers as they were" "" "$(for f in "$T"/kept/blobs/sha256/*; do echo "$(basename "$f")  $f"; done | sha256sum -c --quiet)"
ok "push to another name" shale push --digestfile "$T/digest.txt" "$reg/me/img:v1" "docker://$reg/dest/img:v9"
has "which has it" "$(cat "$T/digest.txt")"
ok "and is not here" sh -c "! $SHALE image exists $reg/dest/img:v9"
is "as an ID" "$(cat "$T/digest.txt")" "$(shale push "$(shale images -q "$reg/me/img:v1")" "$reg/dest/img:id" | sed -n 's/.*digest: \(sha256:[0-9a-f]*\) .*/\1/p')"
code 1 "what is not here" shale push nosuch "$reg/dest/img:v9"
has "is told" "no image 'nosuch'"
code 1 "all tags to one name" shale push -a "$reg/me/img" "$reg/dest/img"
ok "push by zstd" shale push --compression zstd --compression-level 9 "$reg/again/img:x"
is "has layers of that kind" "4 application/vnd.oci.image.layer.v1.tar+zstd" "$(skopeo inspect --tls-verify=false --raw "docker://$reg/again/img:x" |
	python3 -c 'import json, sys; t = [l["mediaType"] for l in json.load(sys.stdin)["layers"]]; print(len(t), *set(t))')"
ok "push without asking" shale push "$reg/again/img:x"
has "has the manifest that it came with" "$digest"
is "du knows each blob" 0 "$(shale du | awk '$1 == "Orphans" { print $2 }')"

# A layer that is shared is not fetched.
printf 'FROM %s/me/img:v1\nRUN echo more >/d/more\n' "$reg" >"$T/c/Dockerfile.2"
store second
ok "FROM of an image in the registry" shale build --network none -f Dockerfile.2 -t "$reg/me/img:v2" .
has "is pulled inside the step" "| v1: Pulling from me/img"
ok "pushed" shale push "$reg/me/img:v2"
store store
ok "a newer image" shale pull "$reg/me/img:v2"
is "of which one layer is new" "1 4" "$(grep -c 'Pull complete' "$T/out") $(grep -c 'Already exists' "$T/out")"
store third
ok "run of an image that is not here" shale run --rm --network none "$reg/me/img:v2" cat /d/more
has "tells" "Unable to find image '$reg/me/img:v2' locally"
is "prints only the program's output" more "$(cat "$T/out")"
code 125 "--pull never" shale run --rm --pull never --network none "$reg/me/img:nosuch" true
code 1 "an image that is not there" shale pull "$reg/me/nosuch:1"
has "is named" "$reg/me/nosuch:1"
code 1 "nobody there" shale pull 127.0.0.1:1/x
has "is named" "127.0.0.1:1"

# What others push.
store store
shale save -o "$T/img.tar" "$reg/me/img:v1"
ok "skopeo pushes Docker's schema 2" skopeo_copy --format v2s2 "docker-archive:$T/img.tar" "docker://$reg/sk/v2s2:1"
ok "OCI" skopeo_copy --format oci "docker-archive:$T/img.tar" "docker://$reg/sk/oci:1"
ok "zstd" skopeo_copy --format oci --dest-compress-format zstd --dest-compress "docker-archive:$T/img.tar" "docker://$reg/sk/zstd:1"
for kind in v2s2 oci zstd; do
	store "sk-$kind"
	want=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$reg/sk/$kind:1")
	ok "$kind: pull" shale pull "$reg/sk/$kind:1"
	has "$kind: the registry's digest" "Digest: $want"
	is "$kind: the same tree" "" "$(shale run --rm --network none "$reg/sk/$kind:1" sh -c "$list" | diff "$T/tree" - | head)"
	shale tag "$reg/sk/$kind:1" "$reg/sk/$kind-back:1"
	ok "$kind: push" shale push "$reg/sk/$kind-back:1"
	has "$kind: the same manifest" "$want"
	ok "$kind: verify" shale verify
done

# A layout that others wrote goes out as it came in.
for kind in oci zstd; do
	store "load-$kind"
	ok "$kind: skopeo writes an archive" skopeo copy -q --src-tls-verify=false --preserve-digests "docker://$reg/sk/$kind:1" "oci-archive:$T/$kind.tar:example.com/in:1"
	ok "$kind: load" shale load -i "$T/$kind.tar"
	shale tag example.com/in:1 "$reg/sk/$kind-loaded:1"
	ok "$kind: push" shale push "$reg/sk/$kind-loaded:1"
	has "$kind: by the manifest that it has there" "digest: $(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$reg/sk/$kind:1")"
	ok "$kind: save" shale save --format oci-archive -o "$T/$kind-again.tar" example.com/in:1
	is "$kind: by that as well" 1 "$(tar -tf "$T/$kind-again.tar" | grep -c "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$reg/sk/$kind:1" | sed s/sha256://)")"
done

ok "a directory of skopeo's" skopeo copy -q --src-tls-verify=false "docker://$reg/sk/oci:1" "dir:$T/skdir"
code 1 "is not read" shale load -i "$T/skdir"
has "and says what is" "oci-dir"

# An index of several platforms, made of what is there.
store store
cat >"$T/index.py" <<'EOF'
import hashlib, json, sys, urllib.request
reg, repo, tag = sys.argv[1:4]
url = f"http://{reg}/v2/{repo}"
accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
def call(method, path, data=None, kind=None):
    r = urllib.request.Request(url + path, data, {"Accept": accept, **({"Content-Type": kind} if kind else {})}, method=method)
    with urllib.request.urlopen(r) as f:
        return f.headers, f.read()
def blob(data):
    h, _ = call("POST", "/blobs/uploads/", b"")
    to = h["Location"]
    to += ("&" if "?" in to else "?") + "digest=sha256:" + hashlib.sha256(data).hexdigest()
    urllib.request.urlopen(urllib.request.Request(to, data, {"Content-Type": "application/octet-stream"}, method="PUT")).close()
    return "sha256:" + hashlib.sha256(data).hexdigest()
h, text = call("GET", "/manifests/" + tag)
entries = []
def add(os, arch, variant=None):
    m = json.loads(text)
    c = json.loads(call("GET", "/blobs/" + m["config"]["digest"])[1])
    c["os"], c["architecture"] = os, arch
    if variant:
        c["variant"] = variant
    data = json.dumps(c).encode()
    m["config"]["digest"], m["config"]["size"] = blob(data), len(data)
    out = json.dumps(m).encode()
    d = "sha256:" + hashlib.sha256(out).hexdigest()
    call("PUT", "/manifests/" + d, out, m["mediaType"])
    p = {"os": os, "architecture": arch, **({"variant": variant} if variant else {})}
    entries.append({"mediaType": m["mediaType"], "digest": d, "size": len(out), "platform": p})
add("linux", "s390x"); add("linux", "amd64"); add("linux", "arm64", "v8"); add("linux", "arm", "v7")
index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
if len(sys.argv) > 4:
    index["layers"] = []
call("PUT", "/manifests/multi", json.dumps(index).encode(), index["mediaType"])
EOF
store multi
ok "an index of several platforms" python3 "$T/index.py" "$reg" sk/oci 1
is "search --list-tags" "$reg/sk/oci 1 multi" "$reg/sk/oci $(shale search --list-tags --format '{{.Tag}}' "docker://$reg/sk/oci" | sort | tr '\n' ' ' | sed 's/ $//')"
is "no more than asked for" 1 "$(shale search --list-tags --limit 1 --format '{{.Tag}}' "$reg/sk/oci" | wc -l)"
code 1 "of what is not there" shale search --list-tags "$reg/sk/nosuch"
code 2 "by words" shale search nginx
has "is told where" "--list-tags"
for where in docker-archive:/x oci:/x dir:./x docker-daemon:a:b containers-storage:x; do
	code 1 "pull $where" shale pull "$where"
	has "$where is in no registry" "$where is in no registry"
	code 1 "push to $where" shale push "$reg/sk/oci:1" "$where"
	has "to $where neither" "is in no registry"
done
ok "podman's --arch and --variant" shale pull -q --arch arm --variant v7 "$reg/sk/oci:multi"
is "are a platform" "arm v7" "$(shale inspect --format '{{.Architecture}} {{.Variant}}' "$reg/sk/oci:multi")"
code 2 "not both" shale pull --arch arm --platform linux/arm64 "$reg/sk/oci:multi"
ok "its image for this machine" shale pull "$reg/sk/oci:multi"
is "is that" amd64 "$(shale inspect --format '{{.Architecture}}' "$reg/sk/oci:multi")"
ok "for another one" shale pull --platform linux/arm64 "$reg/sk/oci:multi"
is "of which no layer is new" 0 "$(grep -c 'Pull complete' "$T/out")"
is "is that" arm64 "$(shale inspect --format '{{.Architecture}}' "$reg/sk/oci:multi")"
code 1 "for one that there is none for" shale pull --platform linux/riscv64 "$reg/sk/oci:multi"
has "says which there are" "linux/s390x, linux/amd64, linux/arm64/v8"

# Documents that are two things (T18), no digest (T19), or too old.
cat >"$T/fake.py" <<'EOF'
import hashlib, http.server, json, sys
OCI = "application/vnd.oci.image.manifest.v1+json"
evil = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 1, "digest": "sha256:../../../../etc/passwd"}
good = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": "sha256:" + hashlib.sha256(b"{}").hexdigest()}
docs = {
    "both": (OCI, {"schemaVersion": 2, "config": good, "layers": [], "manifests": []}),
    "path": (OCI, {"schemaVersion": 2, "config": good, "layers": [evil]}),
    "config": (OCI, {"schemaVersion": 2, "config": evil, "layers": []}),
    "old": ("application/vnd.docker.distribution.manifest.v1+prettyjws", {"schemaVersion": 1, "fsLayers": []}),
    "lies": ("application/vnd.oci.image.index.v1+json", {"schemaVersion": 2, "config": good, "layers": []}),
    "count": (OCI, {"schemaVersion": 2, "config": good, "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 2, "digest": good["digest"]}]}),
}
class Fake(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        kind, doc = docs.get(name, ("application/octet-stream", {}))
        data = json.dumps(doc).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)
    do_HEAD = do_GET
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Fake).serve_forever()
EOF
fake=127.0.0.1:$(free_port)
python3 "$T/fake.py" "${fake#*:}" >/dev/null 2>&1 &
pids="$pids $!"
listens "${fake#*:}"
store fake
refused() {
	code 1 "$1: refused" shale pull "$fake/x:$1"
	has "$1: told why" "$2"
}
refused both "both a manifest and an index"
refused path "digest"
refused config "digest"
refused old "schema 1"
refused lies "which it is not"
refused count "layers, but the config names 0"
is "nothing of them is there" "" "$(shale images -q)$(find "$T/fake/blobs" -type f)"

# What is wrong with the bytes.
blobs=$T/plain/docker/registry/v2/blobs/sha256
layer=$(skopeo inspect --tls-verify=false --raw "docker://$reg/me/img:v1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["layers"][3]["digest"][7:])')
file=$blobs/$(echo "$layer" | cut -c1-2)/$layer/data
cp "$file" "$T/good"
store bad
python3 -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(100000); b = f.read(1); f.seek(100000); f.write(bytes([b[0] ^ 1]))' "$file"
code 1 "a layer of another digest" shale pull "$reg/me/img:v1"
has "is named" "$(echo "$layer" | cut -c1-12)"
is "no image is there" "" "$(shale images -q)"
cp "$T/good" "$file"
ok "the next pull is whole" shale pull "$reg/me/img:v1"
store short
head -c 1000000 "$T/good" >"$file"
code 1 "a truncated layer" shale pull "$reg/me/img:v1"
is "no image is there" "" "$(shale images -q)"
cp "$T/good" "$file"
ok "the next pull is whole" shale pull "$reg/me/img:v1"
is "the tree is right" "" "$(shale run --rm --network none "$reg/me/img:v1" sh -c "$list" | diff "$T/tree" - | head)"

# A proxy that is slow: killed in the middle, the next pull asks for the rest only.
cat >"$T/slow.py" <<'EOF'
import http.server, sys, time, urllib.request
class Slow(http.server.BaseHTTPRequestHandler):
    def pass_on(self):
        keep = {k: ", ".join(self.headers.get_all(k)) for k in ("Accept", "Range") if k in self.headers}
        r = urllib.request.Request(sys.argv[1] + self.path, headers=keep, method=self.command)
        try:
            f = urllib.request.urlopen(r)
        except urllib.error.HTTPError as e:
            f = e
        print(self.command, self.path, keep.get("Range", "-"), flush=True)
        self.send_response(f.status)
        for k, v in f.headers.items():
            if k.lower() not in ("transfer-encoding", "connection", "date", "server"):
                self.send_header(k, v)
        self.end_headers()
        while chunk := f.read(65536):
            self.wfile.write(chunk)
            if len(chunk) == 65536:
                time.sleep(float(sys.argv[3]))
    do_GET = do_HEAD = pass_on
    def log_message(self, *a):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Slow).serve_forever()
EOF
slow=127.0.0.1:$(free_port)
python3 "$T/slow.py" "http://$reg" "${slow#*:}" 0.1 >"$T/slow.log" 2>/dev/null &
pids="$pids $!"
listens "${slow#*:}"
store killed
"$SHALE" pull "$slow/me/img:v1" >"$T/killed.log" 2>&1 &
victim=$!
# The part that is there when the pull dies: enough of it, not all.
for _ in $(seq 100); do
	part=$(stat -c %s "$T/killed/tmp/pull/$layer" 2>/dev/null || echo 0)
	[ "$part" -lt 400000 ] || break
	sleep 0.1
done
kill -9 $victim || cat "$T/killed.log"
wait $victim 2>/dev/null || true
part=$(stat -c %s "$T/killed/tmp/pull/$layer" 2>/dev/null || echo 0)
ok "a part of the layer is kept ($part bytes)" test "$part" -ge 400000
is "no image is there" "" "$(shale images -q)"
: >"$T/slow.log"
ok "pull again" shale pull "$slow/me/img:v1"
has "is whole" "Downloaded newer image"
part=$(sed -n "s|^GET .*$layer bytes=\([0-9]*\)-.*|\1|p" "$T/slow.log" | head -n 1)
ok "only the rest was asked for (from ${part:-the start})" test "${part:-0}" -ge 400000
is "the tree is right" "" "$(shale run --rm --network none "$slow/me/img:v1" sh -c "$list" | diff "$T/tree" - | head)"
ok "verify" shale verify
is "no part is left" "" "$(ls "$T/killed/tmp/pull")"

# Credentials.
echo "joe:$(perl -e 'print crypt("geheim", q($2b$05$abcdefghijklmnopqrstuu))')" >"$T/htpasswd"
plain=$reg
serve auth "auth: {htpasswd: {realm: here, path: $T/htpasswd}}\n"
store store
shale tag "$plain/me/img:v1" "$reg/joe/img:v1"
code 1 "push without credentials" shale push "$reg/joe/img:v1"
code 1 "login with a wrong password" shale login -u joe -p falsch "$reg"
hasnt "which is not told" falsch
is "nothing is kept" "" "$(cat "$DOCKER_CONFIG/config.json" 2>/dev/null)"
code 1 "login without a password" sh -c "$SHALE login -u joe --password-stdin $reg </dev/null"
has "is told" "the password is empty"
ok "login" sh -c "echo geheim | $SHALE login -u joe --password-stdin $reg"
has "succeeds" "Login Succeeded"
is "config.json is for the owner only" 600 "$(stat -c %a "$DOCKER_CONFIG/config.json")"
ok "push" shale push "$reg/joe/img:v1"
store auth2
ok "pull" shale pull "$reg/joe/img:v1"
ok "logout" shale logout "$reg"
code 1 "pull after it" shale pull "$reg/joe/img:v1"
code 1 "--creds that are wrong" shale pull --creds joe:falsch "$reg/joe/img:v1"
hasnt "are not told" falsch
code 1 "--creds without a password" shale pull --creds joe "$reg/joe/img:v1"
ok "pull --creds" shale pull --creds joe:geheim "$reg/joe/img:v1"
ok "push --creds" shale push --creds joe:geheim "$reg/joe/img:v1" "$reg/joe/other:1"
is "nothing of them is kept" "" "$(grep "$reg" "$DOCKER_CONFIG/config.json")"
ok "login --authfile" sh -c "echo geheim | $SHALE login --authfile $T/auth.json -u joe --password-stdin $reg"
code 1 "which is not asked for" shale pull "$reg/joe/img:v1"
ok "pull --authfile" shale pull --authfile "$T/auth.json" "$reg/joe/img:v1"
code 1 "--authfile that is not there" shale push --authfile "$T/no.json" "$reg/joe/img:v1"
has "is told" "--authfile $T/no.json"
mkdir -p "$T/bin"
cat >"$T/bin/docker-credential-test" <<'EOF'
#!/bin/sh
read -r server
[ "$1" = get ] && printf '{"ServerURL":"%s","Username":"joe","Secret":"geheim"}' "$server"
EOF
chmod 755 "$T/bin/docker-credential-test"
printf '{"credHelpers":{"%s":"test"}}' "$reg" >"$DOCKER_CONFIG/config.json"
store auth3
ok "by a credential helper" env PATH="$T/bin:$PATH" "$SHALE" pull "$reg/joe/img:v1"
printf '{"credHelpers":{"%s":"../../x"}}' "$reg" >"$DOCKER_CONFIG/config.json"
code 1 "a helper's name that is a path" shale pull "$reg/joe/img:v1"
rm "$DOCKER_CONFIG/config.json"
printf '{"auths":{"%s":{"auth":"%s"}}}' "$reg" "$(printf joe:geheim | base64)" >"$T/auth.json"
store auth4
ok "by REGISTRY_AUTH_FILE" env REGISTRY_AUTH_FILE="$T/auth.json" "$SHALE" pull "$reg/joe/img:v1"
if grep -rqsa geheim "$T/store" "$T/auth2" "$T/auth3" "$T/auth4"; then fail "no password is in a store"; else pass "no password is in a store"; fi
store store
no_leaks
done_testing
