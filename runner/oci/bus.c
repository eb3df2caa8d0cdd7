/* SPDX-License-Identifier: Apache-2.0 */
/*
 * D-Bus as far as systemd is asked: methods called, the end of a job awaited. By hand, because the
 * runtime is linked statically and starts in a millisecond: sd-bus would be another program, its
 * loading and a package to build with, for a few calls.
 *
 * https://dbus.freedesktop.org/doc/dbus-specification.html: a value is aligned to its size, counted
 * from the begin of the message; the body begins at a multiple of 8.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <shale/base/fd.h>
#include <shale/base/proc.h>

#include "priv.h"

enum { MESSAGE_MAX = 4 << 20, ANSWER_MAX = 512, JOBS_MAX = 4096, WAIT_MS = 30 * 1000 };
enum { CALL = 1, RETURN = 2, FAILURE = 3, SIGNAL = 4, VERSION = 1, HEADER = 16 };
enum { OF_PATH = 1, OF_INTERFACE, OF_MEMBER, OF_ERROR, OF_REPLY, OF_RECEIVER, OF_SIGNATURE = 8 };

#define SYSTEMD  "org.freedesktop.systemd1"
#define BUS      "org.freedesktop.DBus"
#define BUS_PATH "/org/freedesktop/DBus"
/* Where systemd itself listens, for root alone: it is there before and without a bus. */
#define PRIVATE "/run/systemd/private"

static const char byte_order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B';

struct oci_bus {
	int fd;
	uint32_t serial;
	int64_t until_ms;
	struct strv done; /* "JOB RESULT" of those that ended while we waited for something else */
};

/* --- writing --- */

static void align(struct str *to, size_t n)
{
	while (to->len % n)
		str_addc(to, 0);
}

void oci_bus_u32(struct str *to, uint32_t n)
{
	align(to, sizeof(n));
	str_addn(to, &n, sizeof(n));
}

void oci_bus_u64(struct str *to, uint64_t n)
{
	align(to, sizeof(n));
	str_addn(to, &n, sizeof(n));
}

void oci_bus_text(struct str *to, const char *s)
{
	oci_bus_u32(to, (uint32_t)strlen(s));
	str_addn(to, s, strlen(s) + 1);
}

void oci_bus_signature(struct str *to, const char *s)
{
	str_addc(to, (char)strlen(s));
	str_addn(to, s, strlen(s) + 1);
}

struct oci_bus_array oci_bus_begin(struct str *to, size_t alignment)
{
	struct oci_bus_array a;

	oci_bus_u32(to, 0);
	a.length = to->len - sizeof(uint32_t);
	align(to, alignment);
	a.begin = to->len;
	return a;
}

/* The length does not count what aligns the first element. */
void oci_bus_end(struct str *to, struct oci_bus_array a)
{
	uint32_t n = (uint32_t)(to->len - a.begin);

	memcpy(to->s + a.length, &n, sizeof(n));
}

void oci_bus_struct(struct str *to)
{
	align(to, sizeof(uint64_t));
}

static void add_field(struct str *to, char code, const char *signature, const char *value)
{
	if (!value || !*value)
		return;
	oci_bus_struct(to);
	str_addc(to, code);
	oci_bus_signature(to, signature);
	if (*signature == 'g')
		oci_bus_signature(to, value);
	else
		oci_bus_text(to, value);
}

/* --- reading --- */

struct reader {
	const char *p;
	size_t len, at;
	bool bad;
};

struct message {
	char *bytes;
	uint32_t reply_to;
	uint8_t type;
	const char *member, *error, *signature;
	struct reader body;
};

static void message_cleanup(struct message *m)
{
	free(m->bytes);
	*m = (struct message){ 0 };
}

static void skip_to(struct reader *r, size_t n)
{
	size_t rest = r->at % n;

	r->at += rest ? n - rest : 0;
	r->bad = r->bad || r->at > r->len;
}

static uint8_t get_u8(struct reader *r)
{
	r->bad = r->bad || r->at >= r->len;
	return r->bad ? 0 : (uint8_t)r->p[r->at++];
}

