# SPDX-License-Identifier: Apache-2.0
# context.sh CASE DIR: makes DIR/ctx, the context that all cases share and what CASE's own context.sh adds, and DIR/side for what lies
# beside it. Everything is of 2001-02-03 04:05:06.25, unless the case gave it another time before 2020.
set -eu
case_dir=$1
umask 022
mkdir -p "$2/ctx" "$2/side"
cd "$2/ctx"
mkdir -p dir/sub empty
echo a >a.txt
echo b >b.txt
echo x >dir/x.txt
echo y >dir/sub/y.txt
echo z >dir/sub/z.md
printf '#!/bin/sh\necho run\n' >run.sh
ln -s a.txt link
ln -s dir dirlink
ln -s ../a.txt dir/up
chmod 600 b.txt
chmod 640 dir/sub/z.md
chmod 750 dir
chmod 755 run.sh
chown 1234:4321 a.txt dir/x.txt
cp "$case_dir/Dockerfile" .
[ ! -e "$case_dir/Dockerfile.first" ] || cp "$case_dir/Dockerfile.first" .
[ ! -e "$case_dir/context.sh" ] || . "$case_dir/context.sh"
find . -newermt 2020-01-01 -exec touch -h -d @981173106.25 {} +
