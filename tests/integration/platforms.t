# SPDX-License-Identifier: Apache-2.0
# Images for several platforms: the choice of one, an index that is kept whole and pushed again, and manifest lists.
. "$(dirname "$0")/lib.sh"
unset SHALE_PULL DOCKER_CONFIG REGISTRY_AUTH_FILE http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy
HOME=$T/home
export HOME
mkdir "$T/home"
undo='for p in $registries; do kill $p; done'
registries=
# serve NAME: its address is in $NAME
serve() {
	at=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %s}\n' "$T/$1" "$at" >"$T/$1.yml"
	docker-registry serve "$T/$1.yml" >"$T/$1.log" 2>&1 &
	registries="$registries $!"
	try "the registry $1 listens" python3 -c "import socket; socket.create_connection(('127.0.0.1', ${at#*:}))"
	eval "$1=$at"
}
serve reg
store() {
	SHALE_ROOT=$T/$1
	export SHALE_ROOT
}
arch_of() { shale inspect --format '{{.Os}}/{{.Architecture}}{{if .Variant}}/{{.Variant}}{{end}}' "$1"; }
digest_at() { skopeo inspect --raw --tls-verify=false "docker://$1" | sha256sum | sed 's/\([0-9a-f]*\).*/sha256:\1/'; }
base
mkdir "$T/c"
printf 'FROM busybox\nRUN echo one >/one\n' >"$T/c/Dockerfile"
ok "an image" shale build --network none -t "$reg/a/b:one" "$T/c"
ok "push" shale push "$reg/a/b:one"
ok "an index of it" python3 -B "$top/tests/integration/mkindex.py" "$reg" a/b one
index=$(cat "$T/out")

store one
ok "pull" shale pull "$reg/a/b:multi"
has "by the digest of the index" "Digest: $index"
is "is for this machine, not the attestation" linux/amd64 "$(arch_of "$reg/a/b:multi")"
for p in linux/arm64 arm64/v8 linux/arm/v7 linux/arm/v6 linux/s390x; do
	case $p in arm64/v8) want=linux/arm64/v8 platform=linux/arm64/v8 ;; linux/arm64) want=linux/arm64/v8 platform=$p ;; *) want=$p platform=$p ;; esac
	ok "--platform $platform" shale pull -q --platform "$platform" "$reg/a/b:multi"
	is "--platform $platform: is that" "$want" "$(arch_of "$reg/a/b:multi")"
done
ok "arm: the highest variant that fits" shale pull -q --platform linux/arm "$reg/a/b:multi"
is "arm: is v7" linux/arm/v7 "$(arch_of "$reg/a/b:multi")"
ok "arm/v8: an older one runs there" shale pull -q --platform linux/arm/v8 "$reg/a/b:multi"
is "arm/v8: is v7" linux/arm/v7 "$(arch_of "$reg/a/b:multi")"
code 1 "arm/v5: no newer one does" shale pull --platform linux/arm/v5 "$reg/a/b:multi"
has "and says which there are" "there are linux/s390x, linux/arm/v6, linux/arm/v7, linux/arm64/v8, linux/amd64"
hasnt "without the attestation" unknown
ok "push of one" shale push "$reg/a/b:multi"
is "is no index" 0 "$(skopeo inspect --raw --tls-verify=false "docker://$reg/a/b:multi" | grep -c manifests)"
ok "the index again" python3 -B "$top/tests/integration/mkindex.py" "$reg" a/b one

