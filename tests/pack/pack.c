/* SPDX-License-Identifier: Apache-2.0 */
/* pack CODEC LEVEL THREADS <in >out: the program's compressor alone, so that it can be run on a CPU
 * that has little. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/mem.h>
#include <shale/layer.h>

static int write_out(struct sink *to, const void *p, size_t n, struct err *err)
{
	(void)to;
	return fd_write_all(STDOUT_FILENO, p, n, err);
}

static int pack(const struct layer_pack_opts *o, struct err *err)
{
	cleanup(layer_pack_cleanup) struct layer_pack *p = NULL;
	struct sink out = { .write = write_out };
	static char buf[100000];
	ssize_t n;
	int rc = layer_pack_new(o, &out, &p, err);

	while (rc >= 0 && (n = fd_read_full(STDIN_FILENO, buf, sizeof(buf), err)) != 0) {
		if (n < 0)
			return (int)n;
		rc = layer_pack_sink(p)->write(layer_pack_sink(p), buf, (size_t)n, err);
	}
	return rc < 0 ? rc : layer_pack_end(p, err);
}

int main(int argc, char **argv)
{
	struct layer_pack_opts o = { 0 };
	struct err err = { 0 };

	if (argc != 4)
		return 2;
	o.level = atoi(argv[2]);
	o.threads = atoi(argv[3]);
	if (layer_codec_find(argv[1], &o.codec, &err) < 0 || pack(&o, &err) < 0) {
		fprintf(stderr, "pack: %s\n", err.msg);
		return 1;
	}
	return 0;
}
