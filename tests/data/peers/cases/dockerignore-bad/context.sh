printf '[a\n' >.dockerignore
