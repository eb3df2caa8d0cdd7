# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ADD of URLs and of git repositories, from servers on the loopback interface.
. "$(dirname "$0")/lib.sh"
base
mkdir -p "$T/web/dir" "$T/ctx" && cd "$T/ctx" || exit 1
printf 'hello\n' >"$T/web/hello.txt"
touch -d '2001-02-03 04:05:06 UTC' "$T/web/hello.txt"
printf 'blank\n' >"$T/web/a b"
tar -cf "$T/web/x.tar" -C "$T/web" hello.txt
sum=$(sha256sum <"$T/web/hello.txt" | cut -d' ' -f1)

# a repository, served as plain files (the old protocol)
g() { git -C "$T/repo" -c user.name=t -c user.email=t@t -c commit.gpgsign=false "$@"; }
mkdir "$T/repo"
g init -q -b main
mkdir -p "$T/repo/docs/deep"
echo one >"$T/repo/docs/a"
echo run >"$T/repo/run.sh"
chmod 755 "$T/repo/run.sh"
ln -s docs/a "$T/repo/link"
ln -s / "$T/repo/out"
g add -A
g commit -qm one
g tag -a -m v1 v1
first=$(g rev-parse HEAD)
echo two >"$T/repo/docs/a"
g commit -qam two
g branch other
git clone -q --bare "$T/repo" "$T/web/repo.git"
git -C "$T/web/repo.git" update-server-info
# hooks and settings of the repository must not run
printf '#!/bin/sh\ntouch %s/pwned\n' "$T" >"$T/web/repo.git/hooks/post-checkout"
chmod 755 "$T/web/repo.git/hooks/post-checkout"

cat >"$T/server.py" <<'EOF2'
import base64, http.server, os, sys, threading
root, log, ready = sys.argv[1:]
class H(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *a): super().__init__(*a, directory=root)
    def log_message(self, *a): pass
    def do_GET(self):
        with open(log, "a") as f: f.write(self.path + " " + (self.headers.get("Authorization") or "-") + "\n")
        if self.path.startswith("/secret/"):
            if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"user:pass word").decode():
                self.send_response(401); self.send_header("WWW-Authenticate", "Basic realm=x"); self.end_headers(); return
            self.path = self.path[len("/secret"):]
        if self.path.startswith("/auth/") or self.path == "/echo":
            sent = self.headers.get("Authorization") or ""
            if self.path == "/echo" or sent not in ("Bearer sesame token", "Custom sesame-header"):
                said = b"denied: " + sent.encode()
                self.send_response(403); self.send_header("Content-Length", str(len(said))); self.end_headers(); self.wfile.write(said); return
            self.path = self.path[len("/auth"):]
        if self.path.startswith("/to/"):
            self.send_response(302); self.send_header("Location", {"near": "/auth/hello.txt", "far": f"http://127.0.0.2:{s.server_port}/hello.txt",
                "port": f"http://127.0.0.1:{other.server_port}/hello.txt"}[self.path[4:]]); self.end_headers(); return
        if self.path == "/etag":
            if self.headers.get("If-None-Match") == '"e1"':
                self.send_response(304); self.end_headers(); return
            self.send_response(200); self.send_header("ETag", '"e1"'); self.send_header("Content-Length", "4")
            self.end_headers(); self.wfile.write(b"etag"); return
        if self.path == "/elsewhere":
            self.send_response(302); self.send_header("Location", "/hello.txt"); self.end_headers(); return
        if self.path == "/file":
            self.send_response(302); self.send_header("Location", "file:///etc/passwd"); self.end_headers(); return
        super().do_GET()
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
far = http.server.ThreadingHTTPServer(("127.0.0.2", s.server_port), H)
for o in (other, far): threading.Thread(target=o.serve_forever, daemon=True).start()
open(ready + ".tmp", "w").write(str(s.server_port))
os.rename(ready + ".tmp", ready)
s.serve_forever()
EOF2
python3 "$T/server.py" "$T/web" "$T/log" "$T/port" &
server=$!
undo="kill $server"
for _ in $(seq 100); do [ ! -s "$T/port" ] || break; sleep 0.1; done
url=http://127.0.0.1:$(cat "$T/port")

build() { shale build --progress plain "$@"; }
run() { shale run --rm --network none "$@"; }
tree() { run "$1" sh -c "cd $2 && find . -mindepth 1 | sort | tr '\n' ' '"; }
of() { printf '%b' "$1" >"$T/Dockerfile" && build -f "$T/Dockerfile" -t t .; }

