mkdir s
mkfifo s/pipe
echo f >s/f
