tar -cf t.tar a.txt
