# SPDX-License-Identifier: Apache-2.0
# T16 to T19 by load and pull: evil layers, bombs, archives cut short, reordered, doubled, lying: a clear error without control characters, no
# image, the store as it was, a canary outside untouched.
. "$(dirname "$0")/lib.sh"
unset SHALE_PULL http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy
exec python3 -B "$top/tests/integration/hostile_cases.py" "$SHALE" "$T"
