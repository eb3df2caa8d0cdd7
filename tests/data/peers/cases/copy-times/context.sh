mkdir t
echo o >t/old
echo n >t/new
echo f >t/fraction
touch -d '1975-01-01 UTC' t/old
touch -d '2011-11-11 11:11:11 UTC' t/new
touch -d '2011-11-11 11:11:11.999 UTC' t/fraction t
