mkdir -p t/d
echo 1 >t/f
echo 2 >t/d/g
ln t/f t/d/hard
ln -s f t/soft
chmod 4755 t/f
touch -h -d '1985-05-05 UTC' t/*/* t/* t
tar --sort=name --owner=7 --group=8 --numeric-owner -C t -cf t.tar .
rm -r t
