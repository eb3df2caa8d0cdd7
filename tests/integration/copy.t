# SPDX-License-Identifier: Apache-2.0
# COPY and ADD: their flags, what they match, and what they follow.
. "$(dirname "$0")/lib.sh"
base
mkdir -p "$T/ctx/src/x/y" "$T/ctx/etc" && cd "$T/ctx"
echo a >src/a.txt
echo b >src/x/b.txt
echo c >src/x/y/c.txt
echo d >src/x/y/d.md
echo e >src/e.c
chmod 750 src/x
build() { shale build --progress plain "$@"; }
run() { shale run --rm --network none "$@"; }
tree() { run "$1" sh -c "cd $2 && find . -mindepth 1 | sort | tr '\n' ' '"; }
# of TEXT: builds a Dockerfile of that text as image t
# shellcheck disable=SC2059
of() { printf "$1" >"$T/Dockerfile" && build -f "$T/Dockerfile" -t t .; }

ok "--exclude" of 'FROM busybox\nARG E=md\nCOPY --exclude=x/y/*.$E --exclude=*.c src /d/\n'
is "takes what its patterns match out of a directory" "./a.txt ./x ./x/b.txt ./x/y ./x/y/c.txt " "$(tree t /d)"
ok "--exclude with **, a directory and a way back" of 'FROM busybox\nCOPY --exclude=**/*.txt --exclude=!x/y/*.txt src /d/\nCOPY --exclude=x src /e/\n'
is "** and !" "./e.c ./x ./x/y ./x/y/c.txt ./x/y/d.md " "$(tree t /d)"
is "a directory goes with what is in it" "./a.txt ./e.c " "$(tree t /e)"
ok "--exclude among wildcard matches" of 'FROM busybox\nCOPY --exclude=*.c src/?.* /d/\n'
is "takes files out" "./a.txt " "$(tree t /d)"
echo changed >src/x/y/d.md
ok "a change of what is excluded" of 'FROM busybox\nCOPY --exclude=*.c src/?.* /d/\nCOPY --exclude=**/*.md src /m/\n'
echo again >src/x/y/d.md
ok "another one" of 'FROM busybox\nCOPY --exclude=*.c src/?.* /d/\nCOPY --exclude=**/*.md src /m/\n'
is "leaves the steps cached" 2 "$(grep -c CACHED "$T/err")"
code 1 "a bad pattern" of 'FROM busybox\nCOPY --exclude=[ src /d/\n'
has "is told" "--exclude: bad pattern ["

ok "--parents" of 'FROM busybox\nCOPY --parents ./src/a.txt src/x/b.txt /p/\nCOPY --parents src/./x/*/*.txt /v/\nCOPY --parents src/**/*.txt /s/\nCOPY --parents src/x /w\n'
is "keeps the directories on the way" "./src ./src/a.txt ./src/x ./src/x/b.txt " "$(tree t /p)"
is "from the pivot on" "./x ./x/y ./x/y/c.txt " "$(tree t /v)"
is "** crosses directories" "./src ./src/a.txt ./src/x ./src/x/b.txt ./src/x/y ./src/x/y/c.txt " "$(tree t /s)"
is "a directory comes whole" "./src ./src/x ./src/x/b.txt ./src/x/y ./src/x/y/c.txt ./src/x/y/d.md " "$(tree t /w)"
is "their modes are the source's" "750 750" "$(run t stat -c %a /p/src/x /v/x | xargs)"
code 1 "--parents of nothing" of 'FROM busybox\nCOPY --parents src/none /p/\n'
has "is an error" "src/none: not found"
ok "--parents from a stage, with --exclude" of 'FROM busybox AS a\nRUN mkdir -p /o/b/c && echo 1 >/o/b/c/f && echo 2 >/o/b/g && chown 7:8 /o/b\nFROM busybox\nCOPY --from=a --parents --exclude=**/g /o/./b /o/b/c/f /p/\n'
is "has all of it" "./b ./b/c ./b/c/f ./o ./o/b ./o/b/c ./o/b/c/f " "$(tree t /p)"
is "with its owners" "7:8 7:8" "$(run t stat -c %u:%g /p/b /p/o/b | xargs)"

