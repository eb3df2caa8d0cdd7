# SPDX-License-Identifier: Apache-2.0
# A RUN that failed is a place: entered, repaired, gone on from.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/ctx" "$T/v" && cd "$T/ctx"
build() { shale build --network none -v "$T/v:/v" "$@" .; }
cat >Dockerfile <<'D'
FROM busybox
RUN mkdir -p /etc /home/worker && echo worker:x:1234:1234::/home/worker:/bin/sh >>/etc/passwd && chown 1234 /home/worker
USER worker
WORKDIR /home/worker
ENV COLOUR=green
RUN echo half >half; test -e /home/worker/whole
RUN cat half whole >sum
D
code 1 "a RUN fails" build -t app
has "its log is named" "shale logs"
has "so is the way in" "shale start -ai failed-"
has "and the way on" "shale build --resume"
id=$(shale builds ls -q | head -n 1)
ct=failed-$id
is "the container is kept" created "$(shale ps -a --filter "name=$ct" --format '{{.State}}')"
has_line() { grep -qxF -- "$1" "$T/diff" && pass "$2" || fail "$2"; }
shale diff "$ct" >"$T/diff"
has_line "A /home/worker/half" "with what the step wrote"
is "and nothing that it did not" 1 "$(grep -vc '^C' "$T/diff")"
# On a terminal, as a person would.
cat >"$T/enter.py" <<'P'
import os, pty, sys, time, select
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
def say(text):
    os.write(fd, text.encode() + b"\n")
out = b""
def until(*marks, t=20):
    global out
    end = time.time() + t
    while not any(m in out for m in marks) and time.time() < end:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                out += os.read(fd, 4096)
            except OSError:
                break
until(b" $ ", b" # ")
say(os.environ.get("SAY", "id -u; pwd; echo $COLOUR; cat half; touch /v/no; echo whole >whole") + "; echo DO''NE")
until(b"DONE")
say("exit")
until(b"never", t=1)
_, status = os.waitpid(pid, 0)
sys.stdout.write(out.decode(errors="replace").replace("\r", ""))
P
ok "it is entered" timeout 60 python3 "$T/enter.py" "$SHALE" start -ai "$ct"
cp "$T/out" "$T/seen"
for want in 1234 /home/worker green half; do
	if grep -qx "$want" "$T/seen"; then pass "as the step saw it: $want"; else cp "$T/seen" "$T/out"; fail "as the step saw it: $want"; fi
done
if [ -e "$T/v/no" ]; then fail "read-only volumes stay so"; else pass "read-only volumes stay so"; fi
ok "the build goes on from there" build --resume -t app
has "which it says" "why: repaired by hand"
is "the repaired step is the result" "half whole" "$(shale run --rm --network none app cat sum | tr '\n' ' ' | sed 's/ $//')"
is "which its history tells" 1 "$(shale history --no-trunc --format '{{.Comment}}' app | grep -c 'repaired by hand')"
is "the container is the layer now" "" "$(shale ps -aq)"
ok "verify" shale verify
code 1 "the next build does not find it in the cache" build
shale rm -f "failed-$(shale builds ls -q | head -n 1)" >/dev/null
code 1 "nothing to resume" build --resume
has "is said" "nothing to resume"

code 1 "--on-error remove" build --on-error remove
is "keeps nothing" "" "$(shale ps -aq)"
hasnt "nor offers it" "start -ai"
code 2 "--on-error with another word" build --on-error perhaps
ok "--on-error shell" timeout 60 python3 "$T/enter.py" "$SHALE" build --network none -v "$T/v:/v" --on-error shell .
has "is a shell there" green
shale rm -f "failed-$(shale builds ls -q | head -n 1)" >/dev/null

# Something else stands beneath it now.
code 1 "another failure" build
sed -i 's/COLOUR=green/COLOUR=red/' Dockerfile
code 1 "of a step that is another one now" build --resume
sed -i 's/; test -e.*//; s/half whole/half/' Dockerfile
ok "nothing to go on from" build --resume
has "is said" "nothing was resumed"

# What RUN --mount gave it is there again.
shale container prune -f >/dev/null
mkdir -p "$T/mctx/dir" && cd "$T/mctx"
echo context >dir/a
echo keyword >"$T/secret"
cat >Dockerfile <<'D'
FROM busybox AS other
RUN mkdir /o && echo stage >/o/f
FROM busybox
RUN --mount=type=bind,source=dir,target=/ctx --mount=type=bind,from=other,source=/o,target=/from \
    --mount=type=bind,from=other,source=/o,target=/rw,rw --mount=type=cache,id=kept,target=/cache,sharing=locked,mode=0711 \
    --mount=type=tmpfs,target=/tmpfs,size=64k --mount=type=secret,id=word --mount=type=secret,id=none <<EOF
