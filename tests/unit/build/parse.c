/* SPDX-License-Identifier: Apache-2.0 */
/* Dockerfiles that must be refused, with the words of the message; warnings; and what an
 * instruction holds. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <shale/build.h>

#include "../../../runner/build/priv.h"
#include "tests.h"

static int parse(const char *text, struct dockerfile **ret, struct err *err)
{
	return dockerfile_parse("Dockerfile", text, strlen(text), ret, err);
}

static const struct {
	const char *text, *want;
} bad_files[] = {
	{ "", "Dockerfile: no instructions" },
	{ "# only a comment\n\n", "Dockerfile: no instructions" },
	{ "RUM x\n", "Dockerfile:1:1: unknown instruction: RUM (did you mean RUN?)\n  1 | RUM x" },
	{ "FROM a\n\nCOPPY a b\n",
	  "Dockerfile:3:1: unknown instruction: COPPY (did you mean COPY?)\n  3 | COPPY a b" },
	{ "FROM a\nxyzzyxyzzy\n", "Dockerfile:2:1: unknown instruction: XYZZYXYZZY\n" },
	{ "FROM a\nRUN x \\\n y\n\\\nQQQ\n", "Dockerfile:5:1: unknown instruction: QQQ\n" },
	{ "RUN x\n", "Dockerfile:1:1: RUN before the first FROM" },
	{ "ARG a\nENV b=c\nFROM x\n", "Dockerfile:2:1: ENV before the first FROM" },
	/* directives */
	{ "# escape=`\n# escape=`\nFROM a\n", "Dockerfile:2:1: only one escape directive" },
	{ "# syntax=a\n#SYNTAX = b\nFROM a\n", "Dockerfile:2:1: only one syntax directive" },
	{ "# escape=x\nFROM a\n", "Dockerfile:1:10: the escape directive takes" },
	/* FROM */
	{ "FROM\n", "FROM needs an image" },
	{ "FROM a b\n", "FROM takes an image" },
	{ "FROM a AS\n", "FROM takes an image" },
	{ "FROM a IS b\n", "FROM takes an image" },
	{ "FROM a AS b c\n", "FROM takes an image" },
	{ "FROM a AS 1b\n", "stage name 1b" },
	{ "FROM a AS b/c\n", "stage name b/c" },
	{ "FROM --platfrom=x a\n", "unknown flag of FROM: --platfrom (did you mean --platform?)" },
	{ "FROM --platform a\n", "--platform needs a value" },
	/* arguments */
	{ "FROM a\nRUN\n", "Dockerfile:2:1: RUN needs a command" },
	{ "FROM a\nRUN []\n", "RUN needs a command" },
	{ "FROM a\nCMD\n", "CMD needs a command; CMD []" },
	{ "FROM a\nENTRYPOINT \n", "ENTRYPOINT needs a command" },
	{ "FROM a\nCMD [\"a\", 1]\n", "CMD: a JSON array may hold strings only" },
	{ "FROM a\nSHELL sh -c\n", "SHELL needs a JSON array of strings" },
	{ "FROM a\nSHELL []\n", "SHELL needs a JSON array of strings" },
	{ "FROM a\nSHELL [\"a\" \"b\"]\n", "SHELL needs a JSON array of strings" },
	{ "FROM a\nSHELL [1]\n", "SHELL needs a JSON array of strings" },
	{ "FROM a\nCOPY x\n", "COPY needs a source and a destination" },
	{ "FROM a\nCOPY [\"x\"]\n", "COPY needs a source and a destination" },
	{ "FROM a\nADD\n", "ADD needs a source and a destination" },
	{ "FROM a\nCOPY a <<EOF\nEOF\n", "the destination must not be a heredoc" },
	{ "FROM a\nENV\n", "ENV needs name=value" },
	{ "FROM a\nENV x\n", "ENV x: needs a value" },
	{ "FROM a\nENV a=b c\n", "ENV: no \"=\" in c" },
	{ "FROM a\nENV =b\n", "ENV: a name is empty" },
	{ "FROM a\nLABEL\n", "LABEL needs name=value" },
	{ "FROM a\nARG\n", "ARG needs a name" },
	{ "FROM a\nARG =x\n", "ARG: a name is empty" },
	{ "FROM a\nEXPOSE\n", "EXPOSE needs a port" },
	{ "FROM a\nVOLUME\n", "VOLUME needs a path" },
	{ "FROM a\nVOLUME []\n", "VOLUME needs a path" },
	{ "FROM a\nVOLUME [\"\"]\n", "VOLUME: a path is empty" },
	{ "FROM a\nWORKDIR\n", "WORKDIR needs a path" },
	{ "FROM a\nUSER\n", "USER needs a user" },
	{ "FROM a\nSTOPSIGNAL\n", "STOPSIGNAL needs a signal" },
	{ "FROM a\nMAINTAINER\n", "MAINTAINER needs a name" },
	/* HEALTHCHECK */
	{ "FROM a\nHEALTHCHECK\n", "HEALTHCHECK needs NONE or CMD" },
	{ "FROM a\nHEALTHCHECK NONE x\n", "HEALTHCHECK NONE takes no arguments" },
	{ "FROM a\nHEALTHCHECK CMD\n", "HEALTHCHECK needs" },
	{ "FROM a\nHEALTHCHECK CMD []\n", "HEALTHCHECK CMD needs a command" },
	{ "FROM a\nHEALTHCHECK curl x\n", "HEALTHCHECK needs NONE or CMD, not curl" },
	{ "FROM a\nHEALTHCHECK --interval=x CMD y\n", "--interval=x must be a duration" },
	{ "FROM a\nHEALTHCHECK --timeout=1us CMD y\n", "--timeout=1us must be 0 or at least 1ms" },
	{ "FROM a\nHEALTHCHECK --retries=-1 CMD y\n", "--retries=-1 must be a number" },
	{ "FROM a\nHEALTHCHECK --intervall=1s CMD y\n", "(did you mean --interval?)" },
	/* flags */
	{ "FROM a\nRUN --mout=type=x y\n", "unknown flag of RUN: --mout (did you mean --mount?)" },
	{ "FROM a\nRUN --network=bridge y\n", "--network=bridge has no such value" },
	{ "FROM a\nRUN --network=none --network=none y\n", "--network is given twice" },
	{ "FROM a\nRUN --security=x y\n", "--security=x has no such value" },
	{ "FROM a\nCOPY --link=maybe a b\n", "--link=maybe must be true or false" },
	{ "FROM a\nCOPY --link= a b\n", "--link= must be true or false" },
	{ "FROM a\nCOPY --from a b\n", "--from needs a value" },
	{ "FROM a\nCOPY --from= a b\n", "--from needs a stage or an image" },
	{ "FROM a\nCOPY --from=$x a b\n", "variables are not expanded here" },
	{ "FROM a\nADD --from=x a b\n", "unknown flag of ADD: --from" },
	{ "FROM a\nUSER --x y\n", "USER has no flags: --x" },
	{ "FROM a\nCMD --x y\n", "CMD has no flags: --x" },
	/* ONBUILD */
	{ "FROM a\nONBUILD\n", "ONBUILD needs an instruction" },
	{ "FROM a\nONBUILD ONBUILD RUN x\n", "ONBUILD ONBUILD is not allowed" },
	{ "FROM a\nONBUILD FROM x\n", "ONBUILD FROM is not allowed" },
	{ "FROM a\nONBUILD maintainer x\n", "ONBUILD MAINTAINER is not allowed" },
	{ "FROM a\nONBUILD RUM x\n", "unknown instruction: RUM (did you mean RUN?)" },
	{ "FROM a\nONBUILD RUN --x y\n", "unknown flag of RUN: --x" },
	/* heredocs */
	{ "FROM a\nRUN <<EOF\nx\n",
	  "Dockerfile:2:1: the heredoc EOF does not end (no line EOF)\n  2 | RUN <<EOF" },
	{ "FROM a\nCOPY <<A <<B /\nA\n", "the heredoc B does not end" },
	{ "FROM a\nRUN <<EOF\n EOF\n", "the heredoc EOF does not end" },
	{ "FROM a\nONBUILD RUN <<EOF\nx\n", "the heredoc EOF does not end" },
	/* no terminal control from a file */
	{ "FROM a\nRUM\x1b[31m\n", "RUM?[31M" },
};