store all
ok "pull --all-platforms" shale pull --all-platforms "$reg/a/b:multi"
has "by the digest of the index" "Digest: $index"
is "to run there is the one for this machine" linux/amd64 "$(arch_of "$reg/a/b:multi")"
ok "it runs" shale run --rm --pull never --network none "$reg/a/b:multi" cat /one
ok "again" shale pull --all-platforms "$reg/a/b:multi"
has "is up to date" "Status: Image is up to date"
is "du knows each blob" 0 "$(shale du | awk '$1 == "Orphans" { print $2 }')"
ok "another name" shale tag "$reg/a/b:multi" "$reg/c/d:x"
ok "push there" shale push "$reg/c/d:x"
has "has the same index" "x: digest: $index"
is "the registry has it so" "$index" "$(digest_at "$reg/c/d:x")"
ok "with all that it names" skopeo copy -q --all --src-tls-verify=false "docker://$reg/c/d:x" "dir:$T/copy"
ok "push --platform" sh -c "$SHALE tag $reg/a/b:multi $reg/c/d:arm && $SHALE push --platform linux/arm64 $reg/c/d:arm"
is "is that image alone" arm64 "$(skopeo inspect --config --tls-verify=false --override-arch arm64 "docker://$reg/c/d:arm" | python3 -c 'import json, sys; print(json.load(sys.stdin)["architecture"])')"
code 1 "for one that it has not got" shale push --platform linux/riscv64 "$reg/c/d:arm"
# Of what is kept, looked at and saved without changing it
before=$(shale images -aq --no-trunc | sort)
is "image inspect --platform" "arm64 v8 2" "$(shale image inspect --platform linux/arm64 -f '{{.Architecture}} {{.Variant}} {{len .RootFS.Layers}}' "$reg/a/b:multi")"
is "has the name" "true" "$(shale image inspect --platform arm64 "$reg/a/b:multi" | grep -q "\"$reg/a/b:multi\"" && echo true)"
is "history --platform" 3 "$(shale history -q --platform linux/s390x "$reg/a/b:multi" | wc -l)"
is "of this machine" "$(shale history "$reg/a/b:multi")" "$(shale history --platform linux/amd64 "$reg/a/b:multi")"
is "arm/v6 is linux/arm/v6" v6 "$(shale image inspect --platform arm/v6 -f '{{.Variant}}' "$reg/a/b:multi")"
is "images --tree" "$reg/a/b:multi ├─linux/s390x ├─linux/arm/v6 ├─linux/arm/v7 ├─linux/arm64/v8 └─linux/amd64 " "$(shale images --tree --format '{{.Image}}' "$reg/a/b" | tr -d ' ' | tr '\n' ' ')"
is "tells which is unpacked" "linux/amd64" "$(shale images --tree --format '{{.Image}} {{.Size}}' "$reg/a/b" | grep B | grep -o 'linux.* ' | tr -d ' ')"
for verb in history "image inspect" save; do
	# shellcheck disable=SC2086
	code 1 "$verb --platform of what it has not got" shale $verb --platform linux/riscv64 "$reg/a/b:multi"
	has "names what there is" "there are linux/s390x"
done
ref() { tar -xOf "$1" index.json | python3 -c 'import json, sys; print(*[m["digest"] for m in json.load(sys.stdin)["manifests"]])'; }
want() { shale manifest inspect "$reg/a/b:multi" | python3 -c 'import json, sys; print(*[m["digest"] for m in json.load(sys.stdin)["manifests"] if m["platform"]["architecture"] == sys.argv[1]])' "$1"; }
for arch in s390x arm64 amd64; do
	ok "save --platform $arch" shale save --platform linux/$arch --format oci-archive -o "$T/$arch.tar" "$reg/a/b:multi"
	is "$arch: by its own manifest" "$(want $arch)" "$(ref "$T/$arch.tar")"
done
ok "as a docker-archive" shale save --platform linux/s390x -o "$T/docker.tar" "$reg/a/b:multi"
ok "compressed" shale save --platform linux/s390x --compression zstd -o "$T/zstd.tar" "$reg/a/b:multi"
ok "two images" shale save -m --platform linux/arm64 -o "$T/two.tar" "$reg/a/b:multi" "$reg/c/d:x"
is "the store has the images that it had" "$before" "$(shale images -aq --no-trunc | sort)"
ok "the index" shale save --format oci-archive -o "$T/index.tar" "$reg/a/b:multi"
store loaded
for a in s390x docker zstd; do
	ok "load of $a" shale load -i "$T/$a.tar"
	is "$a: is that" "linux/s390x" "$(arch_of "$reg/a/b:multi")"
done
ok "load" shale load -i "$T/index.tar"
is "takes this machine's" linux/amd64 "$(arch_of "$reg/a/b:multi")"
ok "load --platform" shale load --platform linux/arm64 -i "$T/index.tar"
is "is that" linux/arm64/v8 "$(arch_of "$reg/a/b:multi")"
code 1 "load --platform of what is not in it" shale load --platform linux/riscv64 -i "$T/index.tar"
has "names what there is" "there are linux/s390x"
code 1 "nor in a docker-archive" shale load --platform linux/amd64 -i "$T/two.tar"
has "names what there is" "there are linux/arm64/v8"
ok "load --platform of a docker-archive" shale load --platform arm64 -i "$T/two.tar"
code 2 "one or all" shale load --platform linux/arm64 --all-platforms -i "$T/index.tar"
store everything
ok "load --all-platforms" shale load --all-platforms -i "$T/index.tar"
ok "saved again" shale save --format oci-archive -o "$T/again.tar" "$reg/a/b:multi"
ok "is the same archive" cmp "$T/index.tar" "$T/again.tar"
ok "pushed" shale push "$reg/a/b:multi"
has "is the same index" "multi: digest: $index"
is "du knows each blob" 0 "$(shale du | awk '$1 == "Orphans" { print $2 }')"
python3 - "$T/index.tar" "$T/bad.tar" <<'PY'
import sys, tarfile
a, b = tarfile.open(sys.argv[1]), tarfile.open(sys.argv[2], "w")
names = [m for m in a.getmembers() if m.name.startswith("blobs/")]
gone = [m for m in names if b"in-toto" in a.extractfile(m).read(200)][0].name
for m in a.getmembers():
    if m.name != gone:
        b.addfile(m, a.extractfile(m))
