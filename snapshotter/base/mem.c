/* SPDX-License-Identifier: Apache-2.0 */
#include <shale/base/mem.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Nothing is lost by ending here: any line may be the last (STYLE.md, idea 5). */
static void *must(void *p)
{
	static const char text[] = "shale: out of memory\n";

	if (p)
		return p;
	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(125);
	_exit(125);
}

void *mem_alloc(size_t size)
{
	return must(calloc(1, size ? size : 1));
}

void *mem_array(size_t n, size_t size)
{
	return must(calloc(n ? n : 1, size ? size : 1));
}

void *mem_grow(void *p, size_t n, size_t size)
{
	return must(reallocarray(p, n ? n : 1, size ? size : 1));
}

char *mem_str(const char *s)
{
	return s ? must(strdup(s)) : NULL;
}

char *mem_strn(const char *s, size_t n)
{
	return must(strndup(s, n));
}

void *mem_dup(const void *p, size_t n)
{
	void *copy = must(malloc(n ? n : 1));

	if (n)
		memcpy(copy, p, n);
	return copy;
}

char *mem_fmt(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return must(n < 0 ? NULL : s);
}

void mem_cleanup(void *pp)
{
	int saved = errno;

	free(*(void **)pp);
	errno = saved;
}
