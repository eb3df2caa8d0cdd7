/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over files, without libFuzzer: replay FILE... */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>

#include <shale/base/fd.h>
#include <shale/base/mem.h>

enum { INPUT_MAX = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	struct err err = { 0 };

	for (int i = 1; i < argc; i++) {
		auto_free char *text = NULL;
		size_t len = 0;

		if (fd_read_file(AT_FDCWD, argv[i], INPUT_MAX, &text, &len, &err) < 0) {
			fprintf(stderr, "replay: %s\n", err.msg);
			return 1;
		}
		/* What is being run is known also when it ends the program. */
		fprintf(stderr, "\r%-60s", argv[i]);
		LLVMFuzzerTestOneInput((const uint8_t *)text, len);
	}
	fprintf(stderr, "\r%-60s\r", "");
	printf("%s: %d inputs\n", argv[0], argc - 1);
	return 0;
}
