mkdir n
echo 1 >'n/ünïcode ☃'
echo 2 >"n/new
line"
echo 3 >"n/$(printf '%0200d' 3)"
echo 4 >'n/.wh'
echo 5 >'n/back\slash'
echo 6 >'n/"quote"'
echo 7 >-dash
