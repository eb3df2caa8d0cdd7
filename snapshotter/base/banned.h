/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that shale does not use: naming one fails to compile. Included before every file. */
#ifndef SHALE_BASE_BANNED_H
#define SHALE_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok gmtime localtime mktemp   \
	system popen
#undef alloca
#pragma GCC poison alloca

#endif
