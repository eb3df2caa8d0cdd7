/* SPDX-License-Identifier: Apache-2.0 */
/* shale: the program that people type. It links little, so that it starts in a millisecond. */
#include <shale/base/path.h>

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

/* As shale-runtime it has that one command: what callers of an OCI runtime know is a program. */
static int main_runtime(int argc, char **argv)
{
	auto_free char **words = mem_array((size_t)argc + 2, sizeof(*words));
	char runtime[] = "runtime";

	words[0] = argv[0];
	words[1] = runtime;
	for (int i = 1; i < argc; i++)
		words[i + 1] = argv[i];
	return cli_main(cli_commands, argc + 1, words);
}

int main(int argc, char **argv)
{
	if (argc > 0 && str_eq(path_base(argv[0]), "shale-runtime"))
		return main_runtime(argc, argv);
	return cli_main(cli_commands, argc, argv);
}
