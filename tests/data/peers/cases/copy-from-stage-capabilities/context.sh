echo cap >f
setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 f
touch -d @981173106 f
tar --xattrs --xattrs-include='*' -cf cap.tar f
rm f
