# SPDX-License-Identifier: Apache-2.0
# The distribution protocol: shale-transfer alone, against registries that misbehave and Debian's own.
top=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 "$top/tests/integration/transfer_cases.py" "${SHALE_TRANSFER:-$top/build/release/shale-transfer}"
