# SPDX-License-Identifier: Apache-2.0
# build --userns private: users of a range of their own, and layers that look as if it were not so.
. "$(dirname "$0")/lib.sh"
base
mkdir "$T/c" "$T/v" && cd "$T/c"
echo context >f
echo root only >"$T/v/secret" && chmod 600 "$T/v/secret"
mkdir -m 777 "$T/v/open"
if ! echo 'FROM busybox
RUN true' | shale build --network none --userns private - >"$T/out" 2>"$T/err"; then
	if grep -q "owners by a user namespace" "$T/err"; then
		skip "this file system cannot show owners by a user namespace"
		done_testing
		exit
	fi
fi
cat >Dockerfile <<'D'
FROM busybox AS other
RUN mkdir /o && echo stage >/o/f && chown 12:34 /o/f
FROM busybox
RUN mkdir -p /etc && echo w:x:1234:1234::/home/w:/bin/sh >>/etc/passwd; mkdir -p /home/w/sub/x && touch /home/w/a /gone && chown -R 1234:1234 /home/w
COPY --chown=7:8 f /f
RUN --mount=type=cache,target=/cache,uid=5 --mount=type=tmpfs,target=/t --mount=from=other,source=/o,target=/from \
    --mount=source=.,target=/ctx,rw --mount=type=secret,id=word,uid=6 \
    cat /proc/self/uid_map | tr -s ' '; for i in / /f /home/w/a /cache /t /from/f /ctx/f /run/secrets/word /dev; do stat -c '%n %u:%g' $i; done; \
    touch /dev/x /cache/y /t/z /ctx/new; chown 9 /cache/y; chmod 4711 /home/w/a; chown 77 /home/w/a; mv /home/w/sub /home/w/moved; rm /gone; \
    echo x >/new; chown 5:6 /new; mkdir /dir; echo out >/dev/stdout; cat /v/secret; rm -f /v/secret; touch /v/open/file; true
USER w
WORKDIR /home/w/deep/er
RUN id -u; touch /home/w/b; ! touch /x
D
build() { shale build --network none --userns private --secret "id=word,src=$T/v/secret" -v "$T/v:/v:rw" "$@" .; }
ok "a build" build -t u
for want in " 0 1879048192 268304384" "/ 0:0" "/f 7:8" "/home/w/a 1234:1234" "/cache 5:0" "/t 0:0" "/from/f 12:34" "/ctx/f 0:0" "/run/secrets/word 6:0" \
	"/dev 0:0" out "cat: can't open '/v/secret': Permission denied" 1234; do
	has "its steps see: $want" "| $want"
done
is "the host's files are safe from their root" "root only" "$(cat "$T/v/secret")"
is "whose own are the range's" 1879048192 "$(stat -c %u "$T/v/open/file")"
is "the image has plain owners" "/ 0:0 755
/new 5:6 644
/home/w/a 77:1234 711
/home/w/b 1234:1234 644
/home/w/moved/x 1234:1234 755
/home/w/deep/er 1234:1234 755
/dir 0:0 755" "$(shale run --rm --network none u sh -c 'cd /; stat -c "%n %u:%g %a" / /new /home/w/a /home/w/b /home/w/moved/x /home/w/deep/er /dir')"
code 1 "what was removed is gone" shale run --rm --network none u ls /gone
is "and so has the store" "" "$(find "$SHALE_ROOT" -uid +65535 -o -gid +65535)"
ok "again" build -t u
has "all is found" "cached 7 of 9"
ok "with the host's users" shale build --network none --secret "id=word,src=$T/v/secret" -v "$T/v:/v:rw" --build-arg x= -t h .
hasnt "the steps run" "cached 7 of 9"
echo root only >"$T/v/secret"
ok "--squash" build --squash -t s
printf 'FROM busybox\nUSER 300000000\nRUN true\n' >D2
code 1 "a user beyond the range" shale build --network none --userns private -f D2 .
printf 'FROM busybox\nRUN --security=insecure true\n' >D2
code 1 "all rights" shale build --network none --userns private --allow security.insecure -f D2 .
has "are none here" "no use for --userns private"
code 1 "another word" shale build --userns never .
has "is refused" "--userns never: want host or private"
printf 'FROM busybox\nRUN mkdir /r && touch /r/x && false\n' >D2
code 1 "a step that fails" shale build --network none --userns private -f D2 .
is "is kept as it looks" "A /r A /r/x" "$(shale diff "failed-$(shale builds ls -q | head -n 1)" | grep '^A' | tr '\n' ' ' | sed 's/ $//')"
ok "verify" shale verify
no_leaks
done_testing
