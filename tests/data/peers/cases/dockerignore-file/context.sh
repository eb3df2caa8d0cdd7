mkdir sub
echo a.txt >.dockerignore
printf 'FROM scratch\nCOPY . /\n' >sub/Other
printf '*\n!b.txt\n' >sub/Other.dockerignore