static uint32_t get_u32(struct reader *r)
{
	uint32_t n = 0;

	skip_to(r, sizeof(n));
	r->bad = r->bad || r->len - r->at < sizeof(n);
	if (r->bad)
		return 0;
	memcpy(&n, r->p + r->at, sizeof(n));
	r->at += sizeof(n);
	return n;
}

static const char *get_bytes(struct reader *r, size_t n)
{
	const char *s = r->p + r->at;

	r->bad = r->bad || n >= r->len - r->at || s[n] || memchr(s, 0, n);
	r->at += r->bad ? 0 : n + 1;
	return r->bad ? "" : s;
}

static const char *get_text(struct reader *r)
{
	return get_bytes(r, get_u32(r));
}

static const char *get_signature(struct reader *r)
{
	return get_bytes(r, get_u8(r));
}

static void get_field(struct reader *r, struct message *m)
{
	uint8_t code = get_u8(r);
	const char *signature = get_signature(r), *text = "";
	uint32_t n = 0;

	if (strcmp(signature, "u") == 0)
		n = get_u32(r);
	else if (strcmp(signature, "s") == 0 || strcmp(signature, "o") == 0)
		text = get_text(r);
	else if (strcmp(signature, "g") == 0)
		text = get_signature(r);
	else
		r->bad = true;
	if (code == OF_REPLY)
		m->reply_to = n;
	else if (code == OF_MEMBER)
		m->member = text;
	else if (code == OF_ERROR)
		m->error = text;
	else if (code == OF_SIGNATURE)
		m->signature = text;
}

