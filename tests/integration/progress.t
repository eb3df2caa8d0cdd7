# SPDX-License-Identifier: Apache-2.0
# What pull and push show: a line an event, JSON, and on a terminal bars that are drawn over.
. "$(dirname "$0")/lib.sh"
unset SHALE_PULL http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy
HOME=$T/home
export HOME
mkdir "$T/home"
cat >"$T/screen.py" <<'EOP'
"""screen.py RAW COLUMNS COMMAND...: on a terminal of 24 rows; RAW is what it wrote, printed is what is on the screen then."""
import fcntl, os, pty, re, struct, sys, termios
columns = int(sys.argv[2])
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.execv(sys.argv[3], sys.argv[3:])
raw = b""
while True:
    try:
        b = os.read(fd, 65536)
    except OSError:
        break
    if not b:
        break
    raw += b
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
open(sys.argv[1], "wb").write(raw)
# As a terminal: up, to the line's end, to the screen's end.
lines, row, col = [""], 0, 0
# (Colours, and whether long lines are broken, are none of them.)
plain = re.sub(r"\x1b\[(\d*m|\?7[lh])", "", raw.decode())
for up, j, k, text in re.findall(r"\x1b\[(\d+)A|(\x1b\[J)|(\x1b\[K)|([^\x1b]+)", plain):
    if up:
        row -= int(up)
        assert row >= 0, "drawn above the screen"
    elif j:
        del lines[row + 1:]
        lines[row] = lines[row][:col]
    elif k:
        lines[row] = lines[row][:col]
    for c in text:
        if c == "\n":
            row, col = row + 1, col
            if row == len(lines):
                lines.append("")
        elif c == "\r":
            col = 0
        else:
            assert col < columns or "ing [" not in lines[row], "a bar that the terminal breaks: " + lines[row]
            lines[row] = lines[row][:col] + c + lines[row][col + 1:]
            col += 1
print("\n".join(lines))
sys.exit(code)
EOP
cat >"$T/serve.py" <<'EOP'
"""A registry in memory that sends 400 kB a second; the second blob breaks once."""
import os, sys, time
sys.path.insert(0, sys.argv[1])
from registry import Fault, Registry, drop
class Slow(Registry):
    slow = False
    def blob(self, h, q, repo, digest):
        if self.slow and h.command == "GET" and len(self.blobs.get(digest, b"")) > 100000:
            data = self.blobs[digest]
            h.send_response(200)
            h.send_header("Content-Length", str(len(data)))
            h.end_headers()
            for i in range(0, len(data), 40000):
                h.wfile.write(data[i:i + 40000])
                time.sleep(0.1)
            return
        super().blob(h, q, repo, digest)
r = Slow()
print(r.host, flush=True)
for line in sys.stdin:
    if line == "slow\n":
        r.slow = True
    if line == "fault\n":
        r.slow = False
        r.faults.append(Fault("GET", "/blobs/", drop(100)))
    print("ok", flush=True)
EOP
mkfifo "$T/in" "$T/said"
python3 -B "$T/serve.py" "$top/tests/integration" <"$T/in" >"$T/said" 2>"$T/serve.err" &
exec 8>"$T/in" 9<"$T/said"
read -r reg <&9
tell() { echo "$1" >&8 && read -r _ <&9; }
base
mkdir "$T/c" && cd "$T/c"
head -c 600000 /dev/urandom >random
printf 'FROM busybox\nCOPY random /random\nRUN echo 1 >/1\n' >Dockerfile
ok "an image" shale build --network none -t "$reg/a/b" .
ok "push" shale push "$reg/a/b"
is "plain: a line a layer" 3 "$(grep -cE '^[0-9a-f]{12}: Pushed$' "$T/out")"
is "and no control characters" 0 "$(grep -c "$(printf '\033')" "$T/out")"
ok "push as JSON" shale push --progress json "$reg/a/b"
cp "$T/out" "$T/json"
ok "each line is an object" python3 -c 'import json, sys
for line in open(sys.argv[1]): print(json.loads(line)["event"])' "$T/json"
is "of layers that are there, and the digest" "3 1" "$(grep -c exists "$T/json") $(grep -c '"event":"digest"' "$T/json")"

