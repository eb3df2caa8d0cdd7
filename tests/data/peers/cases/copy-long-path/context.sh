d=p
for i in 1 2 3 4; do d=$d/$(printf '%090d' $i); done
mkdir -p "$d"
echo deep >"$d/f"
