echo '**/x.txt' >.dockerignore
