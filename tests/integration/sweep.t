# SPDX-License-Identifier: Apache-2.0
# A sample of the durable steps (SHALE_TEST_LONG=1: all of them).
SWEEP=${SHALE_TEST_LONG:+all}
export SWEEP
exec sh "$(dirname "$0")/../crash/sweep"
