# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2154
# --provenance, --sbom, --attest: an index of the image and what is attested of it; who pulls it gets the image.
. "$(dirname "$0")/lib.sh"
unset SHALE_PULL DOCKER_CONFIG REGISTRY_AUTH_FILE http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy
HOME=$T/home
export HOME
mkdir "$T/home" "$T/c" "$T/www"
undo='kill $served'
served=
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
reg=127.0.0.1:$(free_port)
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n' "$T/reg" "$reg" >"$T/reg.yml"
docker-registry serve "$T/reg.yml" >"$T/reg.log" 2>&1 &
served=$!
web=127.0.0.1:$(free_port)
echo fetched >"$T/www/file"
python3 -m http.server --bind 127.0.0.1 --directory "$T/www" "${web#*:}" >/dev/null 2>&1 &
served="$served $!"
for at in $reg $web; do
	try "$at listens" python3 -c "import socket; socket.create_connection(('127.0.0.1', ${at#*:}))"
done
base
SOURCE_DATE_EPOCH=1700000000
export SOURCE_DATE_EPOCH
cd "$T/c"
cat >Dockerfile <<E
FROM busybox AS tool
ADD http://someone:hunter2@$web/file /file
FROM busybox
ARG WORD
COPY --from=tool /file /file
RUN --mount=type=secret,id=token echo "\$WORD" >/word
E
build() { shale build --network none --secret id=token,env=TOKEN --build-arg WORD=walnut "$@" .; }
TOKEN=sesame
export TOKEN
walk() { python3 -B "$top/tests/integration/attest.py" "$T/$1" | xargs; }
# at FILE EXPRESSION: of the predicate p
at() { python3 -c 'import json, sys; p = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$T/$1" "$2"; }
named="pkg:docker/$reg/a/b@one?platform=linux%2Famd64"

# --- provenance ---
ok "without" build -t "$reg/a/b:one" -o "type=oci,tar=false,dest=$T/plain"
is "there is no index" "" "$(grep -rl image.index "$T/plain/blobs")"
ok "mode=min" build --provenance=mode=min -t "$reg/a/b:one" -o "type=oci,tar=false,dest=$T/min"
is "is beside the image" "images 1 slsa $named" "$(walk min)"
ok "again" build --attest type=provenance,mode=min -t "$reg/a/b:one" -o "type=oci,tar=false,dest=$T/min2"
is "is the same to the byte" "" "$(diff -r "$T/min/blobs" "$T/min2/blobs")"
is "has the file and the base" "http://$web/file pkg:docker/busybox@latest?platform=linux%2Famd64" "$(at min/slsa.json '" ".join(m["uri"] for m in p["buildDefinition"]["resolvedDependencies"])')"
is "by their contents" "$(sha256sum <"$T/www/file" | cut -d' ' -f1) $(shale inspect --format '{{.Id}}' busybox)" "$(at min/slsa.json '"{0} sha256:{1}".format(*[m["digest"]["sha256"] for m in p["buildDefinition"]["resolvedDependencies"]])')"
is "the times are the epoch" "2023-11-14T22:13:20Z 2023-11-14T22:13:20Z" "$(at min/slsa.json '"{startedOn} {finishedOn}".format(**p["runDetails"]["metadata"])')"
is "nothing of arguments, secrets and passwords" "" "$(grep -lE 'walnut|sesame|hunter2|token' "$T/min/slsa.json")"
ok "mode=max" build --provenance -t "$reg/a/b:one" -o "type=oci,tar=false,dest=$T/max" --metadata-file "$T/meta"
is "is there too" "images 1 slsa $named" "$(walk max)"
is "has arguments and names of secrets" "walnut [{'id': 'token'}]" "$(at max/slsa.json '"{0[args][build-arg:WORD]} {0[secrets]}".format(p["buildDefinition"]["externalParameters"]["request"])')"
at max/slsa.json '__import__("base64").b64decode(p["runDetails"]["metadata"]["buildkit_metadata"]["source"]["infos"][0]["data"]).decode()' >"$T/source"
is "and the Dockerfile" "$(sed 's/someone:hunter2@//' Dockerfile)" "$(cat "$T/source")"
is "but no value of a secret" "" "$(grep -lE 'sesame|hunter2' "$T/max/slsa.json" "$T/source" "$T/meta")"
is "--metadata-file has it too" 1 "$(grep -c '"buildType"' "$T/meta")"

# --- packages ---
mkdir -p root/var/lib/dpkg/status.d root/lib/apk/db root/usr/lib root/etc root/var/lib/rpm
printf 'Package: a+b\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.3+x-1\nDescription: x\n Package: not\n\nPackage: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\nPackage: half\nStatus: install ok installed\n' >root/var/lib/dpkg/status
printf 'Package: tz\nVersion: 2\nArchitecture: all\n' >root/var/lib/dpkg/status.d/tz
printf 'P:musl\nV:1.2-r0\nA:x86_64\n\nP:zlib\nV:1.3\n' >root/lib/apk/db/installed
printf 'ID=debian\nVERSION_ID="12"\n' >root/usr/lib/os-release
ln -s ../usr/lib/os-release root/etc/os-release
printf 'FROM scratch\nCOPY root /\n' >Dockerfile.pkg
ok "--sbom" shale build --sbom --provenance mode=min -f Dockerfile.pkg -t pkg -o "type=oci,tar=false,dest=$T/sbom" .
is "has both" "images 1 spdx pkg:docker/pkg@latest?platform=linux%2Famd64 slsa pkg:docker/pkg@latest?platform=linux%2Famd64" "$(walk sbom)"
is "what dpkg and apk know" "pkg:apk/debian/musl@1.2-r0?arch=x86_64&distro=debian-12 pkg:apk/debian/zlib@1.3?distro=debian-12 pkg:deb/debian/a%2Bb@1%3A2.3%2Bx-1?arch=amd64&distro=debian-12 pkg:deb/debian/tz@2?arch=all&distro=debian-12" \
	"$(at sbom/spdx.json '" ".join(sorted(x["externalRefs"][0]["referenceLocator"] for x in p["packages"][1:]))')"
is "is SPDX 2.3 of the image" "SPDX-2.3 SPDXRef-DOCUMENT DESCRIBES SPDXRef-Image 5" "$(at sbom/spdx.json '"{} {spdxElementId} {relationshipType} {relatedSpdxElement} {}".format(p["spdxVersion"], len(p["relationships"]), **p["relationships"][-1])')"
is "and says that rpm was not read" 1 "$(grep -c 'rpm, which was not read' "$T/sbom/spdx.json")"
rm root/var/lib/dpkg/status
mkdir root/var/lib/dpkg/status
code 1 "a directory as a list" shale build --sbom -f Dockerfile.pkg .
has "is refused" "var/lib/dpkg/status of the image: no regular file"
rmdir root/var/lib/dpkg/status
ln -s ../../../../../../../../../../../../var/lib/dpkg/status root/var/lib/dpkg/status
code 1 "a symlink that leads out" shale build --sbom -f Dockerfile.pkg .
has "as well" "--sbom: var/lib/dpkg/status of the image"
rm root/var/lib/dpkg/status
printf 'FROM busybox\nRUN mkdir -p /lib/apk/db && mkfifo /lib/apk/db/installed\n' >Dockerfile.fifo
code 1 "and a FIFO" timeout 20 "$SHALE" build --network none --sbom -f Dockerfile.fifo .
has "which is not waited for" "lib/apk/db/installed of the image: no regular file"

# --- where it goes ---
ok "--push" build --provenance=mode=max --sbom=true -t "$reg/a/b:one" --push
is "the registry has an index" 2 "$(skopeo inspect --raw --tls-verify=false "docker://$reg/a/b:one" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["manifests"]))')"
ok "skopeo copies all of it" skopeo copy -q --all --src-tls-verify=false "docker://$reg/a/b:one" "oci:$T/copied:one"
is "with both statements" "images 1 spdx $named slsa $named" "$(walk copied)"
ok "skopeo takes the image" skopeo copy -q --src-tls-verify=false "docker://$reg/a/b:one" "dir:$T/one"
ok "podman pulls it" podman --root "$T/pod/root" --runroot "$T/pod/run" --storage-driver vfs pull -q --tls-verify=false "$reg/a/b:one"
ok "save" shale save --format oci-dir -o "$T/saved" "$reg/a/b:one"
is "is the index" "images 1 spdx $named slsa $named" "$(walk saved)"
SHALE_ROOT=$T/other
ok "another store pulls it" shale pull -q "$reg/a/b:one"
ok "and has the image" shale run --rm --pull never --network none "$reg/a/b:one" cat /file /word
is "for this machine" linux/amd64 "$(shale inspect --format '{{.Os}}/{{.Architecture}}' "$reg/a/b:one")"
SHALE_ROOT=$T/store
ok "each platform has its own" shale build --provenance=mode=min --platform linux/amd64,linux/arm64 -f Dockerfile.pkg -t two -o "type=oci,tar=false,dest=$T/two" .
is "in one index" "images 2 slsa pkg:docker/two@latest?platform=linux%2Famd64 slsa pkg:docker/two@latest?platform=linux%2Farm64" "$(walk two)"
ok "off again" build --provenance=false --sbom=false -t "$reg/a/b:one" -o "type=oci,tar=false,dest=$T/off"
is "the name is the image alone" "" "$(grep -rl image.index "$T/off/blobs")"
for bad in provenance=maybe attest=type=x sbom=generator=x provenance=mode=x provenance=version=v0.2; do
	code 1 "--$bad" build "--$bad"
done
code 1 "of files alone" build --provenance -o "$T/files"
has "there is nothing to attest" "attestations are of an image"
ok "verify" shale verify
no_leaks
done_testing
