/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <shale/base/fd.h>

#include "transfer.h"

extern const struct command cmd_login, cmd_logout;

enum { SECRET_MAX = 32 << 10 };

struct login_args {
	const char *user, *password, *auth_file;
	bool from_stdin, tls_verify;
};

static const struct login_args login_defaults = { .tls_verify = true };

#define OFF(field) offsetof(struct login_args, field)
static const struct opt login_opts[] = {
	{ 'u', "username", OPT_STR, OFF(user), "NAME", "user name" },
	{ 'p', "password", OPT_STR, OFF(password), "PASSWORD",
	  "password or token; others see it in ps: --password-stdin is better" },
	{ 0, "authfile", OPT_STR, OFF(auth_file), "FILE", "keep it in that file" },
	{ 0, "password-stdin", OPT_BOOL, OFF(from_stdin), NULL,
	  "take the password from standard input" },
	{ 0, "tls-verify", OPT_BOOL, OFF(tls_verify), NULL,
	  "check the registry's certificate (default true)" },
	{ 0 },
};

/* "https://host/v1/" -> "host", as people copy it; Docker Hub by any of its names. */
static char *server_of(const char *text)
{
	const char *p = text ? text : "docker.io", *colon = strstr(p, "://");
	auto_free char *host = NULL;

	p = colon ? colon + 3 : p;
	host = mem_strn(p, strcspn(p, "/"));
	if (str_eq(host, "index.docker.io") || str_eq(host, "registry-1.docker.io"))
		return mem_str("docker.io");
	return take(host);
}

static int ask_line(const char *question, bool secret, char **ret, struct err *err)
{
	struct termios was, quiet;
	char line[1024];
	bool is_tty = tcgetattr(STDIN_FILENO, &was) == 0, got;

	if (!is_tty)
		return err_set(err, EINVAL,
			       "standard input is no terminal: give -u and --password-stdin");
	fputs(question, stderr);
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	if (secret)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	got = fgets(line, sizeof(line), stdin) != NULL;
	if (secret) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
		fputc('\n', stderr);
	}
	if (!got)
		return err_set(err, EINVAL, "no answer");
	line[strcspn(line, "\r\n")] = 0;
	*ret = mem_str(line);
	explicit_bzero(line, sizeof(line));
	return 0;
}

static int read_secret(char **ret, struct err *err)
{
	size_t len = 0;
	int rc = fd_read_all(STDIN_FILENO, SECRET_MAX, ret, &len, err);

	if (rc < 0)
		return rc;
	/* The end of the line is the shell's, as echo and here documents add it. */
	(*ret)[strcspn(*ret, "\r\n")] = 0;
	return 0;
}

static int credentials(const struct login_args *a, char **user, char **secret, struct err *err)
{
	int rc = 0;

	if (a->password && a->from_stdin)
		return err_set(err, EINVAL, "--password and --password-stdin exclude each other");
	if (a->from_stdin && !a->user)
		return err_set(err, EINVAL, "--password-stdin needs --username");
	if (a->from_stdin)
		rc = read_secret(secret, err);
	else if (a->password)
		*secret = mem_str(a->password);
	if (rc >= 0 && a->user)
		*user = mem_str(a->user);
	else if (rc >= 0)
		rc = ask_line("Username: ", false, user, err);
	if (rc >= 0 && !*secret)
		rc = ask_line("Password: ", true, secret, err);
	if (rc >= 0 && (!*user || !**user || strchr(*user, ':')))
		rc = err_set(err, EINVAL, "a user name has no colon and is not empty");
	/* What a script got from a variable that is not set */
	if (rc >= 0 && (!*secret || !**secret))
		rc = err_set(err, EINVAL, "the password is empty");
	return rc;
}

static int login(struct cli *c, const struct login_args *a, const char *server, struct err *err)
{
	cleanup(transfer_access_free) struct transfer_access access = { 0 };
	auto_free char *user = NULL, *secret = NULL, *where = NULL;
	int rc;

	transfer_access_make(c, a->tls_verify, &access);
	access.access.auth_file = a->auth_file;
	/* What is known already is tried first, as docker login does. */
	if (!a->user && !a->password &&
	    image_login(&access.access, server, NULL, NULL, &where, err) >= 0)
		return 0;
	err_clear(err);
	rc = credentials(a, &user, &secret, err);
	if (rc >= 0)
		rc = image_login(&access.access, server, user, secret, &where, err);
	if (secret)
		explicit_bzero(secret, strlen(secret));
	if (rc >= 0 && where)
		fprintf(stderr,
			"The password is kept unencrypted in %s (a credential helper would "
			"encrypt it)\n",
			where);
	return rc;
}

static int login_main(struct cli *c, void *args, int argc, char **argv)
{
	auto_free char *server = server_of(argc ? argv[0] : NULL);
	struct err err = { 0 };

	if (login(c, args, server, &err) < 0)
		return cli_fail(c, &err);
	puts("Login Succeeded");
	return cli_done(c);
}

static int logout_main(struct cli *c, void *args, int argc, char **argv)
{
	cleanup(transfer_access_free) struct transfer_access access = { 0 };
	auto_free char *server = server_of(argc ? argv[0] : NULL);
	struct err err = { 0 };
	int rc;

	(void)args;
	transfer_access_make(c, true, &access);
	rc = image_logout(&access.access, server, &err);
	if (rc < 0)
		return cli_fail(c, &err);
	printf(rc ? "Removing login credentials for %s\n" : "Not logged in to %s\n", server);
	return cli_done(c);
}

const struct command cmd_login = {
	.name = "login",
	.args = "[SERVER]",
	.summary = "Log in to a registry",
	.opts = login_opts,
	.args_size = sizeof(struct login_args),
	.main = login_main,
	.max_args = 1,
	.defaults = &login_defaults,
};

const struct command cmd_logout = {
	.name = "logout",
	.args = "[SERVER]",
	.summary = "Log out from a registry",
	.main = logout_main,
	.max_args = 1,
};
