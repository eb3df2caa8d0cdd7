# SPDX-License-Identifier: Apache-2.0
# Limits, update of what runs, and the small options: groups, DNS, devices, labels from files.
. "$(dirname "$0")/lib.sh"
base
cd "$T"
run() { shale run --rm --network none "$@"; }
out() { cat "$T/out"; }
# file NAME V1 V2: the value that the container's group has
file() {
	g=$(find /sys/fs/cgroup -type d -path "*/shale/$(shale container inspect -f '{{.Id}}' "$1")" 2>/dev/null)
	for d in $g; do
		for f in "$2" "$3"; do [ ! -e "$d/$f" ] || { cat "$d/$f"; return; }; done
	done
}

# --- limits --------------------------------------------------------------------------------------------------------
shale run -d --name lim --network none -m 64m --memory-reservation 32m --pids-limit 50 --cpus 0.5 --cpu-shares 512 \
	--cpuset-cpus 0 --cpuset-mems 0 busybox sleep 1000 >/dev/null
is "memory" 67108864 "$(file lim memory.limit_in_bytes memory.max)"
is "memory-reservation" 33554432 "$(file lim memory.soft_limit_in_bytes memory.low)"
is "pids" 50 "$(file lim pids.max pids.max)"
is "cpus" 50000 "$(file lim cpu.cfs_quota_us cpu.max | cut -d' ' -f1)"
is "cpuset" 0 "$(file lim cpuset.cpus cpuset.cpus)"
is "and inside" 0 "$(shale exec lim grep Cpus_allowed_list /proc/self/status | awk '{ print $2 }')"
is "inspect" "67108864 33554432 50 500000000 512 0" "$(shale container inspect -f '{{with .HostConfig}}{{.Memory}} {{.MemoryReservation}} {{.PidsLimit}} {{.NanoCpus}} {{.CpuShares}} {{.CpusetCpus}}{{end}}' lim)"
ok "update" shale update -m 96m --pids-limit 60 --restart always lim
is "prints the name" lim "$(out)"
is "memory now" 100663296 "$(file lim memory.limit_in_bytes memory.max)"
is "pids now" 60 "$(file lim pids.max pids.max)"
is "the rest stays" 50000 "$(file lim cpu.cfs_quota_us cpu.max | cut -d' ' -f1)"
is "it is written down" "100663296 always" "$(shale container inspect -f '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}' lim)"
kill -9 "$(shale container inspect -f '{{.State.Pid}}' lim)"
again() { [ "$(shale container inspect -f '{{.RestartCount}} {{.State.Status}}' lim)" = "1 running" ]; }
try "the new policy holds" again
code 1 "an update that cannot be" shale update --cpuset-cpus 4000 lim
is "changes nothing" 0 "$(shale container inspect -f '{{.HostConfig.CpusetCpus}}' lim)"
ok "stop" shale stop -t 0 lim
ok "update of one that does not run" shale update --pids-limit -1 lim
is "no limit" 0 "$(shale container inspect -f '{{.HostConfig.PidsLimit}}' lim)"
ok "rm" shale rm lim
shale run -d --name bare --network none busybox sh -c 'while :; do sleep 0.01; done' >/dev/null
ok "update of one without limits" shale update -m 64m --pids-limit 40 bare
id=$(shale container inspect -f '{{.Id}}' bare)
is "its processes are in the group" "$(shale container inspect -f '{{.State.Pid}}' bare)" "$(cat "/sys/fs/cgroup/memory/shale/$id/cgroup.procs" "/sys/fs/cgroup/shale/$id/cgroup.procs" 2>/dev/null | head -1)"
is "with the limit" 67108864 "$(file bare memory.limit_in_bytes memory.max)"
ok "rm -f" shale rm -f bare
left=$(find /sys/fs/cgroup -type d -path '*/shale/????????????????????????????????????????????????????????????????' -newer "$T/store/db.sqlite" 2>/dev/null | while read -r d; do [ -n "$(cat "$d/cgroup.procs")" ] || echo "$d"; done | head -1)
is "no group is left" "" "$left"
for bad in '-m 1m' '--memory-swap 64m' '-m 64m --memory-swap 32m' '--memory-swap x' '-m 64m --memory-reservation 65m' '--cpu-shares 1' '--cpu-shares 262145' \
	'--blkio-weight 9' '--blkio-weight 1001' '--cpuset-cpus x' '--cpuset-mems 0;1' '--oom-score-adj 1001' '--cpus x' '--cpus -1' '--pids-limit x' \
	'--device-read-bps x:1' '--device-read-bps /dev/vda' '--device-write-iops /dev/vda:1k' '--device-read-iops /dev/vda:-1' '--blkio-weight-device /dev/vda:9' \
	'--blkio-weight-device /dev/vda:x' '--memory-swappiness 101' '--memory-swappiness x' '--cgroup-parent /' '--cgroup-parent a/../b' '--cgroup-parent a//b' '--cgroup-parent a;b' '--dns x' '--dns-search a;b' '--device x' '--device /dev/null:/etc/x' '--device /dev/null:/dev/x:q' '--group-add nosuch' '--label-file /nosuch'; do
	# shellcheck disable=SC2086
	code 125 "refused: $bad" run $bad busybox true
