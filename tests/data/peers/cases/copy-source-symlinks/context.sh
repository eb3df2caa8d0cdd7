mkdir -p tree/in
ln -s in tree/dirlink
ln -s /etc/passwd tree/abs
ln -s ../../../up tree/up
ln -s nowhere tree/broken
ln -s tree tree/loop
