# SPDX-License-Identifier: Apache-2.0
# Sigstore bundles beside an image, found by the registry's list of referrers and by the tag that stands in for it: good ones, and what
# an attacker could leave there.
. "$(dirname "$0")/lib.sh"
unset SHALE_PULL http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy
SHALE=$SHALE exec python3 -B "$top/tests/integration/bundles.py" "$SHALE" "$T"