done
code 125 "a wrong one" run --cpuset-cpus x busybox true
has "is named" --cpuset-cpus
code 125 "less of a core than there is" run --cpu-period 1000000 --cpu-quota 5000 busybox true
has "is told" "want 0.01 of a core at least"

# --- disks, swap, parents ----------------------------------------------------------------------------------------
code 125 "a wrong limit of a disk" run --device-read-bps /dev/vda:x busybox true
has "is named, with its form" "--device-read-bps /dev/vda:x: want /dev/DISK:BYTES"
code 125 "a limit of no disk" run --device-write-iops /dev/null:10 busybox true
has "is told" "--device-write-iops /dev/null:10: no block device"
disk=$(findmnt -nro SOURCE -T "$T" 2>/dev/null)
disk=/dev/$(lsblk -nsro NAME,TYPE "$disk" 2>/dev/null | awk '$2 == "disk" { print $1; exit }')
if [ -b "$disk" ]; then
	no=$(lsblk -dnro MAJ:MIN "$disk")
	io() { file dk "blkio.throttle.$1_device" io.max | grep "^$no" | sed "s/.*$2=\([0-9]*\).*/$no \1/"; }
	shale run -d --name dk --network none --device-read-bps "$disk:2mb" --device-write-bps "$disk:1048576" \
		--device-read-iops "$disk:300" --device-write-iops "$disk:400" busybox sleep 1000 >/dev/null
	is "--device-read-bps" "$no 2097152" "$(io read_bps rbps)"
	is "--device-write-bps" "$no 1048576" "$(io write_bps wbps)"
	is "--device-read-iops" "$no 300" "$(io read_iops riops)"
	is "--device-write-iops" "$no 400" "$(io write_iops wiops)"
	is "inspect" "$disk 2097152 $disk 400" "$(shale container inspect -f '{{with .HostConfig}}{{with index .BlkioDeviceReadBps 0}}{{.Path}} {{.Rate}}{{end}} {{with index .BlkioDeviceWriteIOps 0}}{{.Path}} {{.Rate}}{{end}}{{end}}' dk)"
	if ! grep -qF '[bfq]' "/sys/block/${disk#/dev/}/queue/scheduler"; then
		code 125 "--blkio-weight-device of a disk without weights" run --blkio-weight-device "$disk:200" busybox true
		has "is told" "only disks that the scheduler bfq serves have weights"
	fi
	# Shares are for what else happens on the host: 4 MiB at 2 MiB a second take two seconds.
	begin=$(date +%s%N)
	run -v "$T:/x" --device-write-bps "$disk:2mb" busybox dd if=/dev/zero of=/x/slow bs=1M count=4 oflag=direct 2>"$T/err" >"$T/out"
	ok "a limit holds" test $(($(date +%s%N) - begin)) -gt 1500000000
	ok "update" shale update --device-read-bps "$disk:3mb" dk
	is "it is another one" "$no 3145728" "$(io read_bps rbps)"
	is "instead of the old" "[map[Path:$disk Rate:3145728]]" "$(shale container inspect -f '{{.HostConfig.BlkioDeviceReadBps}}' dk)"
	ok "restart" shale restart -t 0 dk
	is "holds it" "$no 3145728" "$(io read_bps rbps)"
	ok "rm -f" shale rm -f dk
