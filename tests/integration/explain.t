# SPDX-License-Identifier: Apache-2.0
# build --explain: of each step that ran, what differs from the record of an earlier build.
. "$(dirname "$0")/lib.sh"
base
mkdir -p "$T/ctx/src" && cd "$T/ctx"
for i in a b c d e f g h; do echo "$i" >"src/$i"; done
cat >Dockerfile <<'EOD'
FROM busybox
ARG V=1
ENV E=1
WORKDIR /w
COPY src /src/
RUN cat /src/a >/all
RUN --network=none true
USER 1000
RUN true
EOD
build() {
	rc=0
	shale build --explain "$@" 2>"$T/log" || rc=$?
	cat "$T/log" >&2
	return "$rc"
}
why() { sed -n "s/^#$1 .* why: //p" "$T/log"; }
whys() { grep -c " why: ${1:-}" "$T/log" || true; }

ok "first build" build -t t .
is "nothing is known yet" "8 8" "$(whys) $(whys 'no record yet')"
ok "again" build .
is "a hit needs no reason" 0 "$(whys)"
echo more >>src/a
chmod 755 src/b
ok "a content and a mode" build .
is "the files are named" "src/a content, src/b mode 644->755" "$(why 5)"
is "and what rests on them" "the step before it ran anew" "$(why 6)"
is "as far as it goes" "the step before it ran anew" "$(why 7)"
is "no more" 5 "$(whys)"
rm src/c
ln -s d src/new
ok "one less, one more" build .
is "are named" "src/c removed, src/new added" "$(why 5)"
ln -sfn e src/new
ok "a symlink" build .
is "has a target" "src/new target" "$(why 5)"
for i in b d e f g h; do echo x >>"src/$i"; done
touch "$(printf 'src/\033[31mred')"
ok "many" build .
is "are counted" "src/b content, src/d content, src/e content, src/f content and 2 more" \
	"$(why 5 | sed 's/^src.[^,]*red added, //')"
is "a name says nothing to the terminal" 0 "$(grep -c "$(printf '\033')" "$T/log" || true)"
rm src/?*red
ok "settle" build .
ok "a build arg" build --build-arg V=2 .
is "ARG: its text" "instruction ARG V=1 -> ARG V=2" "$(why 2)"
is "ENV rests on it" "the step before it ran anew" "$(why 3)"
is "RUN sees it" "build arg V changed" "$(why 6)"
sed -i 's/^ENV E=1/ENV E=2 PW=secret/' Dockerfile
ok "env" build .
is "RUN names it, without the value" "env E changed, env PW added" "$(why 6)"
sed -i 's/^ENV .*/ENV E=1/; s/^USER 1000/USER 1001/; s/network=none true/network=none false || true/' Dockerfile
ok "user and text" build .
is "the old text and the new" "instruction RUN /bin/sh -c true -> RUN /bin/sh -c false || true" "$(why 7)"
is "user" "the step before it ran anew, user 1000 -> 1001" "$(why 9)"
mkdir "$T/v"
sed -i 's/--network=none //' Dockerfile
ok "network" build .
is "is named" "network none -> host" "$(why 7)"
ok "a volume" build -v "$T/v:/v" .
has "is named" "volumes: $T/v:/v added"
ok "--no-cache" build --no-cache .
is "is the reason" 8 "$(whys --no-cache)"
"$SHALE" tag busybox old
printf 'FROM old\nRUN echo base\n' >D2
"$SHALE" build -f D2 . 2>"$T/err"
printf 'FROM busybox\nRUN echo >/newbase\n' | "$SHALE" build -t old -f - . 2>"$T/err"
ok "a new base" build -f D2 .
has "is named" "why: base image old sha256:"
printf 'FROM busybox AS s\nCOPY src/a /o/a\nRUN date +%%N >/stamp\nFROM busybox\nCOPY --from=s /o /o\n' >D3
ok "a stage" build -f D3 .
echo again >>src/a
ok "changed" build -f D3 .
is "the context's file" "src/a content" "$(why 2)$(why 4)"
is "and the stage's" "o/a content" "$(sed -n 's/.*why: \(o.*\)/\1/p' "$T/log")"
printf 'FROM busybox\nCOPY <<EOF /f\none\nEOF\nRUN <<EOF\necho 1\nEOF\n' >D4
ok "heredocs" build -f D4 .
sed -i 's/^one/two/' D4
ok "of a COPY" build -f D4 .
is "is a reason" "text of the heredoc" "$(why 2)"
ok "in JSON" build --progress json --no-cache -f D4 .
has "is an event" '{"event":"explain","step":2,"total":3,"text":"--no-cache"}'
ok "the record" shale builds inspect @last
has "keeps it" '"why": "--no-cache"'
for f in "$SHALE_ROOT"/snap/*/sources; do echo damaged >"$f"; done
echo again >>src/a
ok "lists that are damaged" build -f D3 .
is "cost the names only" "content of the source" "$(why 2)$(why 4)"
ok "verify knows the lists" shale verify
no_leaks
done_testing
