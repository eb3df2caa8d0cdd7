mkdir sub
printf 'FROM scratch\nCOPY a.txt /other\n' >sub/Other
