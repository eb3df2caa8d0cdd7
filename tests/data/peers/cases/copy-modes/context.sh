mkdir -p m/sticky m/none
for f in 4755 2755 000 777 400; do echo $f >m/$f && chmod $f m/$f; done
mv m/4755 m/suid
chmod 1777 m/sticky
chmod 2750 m/none
