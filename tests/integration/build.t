# SPDX-License-Identifier: Apache-2.0
# The build as users type it: instructions, stages, IDs, layers.
. "$(dirname "$0")/lib.sh"
base
mkdir -p "$T/ctx/sub/deep" && cd "$T/ctx"
echo one >a.txt
echo two >sub/b.txt
echo three >sub/deep/c.txt
ln -s b.txt sub/link
chmod 640 sub/b.txt
build() { shale build "$@"; }
run() { shale run --rm --network none "$@"; }

cat >Dockerfile <<'EOF'
# escape=\
ARG BASE=busybox
FROM ${BASE} AS first
ARG WHO=world
ENV GREETING="hello $WHO" \
    OTHER=x
RUN echo "$GREETING" >/greeting && echo "$WHO" >>/greeting
RUN ["/bin/sh", "-c", "echo exec >/exec"]
RUN <<EOF2
echo doc >/doc
echo more >>/doc
EOF2
WORKDIR /work/dir
COPY a.txt .
COPY sub /copied
COPY --chown=www-data:bin --chmod=600 a.txt /owned/
COPY <<-"EOF3" /made/file.conf
	key=$value
	EOF3
USER nobody
LABEL version=1 "two words"=yes
EXPOSE 8080 9000-9001/udp
VOLUME /data
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["cat /greeting"]
EOF
ok "a Dockerfile of many instructions builds" build -t app --label extra=1 --build-arg WHO=shale .
has "the last line is the image ID" "sha256:"
has "steps are numbered" "#3 "
is "RUN saw ENV and ARG; CMD runs as the user" "hello shale
shale" "$(run app)"
is "exec form ran" exec "$(run app 'cat /exec')"
is "heredoc ran" "doc
more" "$(run app 'cat /doc')"
is "WORKDIR holds" "/work/dir" "$(run app pwd)"
is "COPY to a relative path" one "$(run app 'cat a.txt')"
is "COPY of a directory copies its content" two "$(run -u root app 'cat /copied/b.txt')"
is "modes stay" 640 "$(run -u root app 'stat -c %a /copied/b.txt')"
is "symlinks stay" b.txt "$(run app 'readlink /copied/link')"
is "chown by name and chmod" "33:2 600" "$(run -u root app 'stat -c "%u:%g %a" /owned/a.txt')"
# shellcheck disable=SC2016
is "a quoted heredoc is not expanded" 'key=$value' "$(run app 'cat /made/file.conf')"
is "USER holds" 65534 "$(run app 'id -u')"

cat >Dockerfile.multi <<'EOF'
FROM busybox AS build
RUN mkdir /out && echo built >/out/result && ln /out/result /out/same
FROM busybox AS unused
RUN exit 1
FROM scratch
COPY --from=build /out /out
COPY --from=0 /bin/busybox /bin/cat
CMD ["/bin/cat", "/out/result"]
EOF
ok "multi-stage; a stage that nothing needs is skipped" build -f Dockerfile.multi -t multi .
is "an image FROM scratch runs" built "$(run multi)"
ok "--target" build -f Dockerfile.multi --target build -t stage .
is "the target stage is the image" built "$(run stage cat /out/same)"

printf 'FROM busybox\nRUN echo 1 >/f\nRUN rm /f && mkdir /f && echo 2 >/f/g\nRUN rm -r /f\n' >Dockerfile.rm
ok "files become directories and go" build -f Dockerfile.rm -t gone .
code 1 "what a later layer removed is not there" run gone ls /f

printf 'FROM busybox\nWORKDIR /new/dir\nWORKDIR /new/dir\n' >Dockerfile.wd
ok "WORKDIR that makes a directory" build -f Dockerfile.wd .
has "is a layer of 0 B" "0B"

# steps can be used by their ids
printf 'FROM busybox\nRUN echo step >/step\nENV LATER=1\n' >Dockerfile.step
ok "build for step ids" build --progress json -f Dockerfile.step .
id=$(sed -n 's/.*"event":"done".*"id":"\([0-9a-f]*\)".*"layer":true.*/\1/p' "$T/err" | head -n 1)
is "a step can be run by its id" step "$(run "$id" cat /step)"
ok "a step can be tagged" shale tag "$id" fromstep
is "the tagged step runs" step "$(run fromstep cat /step)"
ok "a step can be inspected" shale inspect "$id"
ok "a step's layer can be listed" shale diff "$id"
has "with what it made" "/step"
# Builds with another ENV share the COPY, and each has an id with its own.
for i in one two three; do printf 'FROM busybox\nENV WHO=%s\nCOPY a.txt /\nLABEL l=1\n' $i >Dockerfile.$i; done
last() { sed -n 's/.*"event":"\(done\|cached\)".*"id":"\([0-9a-f]*\)".*/\2/p' "$T/err" | tail -n "$1" | head -n 1; }
for i in one two three; do
	ok "ENV $i" build --progress json -f Dockerfile.$i -t "env-$i" .
	eval "label_$i=$(last 1) copy_$i=$(last 2)"