SHALE_ROOT=$T/second
ok "pull as JSON" shale pull --progress json "$reg/a/b"
cp "$T/out" "$T/json"
ok "each line is an object" python3 -c 'import json, sys
seen = {}
for line in open(sys.argv[1]):
    e = json.loads(line)
    seen.setdefault(e["event"], []).append(e)
assert len(seen["begin"]) == len(seen["done"]) == 3, seen
assert all(e["current"] == e["total"] > 0 for e in seen["done"]), seen
assert seen["image"][0]["id"].startswith("sha256:") and seen["name"]' "$T/json"

SHALE_ROOT=$T/third
tell slow
ok "pull on a terminal" python3 "$T/screen.py" "$T/raw" 100 "$SHALE" pull "$reg/a/b"
cp "$T/out" "$T/screen"
is "in the end a line a layer" 3 "$(grep -cE '^[0-9a-f]{12}: Pull complete' "$T/screen")"
is "and below them the digest" "1 1" "$(grep -c '^Digest: ' "$T/screen") $(grep -c '^Status: Downloaded' "$T/screen")"
tr '\r' '\n' <"$T/raw" | sed "s/$(printf '\033')[^A-Z]*[A-Z]//g" >"$T/frames"
ok "bars in between, with bytes" grep -qE '^[0-9a-f]{12}: Downloading \[=+> +\] [0-9.]+[kMG]?i?B/[0-9.]+[kM]' "$T/frames"
ok "a rate and the time left" grep -qE ' [0-9.]+kB/s [0-9]+s left$' "$T/frames"
SHALE_ROOT=$T/fourth
tell fault
ok "a connection that breaks, and a narrow terminal" python3 "$T/screen.py" "$T/raw" 30 "$SHALE" pull "$reg/a/b"
cp "$T/out" "$T/screen"
is "is told once" 1 "$(grep -c 'Retrying: ' "$T/screen")"
is "and the layers stand there once" 3 "$(grep -cE '^[0-9a-f]{12}: Pull complete' "$T/screen")"
SHALE_ROOT=$T/fifth
tell x
ok "plain on a terminal" python3 "$T/screen.py" "$T/raw" 100 "$SHALE" pull --progress plain "$reg/a/b"
is "draws nothing over" 0 "$(grep -c "$(printf '\033')" "$T/raw")"
ok "tty into a file" shale pull --progress tty "$reg/a/b"
code 2 "no such progress" shale pull --progress nosuch "$reg/a/b"
has "says which there are" "auto, tty, plain, quiet or json"
ok "all tags" sh -c "$SHALE tag $reg/a/b $reg/a/b:two && $SHALE push -q -a $reg/a/b"
SHALE_ROOT=$T/sixth
ok "pull -a" shale pull -a "$reg/a/b"
is "has both" "latest two" "$(shale images --format '{{.Tag}}' "$reg/a/b" | sort | xargs)"
code 1 "not with a tag" shale pull -a "$reg/a/b:two"
code 1 "a repository that is not there" shale pull -a "$reg/a/no"

