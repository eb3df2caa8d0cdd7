/* SPDX-License-Identifier: Apache-2.0 */
/* Device rules on cgroup v2: a BPF program of the group (kernel: Documentation/bpf,
 * BPF_PROG_TYPE_CGROUP_DEVICE). What no rule fits is allowed, as in a v1 group. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/bpf.h>

#include <shale/base/fd.h>
#include <shale/base/sys.h>

#include "priv.h"

enum { RULES_MAX = 400, PER_RULE = 9, PROGRAMS_MAX = 64 };
#define PROGRAM_NAME "shale_devices"
enum {
	REG_TYPE = BPF_REG_2,
	REG_ACCESS = BPF_REG_3,
	REG_MAJOR = BPF_REG_4,
	REG_MINOR = BPF_REG_5,
	REG_SCRATCH = BPF_REG_1
};

struct program {
	struct bpf_insn v[RULES_MAX * PER_RULE + 16];
	int n;
};

static void emit(struct program *p, int code, int dst, int src, int off, int imm)
{
	p->v[p->n++] = (struct bpf_insn){ .code = (uint8_t)code,
					  .dst_reg = (uint8_t)(dst & 0xf),
					  .src_reg = (uint8_t)(src & 0xf),
					  .off = (int16_t)off,
					  .imm = imm };
}

/* access << 16 | type, major, minor */
static void load_context(struct program *p)
{
	const int load = BPF_LDX | BPF_MEM | BPF_W;

	emit(p, load, REG_TYPE, BPF_REG_1, 0, 0);
	emit(p, BPF_ALU | BPF_AND | BPF_K, REG_TYPE, 0, 0, 0xffff);
	emit(p, load, REG_ACCESS, BPF_REG_1, 0, 0);
	emit(p, BPF_ALU | BPF_RSH | BPF_K, REG_ACCESS, 0, 0, 16);
	emit(p, load, REG_MAJOR, BPF_REG_1, 4, 0);
	emit(p, load, REG_MINOR, BPF_REG_1, 8, 0);
}

/* A jump over the rest of the rule, whose length is known at its end. */
static void unless(struct program *p, int op, int reg, int value)
{
	emit(p, BPF_JMP32 | op | BPF_K, reg, 0, 0, value);
}

static void add_rule(struct program *p, const struct sandbox_device_rule *r)
{
	const unsigned every = SANDBOX_MKNOD | SANDBOX_READ | SANDBOX_WRITE;
	int begin = p->n;

	if (r->type != 'a')
		unless(p, BPF_JNE, REG_TYPE,
		       r->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (r->access != every) {
		/* Allowed: all that is wanted. Denied: any of it. */
		emit(p, BPF_ALU | BPF_MOV | BPF_X, REG_SCRATCH, REG_ACCESS, 0, 0);
		emit(p, BPF_ALU | BPF_AND | BPF_K, REG_SCRATCH, 0, 0,
		     (int)(r->allow ? every & ~r->access : r->access));
		unless(p, r->allow ? BPF_JNE : BPF_JEQ, REG_SCRATCH, 0);
	}
	if (r->major >= 0)
		unless(p, BPF_JNE, REG_MAJOR, (int)r->major);
	if (r->minor >= 0)
		unless(p, BPF_JNE, REG_MINOR, (int)r->minor);
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, r->allow);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (int i = begin; i < p->n; i++)
		if ((p->v[i].code & 0x7) == BPF_JMP32)
			p->v[i].off = (int16_t)(p->n - i - 1);
}

/* The last rule that fits decides, so the last is asked first; behind one for all nothing is. */
static void make(struct program *p, const struct sandbox_device_rule *r, size_t n)
{
	load_context(p);
	while (n-- > 0) {
		bool all = r[n].type == 'a' && r[n].access == 7 && r[n].major < 0 && r[n].minor < 0;

		add_rule(p, &r[n]);
		if (all)
			return;
	}
	emit(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
	emit(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* Ours among those of the group: its fd, or -1. systemd may have one there, too. */
static int find_attached(int group_fd)
{
	uint32_t ids[PROGRAMS_MAX] = { 0 };
	union bpf_attr query = { 0 };

	query.query.target_fd = (uint32_t)group_fd;
	query.query.attach_type = BPF_CGROUP_DEVICE;
	query.query.prog_ids = (uint64_t)(uintptr_t)ids;
	query.query.prog_cnt = PROGRAMS_MAX;
	if (sys_bpf(BPF_PROG_QUERY, &query, sizeof(query)) < 0)
		return -1;
	for (uint32_t i = 0; i < query.query.prog_cnt && i < PROGRAMS_MAX; i++) {
		union bpf_attr open = { 0 }, ask = { 0 };
		struct bpf_prog_info info = { 0 };
		auto_fd int fd = -1;

		open.prog_id = ids[i];
		fd = sys_bpf(BPF_PROG_GET_FD_BY_ID, &open, sizeof(open));
		ask.info.bpf_fd = (uint32_t)fd;
		ask.info.info = (uint64_t)(uintptr_t)&info;
		ask.info.info_len = sizeof(info);
		if (fd >= 0 && sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &ask, sizeof(ask)) == 0 &&
		    strncmp(info.name, PROGRAM_NAME, sizeof(info.name)) == 0)
			return fd_take(&fd);
	}
	return -1;
}

int sandbox_devices_attach(int group_fd, const struct sandbox_device_rule *r, size_t n,
			   struct err *err)
{
	static const char license[] = "Apache-2.0";
	auto_free struct program *p = mem_alloc(sizeof(*p));
	union bpf_attr load = { 0 }, attach = { 0 };
	auto_fd int fd = -1, before = find_attached(group_fd);

	if (n > RULES_MAX)
		return err_set(err, E2BIG, "more than %d device rules", RULES_MAX);
	make(p, r, n);
	load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	load.insns = (uint64_t)(uintptr_t)p->v;
	load.insn_cnt = (uint32_t)p->n;
	load.license = (uint64_t)(uintptr_t)license;
	memcpy(load.prog_name, PROGRAM_NAME, sizeof(PROGRAM_NAME));
	fd = sys_bpf(BPF_PROG_LOAD, &load, sizeof(load));
	if (fd < 0)
		return err_sys(err, "device rules: load the program");
	attach.target_fd = (uint32_t)group_fd;
	attach.attach_bpf_fd = (uint32_t)fd;
	attach.attach_type = BPF_CGROUP_DEVICE;
	attach.attach_flags = BPF_F_ALLOW_MULTI | (before >= 0 ? BPF_F_REPLACE : 0);
	attach.replace_bpf_fd = before >= 0 ? (uint32_t)before : 0;
	if (sys_bpf(BPF_PROG_ATTACH, &attach, sizeof(attach)) < 0)
		return err_sys(err, "device rules: attach the program");
	return 0;
}
