# SPDX-License-Identifier: Apache-2.0
# --storage-opt on xfs and ext4 with project quota: in a machine, since many kernels have none of it.
. "$(dirname "$0")/lib.sh"
. "$top/tests/crash/vm.sh"
base
code 125 "a size that is none" shale run --rm --storage-opt size=x busybox true
code 125 "one that is too small" shale run --rm --storage-opt size=1k busybox true
code 125 "another option" shale run --rm --storage-opt colour=red busybox true
has "says which there are" "want size=BYTES or inodes=N"
make -s -C "$top" VARIANT=fault build/fault/shale
mkdir "$T/fault"
cp "$top/build/fault/shale" "$T/fault/shale-fault"
VM_MODULES="$VM_MODULES xfs quota_v2"
if ! why=$(vm_prepare "$SHALE" "$(dirname "$SHALE")/shale-build" "$T/fault/shale-fault" "$(command -v xfs_quota)" "$(command -v chattr)"); then
	skip "the machine cannot be made: $why"
	done_testing
	exit
fi
vm_disk "$T/disk" 64M
truncate -s 320M "$T/xfs" "$T/ext4"
mkfs.xfs -q "$T/xfs"
mkfs.ext4 -q -O project,quota "$T/ext4"
VM_DRIVES="-drive file=$T/xfs,format=raw,if=virtio,cache=writeback -drive file=$T/ext4,format=raw,if=virtio,cache=writeback"
vm_words >"$T/guest"
cat >>"$T/guest" <<'EOF'
mkdir -p /q
export SHALE_ROOT=/q/store SHALE_NETWORK=none
# Projects of ours that have a limit or files.
projects() { xfs_quota -f -x -c 'report -p -N -n -b -i' /q 2>/dev/null | awk '{ id = substr($1, 2) + 0 } id >= 1392508928 && id < 1409286144 && ($2 || $4 || $7 || $9) { n++ } END { print n + 0 }'; }
# A command's child may still be syncing.
off() { for i in $(seq 50); do umount /q 2>/dev/null && return; sleep 0.2; done; }
gone() { for i in $(seq 50); do [ "$(projects)" = 0 ] && return; sleep 0.2; done; projects; return 1; }
EOF
guest() {
	sed -e "s/@FS@/$1/g; s/@DEV@/$2/g; s/@OPTION@/$3/g" >>"$T/guest" <<'EOF'
mount -t @FS@ /dev/@DEV@ /q
try "@FS@: import" shale import /base.tar busybox
shale create --storage-opt size=10m busybox true >/tmp/out 2>&1
is "without quota it is refused" 1 "$(grep -c "@FS@, is mounted without project quota.*mount option @OPTION@" /tmp/out)"
off
mount -t @FS@ -o @OPTION@ /dev/@DEV@ /q
try "create" shale create --name small --storage-opt size=10m --storage-opt inodes=100 busybox sh -c '
	dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null; echo $?; du -m /big | cut -f1; rm /big; mkdir /d
	for i in $(seq 200); do touch /d/$i || break; done 2>/dev/null; ls /d | wc -l; df -m / | awk "END { print \$2 }"; rm -r /d'
shale start -a small >/tmp/out 2>&1
is "it holds what it may" "1 yes yes 10" "$(echo $(cat /tmp/out) | awk '{ print $1, $2 ~ /^(9|10)$/ ? "yes" : $2, ($3 > 75 && $3 < 100) ? "yes" : $3, $4 }')"
is "another one holds more" 20 "$(shale run --rm busybox sh -c 'dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null; du -m /big | cut -f1')"
is "inspect" "10m 100" "$(shale inspect -f '{{.HostConfig.StorageOpt.size}} {{.HostConfig.StorageOpt.inodes}}' small)"
try "a second" shale run --name second --storage-opt size=2m busybox true
is "each has a project" 2 "$(projects)"
dd if=/dev/zero of=/tmp/big bs=1M count=3 2>/dev/null
try "cp of what is too much" sh -c '! shale cp /tmp/big second:/big'
try "commit" shale commit small made
try "rm" shale rm small second
try "takes the projects" gone
try "--rm" shale run --rm --storage-opt size=2m busybox sh -c '! dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null'
is "takes them at once" 0 "$(projects)"
# What went into another project would not be counted, nor what is in a directory that hands none down.
out_of() {
	shale run --rm --storage-opt size=2m -v /bin/chattr:/bin/chattr -v /lib:/lib -v /lib64:/lib64 "$@" busybox sh -c '
		mkdir /d; touch /f; chattr -p 0 /f; chattr -P /d
		for f in /f /d/f; do dd if=/dev/zero of=$f bs=1M count=3 && echo out; rm $f; done; chattr -V 2>&1 | grep -c Usage' 2>/dev/null
}
is "nobody gets out of the count" 1 "$(echo $(out_of))"
is "but who has no filter" "out out 1" "$(echo $(out_of --security-opt seccomp=unconfined))"
# Killed wherever it can be: what is left is found.
most=0
for n in 1 2 3 4 5 6; do
	for verb in "create --name cut --storage-opt size=2m busybox true" "rm -f cut"; do
		rm -f /tmp/count
		SHALE_FAULT=kill:$n SHALE_FAULT_COUNT=/tmp/count shale-fault $verb >/dev/null 2>&1
		[ "$(projects)" -le $most ] || most=$(projects)
	done
	shale rm -f cut >/dev/null 2>&1
done
xfs_quota -f -x -c 'limit -p bhard=2m 1392508999' /q >/dev/null 2>&1
is "what was killed has left some" 1 "$((most > 0 && $(projects) > 0))"
try "gc" shale gc
try "takes them" gone
shale create --name later --storage-opt size=2m busybox true >/dev/null
off
mount -t @FS@ /dev/@DEV@ /q
shale start later >/tmp/out 2>&1
is "no start without its limit" 1 "$(grep -c 'mounted without project quota' /tmp/out)"
off
EOF
}
guest xfs vdb pquota
guest ext4 vdc prjquota
vm_guest "$T/guest" "$top/build/base.tar" base.tar
rc=0
vm_boot "$T/disk" 400 "$T/log" || rc=$?
is "the machine came to its end" 0 "$rc"
vm_answers quota
done_testing
