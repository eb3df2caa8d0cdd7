/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over files, without libFuzzer: replay FILE... */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/mem.h>

enum { INPUT_MAX = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *running = "";

/* What was run is known also when it ends the program. */
static void tell(int sig)
{
	if (write(STDERR_FILENO, running, strlen(running)) > 0 && write(STDERR_FILENO, "\n", 1) > 0)
		signal(sig, SIG_DFL);
}

int main(int argc, char **argv)
{
	static const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
		signal(fatal[i], tell);
	for (int i = 1; i < argc; i++) {
		auto_free char *text = NULL;
		size_t len = 0;
		auto_fd int fd = open(argv[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0 || fd_read_all(fd, INPUT_MAX, &text, &len, &err) < 0) {
			fprintf(stderr, "replay: %s: %s\n", argv[i], err.msg);
			return 1;
		}
		running = argv[i];
		LLVMFuzzerTestOneInput((const uint8_t *)text, len);
	}
	printf("%s: %d inputs\n", argv[0], argc - 1);
	return 0;
}
