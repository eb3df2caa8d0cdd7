/* SPDX-License-Identifier: Apache-2.0 */
#include "prop.h"

int tools_check(struct prop *p, const struct made *m, unsigned n, struct err *err)
{
	(void)p;
	(void)m;
	(void)n;
	(void)err;
	return 0;
}
int tools_back(struct prop *p, const struct made *m, unsigned n, uint64_t seed, struct err *err)
{
	(void)p;
	(void)m;
	(void)n;
	(void)err;
	(void)seed;
	return 0;
}
