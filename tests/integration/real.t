# SPDX-License-Identifier: Apache-2.0
# Real input: a Debian base, apt-get, a compiled program, Python and Node.js apps in the order of the classic layers tutorial.
# Needs the package registries (Debian's and npm's).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/debian.sh"
ok "a Debian base is imported" debian_base
mkdir "$T/c" && cd "$T/c"

cat >Dockerfile <<'EOF'
FROM debian:12 AS build
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      gcc libc6-dev make python3 nodejs npm \
    && rm -rf /var/lib/apt/lists/*
COPY hello.c .
RUN gcc -O2 -static -o /hello hello.c
FROM scratch
COPY --from=build /hello /hello
CMD ["/hello"]
EOF
printf '#include <stdio.h>\nint main(void)\n{\n\tputs("hello from C");\n}\n' >hello.c
ok "apt-get installs and gcc compiles in a stage" shale build -t hello .
is "the program runs FROM scratch" "hello from C" "$(shale run --rm hello)"
ok "the stage becomes the apps' base" shale build --target build -t tools .
is "the image FROM scratch has one layer" 1 "$(shale inspect --format '{{len .RootFS.Layers}}' hello)"

# (a) the tutorial's Python app
mkdir "$T/py" && cd "$T/py"
printf 'all:\n\techo "print(\\"made\\")" >made.py\n' >Makefile
printf 'import made\n' >app.py
printf 'FROM tools\nCOPY . /app\nRUN make -C /app\nCMD python3 /app/app.py\n' >Dockerfile
ok "the Python app builds" shale build -t pyapp .
is "and runs" made "$(shale run --rm pyapp)"
ok "history" shale history pyapp
has "shows the instructions" "COPY . /app"
hasnt "and no row is missing" "<missing>"

# (b) the tutorial's Node.js app
mkdir "$T/js" && cd "$T/js"
cat >package.json <<'EOF'
{ "name": "app", "version": "1.0.0", "scripts": { "start": "node server.js" }, "dependencies": { "is-number": "7.0.0" } }
EOF
cat >server.js <<'EOF'
const isNumber = require('is-number');
require('http').createServer((q, r) => r.end('is-number: ' + isNumber(5) + '\n')).listen(18081, '127.0.0.1');
EOF
cat >Dockerfile <<'EOF'
FROM tools
ARG REGISTRY
RUN mkdir -p /usr/src/app
WORKDIR /usr/src/app
COPY package.json /usr/src/app/
RUN NODE_EXTRA_CA_CERTS=/ca.crt npm install --registry "$REGISTRY" --cafile /ca.crt --no-audit --no-fund --no-update-notifier
COPY . /usr/src/app
EXPOSE 18081
CMD ["npm", "start"]
EOF
registry=$(npm config get registry 2>/dev/null)
jsbuild() { shale build --build-arg "REGISTRY=$registry" -v /etc/ssl/certs/ca-certificates.crt:/ca.crt -t jsapp "$@" .; }
ok "the Node.js app builds with a real dependency" jsbuild
old=$(shale images -q jsapp)
ok "it starts detached" shale run -d --name web jsapp
page() { [ "$(busybox wget -q -O - http://127.0.0.1:18081/)" = "is-number: true" ]; }
try "its page is fetched" page
ok "a file is written in the container" shale exec web sh -c 'echo kept >/usr/src/app/note'
ok "stop" shale stop -t 2 web
ok "start" shale start web
try "its page is there again" page
is "the file survived" kept "$(shale exec web cat /usr/src/app/note)"
ok "diff shows it" shale diff web
has "as added" "A /usr/src/app/note"
ok "rm" shale rm -f web
is "the file is gone with the container" "" "$(shale run --rm jsapp ls note 2>/dev/null || true)"
echo '// a comment' >>server.js
ok "one source file is edited" jsbuild
is "only the last COPY ran again" 1 "$(awk '/\] (COPY|RUN|WORKDIR)/ { s = $1 } $1 == s && !/CACHED|\]|\|/ { print }' "$T/err" | wc -l)"
ok "the old image is dangling" shale images -f dangling=true -q
has "and listed" "$old"
layers() { shale inspect --format '{{range .Layers}}{{.Dir}} {{end}}' "$1"; }
a=$(layers jsapp)
b=$(layers "$old")
is "both images share the base's layers on disk" "$(echo "$a" | cut -d' ' -f1-2)" "$(echo "$b" | cut -d' ' -f1-2)"
ok "image prune takes the dangling one" shale image prune -f
is "it is gone" "" "$(shale images -f dangling=true -q)"
no_leaks
done_testing
