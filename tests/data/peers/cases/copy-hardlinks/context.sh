mkdir hard
echo 1 >hard/a
ln hard/a hard/b
echo 2 >one
ln one two
