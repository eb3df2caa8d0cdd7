echo cap >cap
setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 cap
mkdir capdir
cp -a cap capdir/
