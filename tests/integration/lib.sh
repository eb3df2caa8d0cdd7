# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What every integration test has: a store of its own, a busybox base, TAP, and the check that nothing is left behind.
#   . "$(dirname "$0")/lib.sh"; base; ok "what holds" command…; done_testing
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
SHALE=${SHALE:-$top/build/release/shale}
T=$(mktemp -d /var/tmp/shale-test.XXXXXX)
SHALE_ROOT=$T/store
export SHALE_ROOT
# Nothing is fetched by a misspelt name: the tests of registries say otherwise.
SHALE_PULL=never
export SHALE_PULL
# Tests run side by side and share one host: who wants a bridge makes a network namespace (network.t).
SHALE_NETWORK=host
export SHALE_NETWORK
unset SOURCE_DATE_EPOCH
n=0
failed=0

# Containers first: a running one holds its layers. Only what this store knows is touched.
cleanup() {
	trap - EXIT
	for c in $("$SHALE" ps -aq 2>/dev/null); do
		"$SHALE" rm -f "$c" >/dev/null 2>&1 || true
	done
	[ -z "${undo:-}" ] || eval "$undo" || true
	# What another tool mounted in a test that broke off
	awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l 2>/dev/null || true
	rm -rf "$T" 2>/dev/null || { sleep 1; rm -rf "$T"; }
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

shale() { "$SHALE" "$@"; }

pass() { n=$((n + 1)); echo "ok $n - $1"; }
fail() {
	n=$((n + 1))
	failed=$((failed + 1))
	echo "not ok $n - $1"
	[ ! -s "$T/out" ] || sed 's/^/# out: /' "$T/out" | tail -n 30
	[ ! -s "$T/err" ] || sed 's/^/# err: /' "$T/err" | tail -n 30
}
# ok NAME COMMAND…: it succeeds
ok() {
	name=$1
	shift
	if "$@" >"$T/out" 2>"$T/err" </dev/null; then pass "$name"; else fail "$name (exit $?)"; fi
}
# code N NAME COMMAND…: its exit status is N
code() {
	want=$1 name=$2
	shift 2
	rc=0
	"$@" >"$T/out" 2>"$T/err" </dev/null || rc=$?
	if [ "$rc" = "$want" ]; then pass "$name"; else fail "$name (exit $rc, not $want)"; fi
}
# is NAME WANT GOT
is() {
	: >"$T/out"
	: >"$T/err"
	if [ "$2" = "$3" ]; then pass "$1"; else
		printf 'want: %s\ngot:  %s\n' "$2" "$3" >"$T/out"
		fail "$1"
	fi
}
# has NAME TEXT: standard output or error of the last ok/code contains TEXT
has() {
	if grep -qF -- "$2" "$T/out" "$T/err"; then pass "$1"; else fail "$1 (no \"$2\")"; fi
}
hasnt() {
	if grep -qF -- "$2" "$T/out" "$T/err"; then fail "$1 (\"$2\" is there)"; else pass "$1"; fi
}
skip() { n=$((n + 1)); echo "ok $n # skip $1"; }
done_testing() {
	echo "1..$n"
	[ "$failed" = 0 ]
}

# busybox:latest in this store; the tar is made once for all tests of a run
base() {
	tar=$top/build/base.tar
	if [ ! -s "$tar" ]; then
		sh "$top/scripts/mkbase" "$T/base.tar"
		mv "$T/base.tar" "$tar"
	fi
	"$SHALE" import --change 'CMD ["/bin/sh"]' "$tar" busybox >/dev/null
}

# try NAME COMMAND…: polls for up to 10 s until the command succeeds
try() {
	name=$1
	shift
	for _ in $(seq 100); do
		if "$@" >"$T/out" 2>"$T/err" </dev/null; then pass "$name"; return; fi
		sleep 0.1
	done
	fail "$name"
}

# Until no process of this store is left, for 20 s: the child that syncs after the prompt may still be at it.
await_quiet() {
	procs=
	for _ in $(seq 40); do
		procs=$(grep -lsa "SHALE_ROOT=$SHALE_ROOT" /proc/[0-9]*/environ | while read -r p; do
			readlink "${p%/environ}/exe" | grep shale || true
		done)
		[ -n "$procs" ] || break
		sleep 0.5
	done
}

# No mount, process or cgroup of this store is left.
no_leaks() {
	left=$(grep -c "$T" /proc/self/mountinfo || true)
	is "no mount of the store is visible on the host" 0 "$left"
	await_quiet
	is "no process of shale is left" "" "$procs"
}
