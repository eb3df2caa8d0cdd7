# SPDX-License-Identifier: Apache-2.0
# RUN --mount: bind, cache, tmpfs, secret and ssh, and what of them reaches layers and keys.
. "$(dirname "$0")/lib.sh"
base
mkdir -p "$T/ctx/src/deep" && cd "$T/ctx"
echo one >src/a
echo two >src/deep/b
echo hidden >src/ignored
printf 'src/ignored\n' >.dockerignore
build() { shale build --network none "$@"; }
run() { shale run --rm --network none "$@"; }
cached() { sed -n 's/.*cached \([0-9]* of [0-9]*\).*/\1/p' "$T/err"; }

# --- bind
cat >Dockerfile <<'EOF'
FROM busybox AS other
RUN mkdir -p /o/d && echo built >/o/d/f && ln -s / /o/root && echo x >/unrelated
FROM busybox
ARG WHERE=/mnt/ctx
WORKDIR /w
RUN --mount=target=$WHERE --mount=type=bind,source=src/a,target=file \
    find /mnt/ctx | grep -v D2 | sort >/seen; cat file >>/seen; stat -c '%u:%g' /mnt/ctx/src/a >>/seen; ! touch /mnt/ctx/x
RUN --mount=type=bind,from=other,source=/o/d,target=/from cat /from/f >/got
RUN --mount=type=bind,from=other,source=/o/d,target=/from,rw echo new >/from/f && cat /from/f >/changed
RUN --mount=type=bind,source=src,target=/ctx,rw echo new >/ctx/a && rm /ctx/deep/b && ls /ctx >/changed2
RUN --mount=from=busybox,target=/img ls /img/bin/busybox >/img2
RUN --mount=from=other,source=/o/d,target=/from cat /from/f >/again
EOF
ok "binds of the context, a stage and an image" build -t b .
is "the context is seen without what is ignored, as root's" "/mnt/ctx
/mnt/ctx/.dockerignore
/mnt/ctx/Dockerfile
/mnt/ctx/src
/mnt/ctx/src/a
/mnt/ctx/src/deep
/mnt/ctx/src/deep/b
one
0:0" "$(run b cat /seen)"
is "the stage's file" built "$(run b cat /got)"
is "rw: writes are seen" new "$(run b cat /changed)"
is "and discarded" "built one" "$(run b cat /again) $(cat src/a)"
is "nor are removals the context's" "two a" "$(cat src/deep/b) $(run b cat /changed2 | head -n 1)"
is "no mount point is in the image" "" "$(run b sh -c 'ls -d /mnt /from /ctx /img /w/file 2>/dev/null || true')"
ok "again" build -t b .
is "all is found" "9 of 11" "$(cached)"
echo ignored too >src/ignored
ok "after a change of what is ignored" build -t b .
is "still all" "9 of 11" "$(cached)"
echo three >src/deep/b
ok "after a change beneath src" build -t b .
is "the binds of the context ran, and what rests on them" "3 of 11" "$(cached)"
sed -i 's/echo x/echo y/' Dockerfile
ok "a stage that differs elsewhere" build -t b .
sed -i 's/echo built/echo rebuilt/' Dockerfile
ok "a stage that differs there" build -t b .
is "is seen" rebuilt "$(run b cat /again)"
snapshots() {
	python3 -c 'import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM snapshots WHERE id NOT IN (SELECT snapshot FROM layers"
    " UNION SELECT snapshot FROM steps WHERE snapshot NOTNULL)").fetchone())' "$SHALE_ROOT/db.sqlite"
}
is "the copies that were mounted went with the builds" 0 "$(snapshots)"
printf 'FROM busybox AS other\nARG N\nRUN mkdir /o && echo same >/o/f && echo $N >/n\nFROM busybox\nRUN --mount=from=other,source=o,target=/from cat /from/f\n' >D2
ok "a part of a stage" build -f D2 --build-arg N=1 .
ok "when the rest of the stage differs" build -f D2 --build-arg N=2 .
is "is the same" "1 of 5" "$(cached)"
printf 'FROM busybox\nRUN --mount=source=missing,target=/x true\n' >D2
code 1 "a missing source" build -f D2 .
has "is named" "missing: not found in the build context"
printf 'FROM busybox AS never\nRUN false\nFROM busybox AS used\nRUN echo u >/u\nFROM busybox\nRUN --mount=from=used,target=/x cat /x/u\n' >D2
ok "a stage is built because it is mounted, others are not" build -f D2 .

