# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2016
# Archives between stores of our own: export, import, save and load with each format and compression.
. "$(dirname "$0")/lib.sh"
base
# What a tree has: kinds, modes, owners, sizes, times, links, content.
tree() { (cd "$1" && find . -mindepth 1 | LC_ALL=C sort | while read -r f; do stat -c '%n %F %a %u:%g %h %t:%T %Y' "$f"; done; find . -type f | LC_ALL=C sort | xargs sha256sum); }

# export
ok "a container that has stopped" shale run --name cc --network none busybox sh -c \
	'mkdir -p /d/e && echo text >/d/f && ln /d/f /d/e/hard && ln -s f /d/soft && mkfifo /d/fifo && chown 7:8 /d/f && chmod 4755 /d/f && rm -r /home'
ok "export to a file" shale export -o "$T/c.tar" cc
mkdir "$T/x" && tar -C "$T/x" --numeric-owner -xpf "$T/c.tar"
is "has what it made" "text 7:8 4755 2" "$(cat "$T/x/d/f") $(stat -c '%u:%g %a %h' "$T/x/d/f")"
is "with links and the fifo" "f fifo" "$(readlink "$T/x/d/soft") $(stat -c %F "$T/x/d/fifo")"
is "not what it removed" "" "$(ls -d "$T/x/home" 2>/dev/null)"
ok "nothing is hidden by whiteouts" sh -c "! tar -tf $T/c.tar | grep '\.wh\.'"
ok "to a pipe" sh -c "$SHALE container export cc | cmp - $T/c.tar"
ok "a running one" shale run -d --name rr --network none -v "$T/x:/vol" busybox sh -c 'echo now >/new; sleep 100'
try "has written" shale exec rr test -s /new
ok "is exported" shale export -o "$T/r.tar" rr
is "with what it wrote" now "$(tar -xOf "$T/r.tar" new)"
is "without what is mounted" "" "$(tar -tf "$T/r.tar" | grep -E '^(vol|proc|sys|dev)/.' || true)"
shale rm -f rr >/dev/null
code 1 "one that is not there" shale export -o "$T/none.tar" nosuch
ok "makes no file" test ! -e "$T/none.tar"
ok "import of it" shale import -c 'CMD ["cat","/d/e/hard"]' "$T/c.tar" again
is "runs" text "$(shale run --rm --network none again)"
shale create --name dd again >/dev/null
shale export dd >"$T/d.tar"
is "and is exported with the same tree" "" "$(mkdir "$T/y" && tar -C "$T/y" --numeric-owner -xpf "$T/d.tar" && tree "$T/x" >"$T/1" && tree "$T/y" | diff "$T/1" - | head)"
shale rm cc dd >/dev/null
no_leaks
done_testing
