# SPDX-License-Identifier: Apache-2.0
# Registries as hosts are set up for them, and registries that lie, break off and lead elsewhere: a clear error, no partial image, no
# credentials in messages, and what is true is had by the next try.
. "$(dirname "$0")/lib.sh"
unset SHALE_PULL http_proxy https_proxy HTTPS_PROXY ALL_PROXY all_proxy
SHALE=$SHALE exec python3 -B "$top/tests/integration/registries_cases.py" "$SHALE" "$T"
