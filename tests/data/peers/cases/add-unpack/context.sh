touch -d '1985-05-05 UTC' a.txt
tar --owner=7 --group=8 --numeric-owner -cf t.tar a.txt
