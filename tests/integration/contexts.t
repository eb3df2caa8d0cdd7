# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Build contexts other than a directory: archives and Dockerfiles on standard input, repositories, web servers. What they bring along must
# stay inside; a killed build leaves nothing.
. "$(dirname "$0")/lib.sh"
umask 022
base
mkdir -p "$T/c/sub" "$T/web" "$T/canary" "$T/v" && cd "$T" || exit 1
echo safe >canary/file
echo one >c/a
echo deep >c/sub/b
ln -s a c/link
printf 'FROM busybox\nCOPY . /c/\n' >c/Dockerfile
printf 'FROM busybox\nCOPY sub/b /other\n' >c/sub/Other
printf 'FROM busybox\nRUN false\n' >c/sub/Fail

build() { timeout 60 "$SHALE" build --progress plain --network none "$@"; }
stdin() { f=$1; shift; build "$@" <"$f"; }
run() { shale run --rm --network none "$@"; }
tree() { run "$1" sh -c "cd $2 && find . -mindepth 1 | sort | tr '\n' ' '"; }
hits() { is "$1" "$2" "$(grep -c CACHED "$T/err")"; }
piped() { cat "$1" | build -; }

# standard input
tar -cf c.tar -C c .
for by in gzip bzip2 xz zstd; do $by <c.tar >c.$by; done
ok "a directory" build -t dir c
ok "the same by an archive on standard input" stdin c.tar -t tar -
hits "is found in the cache" 1
for by in gzip bzip2 xz zstd; do
	ok "by $by, through a pipe" piped c.$by
	hits "too ($by)" 1
done
ok "-f names the Dockerfile in it" stdin c.tar -f sub/Other -t other -
is "that one is built" deep "$(run other cat /other)"
code 1 "one that is not there" stdin c.tar -f sub/None -
has "is told" "sub/None: "
code 1 "nor is one outside" stdin c.tar -f ../c/Dockerfile2 -
printf 'FROM busybox\nRUN echo text >/text\n' >text
ok "a Dockerfile on standard input" stdin text -t text -
is "is built" text "$(run text cat /text)"
printf 'FROM busybox\nCOPY a /\n' >text
code 1 "its context" stdin text -
has "is empty" "a: not found in the build context"
code 1 "there is no other Dockerfile in it" stdin text -f Dockerfile -
ok "-f - with a directory" stdin text -f - -t minus c
is "has its files" one "$(run minus cat /a)"
code 1 "-f - where that is the context" stdin c.tar -f - -
has "is refused" "standard input is the build context"
code 1 "--twice reads it once" stdin c.tar --twice -
head -c 2000 /dev/urandom >junk
code 1 "what is neither" stdin junk -
has "is refused" "neither a Dockerfile nor a tar archive"
head -c 100 c.gzip >junk
code 1 "half an archive" stdin junk -
ok "--check" stdin c.tar --check -
has "looks" "no warnings found"
ok "--call targets" stdin text --call targets -
ok "--call outline" stdin c.tar --call outline -f sub/Other -

# ignore files
mkdir -p far
printf 'FROM busybox\nCOPY . /c/\n' >far/D
echo a >c/.dockerignore
printf 'sub\nlink\nDockerfile\n.dockerignore\n' >far/D.dockerignore
ok "-f outside the context" build -f far/D -t out c
is "its own ignore file comes first" "./a " "$(tree out /c)"
printf 'link\n*gnore\n*ocker*\n' >c/Dockerfile.dockerignore
ok "Dockerfile.dockerignore" build -t own c
is "comes before .dockerignore" "./a ./sub ./sub/Fail ./sub/Other ./sub/b " "$(tree own /c)"
ok "a Dockerfile from standard input" stdin far/D -f - -t own c
is "has none of its own" "" "$(run own ls /c/a 2>/dev/null || true)"
tar -cf ign.tar -C c .
ok "in an archive" stdin ign.tar -t own -
is "the same" "./a ./sub ./sub/Fail ./sub/Other ./sub/b " "$(tree own /c)"
rm c/.dockerignore c/Dockerfile.dockerignore

