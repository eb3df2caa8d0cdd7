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
def until(mark, t=20):
    global out
    end = time.time() + t
    while mark not in out and time.time() < end:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                out += os.read(fd, 4096)
            except OSError:
                break
until(b" $ ")
say("id -u; pwd; echo $COLOUR; cat half; touch /v/no; echo whole >whole; echo DO''NE")
until(b"DONE")
say("exit")
until(b"never", 1)
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

printf '[gc]\nfailed-builds = 2\n' >"$T/conf"
printf 'FROM busybox\nARG N\nRUN exit $N\n' >Dockerfile
shale container prune -f >/dev/null
for i in 1 2 3 4; do build --build-arg N=$i >/dev/null 2>&1 || true; done
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