ok "a directory that is there" of 'FROM busybox\nRUN mkdir -p /d/x && chown 5:6 /d/x && chmod 711 /d/x\nCOPY src /d/\n'
is "gets the mode and owner of the source's" "750 0:0" "$(run t stat -c '%a %u:%g' /d/x)"

# --link: as on an empty image, put upon the rest
ok "--link" of 'FROM busybox\nRUN mkdir -p /real && ln -s /real /way && chmod 700 /real && echo old >/file\nCOPY --link src/a.txt /way/\nCOPY --link --chown=3:4 src /file/\n'
is "replaces a symlink on the way" "directory ./a.txt " "$(run t stat -c %F /way) $(tree t /way)"
is "and a file" "3:4" "$(run t stat -c %u:%g /file/a.txt)"
is "and touches nothing else" "700 " "$(run t stat -c %a /real) $(tree t /real)"
ok "--link on another parent" of 'FROM busybox\nRUN echo other >/other\nCOPY --link src/a.txt /way/\nCOPY --link --chown=3:4 src /file/\n'
is "is cached" 2 "$(grep -c CACHED "$T/err")"
is "and whole" "a 3:4 750 other" "$(run t sh -c 'cat /way/a.txt; stat -c "%u:%g %a" /file/x; cat /other' | xargs)"
ok "--link --driver copy" shale --driver copy build -f "$T/Dockerfile" --no-cache -t t .
is "is the same" "a 3:4 750 other" "$(run t sh -c 'cat /way/a.txt; stat -c "%u:%g %a" /file/x; cat /other' | xargs)"
code 1 "--link with a user's name" of 'FROM busybox\nCOPY --link --chown=daemon src/a.txt /b\n'
has "is refused" "use numbers"
ok "--link --chmod is not linked, as elsewhere" of 'FROM busybox\nRUN mkdir /real && ln -s /real /way\nCOPY --link --chmod=600 src/a.txt /way/\n'
is "the symlink stays" "600" "$(run t stat -c %a /real/a.txt)"

tar -cf src.tar -C src .
ok "ADD --unpack" of 'FROM busybox\nADD --unpack=false src.tar /kept/\nADD --unpack src.tar /un/\nADD src.tar /too/\n'
is "false keeps the archive" "./src.tar " "$(tree t /kept)"
is "true unpacks it" "c" "$(run t cat /un/x/y/c.txt)"
is "as without it" "c" "$(run t cat /too/x/y/c.txt)"

# heredocs
# shellcheck disable=SC2016
ok "heredocs" of 'FROM busybox\nARG V=val\nCOPY --chown=1:2 <<one <<"two" <<-three /h/\n$V\none\n$V\ntwo\n\t\ttabs\nthree\nADD <<f /h/\nadd\nf\n'
is "several in one line" 'val $V tabs add' "$(run t cat /h/one /h/two /h/three /h/f | xargs)"
is "their mode and owner" "644 1:2" "$(run t stat -c '%a %u:%g' /h/one)"

# extended attributes are part of what is copied, and so of the key; an unchanged tree costs no read of them
cached() { sed -n 's/.*cached \([0-9]* of [0-9]*\).*/\1/p' "$T/err"; }
mkdir -p xa/d && echo x >xa/d/f && echo y >xa/g && setfattr -n user.a -v 1 xa/d/f
ok "a file with an attribute" of 'FROM busybox\nCOPY xa /xa/\n'
ok "again" of 'FROM busybox\nCOPY xa /xa/\n'
is "is found" "1 of 2" "$(cached)"
setfattr -n user.a -v 2 xa/d/f
ok "another value" of 'FROM busybox\nCOPY xa /xa/\n'
is "is not" "0 of 2" "$(cached)"
setfattr -x user.a xa/d/f
ok "without it" of 'FROM busybox\nCOPY xa /xa/\n'
is "nor is that" "0 of 2" "$(cached)"
setfattr -n trusted.a -v 1 xa/g
ok "what is not copied" of 'FROM busybox\nCOPY xa /xa/\n'
is "does not count" "1 of 2" "$(cached)"