# a repository, served as plain files, and a web server that can be slow
g() { git -C "$T/c" -c user.name=t -c user.email=t@t -c commit.gpgsign=false "$@"; }
g init -q -b main
ln -s / c/out
g add -A
g reset -q out
g commit -qm one
g tag v1
g add -A
g commit -qm links
echo two >c/a
g commit -qam two
git clone -q --bare "$T/c" "$T/web/repo.git"
git -C "$T/web/repo.git" update-server-info
rm -rf c/.git c/out
echo one >c/a
cp c.gzip web/c.tgz
cp text web/text
cat >server.py <<'EOF2'
import base64, http.server, os, sys, time
root, ready = sys.argv[1:]
class H(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *a): super().__init__(*a, directory=root)
    def log_message(self, *a): pass
    def do_GET(self):
        if self.path.startswith("/slow"):
            open(ready + ".slow", "w").close()
            if not self.path.startswith("/slow.git"):
                self.send_response(200); self.send_header("Content-Length", "1000000"); self.end_headers()
                self.wfile.write(b"FROM x\n"); self.wfile.flush()
            time.sleep(20); return
        if self.path.startswith("/secret/"):
            ok = ["Basic " + base64.b64encode(p).decode() for p in (b"user:pass word", b"x-access-token:pass word")] + ["Bearer pass word"]
            if self.headers.get("Authorization") not in ok:
                self.send_response(401); self.send_header("WWW-Authenticate", "Basic realm=x"); self.end_headers(); return
            self.path = self.path[len("/secret"):]
        super().do_GET()
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
open(ready + ".tmp", "w").write(str(s.server_port))
os.rename(ready + ".tmp", ready)
s.serve_forever()
EOF2
python3 server.py web port &
server=$!
undo="kill $server"
for _ in $(seq 100); do [ ! -s port ] || break; sleep 0.1; done
host=127.0.0.1:$(cat port)
url=http://$host
repo=$url/repo.git

ok "a repository" build -t git "$repo#v1"
hits "has the content of the directory: cached" 1
ok "its newest commit" build -t git "$repo"
is "is HEAD" "two" "$(run git cat /c/a)"
is "without .git" "" "$(run git ls -d /c/.git 2>/dev/null || true)"
printf 'FROM busybox\nCOPY b /b\n' >text2
ok "a directory of it, the Dockerfile by standard input" stdin text2 -f - -t git "$repo?ref=main&subdir=sub"
is "is that directory" deep "$(run git cat /b)"
ok "BUILDKIT_CONTEXT_KEEP_GIT_DIR" build --build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=1 -t git "$repo"
ok "keeps .git" run git test -f /c/.git/HEAD
ok "--check of a repository" build --check "$repo"
code 1 "T24: a directory that is a symlink out of the repository" build "$repo#main:out/etc"
has "T24: is refused" "of the repository"
code 1 "T24: .. as well" build "$repo#main:../../../etc"
code 1 "a branch that is not there" build "$repo#nope"
has "is told" "no branch, tag or commit nope"
code 1 "a key of the query that nobody knows" build "$repo?what=1"

ok "an archive from a web server" build "$url/c.tgz"
hits "has the content of the directory: cached" 1
code 1 "a Dockerfile from a web server" build "$url/text"
has "has an empty context" "a: not found in the build context"
code 1 "what is not there" build "$url/none"
has "is told" "not found"

# T25: the password stands nowhere
secret="http://user:pass%20word@$host/secret"
ok "T25: a repository with a password" build -t secret --build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=1 "$secret/repo.git#main"
hasnt "T25: says none" pass
code 1 "T25: a failure" build "$secret/repo.git#nope"
hasnt "T25: says none" pass
code 1 "T25: another failure" build "$secret/none"
hasnt "T25: says none" pass
ok "T25: an archive" build "$secret/c.tgz"
printf 'pass word\n' >token
code 1 "T25: a repository without a password" build "$url/secret/repo.git#main"
ok "T25: with the secret GIT_AUTH_TOKEN" build --secret id=GIT_AUTH_TOKEN,src=token "$url/secret/repo.git#main"
hasnt "T25: says none" pass
ok "T25: that of the server before that of all" env HEADER="Bearer pass word" "$SHALE" build --network none \
	--secret "id=GIT_AUTH_HEADER.$host,env=HEADER" --secret id=GIT_AUTH_HEADER,src=server.py "$url/secret/repo.git#main"
