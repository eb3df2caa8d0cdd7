mkdir t
echo 1 >t/f
ln t/f t/hard
ln -s f t/soft
ln -s /etc/passwd t/abs
mkdir -m 1777 t/sticky
echo 2 >t/sticky/suid
chmod 4711 t/sticky/suid
mkfifo t/pipe
touch -h -d '1985-05-05 UTC' t/*/* t/* t
tar --sort=name --owner=7 --group=8 --numeric-owner -C t -cf t.tar .
gzip -nk t.tar
bzip2 -k t.tar
xz -k t.tar
zstd -q t.tar
cp t.tar.gz misnamed.txt
echo 'no archive' >notatar.tar.gz
rm -r t