ok "ADD of URLs" of "FROM busybox\nADD $url/hello.txt $url/a%20b?q=1 /d/\nADD --chmod=640 --chown=1:2 $url/elsewhere /e\nADD $url/etag /etag\n"
is "their names come from the path" "./a b ./hello.txt " "$(tree t /d)"
is "mode, owner and time" "600 0:0 981173106" "$(run t stat -c '%a %u:%g %Y' /d/hello.txt)"
is "without Last-Modified the time is 0" "0" "$(run t stat -c %Y /etag)"
is "--chmod and --chown; redirects are followed" "640 1:2 hello" "$(run t stat -c '%a %u:%g' /e) $(run t cat /e)"
: >"$T/log"
ok "again" of "FROM busybox\nADD $url/hello.txt $url/a%20b?q=1 /d/\nADD --chmod=640 --chown=1:2 $url/elsewhere /e\nADD $url/etag /etag\n"
is "is cached" 3 "$(grep -c CACHED "$T/err")"
ok "what is known and not here" of "FROM busybox\nRUN true\nADD $url/etag /etag\n"
is "is fetched after all" etag "$(run t cat /etag)"
printf 'changed\n' >"$T/web/hello.txt"
ok "a changed file" of "FROM busybox\nADD $url/hello.txt $url/a%20b?q=1 /d/\n"
is "is seen" changed "$(run t cat /d/hello.txt)"
printf 'hello\n' >"$T/web/hello.txt"
ok "--checksum" of "FROM busybox\nADD --checksum=sha256:$sum $url/hello.txt /\n"
code 1 "another --checksum" of "FROM busybox\nADD --checksum=sha256:$(echo | sha256sum | cut -d' ' -f1) $url/hello.txt /\n"
has "is refused" "its content is sha256:$sum"
code 1 "--checksum of a file" of "FROM busybox\nADD --checksum=sha256:$sum x /\n"
has "makes no sense" "--checksum is for a URL"
ok "an archive" of "FROM busybox\nADD $url/x.tar /k/\nADD --unpack=true $url/x.tar /u/\n"
is "stays whole unless --unpack" "./x.tar ./hello.txt " "$(tree t /k)$(tree t /u)"
code 1 "what is not there" of "FROM busybox\nADD $url/none /\n"
has "is told" "$url/none: $url: not found"
code 1 "a redirect to a file" of "FROM busybox\nADD $url/file /\n"
has "is not followed" "which is not followed"
code 1 "COPY of a URL" of "FROM busybox\nCOPY $url/hello.txt /\n"
has "is refused" "COPY takes no URL"
secret=http://user:pass%20word@127.0.0.1:$(cat "$T/port")/secret
ok "a URL with a password" of "FROM busybox\nADD $secret/hello.txt /\n"
code 1 "and its failure" of "FROM busybox\nADD $secret/none /\n"
hasnt "names none" "pass"
code 1 "no credential is in the store" grep -rqa "pass%20word\|pass word\|dXNlcjpwYXNzIHdvcmQ" "$SHALE_ROOT"

# HTTP_AUTH_TOKEN_<host>, HTTP_AUTH_HEADER_<host>
printf '  sesame token\n' >"$T/token"
printf 'Custom sesame-header\n' >"$T/header"
printf 'two\nlines\n' >"$T/lines"
token="id=HTTP_AUTH_TOKEN_127.0.0.1,src=$T/token"
header="id=HTTP_AUTH_HEADER_127.0.0.1,src=$T/header"
auth() { from=$1 && shift && printf 'FROM busybox\nADD %s/%s /f\n' "$url" "$from" >"$T/Dockerfile" && build --no-cache -f "$T/Dockerfile" -t t "$@" .; }
sent() { awk -v p="$1" '$1 == p { $1 = ""; print }' "$T/log" | tail -n 1; }
code 1 "a server that wants to know who asks" auth auth/hello.txt
ok "T25: a token" auth auth/hello.txt --secret "$token"
is "T25: is sent as Bearer" " Bearer sesame token" "$(sent /auth/hello.txt)"
ok "T25: a header" auth auth/hello.txt --secret "$header"
is "T25: is sent as it is" " Custom sesame-header" "$(sent /auth/hello.txt)"
ok "T25: of both" env V="Custom wrong" "$SHALE" build --no-cache -f "$T/Dockerfile" --secret id=HTTP_AUTH_HEADER_127.0.0.1,env=V --secret "$token" .
is "T25: the token counts" " Bearer sesame token" "$(sent /auth/hello.txt)"
code 1 "T25: that of another host" auth auth/hello.txt --secret "id=HTTP_AUTH_TOKEN_127.0.0.2,src=$T/token"
is "T25: is not sent" " -" "$(sent /auth/hello.txt)"
ok "T25: a redirect to the same server" auth to/near --secret "$token"
is "T25: takes it along" " Bearer sesame token" "$(sent /auth/hello.txt)"
for to in far port; do
	ok "T25: a redirect to another server ($to)" auth to/$to --secret "$token" --secret "id=HTTP_AUTH_TOKEN_127.0.0.2,src=$T/token"
	is "T25: was asked with it ($to)" " Bearer sesame token" "$(sent /to/$to)"
	is "T25: that one is not told ($to)" " -" "$(sent /hello.txt)"
