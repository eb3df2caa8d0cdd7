# SPDX-License-Identifier: Apache-2.0
# T2, T9, T20, T23, T30, T34 against build (attacks.t has T1 to T37, contexts.t, gitssh.t and mounts.t what comes with contexts, ssh and mounts):
# libraries of the image, places of mounts that are exchanged, images that lie, frontends, environments and secrets.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/canary" "$T/w" "$T/v" && cd "$T/w"
echo safe >"$T/canary/file"
canary() { is "$1: the canary is untouched" "safe 1" "$(cat "$T/canary/file") $(find "$T/canary" -mindepth 1 | wc -l)"; }
build() { timeout 100 "$SHALE" build --network none "$@" .; }
run() { shale run --rm --network none "$@"; }

# --- T2: a library that tells when it is loaded, by whom and where it can
printf '#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void loaded(void) { close(open("%s/pwned", O_CREAT | O_WRONLY, 0600)); close(open("/pwned", O_CREAT | O_WRONLY, 0600)); }\n' "$T/canary" >trap.c
gcc -shared -fPIC -o trap.so trap.c
LD_PRELOAD=$PWD/trap.so /bin/true
is "T2: the trap is one" "$T/canary/pwned /pwned" "$(echo $(ls "$T/canary/pwned") $(ls /pwned))"
rm "$T/canary/pwned" /pwned
tar -cJf a.tar.xz trap.c
{
	echo 'FROM busybox'
	for l in libnss_files.so.2 libnss_compat.so.2 libnss_systemd.so.2 libc.so.6 liblzma.so.5 libacl.so.1; do
		printf 'COPY trap.so /lib/x86_64-linux-gnu/%s\nCOPY trap.so /lib/%s\n' "$l" "$l"
	done
	echo 'RUN echo /lib/libnss_files.so.2 >/etc/ld.so.preload; echo "passwd: files systemd" >/etc/nsswitch.conf; echo "victim:x:77:78::/home/victim:/bin/sh" >>/etc/passwd; echo "extra:x:99:victim" >>/etc/group'
} >Dockerfile
ok "T2: an image of traps" build -t traps
cat >Dockerfile <<'E'
FROM traps AS t
ADD --chown=victim a.tar.xz /x/
COPY --chown=victim:extra trap.c /c
WORKDIR /home/victim/w
USER victim
RUN --mount=type=bind,target=/m --mount=type=tmpfs,target=/t id -u >/tmp/id; id -G >>/tmp/id
FROM traps
COPY --from=t --chown=victim / /all
E
ok "T2: a build upon it" build -t t2 --squash
is "T2: users and groups are those of its files" "77 78 99" "$(echo $(run t2 cat /all/tmp/id))"
is "T2: --chown by name" "77 77" "$(run t2 stat -c '%u %g' /all/c)"
ok "T2: -o local" build -o out --target t
is "T2: nothing was loaded" "" "$(run t2 ls /pwned /all/pwned 2>/dev/null || true)$(ls /pwned 2>/dev/null || true)"
canary T2

# --- T9: the places of mounts are exchanged for symlinks while a step is set up
swap() { echo "mkdir -p $1/d; rm -r $1/d; ln -s $T/canary $1/d; rm $1/d; ln -s ../../../../../../../../..$T/canary $1/d; rm $1/d"; }
mkdir vol
printf 'FROM busybox\nRUN --mount=type=cache,id=race9,target=/c touch /v/up; while [ ! -e /v/done ]; do %s; %s; done\n' "$(swap /c)" "$(swap /vol)" >Dockerfile
"$SHALE" build --network none --no-cache -v "$T/v:/v:rw" -v "$T/w/vol:/vol:rw" . >/dev/null 2>&1 &
racer=$!
undo='touch "$T/v/done"; wait $racer || true'
try "T9: a step that swaps" test -e "$T/v/up"
cat >Dockerfile <<'E'
FROM busybox
RUN --mount=type=cache,id=race9,target=/c --mount=type=tmpfs,target=/c/d/t --mount=type=secret,id=k,target=/c/d/s touch /c/d/t/pwned /c/d/pwned; true
RUN --mount=type=tmpfs,target=/vol/d/t --mount=type=bind,target=/vol/d/b,rw --mount=type=cache,id=o9,target=/vol/d/e touch /vol/d/t/pwned /vol/d/b/pwned; true
E
echo key >k
mounted=0
for i in $(seq 15); do
	build --no-cache --secret id=k,src=k -v "$T/w/vol:/vol:rw" >/dev/null 2>&1 && mounted=$((mounted + 1))
done || true
touch "$T/v/done"
wait $racer || true
undo=
is "T9: some were mounted" yes "$([ "$mounted" -gt 0 ] && echo yes)"
is "T9: nothing is mounted on the host" "" "$(grep "$T/canary" /proc/self/mountinfo || true)"
canary T9

