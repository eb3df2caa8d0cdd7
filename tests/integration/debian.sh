# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# A Debian base for the tests on real input, made once a run with mmdebstrap from the host's own package sources.

# debian_base: debian:12 in this store. Needs the package registry.
debian_base() {
	tar=$top/build/debian.tar
	(
		flock 9
		if [ ! -s "$tar" ]; then
			set -- /etc/apt/sources.list.d/*.sources
			[ -e "$1" ] || set -- /etc/apt/sources.list
			mmdebstrap --quiet --variant=apt --include=ca-certificates "$(. /etc/os-release && echo "$VERSION_CODENAME")" \
				"$T/debian.tar" "$@" >"$T/mmdebstrap.log" 2>&1 || { sed 's/^/# /' "$T/mmdebstrap.log" >&2; exit 1; }
			mv "$T/debian.tar" "$tar"
		fi
	) 9>"$top/build/debian.lock"
	"$SHALE" import --change 'CMD ["/bin/bash"]' "$tar" debian:12 >/dev/null
}