static void bad_files_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_files); i++) {
		struct dockerfile *d = NULL;
		struct err err = { 0 };

		if (parse(bad_files[i].text, &d, &err) != -EINVAL ||
		    !strstr(err.msg, bad_files[i].want))
			fail_msg("%s: want %s, got %s", bad_files[i].text, bad_files[i].want,
				 err.code ? err.msg : "success");
		assert_int_equal(err.code, EINVAL);
		assert_null(d);
	}
}

/* The line, the column and the mark beneath the word. */
static void places_are_marked(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "FROM a\n  RUN --mout=x y\n", "Dockerfile:2:7: unknown flag of RUN: --mout (did "
						"you mean --mount?)\n  2 |   RUN --mout=x y\n"
						"    |       ^~~~~~~~" },
		/* on the line of the word, not the instruction's; comments are no place */
		{ "FROM a\nENV a=b \\\n# c\n\tc\n",
		  "Dockerfile:4:2: ENV: no \"=\" in c (quote a value with blanks)\n  4 |  c\n"
		  "    |  ^" },
		/* a word of its own before a part of another one */
		{ "FROM a\nENV xb=1 b\n", "Dockerfile:2:10: ENV: no" },
		/* columns are characters */
		{ "FROM a\nLABEL ä=ö ü\n",
		  "Dockerfile:2:11: LABEL: no \"=\" in ü (quote a value with blanks)\n"
		  "  2 | LABEL ä=ö ü\n    |           ^" },
		{ "FROM a\n\n\n\n\n\n\n\n\nQQQ\n",
		  "Dockerfile:10:1: unknown instruction: QQQ\n  10 | QQQ\n     | ^~~" },
		{ "FROM a\nONBUILD from b\n", "Dockerfile:2:1: ONBUILD FROM is not allowed" },
		{ "FROM a\r\nUSER\r\n",
		  "Dockerfile:2:1: USER needs a user\n  2 | USER\n    | ^~~~" },
	};
	auto_free char *blanks = mem_fmt("FROM a\n\nENV%*s=AR x\n", 300, "");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct dockerfile *d = NULL;
		struct err err = { 0 };

		if (parse(rows[i].text, &d, &err) != -EINVAL || !str_starts(err.msg, rows[i].want))
			fail_msg("%s: want %s, got %s", rows[i].text, rows[i].want, err.msg);
	}
	{
		struct dockerfile *d = NULL;
		struct err err = { 0 };

		/* of a long line the part around the mark */
		assert_int_equal(parse(blanks, &d, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "Dockerfile:3:304: ENV: a name is empty\n  3 | …"));
		assert_true(str_ends(err.msg, " ^~~"));
		assert_true(strlen(err.msg) < 400);
	}
}