PY
store incomplete
code 1 "an archive in which a blob is missing" shale load --all-platforms -i "$T/bad.tar"
has "is told" "all platforms"
store all
ok "another image by that name" shale pull -q "$reg/a/b:one"
ok "takes it over" shale tag "$reg/a/b:one" "$reg/c/d:arm"
ok "push" shale push "$reg/c/d:arm"
is "gives that image" "$(digest_at "$reg/a/b:one")" "$(digest_at "$reg/c/d:arm")"
ok "verify" shale verify
ok "rmi" shale rmi -f "$reg/a/b:multi" "$reg/c/d:x" "$reg/c/d:arm" "$reg/a/b:one"
ok "undo" shale undo "$reg/c/d:x"
ok "push" shale push "$reg/c/d:x"
has "is the index again" "x: digest: $index"
ok "rmi --now" shale rmi --now -f "$reg/c/d:x"
shale trash --empty >/dev/null 2>&1 || shale prune -a -f --now >/dev/null 2>&1 || true
is "takes all blobs along" "" "$(ls "$T/all/blobs/sha256")"
store two
ok "pull --all-platforms --progress json" shale pull --all-platforms --progress json "$reg/a/b:multi"
code 2 "not with --platform" shale pull --all-platforms --platform linux/arm64 "$reg/a/b:multi"
ok "an image without index" shale pull --all-platforms "$reg/a/b:one"
ok "is pushed as it was" shale push "$reg/a/b:one"