# --- T20: images that lie about what they were made by
cat >lie.py <<'E'
import hashlib, io, json, os, sys, tarfile
d = sys.argv[1]
def blob(digest): return os.path.join(d, "blobs/sha256", digest.split(":")[1])
def put(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    open(blob(digest), "wb").write(data)
    return {"digest": digest, "size": len(data)}
index = json.load(open(d + "/index.json"))
manifest = json.load(open(blob(index["manifests"][0]["digest"])))
config = json.load(open(blob(manifest["config"]["digest"])))
out = io.BytesIO()
with tarfile.open(fileobj=out, mode="w") as t:
    i = tarfile.TarInfo("x")
    i.size = 5
    t.addfile(i, io.BytesIO(b"evil\n"))
layer = put(out.getvalue())
config["rootfs"]["diff_ids"][-1] = layer["digest"]
manifest["layers"][-1] = dict(layer, mediaType="application/vnd.oci.image.layer.v1.tar")
manifest["config"].update(put(json.dumps(config).encode()))
index["manifests"][0].update(put(json.dumps(manifest).encode()))
json.dump(index, open(d + "/index.json", "w"))
print(sum("echo good" in h.get("created_by", "") for h in config["history"]), "vnd.shale.cache.v1" in config)
E
printf 'FROM busybox\nRUN echo good >/x\n' >Dockerfile
ok "T20: an honest image" build -t honest --cache-to type=inline
shale save --format oci-dir -o lie honest 2>/dev/null
is "T20: one that claims to be made so, and brings records" "1 True" "$(python3 lie.py lie)"
shale save -o base.tar busybox 2>/dev/null
SHALE_ROOT=$T/store2
ok "T20: the base" shale load -i base.tar
tar -cf lie.tar -C lie .
ok "T20: the liar" shale load -i lie.tar
is "T20: is there" evil "$(run honest cat /x)"
ok "T20: the same Dockerfile" build -t built
has "T20: finds nothing" "cached 0 of 2"
is "T20: and is right" good "$(run built cat /x)"
SHALE_ROOT=$T/store

# --- T23: nothing in a Dockerfile gives rights, and nobody else reads it
printf 'FROM busybox\nENTRYPOINT ["/bin/false"]\nLABEL moby.buildkit.frontend.network.none=true moby.buildkit.frontend.caps=moby.buildkit.frontend.inputs\n' >Dockerfile
ok "T23: an image that is a frontend" build -t evil/frontend:1
printf '# syntax=evil/frontend:1\nFROM busybox\nRUN echo ours >/x\n' >Dockerfile
ok "T23: asked for by # syntax" build -t t23
has "T23: is not run" "other frontends are not run"
is "T23: the file is read here" ours "$(run t23 cat /x)"
printf 'FROM busybox\nRUN echo ours >/y\n' >Dockerfile
ok "T23: asked for by a build argument" build -t t23 --build-arg BUILDKIT_SYNTAX=evil/frontend:1
is "T23: is not run either" ours "$(run t23 cat /y)"
rm -f "$T/v/ran"
for how in --security=insecure '--security="insecure"' '--security=$S' '--security=insecure --network=host' --network=host --device=/dev/null \
	--allow=security.insecure --entitlement=security.insecure --cap-add=SYS_ADMIN; do
	printf 'FROM busybox\nARG S=insecure\nRUN %s touch /v/ran\n' "$how" >Dockerfile
	code 1 "T23: RUN $how" build -v "$T/v:/v:rw"
done
code 1 "T23: none of them ran" test -e "$T/v/ran"

# --- T30, T34: what a step sees of the caller and of others, and where a secret is
cat >Dockerfile <<'E'
FROM busybox AS a
ARG ARGA=of-stage-a
ENV ENVA=of-stage-a
RUN --mount=type=secret,id=k,env=TOK [ -n "$TOK" ] && env | sed '/^TOK=/d' >/e
FROM busybox AS b
RUN env >/e
FROM busybox
COPY --from=a /e /a
COPY --from=b /e /b
RUN --mount=type=secret,id=k touch /v/up2 && while [ ! -e /v/go ]; do sleep 0.1; done; env >/c; ls /run/secrets/k
RUN env >/d; ls /run/secrets 2>/dev/null || true
E
secret=s3cr3t-$$-$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
printf '%s' "$secret" >k
env CANARY=of-the-caller HTTP_PROXY=http://of-the-caller:1 SHALE_CANARY=of-the-caller "$SHALE" build --network none --no-cache -t t30 --secret "id=k,src=$T/w/k" -v "$T/v:/v:rw" \
	--provenance mode=max -o "type=oci,dest=$T/w/t30.tar" . >t30.out 2>&1 &
pid=$!
undo='touch "$T/v/go"; wait $pid || true'
try "T34: a step has a secret" test -e "$T/v/up2"
is "T34: it is in no argument" "" "$(grep -lsaF -f k /proc/[0-9]*/cmdline || true)"
is "T34: and in no environment" "" "$(grep -lsaF -f k /proc/[0-9]*/environ || true)"
touch "$T/v/go"
wait $pid && pass "T34: the build ends" || fail "T34: the build ends"
undo=
ok "T34: its record" shale builds inspect @last
hasnt "T34: has none" "$secret"
ok "T34: the image's history" shale history --no-trunc t30
hasnt "T34: has none either" "$secret"
is "T34: nor has what was printed, the image, or anything in the store" "" "$(grep -rlaF -f k t30.out t30.tar "$SHALE_ROOT" || true)"
ok "T30: what the steps saw" run t30 cat /a /b /c /d
has "T30: the first stage its own" ENVA=of-stage-a
hasnt "T30: nothing of the caller's" of-the-caller
is "T30: another stage, and the last, nothing of it" "" "$(run t30 grep -h -e of-stage-a -e TOK /b /c /d || true)"
canary end
no_leaks
done_testing