# --- tmpfs
printf 'FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=64k df -k /t | tail -n 1 >/df; stat -c %%a /t >>/df; echo x >/t/x\n' >D2
ok "tmpfs" build -f D2 -t t .
is "of its size" "64 1777" "$(run t awk 'NR==1{s=$2} NR==2{print s, $1}' /df)"
code 1 "is no part of the image" run t ls /t

# --- cache
cat >D2 <<'EOF'
FROM busybox AS seed
RUN mkdir -p /s && echo seeded >/s/f && chown 5:6 /s && chmod 700 /s
FROM busybox
ARG N
RUN --mount=type=cache,target=/c echo $N >>/c/log && cat /c/log >/log
RUN --mount=type=cache,target=/elsewhere,id=/c cat /elsewhere/log >/log2
RUN --mount=type=cache,target=/p,id=own,mode=0750,uid=7,gid=8 stat -c '%a %u:%g' /p >/attr
RUN --mount=type=cache,target=/s,from=seed,source=/s cat /s/f >/seeded; stat -c '%a %u:%g' /s >>/seeded; echo $N >/s/f
RUN --mount=type=cache,target=/r,id=/c,ro cat /r/log && ! touch /r/x
RUN --mount=type=cache,target=/sub,id=/c,source=a/b echo sub >/sub/f
RUN --mount=type=cache,target=/one,id=own,sharing=locked --mount=type=cache,target=/two,id=own,sharing=locked echo x >/one/x && cat /two/x
EOF
ok "cache mounts" build -f D2 --build-arg N=1 -t c .
is "a seeded one begins as its seed" "seeded
700 5:6" "$(run c cat /seeded)"
ok "in another build" build -f D2 --build-arg N=2 -t c .
is "they keep what was written" "1
2" "$(run c cat /log)"
is "by id, wherever they are mounted" "1
2" "$(run c cat /log2)"
is "owner and mode" "750 7:8" "$(run c cat /attr)"
is "and the seeded one goes its own way" "1
700 5:6" "$(run c cat /seeded)"
is "none is in the image" "" "$(run c sh -c 'ls -d /c /elsewhere /p /s /r /sub /one 2>/dev/null || true')"
ok "the content is not in the key" build -f D2 --build-arg N=2 -t c .
is "all is found" "9 of 11" "$(cached)"
sed -i 's/id=own,mode/id=other,mode/' D2
ok "the id is" build -f D2 --build-arg N=2 -t c .
is "what rests on it ran" "4 of 11" "$(cached)"

