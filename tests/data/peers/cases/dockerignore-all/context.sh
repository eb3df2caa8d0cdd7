printf '*\n!dir/sub\n!a.*\ndir/sub/z.md\n' >.dockerignore