static int read_part(struct oci_bus *b, char *to, size_t n, struct err *err)
{
	while (n) {
		struct pollfd p = { b->fd, POLLIN, 0 };
		int64_t left = b->until_ms - proc_mono_ns() / 1000000;
		int ready = poll(&p, 1, left > 0 ? (int)left : 0);
		ssize_t got;

		if (ready == 0)
			return err_set(err, ETIMEDOUT, "systemd does not answer");
		got = ready < 0 ? -1 : read(b->fd, to, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? err_sys(err, "answer of systemd")
				       : err_set(err, EPIPE, "systemd closed the connection");
		to += got;
		n -= (size_t)got;
	}
	return 0;
}

#define auto_message cleanup(message_cleanup)

static int parse(struct message *m, size_t len, size_t fields_end, struct err *err)
{
	struct reader r = { m->bytes, fields_end, HEADER, false };

	m->type = (uint8_t)m->bytes[1];
	m->member = m->error = m->signature = "";
	while (r.at < r.len && !r.bad) {
		skip_to(&r, sizeof(uint64_t));
		get_field(&r, m);
	}
	if (r.bad)
		return err_set(err, EPROTO, "odd message of systemd");
	skip_to(&r, sizeof(uint64_t));
	m->body = (struct reader){ m->bytes + r.at, len - r.at, 0, false };
	return 0;
}

static int receive(struct oci_bus *b, struct message *m, struct err *err)
{
	char header[HEADER] = { 0 };
	uint32_t body, fields;
	size_t len;
	int rc = read_part(b, header, sizeof(header), err);

	if (rc < 0)
		return rc;
	memcpy(&body, header + 4, sizeof(body));
	memcpy(&fields, header + 12, sizeof(fields));
	if (header[0] != byte_order || header[3] != VERSION || body > MESSAGE_MAX ||
	    fields > MESSAGE_MAX)
		return err_set(err, EPROTO, "odd message of systemd");
	len = HEADER + ((size_t)fields + 7) / 8 * 8 + body;
	m->bytes = mem_array(len + 1, 1);
	memcpy(m->bytes, header, sizeof(header));
	rc = read_part(b, m->bytes + HEADER, len - HEADER, err);
	return rc < 0 ? rc : parse(m, len, HEADER + (size_t)fields, err);
}

/* JobRemoved: number, path, unit, result. */
static void note_job(struct oci_bus *b, struct message *m)
{
	const char *job, *result;

	if (m->type != SIGNAL || strcmp(m->member, "JobRemoved") != 0 ||
	    strcmp(m->signature, "uoss") != 0 || b->done.n >= JOBS_MAX)
		return;
	get_u32(&m->body);
	job = get_text(&m->body);
	get_text(&m->body);
	result = get_text(&m->body);
	if (!m->body.bad)
		strv_addf(&b->done, "%s %s", job, result);
}

/* --- calls --- */

static int failure(struct message *m, struct err *err)
{
	static const struct {
		const char *name;
		int code;
	} codes[] = {
		{ SYSTEMD ".NoSuchUnit", ENOENT },
		{ SYSTEMD ".UnitExists", EEXIST },
		{ BUS ".Error.AccessDenied", EACCES },
	};
	const char *text = *m->signature == 's' ? get_text(&m->body) : "";
	int code = EREMOTEIO;

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (strcmp(codes[i].name, m->error) == 0)
			code = codes[i].code;
	return err_set(err, code, "systemd: %.200s", *text ? text : m->error);
}

/* The first value, when it is text or a variant that holds text. */
static char *first_text(struct message *m)
{
	const char *signature = m->signature;

	if (*signature == 'v')
		signature = get_signature(&m->body);
	return *signature == 's' || *signature == 'o' ? mem_str(get_text(&m->body)) : mem_str("");
}

static int await_reply(struct oci_bus *b, uint32_t serial, char **ret, struct err *err)
{
	for (;;) {
		auto_message struct message m = { 0 };
		int rc = receive(b, &m, err);

		if (rc < 0)
			return rc;
		note_job(b, &m);
		if (m.reply_to != serial || (m.type != RETURN && m.type != FAILURE))
			continue;
		if (m.type == FAILURE)
			return failure(&m, err);
		if (ret)
			*ret = first_text(&m);
		return m.body.bad ? err_set(err, EPROTO, "odd answer of systemd") : 0;
	}
}

int oci_bus_call(struct oci_bus *b, const struct oci_bus_call *c, const struct str *args,
		 char **ret, struct err *err)
{
	auto_str struct str m = { 0 };
	struct oci_bus_array fields;
	int rc;

	str_addc(&m, byte_order);
	str_addc(&m, CALL);
	str_addc(&m, 0);
	str_addc(&m, VERSION);
	oci_bus_u32(&m, args ? (uint32_t)args->len : 0);
	oci_bus_u32(&m, ++b->serial);
	fields = oci_bus_begin(&m, 1);
	add_field(&m, OF_PATH, "o", c->path);
	add_field(&m, OF_INTERFACE, "s", c->interface);
	add_field(&m, OF_MEMBER, "s", c->method);
	add_field(&m, OF_RECEIVER, "s", strcmp(c->path, BUS_PATH) == 0 ? BUS : SYSTEMD);
	add_field(&m, OF_SIGNATURE, "g", c->signature);
	oci_bus_end(&m, fields);
	oci_bus_struct(&m);
	if (args)
		str_addn(&m, args->s, args->len);
	b->until_ms = proc_mono_ns() / 1000000 + WAIT_MS;
	rc = fd_write_all(b->fd, m.s, m.len, err);
	if (rc == 0)
		rc = await_reply(b, b->serial, ret, err);
	return rc < 0 ? err_ctx(err, "%s", c->method) : 0;
}

static const char *result_of(const struct oci_bus *b, const char *job)
{
	for (size_t i = 0; i < b->done.n; i++) {
		const char *line = b->done.v[i];

		if (str_starts(line, job) && line[strlen(job)] == ' ')
			return line + strlen(job) + 1;
	}
	return NULL;
}

int oci_bus_await_job(struct oci_bus *b, const char *job, struct err *err)
{
	const char *result;

	b->until_ms = proc_mono_ns() / 1000000 + WAIT_MS;
	while (!(result = result_of(b, job))) {
		auto_message struct message m = { 0 };
		int rc = receive(b, &m, err);

		if (rc < 0)
			return rc;
		note_job(b, &m);
	}
	if (strcmp(result, "done") != 0)
		return err_set(err, ECANCELED, "systemd: the job ended as \"%.32s\"", result);
	return 0;
}

/* --- the connection --- */

/* "\0AUTH EXTERNAL <uid in hex of its digits>". What follows BEGIN waits for the answer: systemd's
 * own socket does not look again at what it has read together with that line. */
static int authenticate(struct oci_bus *b, struct err *err)
{
	auto_free char *uid = mem_fmt("%u", (unsigned)geteuid());
	auto_str struct str hello = { 0 };
	char answer[ANSWER_MAX] = { 0 };
	size_t n = 0;
	int rc;

	str_addc(&hello, 0);
	str_add(&hello, "AUTH EXTERNAL ");
	for (const char *p = uid; *p; p++)
		str_addf(&hello, "%02x", (unsigned)*p);
	str_add(&hello, "\r\nBEGIN\r\n");
	rc = fd_write_all(b->fd, hello.s, hello.len, err);
	while (rc == 0 && (n == 0 || answer[n - 1] != '\n')) {
		if (n == sizeof(answer))
			return err_set(err, EPROTO, "odd answer of systemd");
		rc = read_part(b, answer + n++, 1, err);
	}
	if (rc == 0 && (n < 3 || memcmp(answer, "OK ", 3) != 0))
		return err_set(err, EACCES, "systemd refuses the connection");
	return rc;
}

static int subscribe(struct oci_bus *b, bool by_bus, struct err *err)
{
	static const struct oci_bus_call hello = { BUS_PATH, BUS, "Hello", "" },
					 match = { BUS_PATH, BUS, "AddMatch", "s" },
					 manager = { OCI_SYSTEMD_PATH, OCI_SYSTEMD_MANAGER,
						     "Subscribe", "" };
	auto_str struct str rule = { 0 };
	int rc = by_bus ? oci_bus_call(b, &hello, NULL, NULL, err) : 0;

	oci_bus_text(&rule, "type='signal',sender='" SYSTEMD "',interface='" OCI_SYSTEMD_MANAGER
			    "',member='JobRemoved'");
	if (rc == 0 && by_bus)
		rc = oci_bus_call(b, &match, &rule, NULL, err);
	return rc == 0 ? oci_bus_call(b, &manager, NULL, NULL, err) : rc;
}

/* "unix:path=/run/dbus/system_bus_socket", as programs of root have it in their environment. */
static char *bus_path(void)
{
	static const char unix_path[] = "unix:path=";
	const char *s = getenv("DBUS_SYSTEM_BUS_ADDRESS");

	if (!s || !str_starts(s, unix_path))
		return mem_str("/run/dbus/system_bus_socket");
	s += sizeof(unix_path) - 1;
	return mem_strn(s, strcspn(s, ",;"));
}

int oci_bus_open(struct oci_bus **ret, struct err *err)
{
	auto_oci_bus struct oci_bus *b = mem_alloc(sizeof(*b));
	auto_free char *path = bus_path();
	struct err ignored;
	bool by_bus = true;
	int rc;

	b->fd = oci_connect(path, err);
	if (b->fd < 0 && (b->fd = oci_connect(PRIVATE, &ignored)) >= 0) {
		err_clear(err);
		by_bus = false;
	}
	if (b->fd < 0)
		return err_ctx(err, "systemd cannot be asked");
	b->until_ms = proc_mono_ns() / 1000000 + WAIT_MS;
	rc = authenticate(b, err);
	if (rc == 0)
		rc = subscribe(b, by_bus, err);
	if (rc < 0)
		return err_ctx(err, "systemd cannot be asked");
	*ret = take(b);
	return 0;
}

void oci_bus_cleanup(struct oci_bus **b)
{
	int saved = errno;

	if (*b) {
		fd_close(&(*b)->fd);
		strv_free(&(*b)->done);
		free(*b);
	}
	*b = NULL;
	errno = saved;
}
