/* SPDX-License-Identifier: Apache-2.0 */
/* --chmod: octal or the symbolic form of chmod(1). Without "ugoa" all are meant: an image has no
 * umask. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <shale/base/str.h>
#include <shale/build.h>

/* Letters of "who" and the bits that each may touch. */
static const struct {
	char letter;
	uint32_t bits;
	unsigned shift; /* of its rwx */
} whos[] = {
	{ 'u', S_ISUID | S_IRWXU, 6 },
	{ 'g', S_ISGID | S_IRWXG, 3 },
	{ 'o', S_ISVTX | S_IRWXO, 0 },
	{ 'a', 07777, 0 },
};

static const struct {
	char letter;
	uint32_t bits; /* for everybody; cut down to who */
} perms[] = {
	{ 'r', 0444 }, { 'w', 0222 }, { 'x', 0111 }, { 's', S_ISUID | S_ISGID }, { 't', S_ISVTX },
};

static uint32_t who_bits(char c)
{
	for (size_t i = 0; i < ARRAY_LEN(whos); i++)
		if (whos[i].letter == c)
			return whos[i].bits;
	return 0;
}

/* The bits of one letter behind "+-="; -1: no such letter. "X" and u, g, o look at the mode there
 * is. */
static int64_t perm_bits(char c, uint32_t mode, bool any_x)
{
	for (size_t i = 0; i < ARRAY_LEN(perms); i++)
		if (perms[i].letter == c)
			return perms[i].bits;
	if (c == 'X')
		return any_x ? 0111 : 0;
	for (size_t i = 0; i < ARRAY_LEN(whos); i++)
		if (c != 'a' && whos[i].letter == c)
			return (int64_t)((mode >> whos[i].shift) & 7) * 0111;
	return -1;
}

/* "+rw-x=u": actions of one clause, up to a comma or the end. */
static int actions(const char **s, uint32_t who, uint32_t *mode, bool any_x)
{
	const char *p = *s;

	do {
		char op = *p++;
		uint32_t bits = 0;

		for (; *p && !strchr("+-=,", *p); p++) {
			int64_t more = perm_bits(*p, *mode, any_x);

			if (more < 0)
				return -EINVAL;
			bits |= (uint32_t)more;
		}
		bits &= who;
		if (op == '=')
			*mode &= ~who;
		if (op == '-')
			*mode &= ~bits;
		else
			*mode |= bits;
	} while (*p && *p != ',');
	*s = p;
	return 0;
}

static int symbolic(const char *s, uint32_t mode, bool is_dir, uint32_t *ret)
{
	/* POSIX: X asks for the mode before any change. */
	bool any_x = is_dir || (mode & 0111);

	for (;;) {
		uint32_t who = 0;

		for (; who_bits(*s); s++)
			who |= who_bits(*s);
		if (!*s || !strchr("+-=", *s))
			return -EINVAL;
		if (actions(&s, who ? who : 07777, &mode, any_x) < 0)
			return -EINVAL;
		if (!*s)
			break;
		s++;
	}
	*ret = mode;
	return 0;
}

int chmod_apply(const char *spec, uint32_t mode, bool is_dir, uint32_t *ret)
{
	uint64_t octal;
	uint32_t changed;

	if (str_to_u64(spec, 8, 07777, &octal) == 0) {
		*ret = (mode & ~07777U) | (uint32_t)octal;
		return 0;
	}
	if (symbolic(spec, mode & 07777, is_dir, &changed) < 0)
		return -EINVAL;
	*ret = (mode & ~07777U) | changed;
	return 0;
}
