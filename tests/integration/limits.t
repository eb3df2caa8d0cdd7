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
	'--dns x' '--dns-search a;b' '--device x' '--device /dev/null:/etc/x' '--device /dev/null:/dev/x:r' '--group-add nosuch' '--label-file /nosuch'; do
	# shellcheck disable=SC2086
	code 125 "refused: $bad" run $bad busybox true
done
code 125 "a wrong one" run --cpuset-cpus x busybox true
has "is named" --cpuset-cpus
code 125 "less of a core than there is" run --cpu-period 1000000 --cpu-quota 5000 busybox true
has "is told" "want 0.01 of a core at least"

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
ok "--device" run --device /dev/zero:/dev/mine busybox sh -c '[ "$(head -c 2 /dev/mine | od -An -tx1 | tr -d " ")" = 0000 ]'
code 1 "no other device opens" run busybox sh -c 'mknod /dev/x b 7 0 && head -c 1 /dev/x'
no_leaks
done_testing