# Manifest lists: members that are here, in the registry, in another repository of it, and in another registry.
store store
serve there
printf 'FROM busybox\nRUN echo here >/here\n' >"$T/c/Dockerfile"
ok "an image that is here alone" shale build --network none -t "$reg/m/list:here" "$T/c"
arm=$(shale manifest inspect "$reg/a/b:multi" | python3 -c 'import json, sys; print([m["digest"] for m in json.load(sys.stdin)["manifests"] if m["platform"]["architecture"] == "arm64"][0])')
is "manifest inspect prints the index" 71 "${#arm}"
ok "manifest create" shale manifest create "$reg/m/list:1" "$reg/m/list:here" "$reg/a/b@$arm"
has "tells its name" "Created manifest list $reg/m/list:1"
code 1 "again" shale manifest create "$reg/m/list:1" "$reg/m/list:here"
has "wants --amend" "--amend"
shale tag "$reg/a/b:one" "$there/x/y:1" && shale push -q "$there/x/y:1" >/dev/null
shale rmi "$there/x/y:1" >/dev/null
ok "--amend, from another registry" shale manifest create --amend "$reg/m/list:1" "$there/x/y:1"
ok "annotate" shale manifest annotate --os linux --arch riscv64 --variant v9 --os-version 1.2 --os-features sse4 --os-features x "$reg/m/list:1" "$there/x/y:1"
code 1 "annotate what is not in it" shale manifest annotate --arch arm "$reg/m/list:1" "$reg/a/b:one"
ok "inspect" shale manifest inspect "$reg/m/list:1"
cp "$T/out" "$T/list"
is "has the platforms" "amd64 arm64/v8 riscv64/v9" "$(python3 -c 'import json, sys
p = [m["platform"] for m in json.load(open(sys.argv[1]))["manifests"]]
assert p[2]["os.version"] == "1.2" and p[2]["os.features"] == ["sse4", "x"], p
print(" ".join(q["architecture"] + ("/" + q["variant"] if "variant" in q else "") for q in p))' "$T/list")"
code 1 "a member that is an index" shale manifest create "$reg/m/list:2" "$reg/a/b:multi"
has "is told" "it is an index itself"
ok "manifest push" shale manifest push "$reg/m/list:1"
cp "$T/out" "$T/list"
is "tells each and the digest" "3 1" "$(grep -c '^Pushed ref ' "$T/list") $(grep -c '^sha256:' "$T/list")"
is "which the registry has" "$(grep '^sha256:' "$T/list")" "$(digest_at "$reg/m/list:1")"
ok "with all that it names" skopeo copy -q --all --src-tls-verify=false "docker://$reg/m/list:1" "dir:$T/copy2"
ok "again, and forgotten" shale manifest push --purge "$reg/m/list:1"
is "has the same digest" "$(grep '^sha256:' "$T/list")" "$(tail -n 1 "$T/out")"
code 1 "is gone here" shale manifest push "$reg/m/list:1"
ok "inspect -v asks the registry" shale manifest inspect -v "$reg/m/list:1"
cp "$T/out" "$T/list"
is "and has each member's manifest" 3 "$(grep -c '"OCIManifest"' "$T/list")"
ok "inspect of one image" shale manifest inspect "$reg/a/b:one"
is "is what skopeo sees" "" "$(skopeo inspect --raw --tls-verify=false "docker://$reg/a/b:one" | python3 -c 'import json, sys; a, b = json.load(sys.stdin), json.load(open(sys.argv[1])); print("" if a == b else (a, b))' "$T/out")"
ok "create, rm" sh -c "$SHALE manifest create l:1 $reg/a/b:one && $SHALE manifest rm l:1"
code 1 "rm what is not there" shale manifest rm l:1
store three
ok "pull from the list" shale pull -q "$reg/m/list:1"
ok "it runs" shale run --rm --pull never --network none "$reg/m/list:1" cat /here
ok "podman makes a list and pushes it" sh -c "
	p() { podman --root $T/pod/root --runroot $T/pod/run --storage-driver vfs \"\$@\"; }
	p manifest create --tls-verify=false l && p manifest add --tls-verify=false l docker://$reg/a/b:one && p manifest push --tls-verify=false --all l docker://$reg/p/l:1"
ok "which is pulled" shale pull "$reg/p/l:1"
store tools
ok "imagetools: a list under other names" shale buildx imagetools create -t "$there/t/copy:1" -t "$reg/t/copy:2" "$reg/a/b:multi"
is "tells its digest" "$index" "$(tail -n 1 "$T/out")"
is "is the very list" "$index $index" "$(digest_at "$there/t/copy:1") $(digest_at "$reg/t/copy:2")"
ok "with all that it names" skopeo copy -q --all --src-tls-verify=false "docker://$there/t/copy:1" "dir:$T/copy3"
is "nothing of it is here" "" "$(shale images -aq)$(find "$SHALE_ROOT/blobs" -type f)"
ok "of two sources one" shale buildx imagetools create -t "$there/t/both:1" "$reg/m/list:1" "$reg/a/b:multi"
ok "inspect" shale buildx imagetools inspect "$there/t/both:1"
has "has their platforms" "Platform:    linux/riscv64/v9"
cp "$T/out" "$T/list"
is "has all, each once" 8 "$(grep -c '^  Name: ' "$T/list")"
is "the attestation with its notes" 1 "$(shale buildx imagetools inspect --raw "$there/t/both:1" | grep -c '"vnd.docker.reference.type": *"attestation-manifest"')"
is "--format" "$(digest_at "$there/t/both:1")" "$(shale buildx imagetools inspect --format '{{.Manifest.Digest}}' "$there/t/both:1")"
ok "of one image" shale buildx imagetools create -t "$reg/t/one:1" "$reg/a/b:one"
ok "--append" shale buildx imagetools create --append -t "$reg/t/one:1" "$reg/a/b@$arm"
is "has both" "amd64 arm64" "$(shale manifest inspect "$reg/t/one:1" | python3 -c 'import json, sys; print(*[m["platform"]["architecture"] for m in json.load(sys.stdin)["manifests"]])')"
ok "--dry-run" shale buildx imagetools create --dry-run -t "$reg/t/dry:1" "$reg/a/b:one"
has "prints the list" '"manifests":['
code 1 "and sends nothing" shale buildx imagetools inspect "$reg/t/dry:1"
code 1 "without a name" shale buildx imagetools create "$reg/a/b:one"
code 1 "of what is not there" shale buildx imagetools create -t "$reg/t/no:1" "$reg/a/b:nosuch"
code 2 "another verb" shale buildx imagetools rm "$reg/a/b:one"
nested=$(skopeo inspect --raw --tls-verify=false "docker://$reg/a/b:multi" | wc -c)
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"%s","size":%s}]}' "$index" "$nested" |
	curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @- "http://$reg/v2/a/b/manifests/nested"
code 1 "of lists in a list" shale buildx imagetools create -t "$there/t/nested:1" "$reg/a/b:nested"
has "is told" "an index within an index"
store store
no_leaks
done_testing
