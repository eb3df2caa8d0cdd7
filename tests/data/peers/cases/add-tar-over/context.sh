mkdir -p o/d o/becomesdir o/link
echo new >o/f
echo new >o/d/new
echo in >o/becomesdir/in
echo in >o/link/in
touch -d '1985-05-05 UTC' o/*/* o/* o
tar --sort=name --owner=7 --group=8 --numeric-owner -C o -cf o.tar .
rm -r o