# locked: one waits for the other; private: each has its own
printf 'FROM busybox\nARG N\nRUN --mount=type=cache,target=/l,id=lock,sharing=locked echo in >>/l/log; touch /v/$N; while [ ! -e /v/go ]; do sleep 0.1; done; echo out >>/l/log; cat /l/log >/log\n' >D3
mkdir "$T/v"
three() { shale build --network none -f D3 --build-arg N="$1" -v "$T/v:/v:rw" -t "l$1" . >"$T/l$1" 2>&1; }
three 1 &
first=$!
try "one has it" test -e "$T/v/1"
three 2 &
second=$!
try "another waits and says for whom" grep -q "waiting for the cache mount lock, in use by process [0-9]*: RUN" "$T/l2"
is "it did not begin" "" "$(ls "$T/v/2" 2>/dev/null || true)"
touch "$T/v/go"
ok "the first ends" wait $first
ok "then the second" wait $second
is "one after the other" "in out in out" "$(echo $(run l2 cat /log))"
sed -i 's/sharing=locked/sharing=private/; s/id=lock/id=priv/' D3
rm "$T/v"/*
three 1 &
first=$!
three 2 &
second=$!
both() { [ -e "$T/v/1" ] && [ -e "$T/v/2" ]; }
try "private: both run" both
touch "$T/v/go"
wait $first $second || true
is "each in its own" "in out in out" "$(echo $(run l1 cat /log) $(run l2 cat /log))"
rm "$T/v"/*
sed -i 's/sharing=private/sharing=locked/; s/id=priv/id=lock3/' D3
three 3 &
first=$!
try "one has it" test -e "$T/v/3"
code 130 "^C ends the wait" timeout --preserve-status -s INT 2 "$SHALE" build --network none -f D3 --build-arg N=4 -v "$T/v:/v:rw" .
touch "$T/v/go"
wait $first || true

# --- secret
secret=s3cr3t-$$-$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
printf '%s' "$secret" >"$T/secret"
cat >D4 <<'EOF'
FROM busybox
RUN --mount=type=secret,id=key stat -c '%a %u:%g %s' /run/secrets/key >/stat; grep -c s3cr3t /run/secrets/key >>/stat
RUN --mount=type=secret,id=key,target=/deep/er/key,mode=0444,uid=3,gid=4 stat -c '%a %u:%g' /deep/er/key >/stat2; ! echo x >/deep/er/key
RUN --mount=type=secret,id=key,env=TOKEN [ -n "$TOKEN" ] && ! ls /run/secrets
RUN env | grep TOKEN || echo none >/env
RUN --mount=type=secret,id=fromenv wc -c </run/secrets/fromenv >/len
RUN --mount=type=secret,id=absent ! ls /run/secrets/absent
EOF
ok "secrets" env MYVAR="$secret" "$SHALE" build --network none --secret "id=key,src=$T/secret" --secret id=fromenv,env=MYVAR -f D4 -t s .
is "a file for root alone" "400 0:0 ${#secret} 1" "$(echo $(run s cat /stat))"
is "or as it is asked for" "444 3:4" "$(run s cat /stat2)"
is "a variable is the one step's" none "$(run s cat /env)"
is "from the environment" "${#secret}" "$(run s cat /len)"
code 1 "no trace of it in the image" run s ls /deep
ok "another secret" build --secret "id=key,src=$T/ctx/src/a" -f D4 -t s .
is "does not matter to the key" "6 of 7" "$(cached)"
printf 'FROM busybox\nRUN --mount=type=secret,id=nope,required true\n' >D5
code 1 "one that is required and was not given" build -f D5 .
has "is named, and how to give it" "--secret id=nope"
printf 'FROM busybox\nRUN --mount=type=secret,id=key,env=TOKEN --mount=type=secret,id=key cat /run/secrets/key >/dev/null; false\n' >D5
code 1 "a step that fails" build --secret "id=key,src=$T/secret" -f D5 .
is "T34: the secret is nowhere in the store" "" "$(grep -rlaF "$secret" "$SHALE_ROOT" || true)"
is "T34: nor its base64" "" "$(grep -rlaF "$(printf '%s' "$secret" | base64 | cut -c1-20)" "$SHALE_ROOT" || true)"
code 1 "a secret that is not there" build --secret id=key,src=/nonexistent -f D4 .
has "is told before anything runs" "--secret id=key,src=/nonexistent"

# --- ssh
printf 'FROM busybox\nRUN --mount=type=ssh,required true\n' >D6
code 1 "ssh that is required and was not given" build -f D6 .
has "says how to give it" "--ssh default"
code 1 "a file that is no key" build --ssh "default=$T/secret" -f D6 .
has "is refused by name" "key $T/secret: "
# An agent that says what it is asked, so that the test needs no ssh.
cat >"$T/agent.py" <<'EOF'
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
os.chmod(sys.argv[1], 0o600)
def serve(c):
    while True:
        head = c.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            return
        body = c.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        with open(sys.argv[2], "a") as log:
            log.write("%d\n" % body[0])
        answer = b"\x0canswer"
        c.sendall(len(answer).to_bytes(4, "big") + answer)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
EOF
# The step's end of it: identities (11) and signatures (13) go through, the removal of all keys (19) does not.
cat >"$T/ask.py" <<'EOF'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
for kind in (11, 19, 13):
    s.sendall((1).to_bytes(4, "big") + bytes([kind]))
    n = int.from_bytes(s.recv(4, socket.MSG_WAITALL), "big")
    print(kind, s.recv(n, socket.MSG_WAITALL).hex())
EOF
python3 "$T/agent.py" "$T/agent" "$T/agent.log" &
agent=$!
undo="kill $agent"
try "an agent" test -S "$T/agent"
cat >D6 <<'EOF'
FROM busybox
RUN --mount=type=ssh,uid=65534 echo "$SSH_AUTH_SOCK" >/sock; stat -c '%a %u:%g %F' "$SSH_AUTH_SOCK" >>/sock
RUN --mount=type=ssh,id=default,target=/a/sock echo "$SSH_AUTH_SOCK" >/sock2
RUN echo "none$SSH_AUTH_SOCK" >/sock3
RUN --mount=type=ssh touch /v/up; while [ ! -e /v/down ]; do sleep 0.1; done
EOF
rm -f "$T/v"/*
SSH_AUTH_SOCK="$T/agent" build --ssh default -v "$T/v:/v:rw" -f D6 -t ssh . >"$T/d6" 2>&1 &
first=$!
try "a step with the socket" test -e "$T/v/up"
ok "asks" python3 "$T/ask.py" "$(find "$SHALE_ROOT/tmp" -type s)"
is "identities and signatures are answered, a removal is refused" "11 0c616e73776572
19 05
13 0c616e73776572" "$(cat "$T/out")"
is "the agent never saw it" "11
13" "$(cat "$T/agent.log")"
touch "$T/v/down"
ok "the build ends" wait $first
is "the socket is as it was asked for" "/run/buildkit/ssh_agent.0
600 65534:0 socket" "$(run ssh cat /sock)"
is "where it was asked for" /a/sock "$(run ssh cat /sock2)"
is "and only there" none "$(run ssh cat /sock3)"
code 1 "nothing of it is in the image" run ssh sh -c 'ls /a || ls /run/buildkit'
is "its socket is gone" "" "$(ls "$SHALE_ROOT/tmp" | grep ssh || true)"
kill $agent
undo=

# --- cache mounts as objects
ok "cache ls" shale cache ls
has "has them by id" " lock "
ok "of one" shale cache inspect --format '{{.ID}} {{.InUse}} {{.Path}}' own
has "all that is known" "own no $SHALE_ROOT/cache/"
is "du counts them" "$(shale cache ls -q | wc -l)" "$(shale du --format '{{.Type}}|{{.TotalCount}}' | sed -n 's/^Cache Mounts|//p')"
ok "export" shale cache export -o "$T/one.tar" /c
sleep 1.1
ok "twice" shale cache export -o "$T/two.tar" /c
ok "gives the same bytes" cmp "$T/one.tar" "$T/two.tar"
code 1 "import where one is" shale cache import /c "$T/one.tar"
has "says how to replace it" "--force"
ok "import" shale cache import imported "$T/one.tar"
ok "export of that" shale cache export -o "$T/two.tar" imported
ok "gives the same bytes again" cmp "$T/one.tar" "$T/two.tar"
printf 'FROM busybox\nRUN --mount=type=cache,target=/c,id=imported cat /c/log >/log\n' >D8
ok "a step that uses it" build -f D8 -t imp .
is "sees what the first ones wrote" "1
2" "$(run imp cat /log)"
head -c 700 "$T/one.tar" >"$T/cut.tar"
code 1 "import --force of a damaged archive" shale cache import --force imported "$T/cut.tar"
ok "changes nothing" shale cache export -o "$T/two.tar" imported
ok "at all" cmp "$T/one.tar" "$T/two.tar"
ok "import --force" sh -c "$SHALE cache export own | $SHALE cache import --force imported -"
is "replaces" x "$(shale cache export imported | tar -xOf - x)"
ok "and back" shale cache import -f imported "$T/one.tar"
for kind in dotdot symlink-file hardlink absolute root-symlink; do
	python3 "$top/tests/integration/evil.py" "$kind" "$T/v" >"$T/evil.tar"
	shale cache import "evil-$kind" "$T/evil.tar" >/dev/null 2>&1 || true
done
printf 'FROM busybox\nRUN --mount=type=cache,target=/u,id=used,sharing=locked touch /v/in; while [ ! -e /v/out ]; do sleep 0.1; done\n' >D8
rm -f "$T/v/up" "$T/v/down"
is "T16: evil archives stay inside" "" "$(ls "$T/v")"
build -f D8 -v "$T/v:/v:rw" . >"$T/d8" 2>&1 &
first=$!
try "a step that holds one" test -e "$T/v/in"
code 1 "which cannot be removed" shale cache rm used
has "while it is in use" "in use by process"
code 1 "nor exported" shale cache export -o "$T/used.tar" used
ok "rm" shale cache rm imported
code 1 "is gone" shale cache inspect imported
ok "builder prune --filter type=exec.cachemount --dry-run" shale builder prune --dry-run --filter type=exec.cachemount
has "lists" "Cache mounts:"
ok "until= keeps those used since" shale builder prune -f --filter type=exec.cachemount --filter until=1h
ok "one is still there" shale cache inspect own
ok "builder prune" shale builder prune -f --filter type=exec.cachemount
is "takes all that are not in use" used "$(shale cache ls --format '{{.ID}}')"
touch "$T/v/out"
ok "the step ends" wait $first
mkdir "$SHALE_ROOT/cache/0123456789abcdef0123456789abcdef"
ok "rm --all" shale cache rm --all
is "and what has no row goes with prune" 0 \
	"$(shale builder prune -f >/dev/null; find "$SHALE_ROOT/cache" -mindepth 1 -maxdepth 1 ! -name seccomp | wc -l)"

# --- rights and limits: only the command line gives them
mount='mkdir /x && mount -t tmpfs x /x'
printf 'FROM busybox\nRUN --security=insecure %s\n' "$mount" >D8
code 1 "--security=insecure without --allow" build -f D8 .
has "is refused before anything runs" "needs --allow security.insecure"
ok "with it the step may mount" build --allow security.insecure -f D8 .
printf 'FROM busybox\nRUN --security=sandbox %s\n' "$mount" >D8
code 1 "another may not" build --allow security.insecure -f D8 .
printf 'FROM busybox\nONBUILD RUN --security=insecure %s\n' "$mount" >D8
ok "a trigger that wants it" build -f D8 -t trigger .
printf 'FROM trigger\nRUN true\n' >D8
code 1 "does not get it" build -f D8 .
has "T23: nor from a base image" "needs --allow security.insecure"
printf 'FROM busybox\nRUN --network=host ls /sys/class/net\n' >D8
code 1 "--network none holds against the Dockerfile" build -f D8 .
ok "unless it is allowed" build --allow network.host -f D8 .
code 1 "an unknown right" build --allow network -f D8 .
has "is named" "--allow network: not network.host"
printf 'FROM busybox\nRUN --device=/dev/loop-control head -c0 </dev/loop-control\n' >D8
if [ -c /dev/loop-control ]; then
	code 1 "a device without --allow" build -f D8 .
	code 1 "with another's" build --allow device=/dev/fuse -f D8 .
	ok "with its own" build --no-cache --allow device=/dev/loop-control -f D8 .
	ok "with all" build --no-cache --allow device -f D8 .
else
	skip "no /dev/loop-control"
fi
printf 'FROM busybox\nRUN --device=/dev/nonexistent true\nRUN --device=name=/dev/nonexistent,required true\n' >D8
code 1 "a device that is required and is not there" build --allow device -f D8 .
has "is named; one that is not required may be missing" "D8:3:1: RUN: --device=/dev/nonexistent"

# --- a group of its own ---
group=shale-test-$$
printf 'FROM busybox\nRUN while [ ! -e /go/on ]; do sleep 0.05; done\n' >DG
mkdir "$T/go"
build --cgroup-parent "/$group/ci" -v "$T/go:/go" -f DG . >"$T/grp" 2>&1 &
step=$!
try "--cgroup-parent: the step's group is beneath it" sh -c "find /sys/fs/cgroup -path '*/$group/ci/build-*' -name cgroup.procs | xargs cat | grep ."
touch "$T/go/on"
ok "the step ends" wait $step
is "and its group with it" "" "$(find /sys/fs/cgroup -path "*/$group/ci/build-*")"
find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} +
code 1 "a parent that is none" build --cgroup-parent ../x -f DG .
has "is said" "want a group like /ci/jobs"

