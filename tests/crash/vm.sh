# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# A small machine: Debian's own cloud kernel in qemu (plain emulation, no KVM), an initramfs with busybox, shale and its tests, and a disk.
#   . vm.sh; vm_prepare; vm_disk FILE SIZE; vm_guest FILE (the guest's script); vm_boot DISK SECONDS LOG [CUT]
# cgroup v2 alone is mounted; under systemd it is what VM_APPEND, which goes to the kernel's command line, tells it. The guest's script ends the machine; its exit code is the last line of the log.
VM_CACHE=${VM_CACHE:-$top/build/vm}
VM_PID=
# Broken off, a test leaves no machine.
undo='[ -z "$VM_PID" ] || kill -9 "$VM_PID" 2>/dev/null'
VM_MODULES="virtio_pci virtio_blk overlay dm-log-writes loop"
# What netavark needs, beside vm_netavark's programs
VM_NET_MODULES="bridge veth nf_tables nft_compat nft_chain_nat xt_MASQUERADE xt_nat xt_comment xt_mark xt_conntrack xt_addrtype xt_tcpudp xt_multiport"

# The kernel is unpacked, never installed. Fails with a reason when the package cannot be had.
vm_kernel() {
	[ ! -s "$VM_CACHE/vmlinuz" ] || return 0
	mkdir -p "$VM_CACHE/deb"
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-6[^ ]*\)/\1/p' | head -n 1)
	[ -n "$package" ] || { echo "no kernel package is known to apt"; return 1; }
	(cd "$VM_CACHE/deb" && apt-get download "$package" >log 2>&1 && dpkg-deb -x linux-image-*.deb x) ||
		{ echo "the kernel package could not be downloaded"; return 1; }
	cp "$VM_CACHE"/deb/x/boot/vmlinuz-* "$VM_CACHE/vmlinuz.new"
	mv "$VM_CACHE/vmlinuz.new" "$VM_CACHE/vmlinuz"
}