# A build: the steps that run are drawn over, and go when they have ended.
SHALE_ROOT=$T/seventh
base
screen() { python3 "$T/screen.py" "$T/raw" 100 "$SHALE" "$@"; }
printf 'FROM busybox\nRUN for i in 1 2 3 4 5 6 7 8 9; do printf "line\\033[31m $i\\r\\tL$i \\302\\233A\\n"; sleep 0.1; done\nRUN printf "halfway"; sleep 0.3\n' >Dockerfile
ok "a build on a terminal" screen build --network none .
cp "$T/out" "$T/screen"
is "ends as two lines a step" "3 3" "$(grep -cE '^#[1-3] +[0-9.]+s \[[1-3]/3\] ' "$T/screen") $(grep -cE '^#[1-3] +[0-9.]+s (CACHED|[0-9.]+s) +[0-9a-f]{12}' "$T/screen")"
is "without what they wrote" 0 "$(grep -c '|' "$T/screen")"
tr '\r' '\n' <"$T/raw" >"$T/frames"
ok "which stood below them while they ran" grep -q '    | *L5 A' "$T/frames"
is "and is nothing that a terminal obeys" 0 "$(grep -cE "$(printf '\033')\[31m|$(printf '\302\233')" "$T/raw")"
is "at most the last six lines" 6 "$(awk '/\?7l/ { n = 0 } /    \| / { if (++n > m) m = n } END { print m }' "$T/frames")"
printf 'FROM busybox\nRUN seq 3; sleep 0.2; printf "and out"; exit 4\n' >Dockerfile
code 1 "one that fails" screen build --network none .
has "is told as ever" 'ended with exit code 4'
is "and leaves what it wrote" "1 2 3 and out" "$(sed -n 's/^#2 .*| //p' "$T/out" | xargs)"
printf 'FROM %s\nRUN echo 2 >/2\n' "$reg/a/b" >Dockerfile
SHALE_ROOT=$T/eighth
tell slow
ok "a base image that comes" screen build --network none .
tr '\r' '\n' <"$T/raw" >"$T/frames"
ok "has bars below its step" grep -qE '^    [0-9a-f]{12}: Downloading \[=+> +\] [0-9.]+[kMG]?i?B/[0-9.]+[kM]' "$T/frames"
SHALE_ROOT=$T/ninth
ok "and as JSON" shale build --progress json --network none .
is "its bytes" "yes" "$(grep -q '"event":"transfer".*"layer":"[0-9a-f]\{12\}","current":[1-9]' "$T/err" && echo yes)"
exec 8>&- 9<&-
SHALE_ROOT=$T/store

# Archives: progress aside, the result alone on standard output; unasked only on a terminal.
head -c 20000000 /dev/zero >"$T/home/zeros"
tar -C "$T/home" -cf "$T/root.tar" zeros
code 0 "import" shale import "$T/root.tar" zeros
is "says nothing but the ID" "" "$(cat "$T/err")"
ok "import, plain" shale import --progress plain "$T/root.tar" ones
is "a line when it is done" "import: Imported" "$(cat "$T/err")"
ok "save, plain" shale save --progress plain -o "$T/zeros.tar" zeros
is "a line a layer" 1 "$(grep -c '^[0-9a-f]\{12\}: Saved$' "$T/err")"
ok "save, JSON, to a pipe" sh -c '"$1" save --progress json zeros 2>"$2/json" | tar t >"$2/names"' - "$SHALE" "$T"
is "events beside the archive" "begin done" "$(python3 -c 'import json, sys
e = [json.loads(l) for l in open(sys.argv[1])]
assert all(x["total"] > 20000000 and x["current"] <= x["total"] for x in e)
print(e[0]["event"], e[-1]["event"])' "$T/json")"
ok "save, quiet" shale save -q --progress plain -o "$T/zeros.tar" zeros
is "says nothing" "" "$(cat "$T/err")"
ok "load, JSON" env SHALE_ROOT="$T/other" "$SHALE" load --progress json -i "$T/zeros.tar"
has "tells how much of a layer has come" '"event":"done"'
is "and on standard output what was loaded" "Loaded image: zeros:latest" "$(cat "$T/out")"
ok "load, plain, again" env SHALE_ROOT="$T/other" "$SHALE" load --progress plain -i "$T/zeros.tar"
has "says what is there" ": Already exists"
for verb in save load import; do
	code 2 "$verb refuses another kind" "$SHALE" "$verb" --progress other "$T/zeros.tar"
done
env SHALE_ROOT="$T/third" python3 "$T/screen.py" "$T/raw" 80 "$SHALE" load -i "$T/zeros.tar" >"$T/screen" || true
is "on a terminal load draws a bar" 1 "$(grep -c 'Loading \[' "$T/raw" | sed 's/[1-9][0-9]*/1/')"
is "and leaves a line a layer" 1 "$(grep -c ': Loaded$' "$T/screen")"
no_leaks
done_testing
