# SPDX-License-Identifier: Apache-2.0
# Ten power cuts (SHALE_TEST_LONG=1: a hundred).
exec sh "$(dirname "$0")/../crash/powercut" "${SHALE_TEST_LONG:+100}"