else
	skip "no disk"
fi
if [ -e /sys/fs/cgroup/memory/memory.swappiness ]; then
	shale run -d --name sw --network none --memory-swappiness 7 --oom-kill-disable -m 32m busybox sleep 1000 >/dev/null
	is "--memory-swappiness" 7 "$(file sw memory.swappiness -)"
	is "--oom-kill-disable" "oom_kill_disable 1" "$(file sw memory.oom_control - | head -1)"
	is "inspect" "7 true" "$(shale container inspect -f '{{.HostConfig.MemorySwappiness}} {{.HostConfig.OomKillDisable}}' sw)"
	ok "update" shale update --memory-swappiness 0 sw
	is "zero is a value" 0 "$(file sw memory.swappiness -)"
	ok "rm -f" shale rm -f sw
else
	code 125 "--memory-swappiness is v1's" run --memory-swappiness 7 busybox true
	has "which is told" "--memory-swappiness: this host has cgroup v2"
fi
is "unset is null" null "$(shale create --name nul busybox true >/dev/null; shale container inspect -f '{{json .HostConfig.MemorySwappiness}}' nul)"
ok "rm" shale rm nul

par=shale-test-$$
dirs() { find /sys/fs/cgroup -type d -path "*/$1/$(shale container inspect -f '{{.Id}}' par)" 2>/dev/null | head -1; }
shale run -d --name par --network none --cgroup-parent "/$par/jobs" --pids-limit 40 busybox sleep 1000 >/dev/null
ok "--cgroup-parent" test -n "$(dirs "$par/jobs")"
is "the process is in it" "$(shale container inspect -f '{{.State.Pid}}' par)" "$(head -1 "$(dirs "$par/jobs")/cgroup.procs")"
is "inspect" "/$par/jobs" "$(shale container inspect -f '{{.HostConfig.CgroupParent}}' par)"
is "exec comes there, too" 1 "$(shale exec par sleep 9 & sleep 0.5; grep -c . "$(dirs "$par/jobs")/cgroup.procs" | sed 's/[2-9]/1/')"
ok "pause" shale pause par
is "paused" paused "$(shale container inspect -f '{{.State.Status}}' par)"
ok "unpause" shale unpause par
ok "update" shale update --pids-limit 50 par
is "in its group" 50 "$(cat "$(find /sys/fs/cgroup -path "*/$par/jobs/*/pids.max")")"
ok "restart" shale restart -t 0 par
ok "its group is there again" test -n "$(dirs "$par/jobs")"
pid=$(shale container inspect -f '{{.State.Pid}}' par)
is "top" "$pid" "$(shale top par -o pid | tail -1 | tr -d ' ')"
ok "rm -f" shale rm -f par
is "its group is gone" "" "$(find /sys/fs/cgroup -path "*/$par/jobs/*" -type d)"
ok "the parent is not ours to remove" test -n "$(find /sys/fs/cgroup -path "*/$par/jobs" -type d)"
run --cgroup-parent "$par-a.slice" busybox true
ok "slices lie in each other" test -n "$(find /sys/fs/cgroup -path "*/${par%%-*}.slice/*/$par-a.slice" -type d)"
find /sys/fs/cgroup -depth -type d \( -path "*/$par/*" -o -name "$par" -o -name "shale*.slice" \) -exec rmdir {} + 2>/dev/null || true

# --- a fork bomb is held ---------------------------------------------------------------------------------------------
shale run -d --name bomb --network none --pids-limit 30 busybox sh -c 'f() { f | f & }; f; while :; do sleep 1; done' >/dev/null
sleep 0.5
is "another container does not notice" fine "$(run busybox echo fine)"
ok "rm -f" shale rm -f bomb

# --- the small ones -----------------------------------------------------------------------------------------------
is "--group-add" "0 7 1234" "$(run --group-add 7 --group-add 1234 busybox sh -c 'id -G' | tr ' ' '\n' | sort -n | tr '\n' ' ' | sed 's/ $//')"
is "--oom-score-adj" 321 "$(run --oom-score-adj 321 busybox cat /proc/self/oom_score_adj)"
is "--dns*" "nameserver 10.1.2.3 search a.example b.example options ndots:2 " "$(shale run --rm --dns 10.1.2.3 --dns-search a.example --dns-search b.example --dns-option ndots:2 busybox grep -vE '^#|^$' /etc/resolv.conf | tr '\n' ' ')"
printf '# c\nfile=1\nboth=file\n' >labels
shale create --name lab --network none --label-file labels -l both=flag --annotation a=b busybox true >/dev/null
is "--label-file, --annotation" "1 flag b" "$(shale container inspect -f '{{.Config.Labels.file}} {{.Config.Labels.both}} {{.HostConfig.Annotations.a}}' lab)"
ok "rm" shale rm lab
is "--sysctl" "1 12345" "$(run --sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=12345 busybox sh -c 'echo $(cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax)')"
code 125 "the host's are not" run --sysctl kernel.panic=1 busybox true
code 125 "nor its network's" shale run --rm --network host --sysctl net.ipv4.ip_forward=1 busybox true
code 125 "no way out" run --sysctl net.../../../x=1 busybox true
is "--domainname" "corp.example" "$(run --domainname corp.example busybox cat /proc/sys/kernel/domainname)"
code 125 "a wrong one" run --domainname 'a b' busybox true
has "is named" "invalid domainname 'a b'"
code 125 "not with the host's names" run --uts host --domainname x busybox true
is "--umask" "0027 640" "$(run --umask 0027 busybox sh -c 'umask; : >/f; stat -c %a /f' | tr '\n' ' ' | sed 's/ $//')"
code 125 "a wrong one" run --umask 9 busybox true
has "is told, with its form" "--umask 9: want an octal number like 0022"
shale run -d --name sm --network none --umask 77 --domainname d.example busybox sleep 1000 >/dev/null
is "exec has it, too" 0077 "$(shale exec sm sh -c umask)"
is "inspect" "77 d.example" "$(shale inspect -f '{{.Config.Umask}} {{.Config.Domainname}}' sm)"
first=$(shale inspect -f '{{.Id}}' sm)
code 125 "--replace needs a name" run --replace busybox true
code 125 "what cannot be" run --name sm --replace --umask 9 busybox true
is "replaces nothing" "$first" "$(shale inspect -f '{{.Id}}' sm)"
code 125 "nor does an image that is not here" run --name sm --replace nosuch true
is "it runs" running "$(shale inspect -f '{{.State.Status}}' sm)"
ok "--replace" shale run -d --name sm --replace --network none busybox sleep 1000
is "another one has the name" 1 "$([ "$(shale inspect -f '{{.Id}}' sm)" = "$first" ] || echo 1)"
is "and the old one is gone" "" "$(shale ps -aq --no-trunc | grep "$first" || true)"
ok "create --replace" shale create --name sm --replace busybox true
is "the same" created "$(shale inspect -f '{{.State.Status}}' sm)"
ok "rm" shale rm sm
shale import --change 'ENV A=1' --change 'ENV B=2' "$top/build/base.tar" withenv >/dev/null
is "--unsetenv" " 2" "$(run --unsetenv A withenv sh -c 'echo "$A $B"')"
is "--unsetenv-all" " 3" "$(run --unsetenv-all -e B=3 withenv sh -c 'echo "$A $B"')"
is "--env-host" "here 5" "$(export FROM_HOST=here B=4; run --env-host -e B=5 busybox sh -c 'echo "$FROM_HOST $B"')"
is "--read-only-tmpfs" "1777 ok" "$(run --read-only --read-only-tmpfs busybox sh -c 'stat -c %a /tmp; : >/run/x && : >/var/tmp/y && echo ok' | tr '\n' ' ' | sed 's/ $//')"
if [ -e /usr/share/zoneinfo/Europe/Paris ]; then
	is "--tz" "CET Europe/Paris" "$(run --tz Europe/Paris busybox sh -c 'tail -1 /etc/localtime | cut -c1-3; echo $TZ' | tr '\n' ' ' | sed 's/ $//')"
fi
code 125 "no zone" run --tz ../../etc/passwd busybox true
has "is told" "--tz ../../etc/passwd: want local or a zone"
for no in '--runtime nvidia' '--isolation hyperv' '--kernel-memory 10m' '--volume-driver nfs' '--cpu-rt-runtime 1000' '--pod x' '--secret x' '--systemd always' \
	'--uidmap 0:1:2' '--rootfs' '--use-api-socket' '--link-local-ip 1.2.3.4'; do
	# shellcheck disable=SC2086
	code 125 "refused: $no" run $no busybox true
	# shellcheck disable=SC2086
	has "by its name" "shale: ${no%% *}: "
done
ok "words that change nothing are none of that" run --runtime runc --isolation default --volume-driver=local --rootfs=false --systemd=false busybox true
ok "--device" run --device /dev/zero:/dev/mine busybox sh -c '[ "$(head -c 2 /dev/mine | od -An -tx1 | tr -d " ")" = 0000 ]'
shale run -d --name rul --network none --device-cgroup-rule 'c 10:237 r' --device-cgroup-rule 'b 7:* m' --device /dev/fuse:/dev/mine:r busybox sh -c 'mknod /ctl c 10 237; mknod /dev/loop b 7 0; sleep 1000' >/dev/null
try "a node made inside" shale exec rul test -b /dev/loop
ok "opens by a rule" shale exec rul sh -c ': </ctl'
code 1 "as far as it goes" shale exec rul sh -c ': >>/ctl'
has "and not further" "not permitted"
code 1 "mknod alone opens nothing" shale exec rul sh -c ': </dev/loop'
ok "a device with r is opened to read" shale exec rul sh -c ': </dev/mine'
code 1 "and not written" shale exec rul sh -c 'echo x >/dev/mine'
has "which the group tells" "not permitted"
ok "the usual ones are there" shale exec rul sh -c 'echo x >/dev/null && head -c 1 /dev/zero /dev/urandom >/dev/null && : </dev/full'
is "inspect" "[c 10:237 r b 7:* m] r" "$(shale inspect -f '{{.HostConfig.DeviceCgroupRules}} {{with index .HostConfig.Devices 0}}{{.CgroupPermissions}}{{end}}' rul)"
ok "restart" shale restart -t 0 rul
ok "holds them" shale exec rul sh -c ': </ctl'
code 1 "and no more" shale exec rul sh -c ': >>/ctl'
shale exec rul sh -c 'rm -f /etc/passwd; mknod /etc/passwd c 240 250'
code 125 "a device as /etc/passwd" shale exec -u root rul true
has "is not opened by the host, which no rule binds" "/etc/passwd of the image is no regular file"
ok "rm -f" shale rm -f rul
code 1 "--device :r alone opens no node of the image's" run --device /dev/full:/dev/mine:r busybox sh -c 'mknod /n c 1 3 && : </n'
ok "with a terminal" run -t --device-cgroup-rule 'c 1:11 r' busybox sh -c 'test -t 0 || true'
for bad in x 'c 1:2' 'd 1:2 r' 'c 1 r' 'c 1:2 x' 'c -1:2 r' 'a 1:* rwm'; do
	code 125 "refused: --device-cgroup-rule '$bad'" run --device-cgroup-rule "$bad" busybox true
	has "by its name" "shale: --device-cgroup-rule '$bad': want "
done
code 1 "no other device opens" run busybox sh -c 'mknod /dev/x b 7 0 && head -c 1 /dev/x'
no_leaks
done_testing