static void limits_are_kept(void **state)
{
	auto_str struct str many = { 0 }, docs = { 0 };
	auto_free char *big = mem_alloc(DF_BYTES_MAX + 2);
	struct dockerfile *d = NULL;
	struct err err = { 0 };

	(void)state;
	memset(big, '#', DF_BYTES_MAX + 1);
	assert_int_equal(parse(big, &d, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "longer than"));
	assert_int_equal(dockerfile_parse("D", "FROM a\0b", 8, &d, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "NUL"));

	str_add(&many, "FROM a\n");
	for (int i = 1; i < DF_INST_MAX; i++)
		str_add(&many, "RUN a\n");
	assert_int_equal(parse(many.s, &d, &err), 0);
	dockerfile_free(take(d));
	str_add(&many, "RUN a\n");
	assert_int_equal(parse(many.s, &d, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "more than 10000 instructions"));

	str_add(&docs, "FROM a\nCOPY ");
	for (int i = 0; i <= DF_HEREDOC_MAX; i++)
		str_addf(&docs, "<<E%d ", i);
	str_add(&docs, "/\n");
	assert_int_equal(parse(docs.s, &d, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "more than 100 heredocs"));
}

static void directives_are_read(void **state)
{
	static const struct {
		const char *text, *syntax, *check;
		char escape;
	} rows[] = {
		{ "# syntax=docker/dockerfile:1\n# escape=`\n# check=skip=all;error=true\nFROM a\n",
		  "docker/dockerfile:1", "skip=all;error=true", '`' },
		{ "\xef\xbb\xbf#Syntax =  x y  \r\nFROM a\r\n", "x y", NULL, '\\' },
		{ "  # escape = \\\nFROM a\n", NULL, NULL, '\\' },
		{ "# a comment\n# escape=`\nFROM a\n", NULL, NULL, '\\' },
		{ "# unknown=1\n# escape=`\nFROM a\n", NULL, NULL, '\\' },
		{ "\n# escape=`\nFROM a\n", NULL, NULL, '\\' },
		{ "FROM a\n# escape=`\n", NULL, NULL, '\\' },
		{ "# escape\n# escape=`\nFROM a\n", NULL, NULL, '\\' },
		{ "# escape=\n# syntax=x\nFROM a\n", NULL, NULL, '\\' },
		{ "# 1escape=`\nFROM a\n", NULL, NULL, '\\' },
		{ "#!/usr/bin/env x\n# escape=`\nFROM a\n", NULL, NULL, '\\' },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_dockerfile struct dockerfile *d = NULL;
		struct err err = { 0 };

		assert_int_equal(parse(rows[i].text, &d, &err), 0);
		if (!str_eq(d->syntax, rows[i].syntax) || !str_eq(d->check, rows[i].check) ||
		    d->escape != rows[i].escape)
			fail_msg("%s: %s %s %c", rows[i].text, d->syntax ? d->syntax : "-",
				 d->check ? d->check : "-", d->escape);
	}
}

