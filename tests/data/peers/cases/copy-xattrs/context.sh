echo x >x
setfattr -n user.peers -v value x
