/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem: memory with visible ownership.
 *
 * mem_* end the process when memory is out: any line may be the last one, so nothing is lost by it.
 * A size that comes from input is checked against a limit before it gets here.
 */
#ifndef SHALE_BASE_MEM_H
#define SHALE_BASE_MEM_H

#include <stddef.h>

#define cleanup(fn) __attribute__((cleanup(fn)))
#define auto_free   cleanup(mem_cleanup)

/* Ownership leaves here: evaluates to p and sets p to NULL. */
#define take(p)                                                                                    \
	__extension__({                                                                            \
		__typeof__(p) take_p = (p);                                                        \
		(p) = NULL;                                                                        \
		take_p;                                                                            \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

void *mem_alloc(size_t size);                   /* zeroed */
void *mem_array(size_t n, size_t size);         /* zeroed, the product is checked */
void *mem_grow(void *p, size_t n, size_t size); /* realloc to n elements, not zeroed */
char *mem_str(const char *s);                   /* NULL gives NULL */
char *mem_strn(const char *s, size_t n);
void *mem_dup(const void *p, size_t n);
char *mem_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* For auto_free: frees *(void **)pp and keeps errno. */
void mem_cleanup(void *pp);

/* Make room for one more in a growing array: doubles *cap, p may move. */
#define mem_room(p, n, cap)                                                                        \
	do {                                                                                       \
		if ((n) >= (cap)) {                                                                \
			(cap) = (cap) ? (cap)*2 : 8;                                               \
			(p) = mem_grow((p), (cap), sizeof(*(p)));                                  \
		}                                                                                  \
	} while (0)

#endif
