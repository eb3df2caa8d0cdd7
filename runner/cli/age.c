/* SPDX-License-Identifier: Apache-2.0 */
/* age: how long ago. Apart from out.c, since shale-build has no containers. */
#include "priv.h"

#include <shale/base/proc.h>
#include <shale/container.h>

char *out_ago(int64_t then_s)
{
	auto_free char *age = container_age_text(proc_now_ns() - then_s * 1000000000);

	return mem_fmt("%s ago", age);
}
