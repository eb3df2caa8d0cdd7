mkdir t
n=$(printf '%0150d' 1)
mkdir "t/$n"
echo 1 >"t/$n/$n"
truncate -s 1M t/sparse
echo end >>t/sparse
echo c >t/cap
chown -R 4000000:3000000 t
setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 t/cap
touch -d '1985-05-05 UTC' t/*/* t/* t
tar --sort=name --numeric-owner --sparse --xattrs --xattrs-include='*' --format=posix -C t -cf t.tar .
rm -r t