# The programs of networks, for vm_prepare; fails with a reason.
vm_netavark() {
	for p in /usr/lib/podman/netavark /usr/lib/podman/aardvark-dns /usr/sbin/iptables /usr/sbin/ip6tables /usr/sbin/iptables-save; do
		[ -x "$p" ] || { echo "there is no $p"; return 1; }
		echo "$p"
	done
	# Its modules are in the directory that it was built for.
	for p in /usr/lib/*/xtables; do [ -d "$p" ] || { echo "there is no $p"; return 1; }; done
}

# Names of module $1 and what it needs, deepest first.
vm_module() {
	file=$(find "$VM_CACHE/deb/x" -name "$1.ko" -o -name "$(echo "$1" | tr _ -).ko" | head -n 1)
	[ -n "$file" ] || return 0
	for dep in $(modinfo -F depends "$file" | tr , ' '); do vm_module "$dep"; done
	file=$(find "$VM_CACHE/deb/x" -name "$1.ko" -o -name "$(echo "$1" | tr _ -).ko" | head -n 1)
	echo "$file"
}

# A program and the libraries that it loads.
vm_program() {
	cp "$1" "$VM_ROOT/bin/$(basename "$1")"
	for lib in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*'); do
		mkdir -p "$VM_ROOT$(dirname "$lib")"
		[ -e "$VM_ROOT$lib" ] || cp -L "$lib" "$VM_ROOT$lib"
	done
}

vm_init() {
	cat >"$VM_ROOT/init" <<-'EOF'
		#!/bin/sh
		# The kernel's first root cannot be pivoted away from, and containers do that.
		if [ ! -e /moved ]; then
			mkdir /new
			mount -t tmpfs -o mode=755 tmpfs /new
			for d in *; do [ "$d" = new ] || cp -a "$d" /new/; done
			touch /new/moved
			exec switch_root /new /init
		fi
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev 2>/dev/null
		mkdir -p /dev/pts /dev/shm /disk /root
		mount -t devpts devpts /dev/pts
		[ -x /lib/systemd/systemd ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
		exec >/dev/console 2>&1 </dev/null
		echo VM-UP
		for m in $(cat /modules/order); do insmod "/modules/$m" || echo "no module $m"; done
		ip link set lo up
		[ ! -b /dev/vda ] || mount -t ext4 /dev/vda /disk
		export PATH=/bin HOME=/root SHALE_ROOT=/disk/store
		[ ! -x /lib/systemd/systemd ] || exec /lib/systemd/systemd --log-level=warning --show-status=no
		code=0
		sh /guest || code=$?
		cd /
		sync
		umount /disk 2>/dev/null
		echo "VM-EXIT $code"
		poweroff -f
	EOF
	chmod 755 "$VM_ROOT/init"
}

# systemd as pid 1 with a bus, the host's own programs: the guest's script is a service of it. To be called before vm_prepare.
vm_systemd() {
	for p in /lib/systemd/systemd /usr/bin/dbus-daemon /usr/bin/systemctl; do
		[ -x "$p" ] || { echo "there is no $p"; return 1; }
	done
	VM_SYSTEMD=1
}

vm_units() {
	units=$VM_ROOT/etc/systemd/system
	mkdir -p "$VM_ROOT/lib/systemd" "$units" "$VM_ROOT/run/dbus" "$VM_ROOT/etc/dbus"
	vm_program /lib/systemd/systemd
	mv "$VM_ROOT/bin/systemd" "$VM_ROOT/lib/systemd/systemd"
	# Since 254 it starts its services by another program.
	[ ! -x /lib/systemd/systemd-executor ] || { vm_program /lib/systemd/systemd-executor; mv "$VM_ROOT/bin/systemd-executor" "$VM_ROOT/lib/systemd/"; }
	vm_program /usr/bin/dbus-daemon
	vm_program /usr/bin/systemctl
	: >"$VM_ROOT/etc/machine-id"
	printf '[Unit]\nRequires=guest.service\nAfter=guest.service\nAllowIsolate=yes\n' >"$units/default.target"
	printf '[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n' >"$units/dbus.socket"
	printf '[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\nExecStart=/bin/dbus-daemon --config-file=/etc/dbus/system.conf --address=systemd: --nofork --nopidfile --systemd-activation\n' >"$units/dbus.service"
	printf '[Unit]\nDefaultDependencies=no\nRequires=dbus.service\nAfter=dbus.service\n[Service]\nType=oneshot\nEnvironment=PATH=/bin HOME=/root SHALE_ROOT=/disk/store\nExecStart=/bin/sh /guest.run\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/console\n' >"$units/guest.service"
	printf '#!/bin/sh\ncode=0\nsh /guest || code=$?\ncd /\nsync\necho "VM-EXIT $code"\npoweroff -f\n' >"$VM_ROOT/guest.run"
	cat >"$VM_ROOT/etc/dbus/system.conf" <<-'EOF'
		<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
		<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
		<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
		<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
		</policy></busconfig>
	EOF
}

# The initramfs without the guest's script. vm_prepare PROGRAM…: these go to /bin as well
vm_prepare() {
	vm_kernel || return 1
	VM_ROOT=$T/vmroot
	mkdir -p "$VM_ROOT/bin" "$VM_ROOT/proc" "$VM_ROOT/sys/fs/cgroup" "$VM_ROOT/dev" "$VM_ROOT/tmp" "$VM_ROOT/var/tmp" "$VM_ROOT/run" "$VM_ROOT/etc" \
		"$VM_ROOT/modules" "$VM_ROOT/lib64"
	chmod 1777 "$VM_ROOT/tmp" "$VM_ROOT/var/tmp"
	cp /bin/busybox "$VM_ROOT/bin/busybox"
	for a in $(/bin/busybox --list); do [ "$a" = busybox ] || ln -sf busybox "$VM_ROOT/bin/$a"; done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$VM_ROOT/etc/passwd"
	echo 'root:x:0:' >"$VM_ROOT/etc/group"
	for m in $VM_MODULES; do vm_module "$m"; done | awk '!seen[$0]++' >"$T/modules"
	while read -r m; do
		cp "$m" "$VM_ROOT/modules/"
		basename "$m"
	done <"$T/modules" >"$VM_ROOT/modules/order"
	for p in "$@"; do
		vm_program "$p"
		case $p in
		/usr/lib/podman/* | /usr/sbin/*)
			mkdir -p "$VM_ROOT$(dirname "$p")"
			ln -s "/bin/$(basename "$p")" "$VM_ROOT$p"
			;;
		esac
		[ "$p" != /usr/sbin/iptables ] || for d in /usr/lib/*/xtables; do mkdir -p "$VM_ROOT$d" && cp "$d"/* "$VM_ROOT$d/"; done
	done
	[ -z "${VM_SYSTEMD:-}" ] || vm_units
	vm_init
	(cd "$VM_ROOT" && find . | cpio -o -H newc 2>/dev/null) >"$T/base.cpio"
	rm -rf "$VM_ROOT"
}

# An empty ext4.
vm_disk() {
	truncate -s "$2" "$1"
	mkfs.ext4 -q -F "$1"
}

# The script, and files or directories for the guest's root ("FILE NAME" pairs)
vm_guest() {
	rm -rf "$T/guest.d"
	mkdir "$T/guest.d"
	cp "$1" "$T/guest.d/guest"
	shift
	while [ $# -gt 1 ]; do
		cp -a "$1" "$T/guest.d/$2"
		shift 2
	done
	(cd "$T/guest.d" && find . | cpio -o -H newc 2>/dev/null) >"$T/guest.cpio"
	# The kernel unpacks one archive after the other; each begins at a multiple of four.
	cat "$T/base.cpio" "$T/guest.cpio" >"$T/initrd"
}

# A CPU without AVX: with it (-cpu max) verify took a digest of 32 bytes for zero about once in 30 boots, memory and disk were whole,
# and a second look found nothing; without it never in 125 boots. What emulates the saving of these registers is the likely cause.
VM_CPU=${VM_CPU:-Nehalem}
# In the background: VM_PID. cache=none: what qemu was told to write has reached the file; what the guest did not flush is lost with it.
vm_start() {
	qemu-system-x86_64 -accel tcg -cpu "$VM_CPU" -m 1024 -smp 2 -nographic -no-reboot -net none \
		-kernel "$VM_CACHE/vmlinuz" -initrd "$T/initrd" -append "console=ttyS0 quiet panic=-1 no_timer_check ${VM_APPEND:-}" \
		-drive "file=$1,format=raw,if=virtio,cache=writeback" ${VM_DRIVES:-} >"$2" 2>&1 </dev/null &
	VM_PID=$!
}

# Emulated machines sometimes stop in the firmware or before init, and have not seen the disk.
vm_is_up() { grep -q VM-UP "$1"; }

vm_kill() {
	kill -9 "$VM_PID" 2>/dev/null || true
	wait "$VM_PID" 2>/dev/null || true
	VM_PID=
}

# How much of a second has passed for a machine that shares the processors with all others, in thousandths
vm_passed() { awk -v n="$(nproc)" '{ print int(1000 / ($1 > n ? $1 / n : 1)) }' /proc/loadavg; }

# vm_boot DISK SECONDS LOG [CUT]: the exit code of the guest's script, or 124. CUT: when it says that word the power is cut, which is its end.
vm_boot() {
	vm_start "$1" "$3"
	vm_ms=0 vm_again=
	while [ "$vm_ms" -lt "$(($2 * 1000))" ]; do
		kill -0 "$VM_PID" 2>/dev/null || break
		if [ -n "${4:-}" ] && tr -d '\r' <"$3" | grep -qx "$4"; then
			vm_kill
			return 0
		fi
		if [ -z "$vm_again" ] && [ "$vm_ms" -ge 60000 ] && ! vm_is_up "$3"; then
			vm_again=1
			vm_kill
			vm_start "$1" "$3"
		fi
		sleep 1
		vm_ms=$((vm_ms + $(vm_passed)))
	done
	if kill -0 "$VM_PID" 2>/dev/null; then
		vm_kill
		return 124
	fi
	wait "$VM_PID" 2>/dev/null || true
	VM_PID=
	code=$(tr -d '\r' <"$3" | sed -n 's/^VM-EXIT \([0-9]*\)$/\1/p' | tail -n 1)
	return "${code:-125}"
}

# What a guest's script asks with; vm_answers PREFIX tells of each (lib.sh) when the machine has ended.
vm_words() {
	cat <<-'EOF'
		say() { if [ "$1" = 0 ]; then echo "VM ok $2"; else echo "VM not ok $2"; fi; }
		try() { name=$1; shift; "$@" >/tmp/out 2>&1; rc=$?; say $rc "$name"; [ $rc = 0 ] || tail -n 20 /tmp/out; }
		await() { for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; }
		is() { if [ "$2" = "$3" ]; then say 0 "$1"; else say 1 "$1: want '$2', got '$3'"; fi; }
	EOF
}

vm_answers() {
	tr -d '\r' <"$T/log" >"$T/out"
	sed -n 's/.*VM \(ok\|not ok\) /\1 /p' "$T/out" >"$T/results"
	while read -r line; do
		: >"$T/err"
		case $line in
		not*) fail "$1: ${line#not ok }" ;;
		*) pass "$1: ${line#ok }" ;;
		esac
	done <"$T/results"
	is "every question was answered" "$(grep -cE '^(try|is|refused) ' "$T/guest")" "$(wc -l <"$T/results")"
}