#!/bin/sh
echo kept >/cache/c; echo half >>/rw/f; echo lost >/tmpfs/x; test -e /whole && cat /cache/c /from/f /rw/f >/sum
EOF
D
mbuild() { shale build --network none --secret "id=word,src=$T/secret" --add-host here:192.0.2.7 --ulimit nofile=99:99 "$@" .; }
code 1 "a RUN with mounts fails" mbuild -t app
has "what cannot be there is named" "not there: what the tmpfs /tmpfs held, the secret word (it ended with the step)"
hasnt "what was not given is not" "the secret none"
ct=failed-$(shale builds ls -q | head -n 1)
is "an inspect shows them" "tree /ctx false,tree /from false,tree /rw true,cache /cache true,tmpfs /tmpfs true," \
	"$(shale inspect --format '{{range .Mounts}}{{if ne .Type "file"}}{{.Type}} {{.Destination}} {{.RW}},{{end}}{{end}}' "$ct")"
ok "gc leaves them" shale gc
has_all() {
	for want in "$@"; do
		if grep -qxF -- "$want" "$T/seen"; then pass "it has: $want"; else cp "$T/seen" "$T/out"; fail "it has: $want"; fi
	done
}
export SAY='cat /ctx/a /from/f /cache/c; tail -n 1 /rw/f; grep here /etc/hosts; ulimit -n; df -k /tmpfs | awk "NR==2{print \$2}"; ls /run/secrets;
touch /ctx/no /from/no; stat -c %a /cache; echo more >>/cache/c; tail -n +2 /dev/pipes/EOF >/script; head -n 1 /dev/pipes/EOF; test -x /dev/pipes/EOF && echo runs; echo >/whole'
ok "it is entered" timeout 60 python3 "$T/enter.py" "$SHALE" start -ai "$ct"
cp "$T/out" "$T/seen"
has_all context stage kept half "$(printf '192.0.2.7\there')" 99 64 711 '#!/bin/sh' runs "touch: /ctx/no: Read-only file system" \
	"touch: /from/no: Read-only file system"
hasnt "the secret is nowhere" keyword
ok "again, what it wrote is there still" env SAY='tail -n 1 /cache/c; cat /rw/f' timeout 60 python3 "$T/enter.py" "$SHALE" start -ai "$ct"
cp "$T/out" "$T/seen"
has_all more half
shale run -d --name holder --network none busybox sleep 60 >/dev/null
ok "the build goes on from there" mbuild --resume -t app
is "no mount point is in the image" "" "$(shale run --rm --network none app sh -c 'ls -d /ctx /from /rw /cache /tmpfs /run/secrets 2>/dev/null || true')"
shale rm -f holder >/dev/null
# One that nobody enters, and one that is removed.
code 1 "another one" mbuild --no-cache
is "two views and what was written" 3 "$(python3 -c 'import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM snapshots WHERE key GLOB \"container-*\"").fetchone())' "$SHALE_ROOT/db.sqlite")"
ok "du knows whose they are" shale du
shale rm -f "failed-$(shale builds ls -q | head -n 1)" >/dev/null
code 1 "--on-error remove" mbuild --no-cache --on-error remove
is "leaves none of them" 0 "$(python3 -c 'import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM snapshots WHERE kind<3").fetchone())' "$SHALE_ROOT/db.sqlite")"
ok "verify" shale verify
unset SAY
cd "$T/ctx"

printf '[gc]\nfailed-builds = 2\n' >"$T/conf"
printf 'FROM busybox\nARG N\nRUN exit $N\n' >Dockerfile
shale container prune -f >/dev/null
for i in 1 2 3 4; do build --build-arg N=$i >/dev/null 2>&1 || true; done
await_quiet # the last build's own gc has some of them
ok "gc" env SHALE_CONF="$T/conf" "$SHALE" gc
is "keeps as many as it is told" 2 "$(shale ps -aq | wc -l)"
ok "removing a record" shale builds rm @last
is "takes its container along" 1 "$(shale ps -aq | wc -l)"
# A call that seccomp refused is named.
mkdir -p "$T/denied"
printf 'FROM busybox\nRUN unshare -m true || umount /tmp || exit 7\n' >"$T/denied/Dockerfile"
code 1 "a RUN that may not do what it does" shale build --network none "$T/denied"
has "learns what it was" "refused by seccomp: unshare, umount2; RUN --security=insecure"
printf 'FROM busybox\nRUN cat /none\n' >"$T/denied/Dockerfile"
code 1 "one that fails for another reason" shale build --network none "$T/denied"
hasnt "does not" "seccomp"
no_leaks
done_testing
