/* SPDX-License-Identifier: Apache-2.0 */
/* Names of signals. */
#include <shale/base/proc.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

#include <shale/base/mem.h>
#include <shale/base/str.h>

static int signal_number(const char *name)
{
	static const struct {
		const char *name;
		int sig;
	} old[] = { { "IOT", SIGABRT }, { "CLD", SIGCHLD }, { "POLL", SIGIO } };

	for (int s = 1; s < SIGSYS + 1; s++)
		if (str_eq(sigabbrev_np(s), name))
			return s;
	for (size_t i = 0; i < ARRAY_LEN(old); i++)
		if (str_eq(old[i].name, name))
			return old[i].sig;
	return -EINVAL;
}

/* The real-time signals as the kernel counts them: 34 and 64, whatever libc keeps for itself. */
static int realtime_number(const char *name)
{
	bool from_max = str_starts(name, "RTMAX");
	uint64_t n = 0;

	if (!from_max && !str_starts(name, "RTMIN"))
		return -EINVAL;
	name += 5;
	if (*name && (*name != (from_max ? '-' : '+') || str_to_u64(name + 1, 10, 30, &n) < 0))
		return -EINVAL;
	return from_max ? 64 - (int)n : 34 + (int)n;
}

int proc_signal_find(const char *name)
{
	auto_free char *upper = mem_str(name);
	const char *s = upper;
	uint64_t n;
	int rc;

	if (str_to_u64(name, 10, 64, &n) == 0)
		return n ? (int)n : -EINVAL;
	for (char *p = upper; *p; p++)
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	if (str_starts(s, "SIG"))
		s += 3;
	rc = signal_number(s);
	return rc > 0 ? rc : realtime_number(s);
}
