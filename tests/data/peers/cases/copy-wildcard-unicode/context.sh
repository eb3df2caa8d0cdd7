echo 1 >ü.u
echo 2 >xx.u
echo 3 >ö.v
echo 4 >z.v