/* text is what people read, args what runs; lines are where it stood. */
static void lines_are_joined(void **state)
{
	static const struct {
		const char *rest, *text, *arg;
		int end_line;
	} rows[] = {
		{ "RUN a b\n", "RUN a b", "a b", 2 },
		{ "  run   a b  \n", "run   a b", "a b", 2 },
		{ "RUN a \\\n  b\n", "RUN a b", "a   b", 3 },
		{ "RUN a\\\nb\n", "RUN ab", "ab", 3 },
		{ "RUN a \\   \n  b\n", "RUN a b", "a   b", 3 },
		{ "RUN a \\\\\n", "RUN a \\\\", "a \\\\", 2 },
		{ "RUN a \\\n# c\n  # d \\\n\tb\n", "RUN a b", "a \tb", 5 },
		{ "RUN a \\\n\n\\\n  b\n", "RUN a b", "a   b", 5 },
		{ "RUN a \\\n", "RUN a", "a", 2 },
		{ "RUN a \\", "RUN a", "a", 2 },
		{ "RUN a \\\r\n  b\r\n", "RUN a b", "a   b", 3 },
		{ "RUN a # no comment\n", "RUN a # no comment", "a # no comment", 2 },
		{ "\\\n  RUN a\n", "RUN a", "a", 3 },
		{ "R\\\nUN a\n", "RUN a", "a", 3 },
		{ "RUN <<EOF\n# x \\\nEOF\n", "RUN <<EOF", "<<EOF", 4 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_free char *text = mem_fmt("FROM x\n%s", rows[i].rest);
		auto_dockerfile struct dockerfile *d = NULL;
		struct err err = { 0 };

		if (parse(text, &d, &err) < 0)
			fail_msg("%s: %s", rows[i].rest, err.msg);
		assert_int_equal(d->n, 2);
		assert_string_equal(d->inst[1].text, rows[i].text);
		assert_int_equal(d->inst[1].args.n, 1);
		assert_string_equal(d->inst[1].args.v[0], rows[i].arg);
		assert_int_equal(d->inst[1].line, 2);
		assert_int_equal(d->inst[1].end_line, rows[i].end_line);
	}
}

/* How the arguments are cut: joined by "|", "json:" in front of the exec form. */
static void arguments_are_cut(void **state)
{
	static const struct {
		const char *line, *want;
	} rows[] = {
		{ "RUN a b", "a b" },
		{ "RUN [\"a\", \"b c\", \"\\u00e4\\\"\"]", "json:a|b c|\xc3\xa4\"" },
		{ "RUN  [ \"a\" ] ", "json:a" },
		{ "RUN [\"a\"] x", "[\"a\"] x" },
		{ "RUN [\"a\",]", "[\"a\",]" },
		{ "RUN ['a']", "['a']" },
		{ "RUN -- --x y", "--x y" },
		{ "CMD []", "json:" },
		{ "ENTRYPOINT [\"\"]", "json:" },
		{ "COPY a b  c\td", "a|b|c|d" },
		{ "COPY [\"a b\", \"c\"]", "json:a b|c" },
		{ "COPY \"a b\" c", "\"a|b\"|c" },
		{ "COPY a$x\\ y /z", "a$x\\|y|/z" },
		{ "COPY --chown=1:2 --chmod=u+x a b", "a|b" },
		{ "ADD --unpack=false a b", "a|b" },
		{ "VOLUME /a /b", "/a|/b" },
		{ "VOLUME [\"/a b\"]", "json:/a b" },
		{ "ENV a=b", "a=b" },
		{ "ENV a=b c=\"d e\" f='g h' i=j\\ k", "a=b|c=\"d e\"|f='g h'|i=j\\ k" },
		{ "ENV a=\"b\\\"c\" d=", "a=\"b\\\"c\"|d=" },
		{ "ENV a=b=c", "a=b=c" },
		{ "ENV a b  c=d \"e\"", "a=b  c=d \"e\"" },
		{ "ENV a=\"open", "a=\"open" },
		{ "ENV a=b\\", "a=b" },
		{ "LABEL \"a b\"=c d=e", "\"a b\"=c|d=e" },
		{ "LABEL a b c", "a=b c" },
		{ "ARG a", "a" },
		{ "ARG a b=1 c=\"x y\"", "a|b=1|c=\"x y\"" },
		{ "EXPOSE 80 81/udp $p", "80|81/udp|$p" },
		{ "USER a b", "a b" },
		{ "WORKDIR /a b/$c", "/a b/$c" },
		{ "STOPSIGNAL SIGTERM", "SIGTERM" },
		{ "SHELL [\"/bin/bash\", \"-c\"]", "json:/bin/bash|-c" },
		{ "MAINTAINER a <b@c>", "a <b@c>" },
		{ "HEALTHCHECK none", "NONE" },
		{ "HEALTHCHECK --interval=5s NONE", "NONE" },
		{ "HEALTHCHECK --interval=5s --retries=3 --start-period=0 CMD curl -f x",
		  "CMD|curl -f x" },
		{ "HEALTHCHECK cmd [\"a\", \"b\"]", "json:CMD|a|b" },
		{ "FROM a as b", "a|as|b" },
		{ "FROM --platform=$BUILDPLATFORM a", "a" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_str struct str got = { 0 };
		struct df_inst *inst = NULL;
		struct err err = { 0 };

		if (dockerfile_parse_line(rows[i].line, '\\', &inst, &err) < 0)
			fail_msg("%s: %s", rows[i].line, err.msg);
		str_add(&got, inst->is_json ? "json:" : "");
		for (size_t k = 0; k < inst->args.n; k++)
			str_addf(&got, "%s%s", k ? "|" : "", inst->args.v[k]);
		df_inst_free(inst);
		if (strcmp(got.s, rows[i].want) != 0)
			fail_msg("%s: want %s, got %s", rows[i].line, rows[i].want, got.s);
	}
}

static void flags_are_cut(void **state)
{
	struct df_inst *i = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(
		dockerfile_parse_line(
			"RUN --mount=type=bind,target='/a b' --mount=\"x\\\"y\"\t--network=none -- --z",
			'\\', &i, &err),
		0);
	assert_int_equal(i->n_flags, 3);
	assert_string_equal(i->flags[0].value, "type=bind,target=/a b");
	assert_string_equal(i->flags[1].value, "x\"y");
	assert_string_equal(inst_flag(i, "network")->value, "none");
	assert_null(inst_flag(i, "device"));
	assert_true(inst_flag_is_executed(i->kind, &i->flags[2]));
	assert_true(inst_flag_is_executed(i->kind, &i->flags[0]));
	assert_string_equal(i->args.v[0], "--z");
	df_inst_free(i);

	assert_int_equal(dockerfile_parse_line("COPY --link --parents=FALSE a b", '\\', &i, &err),
			 0);
	assert_null(i->flags[0].value);
	assert_true(inst_flag_is_executed(i->kind, &i->flags[0]));
	assert_int_equal(inst_flag_bool(i, "link", false), true);
	assert_int_equal(inst_flag_bool(i, "parents", true), false);
	assert_int_equal(inst_flag_bool(i, "unpack", true), true);
	df_inst_free(i);
}

static void heredocs_are_found(void **state)
{
	/* name:expand:strip of each */
	static const struct {
		const char *line, *want;
	} rows[] = {
		{ "RUN <<EOF", "EOF:1:0 " },
		{ "RUN <<-EOF", "EOF:1:1 " },
		{ "RUN <<'EOF'", "EOF:0:0 " },
		{ "RUN <<\"E F\"", "E F:0:0 " },
		{ "RUN <<E\\OF", "EOF:0:0 " },
		{ "RUN <<E'O'F", "EOF:0:0 " },
		{ "RUN 3<<EOF cat", "EOF:1:0 " },
		{ "RUN python3 <<A - <<-B", "A:1:0 B:1:1 " },
		{ "COPY <<a.txt <<'b c' /d/", "a.txt:1:0 b c:0:0 " },
		{ "ADD <<x /", "x:1:0 " },
		{ "ONBUILD RUN <<EOF", "EOF:1:0 " },
		{ "RUN cat <<<EOF", "" },
		{ "RUN echo $((1<<2))", "" },
		{ "RUN echo $(( 1 << 2 ))", "" },
		{ "RUN echo '<<EOF'", "" },
		{ "RUN echo \"x <<EOF\"", "" },
		{ "RUN echo \\<<EOF", "" },
		{ "RUN [\"cat\", \"<<EOF\"]", "" },
		{ "RUN cat <<''", "" },
		{ "RUN a<<EOF", "" },
		{ "CMD cat <<EOF", "" },
		{ "ENV a=<<EOF", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_str struct str text = { 0 }, got = { 0 };
		struct df_inst *inst = NULL, *owner;
		struct err err = { 0 };

		str_addf(&text, "%s\n", rows[i].line);
		for (const char *p = rows[i].want; *p; p = strchr(p, ' ') + 1) {
			/* the name may hold a blank itself: up to the colon */
			const char *end = strchr(p, ':');

			str_addf(&text, "\tbody\n%.*s\n", (int)(end - p), p);
			p = end;
		}
		if (dockerfile_parse_line(text.s, '\\', &inst, &err) < 0)
			fail_msg("%s: %s", text.s, err.msg);
		owner = inst->onbuild ? inst->onbuild : inst;
		for (size_t k = 0; k < owner->n_heredocs; k++) {
			struct df_heredoc *h = &owner->heredocs[k];

			str_addf(&got, "%s:%d:%d ", h->name, h->expand, h->strip);
			assert_string_equal(h->body, h->strip ? "body\n" : "\tbody\n");
		}
		df_inst_free(inst);
		if (strcmp(str_get(&got), rows[i].want) != 0)
			fail_msg("%s: want %s, got %s", rows[i].line, rows[i].want, str_get(&got));
	}
}

static void heredoc_words_are_told_apart(void **state)
{
	struct df_inst *i = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(dockerfile_parse_line("COPY a <<'b c' d/\nx\nb c\n", '\\', &i, &err), 0);
	assert_int_equal(i->args.n, 3);
	assert_false(inst_is_heredoc_word(i, i->args.v[0]));
	assert_true(inst_is_heredoc_word(i, i->args.v[1]));
	assert_false(inst_is_heredoc_word(i, i->args.v[2]));
	df_inst_free(i);
}

/* A heredoc keeps its bytes: CRLF, comments, continuation, a last line without an end. */
static void heredoc_bodies_are_exact(void **state)
{
	auto_dockerfile struct dockerfile *d = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(
		parse("FROM a\nCOPY <<A <<-B /\n# x\r\n\ny \\\nA\n\t\tz\n\t w\n\tB\r\nRUN c\n", &d,
		      &err),
		0);
	assert_int_equal(d->n, 3);
	assert_string_equal(d->inst[1].heredocs[0].body, "# x\r\n\ny \\\n");
	assert_string_equal(d->inst[1].heredocs[1].body, "z\n w\n");
	assert_int_equal(d->inst[1].end_line, 9);
	assert_int_equal(d->inst[2].line, 10);
}

/* What ONBUILD stores in an image can be parsed again and says the same. */
static void triggers_round_trip(void **state)
{
	static const char *const rows[] = {
		"RUN echo \"a   b\" && c", "COPY --from=x a b", "COPY <<A <<'B' /\n1\nA\n2\nB",
		"RUN <<-E cat\nx\nE",      "ENV a=b c=d",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_free char *text = mem_fmt("ONBUILD  %s", rows[i]), *stored = NULL;
		struct df_inst *inst = NULL;
		struct err err = { 0 };

		assert_int_equal(dockerfile_parse_line(text, '\\', &inst, &err), 0);
		stored = inst_trigger_text(inst);
		df_inst_free(inst);
		assert_string_equal(stored, rows[i]);
		assert_int_equal(dockerfile_parse_line(stored, '\\', &inst, &err), 0);
		df_inst_free(inst);
	}
}

static void one_line_is_one_instruction(void **state)
{
	struct df_inst *i = NULL;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(dockerfile_parse_line("", '\\', &i, &err), -EINVAL);
	assert_int_equal(dockerfile_parse_line("RUN a\nRUN b", '\\', &i, &err), -EINVAL);
	assert_int_equal(dockerfile_parse_line("RUM a", '\\', &i, &err), -EINVAL);
	assert_string_equal(err.msg, "unknown instruction: RUM (did you mean RUN?)");
	assert_int_equal(dockerfile_parse_line("RUN a `\n b", '`', &i, &err), 0);
	assert_string_equal(i->text, "RUN a b");
	df_inst_free(i);
	df_inst_free(NULL);
}

int test_parse(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_files_are_refused),
		cmocka_unit_test(places_are_marked),
		cmocka_unit_test(limits_are_kept),
		cmocka_unit_test(directives_are_read),
		cmocka_unit_test(lines_are_joined),
		cmocka_unit_test(arguments_are_cut),
		cmocka_unit_test(flags_are_cut),
		cmocka_unit_test(heredocs_are_found),
		cmocka_unit_test(heredoc_words_are_told_apart),
		cmocka_unit_test(heredoc_bodies_are_exact),
		cmocka_unit_test(triggers_round_trip),
		cmocka_unit_test(one_line_is_one_instruction),
	};

	return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
