# SPDX-License-Identifier: Apache-2.0
# Fifteen flush points of a logged disk (SHALE_TEST_LONG=1: all of them).
exec sh "$(dirname "$0")/../crash/logwrites" "${SHALE_TEST_LONG:+all}"