done
has "the COPY is cached" '"event":"cached"'
is "a step's ENV stays its own" "one two three" "$(echo $(run "$label_one" sh -c 'echo $WHO') $(run "$copy_two" sh -c 'echo $WHO') $(run "$copy_three" sh -c 'echo $WHO'))"
is "as the history has it" "ENV WHO=two" "$(shale history --format '{{.CreatedBy}}' "$label_two" | sed -n 3p)"
is "with its own ids" "$label_two $copy_two" "$(shale history --no-trunc --format '{{.ID}}' env-two | head -n 2 | xargs)"
rows() { python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM steps").fetchone()[0])' "$SHALE_ROOT/db.sqlite"; }
had=$(rows)
ok "again" build --progress json -f Dockerfile.two .
is "they are the same, and nothing new is there" "$label_two $copy_two $had" "$(last 1) $(last 2) $(rows)"

tar -cf archive.tar -C sub .
gzip -k archive.tar
printf 'FROM busybox\nADD archive.tar.gz /un/\nADD a.txt /plain/\nCOPY archive.tar /kept/\n' >Dockerfile.add
ok "ADD" build -f Dockerfile.add -t add .
is "an archive is unpacked" three "$(run add cat /un/deep/c.txt)"
is "a plain file is copied" one "$(run add cat /plain/a.txt)"
ok "COPY keeps an archive" run add test -s /kept/archive.tar

printf '*.txt\n!a.txt\nsub/deep\n' >.dockerignore
printf 'FROM busybox\nCOPY . /all\n' >Dockerfile.ign
ok "build with .dockerignore" build -f Dockerfile.ign -t ign .
code 1 "ignored directories are not copied" run ign ls /all/sub/deep
ok "negation keeps a file" run ign test -e /all/a.txt
rm .dockerignore

printf 'FROM busybox\nONBUILD COPY a.txt /trig\nONBUILD RUN echo trig >>/trig\n' >Dockerfile.onb
printf 'FROM onb\nRUN echo own >>/trig\n' >Dockerfile.use
ok "an image with triggers" build -f Dockerfile.onb -t onb .
ok "a build on it" build -f Dockerfile.use -t use .
is "triggers ran first" "one
trig
own" "$(run use cat /trig)"

printf 'FROM busybox\nRUN cat /mnt/a.txt >/seen\n' >Dockerfile.vol
ok "-v gives a directory to RUN" build -f Dockerfile.vol -v "$T/ctx:/mnt" -t vol .
is "the file was seen" one "$(run vol cat /seen)"
code 1 "the mount point is no part of the layer" run vol ls /mnt
printf 'FROM busybox\nRUN touch /mnt/x\n' >Dockerfile.ro
code 1 "it is read-only" build -f Dockerfile.ro -v "$T/ctx:/mnt" .
printf 'FROM busybox\nRUN wget -q -O - http://127.0.0.1:1/ 2>&1; ls /sys/class/net\n' >Dockerfile.net
ok "--network none" build --network none -f Dockerfile.net .
has "leaves only lo" "| lo"
hasnt "and nothing else" "| eth"

ok "--iidfile and -q" build -q --iidfile "$T/iid" -f Dockerfile.step .
is "-q prints the ID, which the file holds too" "$(cat "$T/iid")" "$(cat "$T/out")"
ok "a Dockerfile from standard input" sh -c "printf 'FROM busybox\nCOPY a.txt /\n' | $SHALE build -f - -t stdin ."
printf 'FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN echo "$SOURCE_DATE_EPOCH" >/e; mkdir -p /d/e; touch -d @978307200 /d/old\nCOPY a.txt /\nWORKDIR /w\n' >Dockerfile.epoch
SOURCE_DATE_EPOCH=1234567890 shale build -q --no-cache -f Dockerfile.epoch -t epoch . >"$T/epoch1"
sleep 1.1
touch a.txt
ok "--build-arg SOURCE_DATE_EPOCH" build -q --no-cache --build-arg SOURCE_DATE_EPOCH=1234567890 -f Dockerfile.epoch .
is "twice the same image with SOURCE_DATE_EPOCH" "$(cat "$T/epoch1")" "$(cat "$T/out")"
is "its date" "2009-02-13T23:31:30Z" "$(shale inspect --format '{{.Created}}' epoch)"
is "mtimes on disk are clamped" "1234567890 1234567890 1234567890 978307200" "$(echo $(run epoch stat -c %Y /e /d/e /w /d/old))"
is "ARG sees it" 1234567890 "$(run epoch cat /e)"
ok "another epoch" build -f Dockerfile.epoch --build-arg SOURCE_DATE_EPOCH=1234567891 .
hasnt "is another cache" CACHED
code 1 "an odd SOURCE_DATE_EPOCH" build -f Dockerfile.epoch --build-arg SOURCE_DATE_EPOCH=yesterday .
no_leaks
done_testing
