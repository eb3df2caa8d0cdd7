# SPDX-License-Identifier: Apache-2.0
# What makes a step run again, and what does not.
. "$(dirname "$0")/lib.sh"
base
mkdir -p "$T/ctx/src" && cd "$T/ctx"
echo a >src/a
echo b >src/b
printf 'FROM busybox\nARG V=1\nRUN echo $V; date +%%N >/stamp\nCOPY src /src\nRUN cat /src/a /src/b >/all\nLABEL l=1\n' >Dockerfile
cached() { sed -n 's/.*cached \([0-9]* of [0-9]*\).*/\1/p' "$T/err"; }
build() { shale build --network none "$@"; }

ok "first build" build -t t .
is "nothing was cached" "0 of 6" "$(cached)"
first=$(shale images -q --no-trunc t)
ok "second build" build -t t .
is "everything was cached" "5 of 6" "$(cached)"
is "and the image is the same" "$first" "$(shale images -q --no-trunc t)"
touch src/a
ok "after touch" build -t t .
is "still everything" "5 of 6" "$(cached)"
sleep 0.05
echo c >src/a
ok "after one byte" build -t t .
is "COPY and what rests on it ran" "2 of 6" "$(cached)"
echo a >src/a
ok "the byte is back" build -t t .
is "and so is the cache" "5 of 6" "$(cached)"
chmod 755 src/a
ok "after a mode" build -t t .
is "COPY ran" "2 of 6" "$(cached)"
chmod 644 src/a
cp -r "$T/ctx" "$T/clone"
ok "a fresh clone at another path" build -t t "$T/clone"
is "hits" "5 of 6" "$(cached)"
is "with the same image" "$first" "$(shale images -q --no-trunc t)"
ok "another build arg" build --build-arg V=2 -t t2 .
is "ran what sees it" "0 of 6" "$(cached)"
ok "--no-cache" build --no-cache -t t3 .
is "runs all" "0 of 6" "$(cached)"
ok "after --no-cache" build -t t4 .
is "its results are what is found" "$(shale images -q --no-trunc t3)" "$(shale images -q --no-trunc t4)"
sed -i 's/l=1/l=2/' Dockerfile
ok "a label" build -t t5 .
is "moves nothing before it" "4 of 6" "$(cached)"
mkdir src/empty
ok "a new directory" build -t t6 .
is "is seen" "2 of 6" "$(cached)"
rmdir src/empty
# A file written in the very moment of the build: its times alone cannot be trusted.
for i in 1 2 3 4 5 6 7 8; do
	echo "$i" >src/b
	build -t race . >/dev/null 2>"$T/err"
	got=$(shale run --rm --network none race cat /src/b)
	[ "$got" = "$i" ] || break
done
is "a file as new as the index is read again" 8 "$got"

printf 'FROM busybox AS s\nRUN mkdir /o && echo x >/o/f && touch -d @0 /o/f /o\nFROM busybox\nCOPY --from=s /o /o\n' >D2
ok "COPY --from" build -f D2 -t f1 .
sed -i 's/echo x/true; echo x/' D2
ok "the stage changed, its files did not" build -f D2 -t f2 .
is "COPY --from is found by content" "$(shale images -q --no-trunc f1)" "$(shale images -q --no-trunc f2)"
ok "two builds at once" sh -c "
	$SHALE build --no-cache --network none -t p1 . >$T/o1 2>&1 & a=\$!
	$SHALE build --no-cache --network none -t p2 . >$T/o2 2>&1 & b=\$!
	wait \$a && wait \$b"

# What changes while the build goes on
mkdir live
echo first >live/a
echo old >live/b
printf 'FROM busybox\nCOPY a /a\nRUN echo new >/c/b\nCOPY b /b\nRUN cat /b\n' >live/Dockerfile
ok "a RUN that writes into the context" shale build --network none -v "$T/ctx/live:/c:rw" -t live live
has "is told of" "b changed while this build read it"
is "the image has what was there then" new "$(shale run --rm --network none live cat /b)"
echo old >live/b
ok "the old content again" shale build --network none -v "$T/ctx/live:/c:rw" -t live2 live
is "is not answered by it" "old 2 of 5" "$(shale run --rm --network none live2 cat /b) $(cached)"
ok "and from then on" shale build --network none -v "$T/ctx/live:/c:rw" -t live2 live
is "it is cached" "4 of 5" "$(cached)"

# What later COPYs name is read while a RUN runs, which waits for that.
echo big >live/big
mkdir read
python3 -c 'import ctypes, os, sys
libc = ctypes.CDLL(None)
fd = libc.inotify_init()
assert libc.inotify_add_watch(fd, sys.argv[1].encode(), 0x20) > 0  # IN_OPEN
open(sys.argv[2] + "/watching", "w")
os.read(fd, 4096)
open(sys.argv[2] + "/yes", "w")' live/big read &
try "a watch" test -e read/watching
printf 'FROM busybox\nRUN for i in $(seq 100); do [ ! -e /read/yes ] || exit 0; sleep 0.1; done; exit 3\nCOPY . /all\n' >live/Ahead
ok "COPY is read ahead" shale build --network none -v "$T/ctx/read:/read" -f live/Ahead live
no_leaks
done_testing