code 1 "T25: that of another server" build --secret id=GIT_AUTH_TOKEN.example.org,src=token "$url/secret/repo.git#main"
printf 'FROM busybox\nADD %s /r\n' "$url/secret/repo.git#main" >AddSecret
mkdir addctx
ok "T25: ADD" shale build --no-cache --network none --secret id=GIT_AUTH_TOKEN,src=token -f AddSecret addctx
code 1 "T25: one of two lines" build --secret id=GIT_AUTH_HEADER,src=server.py "$url/secret/repo.git#main"
has "T25: is no header" "no header can hold it"
code 1 "T25: a step fails" build -f sub/Fail "$secret/repo.git"
ok "T25: the records" shale builds inspect @last
hasnt "T25: say none" pass
code 1 "T25: no credential is in the store" grep -rqa "pass%20word\|pass word\|dXNlcjpwYXNzIHdvcmQ\|eC1hY2Nlc3MtdG9rZW46cGFzcyB3b3Jk" "$SHALE_ROOT"

# named contexts
mkdir -p more/d more2
echo more >more/m
echo no >more/ignored
echo in >more/d/f
ln -s "$T/canary/file" more/escape
ln -s / more/root
echo ignored >more/.dockerignore
df() { printf '%b' "$1" >df.text; }
named() { stdin df.text -f - "$@" c; }
df 'FROM busybox\nCOPY --from=more . /m/\nCOPY a /\n'
ok "COPY --from a named directory" named --build-context more=more -t named
is "its ignore file counts" "./.dockerignore ./d ./d/f ./escape ./m ./root " "$(tree named /m)"
cp -a more/. more2
ok "another directory of the same content" named --build-context more=more2 -t named
hits "is cached" 2
echo changed >more/m
ok "a changed file" named --build-context more=more -t named --explain
has "is named" "m content"
ok "the last of a name counts" named --build-context more=/ --build-context more=more2 -t named
hits "the last is used" 2
df 'FROM busybox\nRUN --mount=type=bind,from=more,target=/m ls /m >/l; cat /m/m >/c\nRUN --mount=type=cache,from=more,source=d,target=/k cp -r /k /k2\nRUN --mount=type=bind,from=more,source=d,target=/w,rw echo x >/w/f && cat /w/f >/w2\n'
ok "RUN --mount from a named directory" named --build-context more=more2 -t named
is "has its files" "d escape m root more in x" "$(run named cat /l /c /k2/f /w2 | xargs)"
ok "again" named --build-context more=more2 -t named
hits "is cached" 3
is "the directory itself is as it was" in "$(cat more2/d/f)"
df 'FROM more\nCOPY a /a\nFROM busybox\nCOPY --from=0 / /all\n'
ok "FROM a named directory" named --build-context more=more2 -t named
is "is a layer of its files" "./.dockerignore ./a ./d ./d/f ./escape ./m ./root " "$(tree named /all)"
df 'FROM nowhere/no AS stage\nRUN false\nFROM busybox\nCOPY --from=stage m /m\n'
ok "a directory in the place of a stage" named --build-context stage=more2 -t named
is "is what --from means; the stage is not built" more "$(run named cat /m)"
ok "--check knows it" named --check --build-context stage=more2
df 'FROM nowhere/no AS stage\nRUN false\nFROM stage\nRUN cat /text >/t\n'
printf 'FROM busybox\nRUN echo text >/text\n' >text3
stdin text3 -t own2 - >/dev/null 2>&1
ok "an image in the place of a stage" named --build-context stage=docker-image://own2 -t named
is "is what it rests on" text "$(run named cat /t)"
df 'FROM docker.io/library/alpine:latest\nRUN cat /text >/t\nCOPY --from=alpine /text /u\n'
ok "an image in the place of an image, whatever way that is spelt" named --build-context alpine=docker-image://own2 -t named
is "is used for both" "text text" "$(run named cat /t /u | xargs)"
code 1 "another tag" named --build-context alpine:3=docker-image://own2
has "is another name" "nothing is pulled"
mkdir layout
shale save --format oci-dir -o layout own2 2>/dev/null || shale save --format oci-dir -o layout2 own2
[ -e layout/index.json ] || { rmdir layout; mv layout2 layout; }
digest=$(python3 -c 'import json; print(json.load(open("layout/index.json"))["manifests"][0]["digest"])')
for which in "" :latest "@$digest"; do
	ok "an OCI layout ($which)" named --build-context "alpine=oci-layout://$PWD/layout$which" -t named
	is "is used ($which)" text "$(run named cat /t)"
