/* SPDX-License-Identifier: Apache-2.0 */
/* version: the one file that is compiled with the version. */
#include "priv.h"

const char shale_version[] = SHALE_VERSION;
