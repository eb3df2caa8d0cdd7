printf '\357\273\277a.txt\r\n  b.txt  \r\n\r\n# dir\r\n' >.dockerignore
