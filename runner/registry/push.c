/* SPDX-License-Identifier: Apache-2.0 */
#include "priv.h"

const struct op ops_push[] = { { 0 } };