done
code 1 "a tag that it has not" named --build-context "alpine=oci-layout://$PWD/layout:none"
has "is told" "no image none in it"
code 1 "T19: a digest that is a path" named --build-context "alpine=oci-layout://$PWD/layout@sha256:../../x"
cp -a layout layout3
sed -i 's/text/tixt/;s/"os":"linux"/"os":"linuz"/' layout3/blobs/sha256/* 2>/dev/null
code 1 "a blob that is not what its digest says" named --build-context "alpine=oci-layout://$PWD/layout3"
df 'FROM busybox\nCOPY --from=more sub/b /b\n'
ok "a named repository" named --build-context "more=$repo#v1" -t named
is "has its files" deep "$(run named cat /b)"
ok "a named archive from a web server" named --build-context "more=$url/c.tgz" -t named
hits "has the same content: cached" 1
code 1 "a named text from a web server" named --build-context "more=$url/text"
has "is no archive" "is no archive"
df 'FROM busybox\nRUN true\n'
ok "what nothing asks for is not fetched" named --build-context "more=$url/none"
for bad in "more=$T/none" more= more context=c scratch=c more=- "more=oci-layout://$T/none" 'more=docker-image://X y' 'x y=c'; do
	code 1 "--build-context $bad" named --build-context "$bad"
	has "is refused" "--build-context ${bad%%=*}"
done
df 'FROM busybox\nCOPY --from=more sub/b /b\n'
code 1 "T25: a named repository with a password fails" named --build-context "more=http://user:pass%20word@$host/secret/repo.git#nope"
hasnt "T25: says none" pass
for src in escape root "root$T/canary" ../canary "../../..$T/canary"; do
	df "FROM busybox\\nCOPY --from=more $src /x/\\nRUN cat /x /x/* 2>/dev/null || true\\n"
	named --build-context more=more2 >>t28 2>&1 || true
	df "FROM busybox\\nRUN --mount=type=bind,rw,from=more,source=$src,target=/x cat /x /x/*; echo pwned >/x; echo pwned >/x/file; true\\n"
	named --build-context more=more2 >>t28 2>&1 || true
	df "FROM busybox\\nRUN --mount=type=cache,id=t28,from=more,source=$src,target=/x cat /x /x/*; echo pwned >/x/file; true\\n"
	named --build-context more=more2 >>t28 2>&1 || true
done
is "T28: nothing outside a named context is read" "" "$(grep '| safe' t28 || true)"

# T16, T17, T28: hostile archives
canary() { is "$1: the canary is untouched" "safe 644 1" "$(cat canary/file) $(stat -c %a canary/file) $(find canary -mindepth 1 | wc -l)"; }
printf 'FROM busybox\nCOPY . /c\nRUN --mount=type=bind,target=/m find /m /c >/list; cat /m/* /c/* >/all 2>&1 || true\n' >D
for kind in symlink-dir symlink-file hardlink dotdot absolute root-symlink root-file chmod-link device trusted long-name deep; do
	python3 "$top/tests/integration/evil.py" "$kind" "$T/canary" >evil.tar
	cp D Dockerfile
	tar -rf evil.tar Dockerfile 2>/dev/null || true
	stdin evil.tar -t evil - >evil.out 2>&1 && run evil cat /all >>evil.out 2>&1 || true
	is "T16: $kind: nothing is read" "" "$(grep -x 'safe' evil.out || true)"
done
canary T16
for kind in tree-gzip tree-zstd tree-pax-size; do
	python3 "$top/tests/integration/bombs.py" $kind >bomb
	code 1 "T17: $kind" stdin bomb -
done
entry() { python3 -c 'import io, sys, tarfile
t = tarfile.open(fileobj=sys.stdout.buffer, mode="w|")
i = tarfile.TarInfo("Dockerfile")
i.type, i.linkname, i.devmajor, i.devminor = sys.argv[1].encode(), sys.argv[2], 1, 5
i.size = int(sys.argv[3])
t.addfile(i, open("/dev/zero", "rb"))' "$@" >evil.tar; }
entry 2 "$T/canary/file" 0
code 1 "T28: a Dockerfile that is a symlink to the host" stdin evil.tar -
hasnt "T28: is not read" safe
entry 6 "" 0
code 1 "T28: a fifo" stdin evil.tar -
has "T28: is no Dockerfile" "no regular file"
entry 3 "" 0
code 1 "T28: a device" stdin evil.tar -
has "T28: is no Dockerfile" "no regular file"
entry 0 "" 3000000
code 1 "T28: a huge one" stdin evil.tar -
has "T28: is refused" "larger than"
mkdir -p bad && ln -s "$T/canary/file" bad/Dockerfile
code 1 "T28: in a directory, too" build bad
hasnt "T28: it is not read" safe
code 1 "T28: also by -f" build -f bad/Dockerfile bad
hasnt "T28: it is not read" safe

# T3: programs of the context's and the image's are not run
mkdir -p trap && printf '#!/bin/sh\necho pwned >>%s/canary/pwned\n' "$T" >trap/git
chmod 755 trap/git
for p in tar xz gzip bzip2 zstd unpigz sh; do cp trap/git trap/$p; done
printf 'FROM busybox\nCOPY git tar xz gzip bzip2 zstd unpigz /bin/\nADD c.xz /x/\n' >trap/Dockerfile
cp c.xz trap/
tar -cJf trap.tar -C trap .
ok "T3: traps in archive and image" stdin trap.tar -t trap -
(cd trap && PATH="$T/trap:.:$PATH" "$SHALE" build --network none "$repo" <../trap.tar >"$T/out" 2>&1) && pass "T3: a git first in PATH" || fail "T3"
(cd trap && PATH="$T/trap:.:$PATH" "$SHALE" build --network none - <../trap.tar >"$T/out" 2>&1) && pass "T3: others, too" || fail "T3"
canary T3

# ^C and kill -9 while it is fetched
mine() { find "$SHALE_ROOT/tmp" -mindepth 1 -maxdepth 1 -name '[0-9]*'; }
is "nothing is left in tmp" "" "$(mine)"
slow() { # slow CONTEXT: started in the background, waited for until it hangs
	rm -f port.slow
	"$SHALE" build --network none "$1" >"$T/slow" 2>&1 &
	pid=$!
	try "$1 hangs" test -e port.slow
}
nobody() { [ -z "$(grep -lsa "$url/[s]low" /proc/[0-9]*/cmdline)" ]; }
for what in "$url/slow" "$url/slow.git"; do
	slow "$what"
	kill -INT $pid
	rc=0
	wait $pid || rc=$?
	is "^C ends it" 130 $rc
	is "and leaves nothing" "" "$(mine)"
	slow "$what"
	kill -9 $pid
	wait $pid 2>/dev/null || true
	try "after kill -9 nobody fetches it any more" nobody
	ok "after kill -9" shale gc
	is "gc leaves nothing" "" "$(mine)"
done
mkfifo fifo
"$SHALE" build - <fifo >"$T/slow" 2>&1 &
pid=$!
exec 3>fifo
echo FROM >&3
sleep 0.3
kill -INT $pid
rc=0
wait $pid || rc=$?
exec 3>&-
is "^C ends it while standard input is read" 130 $rc

# a step that is killed with its build
printf 'FROM busybox\nRUN <<E\n#!/bin/sh\ntouch /v/up\nsleep 30\nE\n' >text
"$SHALE" build --network none --no-cache -v "$T/v:/v:rw" - <text >"$T/slow" 2>&1 &
pid=$!
try "a script runs" test -e v/up
kill -9 $pid
wait $pid 2>/dev/null || true
ok "after kill -9" shale gc
is "its script is swept" "" "$(mine)"
no_leaks
done_testing