# --- devices by their CDI names
mkdir "$T/cdi1" "$T/cdi2" "$T/lib"
echo library >"$T/lib/so"
cat >"$T/cdi1/vendor.json" <<D
{"cdiVersion": "0.6.0", "kind": "vendor.example/gpu", "containerEdits": {"env": ["ALL=common"]}, "devices": [
 {"name": "0", "containerEdits": {"env": ["WHICH=zero"], "deviceNodes": [{"path": "/dev/vendor0", "hostPath": "/dev/zero"}],
  "mounts": [{"hostPath": "$T/lib", "containerPath": "/opt/lib", "options": ["ro", "nosuid", "rbind"]}]}},
 {"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/full"}]}},
 {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/true"}]}}]}
D
SHALE_CDI_DIRS=$T/cdi1:$T/cdi2
export SHALE_CDI_DIRS
printf 'FROM busybox\nRUN --device=vendor.example/gpu=0 head -c 3 /dev/vendor0 | od -An -tx1 >/got; echo $ALL $WHICH >>/got; cat /opt/lib/so >>/got; ! touch /opt/lib/x; false\n' >D8
code 1 "a CDI name without --allow" build -f D8 .
has "is told the right" "needs --allow device=vendor.example/gpu=0"
code 1 "with another's" build --allow device=vendor.example/net -f D8 .
code 1 "a step that fails" build --allow device=vendor.example/gpu -f D8 .
is "has left what it saw" " 00 00 00
common zero
library" "$(shale cp "failed-$(shale builds ls -q | head -n 1):/got" - | tar -xO)"
sed -i 's/; false//' D8
ok "one that does not, with its own right" build --allow device=vendor.example/gpu=0 -t cdi -f D8 .
is "nothing of the device is in the image" "" "$(run cdi sh -c 'ls -d /opt /dev/vendor0 2>/dev/null; env | grep -e ALL -e WHICH')"
ok "again" build --allow device -f D8 .
is "is found" "1 of 2" "$(cached)"
printf '{"cdiVersion": "0.6.0", "kind": "vendor.example/gpu", "devices": [{"name": "0", "containerEdits": {"env": ["WHICH=other"]}}]}' >"$T/cdi2/a.json"
printf 'FROM busybox\nRUN --device=vendor.example/gpu=0 test "$WHICH$ALL" = other\nRUN --device=vendor.example/gpu=9 true\n' >D8
ok "a later directory counts more, one that is not required may be missing" build --allow device -f D8 .
cp "$T/cdi2/a.json" "$T/cdi2/b.json"
code 1 "two files with one device" build --allow device --no-cache -f D8 .
has "are named" "a.json and b.json both have it"
rm "$T/cdi2/b.json" "$T/cdi2/a.json"
: >"$T/cdi2/c.yaml"
printf 'FROM busybox\nRUN --device=vendor.example/gpu=9,required true\n' >D8
code 1 "one that is required and is not there" build --allow device -f D8 .
has "is named" "--device=vendor.example/gpu=9: no such device"
has "and what was not read" "files in YAML are not read"
printf 'FROM busybox\nRUN --device=vendor.example/gpu=hooked true\n' >D8
code 1 "hooks" build --allow device -f D8 .
has "are refused by name" "hooks is not done"
printf 'FROM busybox\nRUN --device=vendor.example/gpu=* true\n' >D8
code 1 "all of a kind" build --allow device -f D8 .
has "are all of it" "hooks is not done"
is "a container has it by its name, too" " 00 00 00 common zero library" "$(run --device vendor.example/gpu=0 busybox sh -c 'head -c 3 /dev/vendor0 | od -An -tx1; echo $ALL $WHICH; cat /opt/lib/so; ! touch /opt/lib/x 2>/dev/null' | tr '\n' ' ' | sed 's/ $//')"
code 125 "and no hooks" run --device vendor.example/gpu=hooked busybox true
has "which are named" "--device vendor.example/gpu=hooked: containerEdits: hooks is not done"
code 125 "none that is not there" run --device vendor.example/gpu=7 busybox true
code 125 "--gpus without a file" run --gpus all busybox true
has "tells what makes it" "--gpus all: nvidia.com/gpu=all: no such device in $T/cdi1:$T/cdi2"
sed 's,vendor.example/gpu,nvidia.com/gpu,; s/"name": "1"/"name": "all"/; s/hooked/1/; s/"hooks".*true"}]/"env": ["SECOND=2"]/' "$T/cdi1/vendor.json" >"$T/cdi1/nvidia.json"
is "--gpus all" "crw-rw-rw-" "$(run --gpus all busybox ls -l /dev/full | cut -d' ' -f1)"
is "--gpus N" "zero 2" "$(run --gpus 2 busybox sh -c 'echo $WHICH $SECOND')"
is "--gpus device=" "2" "$(run --gpus '"device=1",capabilities=utility' busybox sh -c 'echo $WHICH$SECOND')"
shale create --name gp --gpus '"device=0,1"' busybox true >/dev/null
is "inspect" "cdi [nvidia.com/gpu=0 nvidia.com/gpu=1] /dev/zero /dev/vendor0 rwm" "$(shale inspect -f '{{with .HostConfig}}{{with index .DeviceRequests 0}}{{.Driver}} {{.DeviceIDs}}{{end}} {{with index .Devices 0}}{{.PathOnHost}} {{.PathInContainer}} {{.CgroupPermissions}}{{end}}{{end}}' gp)"
ok "rm" shale rm gp
for bad in x device= 'device=a b' options=x driver=amd; do
	code 125 "refused: --gpus $bad" run --gpus "$bad" busybox true
	has "by its name" "shale: --gpus $bad: "
done
unset SHALE_CDI_DIRS
cat >D9 <<'EOF'
FROM busybox
RUN df -k /dev/shm | tail -n 1 | awk '{print $2}' >/shm; ulimit -n >/n; grep CapBnd /proc/self/status >/caps; cat /etc/hosts >/names || true
EOF
ok "a step as it is" build -f D9 -t plain .
ok "limits" build --shm-size 1m --ulimit nofile=77:99 --cap-add NET_ADMIN --cap-drop CHOWN --add-host db:10.1.2.3 -f D9 -t lim .
is "make another step" "0 of 2" "$(cached)"
is "/dev/shm" 1024 "$(run lim cat /shm)"
is "nofile" 77 "$(run lim cat /n)"
is "a name" "10.1.2.3 db" "$(echo $(run lim grep db /names))"
is "and no file of it in the image" "$(run plain sh -c 'ls -l /etc/hosts 2>&1 | wc -l')" "$(run lim sh -c 'ls -l /etc/hosts 2>&1 | wc -l')"
bit() { run "$1" awk -v b="$2" '{ v = substr($2, 16 - int(b / 4), 1); print index("0123456789abcdef", v) - 1 }' /caps; }
is "NET_ADMIN (12) was added" "2 3" "$(echo $(bit plain 12) $(bit lim 12))"
ok "so few files that none is left for what shale would like to know" sh -c "printf 'FROM busybox\nRUN [\"true\"]\n' | '$SHALE' build --ulimit nofile=10 -"
code 1 "a bad one" build --ulimit nofile -f D9 .
code 1 "a bad host" build --add-host db -f D9 .
printf 'FROM busybox\nRUN head -c 64m /dev/zero | tail -c 64m >/dev/null\n' >D8
if build --memory 1g -f D8 . >/dev/null 2>&1; then
	code 1 "a memory limit" build --no-cache --memory 16m -f D8 .
	has "is named" "--memory"
else
	skip "no memory controller"
fi
printf 'FROM busybox\nARG A\nARG B\nRUN grep Cpus_allowed_list /proc/self/status >/on; echo "$A $B" >/args\n' >D8a
printf '# a comment\nA=file\nB=two\n' >args
ok "docker's and podman's words" build --compress --builder b --isolation default --disable-content-trust --format docker --cpuset-cpus 0 --build-arg-file args --build-arg A=one --build-arg A=last -t words -f D8a .
is "the last argument counts" "last two" "$(run words cat /args)"
is "a RUN has the CPUs that it was given" 0 "$(run words awk '{ print $2 }' /on)"
code 1 "an isolation that is not there" build --isolation hyperv -f D8a .
code 1 "a swap limit without one of memory" build --memory-swap 1g -f D8a .
has "is refused as run does" "--memory-swap needs --memory"
code 1 "--cpus 0" build --cpus 0 -f D8 .
has "is refused" "want a number of cores, 0.01 at least"
code 125 "run --cpus of words" shale run --rm --cpus 1,5 --network none busybox true
if [ -e /sys/fs/cgroup/cpu/cpu.cfs_quota_us ] || grep -qs cpu /sys/fs/cgroup/cgroup.controllers; then
	shale create --name capped --cpus 0.2 --network none busybox true >/dev/null
	is "--cpus of a container" 200000000 "$(shale inspect --format '{{.HostConfig.NanoCpus}}' capped)"
	shale rm capped >/dev/null
	limit=$(shale run --rm --cpus 0.2 --network none busybox sh -c 'cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; :')
	is "--cpus 0.2 is 20 ms of each 100" 20000 "${limit% 100000}"
	printf 'FROM busybox\nRUN cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null >/quota; :\n' >D9
	ok "--cpus of a build" build --cpus 1.5 -t quota -f D9 .
	is "is that of each RUN" 150000 "$(shale run --rm --network none quota cut -d' ' -f1 /quota)"
	ok "as a quota of a period" build --no-cache --cpu-period 50000 --cpu-quota 25000 -t quota -f D9 .
	is "is a share of 100 ms" 50000 "$(shale run --rm --network none quota cut -d' ' -f1 /quota)"
else
	skip "no cpu controller"
fi

no_leaks
done_testing
