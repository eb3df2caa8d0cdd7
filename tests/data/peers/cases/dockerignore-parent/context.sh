printf 'dir\n!dir/sub/y.txt\nempty/\n.dockerignore\n[!D]*.sh\n' >.dockerignore
