mkdir -p t/d
echo 1 >t/f
echo 2 >t/d/g
touch -d '1985-05-05 UTC' t/*/* t/* t
tar --sort=name --owner=7 --group=8 --numeric-owner -C t -cf t.tar f d
rm -r t
