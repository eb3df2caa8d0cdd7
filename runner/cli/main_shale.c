/* SPDX-License-Identifier: Apache-2.0 */
/* shale: the program that people type. It links little, so that it starts in a millisecond. */
#include "priv.h"

#ifdef SHALE_STATIC
/*
 * SQLite could load extensions, and a static program that loads libraries wants those of the very
 * libc it was linked with. This one never loads any (the linker sends dlopen here): nothing of an
 * image can get in that way (TRAPS T2).
 */
void *__wrap_dlopen(const char *file, int mode);
void *__wrap_dlsym(void *handle, const char *name);
int __wrap_dlclose(void *handle);
char *__wrap_dlerror(void);

void *__wrap_dlopen(const char *file, int mode)
{
	(void)file;
	(void)mode;
	return NULL;
}

void *__wrap_dlsym(void *handle, const char *name)
{
	(void)handle;
	(void)name;
	return NULL;
}

int __wrap_dlclose(void *handle)
{
	(void)handle;
	return -1;
}

char *__wrap_dlerror(void)
{
	static char text[] = "this program loads no libraries";

	return text;
}
#endif

int main(int argc, char **argv)
{
	return cli_main(cli_commands, argc, argv);
}