# names
touch 'src/arr[0].txt' 'src/b c'
ok "names with blanks and brackets" of 'FROM busybox\nCOPY src/arr[[]0].txt /n/\nCOPY ["src/b c", "/n/"]\n'
is "are found" "./arr[0].txt ./b c " "$(tree t /n)"
code 1 "a wildcard that matches nothing" of 'FROM busybox\nCOPY src/*.none /n/\n'
has "is an error with its line" "Dockerfile:2"
ok "../ is no way out" of 'FROM busybox\nCOPY ../../src/a.txt /n/../m/\n'
is "of the context, nor of the image" "./a.txt " "$(tree t /m)"
# shellcheck disable=SC2016
code 1 "--from does not expand" of 'ARG X=busybox\nFROM busybox\nCOPY --from=$X /bin/sh /s\n'
has "and says so" "variables are not expanded here"
# Names of one file: linked as in the context, but not to what has taken the place of the first.
rm -rf "$T/links" && mkdir -p "$T/links/1" "$T/links/2" "$T/links/3" && cd "$T/links"
echo first >1/x
echo second >2/x
ln 1/x 3/y
ln 1/x 3/z
printf 'FROM busybox\nCOPY 1 2 3 /dst/\n' >Dockerfile
ok "three directories into one" shale build --network none -t links .
is "each name has its content" "second first first" "$(shale run --rm --network none links cat /dst/x /dst/y /dst/z | xargs)"
is "what is one file there is one file here" "1 2 2" "$(shale run --rm --network none links stat -c %h /dst/x /dst/y /dst/z | xargs)"
# A large tree: walked and written by two threads, into directories that the step makes and one that is there, under any umask.
rm -rf "$T/large" && mkdir -p "$T/large/src" && cd "$T/large"
for d in a a-b a/b a-b/c.d 'a/b e' s old old/deep gone; do
	mkdir -p "src/$d"
	for i in $(seq 60); do echo "$d $i" >"src/$d/$i"; done
done
ln src/a/1 src/a/b/one
ln -s ../a src/s/to-a
mkfifo src/s/fifo
: >src/a/empty && truncate -s 300000 src/a/hole && head -c 300000 /dev/zero | tr '\0' x >src/a/big
chmod 0 src/a/2 && chmod 4755 src/a/3 && chmod 600 src/a-b/4 && chmod 777 src/a-b/5 && chmod 2775 src/s && chmod 1777 src/a/b
chown 5:6 src/a/7 && chown 5:6 src/old && setfattr -n user.x -v 1 src/a/8
find src -exec touch -h -d @1000000000.7 {} +
echo src/gone >.dockerignore
printf 'FROM busybox\nRUN mkdir -p /dst/old && chmod 700 /dst/old\nCOPY src /dst\nCOPY src/a /new/a\n' >Dockerfile
ok "many files" sh -c 'umask 077; exec "$0" build --network none -t large .' "$SHALE"
list() { (cd "$1" && shift && find "$@" -exec stat -c '%n %A %h %Y %F' {} + && find "$@" -type f -exec md5sum {} +) | sort; }
at() { dirname "$(dirname "$(find "$SHALE_ROOT/snap" -path "*/fs/$1/empty")")"; }
list src a a-b s old >want
list "$(at dst/a)" a a-b s old >got
ok "are there as they were" diff -u want got
is "and are root's" "" "$(find "$(at dst/a)" ! -user 0 -o ! -group 0)"
is "an attribute goes along" 1 "$(getfattr --absolute-names --only-values -n user.x "$(at dst/a)/a/8")"
is "what is ignored does not" "" "$(find "$SHALE_ROOT/snap" -name gone)"
list src a | sed 's/ 2 1000000000 / 1 1000000000 /' >want
list "$(at new/a)" a | sed 's/ 2 1000000000 / 1 1000000000 /' >got
ok "a part of it elsewhere" diff -u want got
shale build --network none --progress plain -t large . 2>"$T/err"
is "again: all is found" 3 "$(grep -c CACHED "$T/err")"
printf 'FROM busybox AS a\nRUN mkdir -p /g/s && cd /g/s && touch 1 2 3 && chgrp -R 4 /g && chmod 2755 . && chgrp 0 2 && chown 3 3\nFROM busybox\nCOPY --from=a /g /h\n' >Dockerfile
ok "files of another group than their directory's" shale build --network none -t group .
is "keep it" "0:4 0:0 3:4" "$(shale run --rm --network none group stat -c %u:%g /h/s/1 /h/s/2 /h/s/3 | xargs)"
no_leaks
done_testing