done
code 1 "T25: a server that says what it was told" auth echo --secret "$token"
hasnt "T25: is not repeated" sesame
code 1 "T25: two lines" auth auth/hello.txt --secret "id=HTTP_AUTH_HEADER_127.0.0.1,src=$T/lines"
has "T25: are no header" "no header can hold it"
printf 'FROM busybox\nCOPY hello.txt /f\n' >"$T/web/Dockerfile"
tar -cf "$T/web/ctx.tar" -C "$T/web" Dockerfile hello.txt
ok "T25: an archive as context" build -t t --secret "$token" --provenance true -o type=oci,dest="$T/oci.tar" "$url/auth/ctx.tar"
is "T25: has its files" hello "$(run t cat /f)"
ok "T25: the records" shale builds inspect @last
hasnt "T25: say nothing" sesame
code 1 "T25: nor does the image" grep -qa sesame "$T/oci.tar"
code 1 "T25: nor anything in the store" grep -rqa sesame "$SHALE_ROOT"

git=$url/repo.git
ok "ADD of a repository" of "FROM busybox\nADD $git#v1 /r/\nADD $git /h/\nADD --keep-git-dir=true --checksum=$first $git?tag=v1 /k/\nADD $git#other:docs /s/\n"
is "has its files" "./docs ./docs/a ./link ./out ./run.sh " "$(tree t /r)"
is "of that tag; of HEAD; of a subdirectory" "one two two" "$(run t cat /r/docs/a /h/docs/a /s/a | xargs)"
is "with their modes" "755 644 755 0:0" "$(run t stat -c %a /r/run.sh /r/docs/a /r/docs | xargs) $(run t stat -c %u:%g /r/docs/a)"
is "links are links" "docs/a /" "$(run t sh -c "readlink /r/link; readlink /r/out" | xargs)"
is "--keep-git-dir" "$first" "$(run t cat /k/.git/HEAD)"
code 1 "no hook ran" test -e "$T/pwned"
ok "again" of "FROM busybox\nADD $git#v1 /r/\nADD $git /h/\n"
is "is cached by commits" 2 "$(grep -c CACHED "$T/err")"
code 1 "another commit than --checksum says" of "FROM busybox\nADD --checksum=abcdef1 $git /r/\n"
has "is refused" "not abcdef1"
code 1 "a symlink as subdirectory that leaves the repository" of "FROM busybox\nADD $git#main:out/etc /r/\n"
has "is not followed" "directory /out/etc of the repository"
code 1 ".. as subdirectory" of "FROM busybox\nADD $git#main:../../etc /r/\n"
code 1 "a ref that is an option" of "FROM busybox\nADD $git#--upload-pack=x /r/\n"
has "is refused" "no name of a branch"
code 1 "a branch that is not there" of "FROM busybox\nADD $git#nope /r/\n"
has "is told" "no branch, tag or commit nope"
ok "a repository with a password" of "FROM busybox\nADD --keep-git-dir $secret/repo.git /r/\n"
code 1 "is not in the image" run t grep -rq "pass" /r/.git/config
code 1 "no credential is in the store" grep -rqa "pass%20word\|pass word\|dXNlcjpwYXNzIHdvcmQ" "$SHALE_ROOT"
# import of a URL
gzip -k "$T/web/x.tar"
ok "import of a URL" shale import "$url/x.tar.gz" far:1
ok "is an image" of "FROM busybox\nCOPY --from=far:1 /hello.txt /far\n"
is "with what is in it" hello "$(run t cat /far)"
ok "with a password, for another machine" shale import --platform linux/arm/v7 "$secret/x.tar" far:2
is "is for that" "arm v7" "$(shale image inspect -f '{{.Architecture}} {{.Variant}}' far:2)"
is "and tells from where, without the password" "Imported from $url/secret/x.tar" "$(shale history --no-trunc --format '{{.CreatedBy}}' far:2)"
ok "podman's flags" shale import -q --arch s390x --os linux "$T/web/x.tar" far:3
is "are the same" "s390x" "$(shale image inspect -f '{{.Architecture}}' far:3)"
code 1 "one that is not there" shale import "$url/none" far:4
has "is told" "$url/none: $url: not found"
code 1 "a redirect to a file" shale import "$url/file" far:4
has "is not followed" "which is not followed"
code 1 "what is no archive" shale import "$url/hello.txt" far:4
code 1 "a wrong password" shale import "$(echo "$secret" | sed 's/pass/false/')/x.tar" far:4
hasnt "is not shown" "user:false"
code 1 "a repository" shale import "$url/repo.git" far:4
code 1 "no credential of an import is in the store" grep -rqa "pass%20word\|pass word\|dXNlcjpwYXNzIHdvcmQ" "$SHALE_ROOT"
is "nothing is left in tmp" "" "$(find "$SHALE_ROOT/tmp" -mindepth 1 -maxdepth 1 -name '[0-9]*')"
# Unpacking what came is ended by a signal as that of a file is
truncate -s 300M "$T/zeros" && tar -C "$T" -czf "$T/web/zeros.tar.gz" zeros
snaps() { find "$SHALE_ROOT/snap" -mindepth 1 -maxdepth 1 | wc -l; }
had=$(snaps)
"$SHALE" import -q "$url/zeros.tar.gz" far:5 >/dev/null 2>&1 &
pid=$!
until [ "$(snaps)" -gt "$had" ] || ! kill -0 $pid 2>/dev/null; do :; done
kill -TERM $pid || true
code 143 "SIGTERM ends it" wait $pid
code 1 "and there is no image" shale inspect far:5
no_leaks
done_testing
