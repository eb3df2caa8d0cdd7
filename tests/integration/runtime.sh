# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For tests of the OCI runtime: a bundle of busybox by hand, and its config changed by lines of Python.
RUNTIME=$(dirname "$SHALE")/shale-runtime
B=$T/bundle
rt() { "$RUNTIME" --root "$T/rt" --log "$T/log" --log-format json "$@"; }
mkdir -p "$B/rootfs/bin" "$B/rootfs/etc" "$B/rootfs/tmp" "$B/rootfs/dir"
cp "$(command -v busybox)" "$B/rootfs/bin/busybox"
for a in sh ls cat sleep id ps mount echo true stat test touch hostname readlink grep head printenv ulimit nice mkdir umask ip domainname chmod kill sed tr date ionice cut false; do
	ln -s busybox "$B/rootfs/bin/$a"
done
echo root:x:0:0:root:/root:/bin/sh >"$B/rootfs/etc/passwd"
(cd "$B" && "$RUNTIME" spec)
cp "$B/config.json" "$T/config.json"
cat >"$T/cfg.py" <<'EOF2'
import json, sys
out, base = sys.argv[1], sys.argv[2]
c = json.load(open(base))
c['process']['terminal'] = False
c['root']['readonly'] = False
for line in sys.argv[3:]:
    exec(line)
json.dump(c, open(out, 'w'))
EOF2
# cfg LINE…: config.json anew, with each line of Python done to c
cfg() { python3 "$T/cfg.py" "$B/config.json" "$T/config.json" "l = c['linux']; p = c['process']" "$@"; }
# sh_cfg SCRIPT LINE…: the same, running a shell script
sh_cfg() {
	script=$1
	shift
	SCRIPT=$script cfg "import os; p['args'] = ['sh', '-c', os.environ['SCRIPT']]" "$@"
}
i=0
# gives NAME WANT SCRIPT LINE…: what a container of that script prints
gives() {
	what=$1 want=$2
	shift 2
	sh_cfg "$@"
	i=$((i + 1))
	rt run -b "$B" "g$i" >"$T/o" 2>"$T/err" </dev/null || true
	if [ "$(cat "$T/o")" = "$want" ]; then pass "$what"; else
		{ echo "want: $want"; echo "got:  $(cat "$T/o")"; } >"$T/out"
		fail "$what"
	fi
}
# refused NAME WORD LINE…: run fails and names WORD
refused() {
	what=$1 word=$2
	shift 2
	sh_cfg "echo it ran" "$@"
	i=$((i + 1))
	rc=0
	rt run -b "$B" "r$i" >"$T/out" 2>"$T/err" </dev/null || rc=$?
	if [ "$rc" != 0 ] && grep -qF -- "$word" "$T/err" && ! grep -q 'it ran' "$T/out"; then pass "$what"; else fail "$what (no \"$word\")"; fi
}
runtime_clean() {
	for c in $(rt list -q 2>/dev/null); do rt delete -f "$c" >/dev/null 2>&1 || true; done
}
undo=runtime_clean
