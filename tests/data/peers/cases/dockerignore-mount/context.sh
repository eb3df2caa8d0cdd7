printf 'dir\n!dir/sub\n*.txt\nDockerfile*\n' >.dockerignore
