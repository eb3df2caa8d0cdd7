/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to systemd, and the end of the jobs that they begin. Inside results are sd-bus's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define OBJECT  "/org/freedesktop/systemd1"
#define MANAGER SYSTEMD, OBJECT, SYSTEMD ".Manager"

#define auto_message cleanup(sd_bus_message_unrefp)

struct talk {
	sd_bus *bus;
	sd_bus_error why;
	const char *unit;
	char *path;   /* the unit's object */
	json_t *done; /* jobs of the unit that ended, and how */
};

static int append_value(sd_bus_message *m, const char *signature, const json_t *v)
{
	const json_t *one;
	size_t i;
	int rc;

	if (*signature == 's')
		return sd_bus_message_append_basic(m, 's', json_string_value(v));
	if (*signature == 't')
		return sd_bus_message_append(m, "t", (uint64_t)json_integer_value(v));
	if (*signature != 'a') /* smaller ones are handed over as int */
		return sd_bus_message_append(m, signature,
					     json_is_true(v) ? 1 : (int)json_integer_value(v));
	rc = sd_bus_message_open_container(m, 'a', signature + 1);
	json_array_foreach(v, i, one) rc = rc < 0 ? rc : append_value(m, signature + 1, one);
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

static int append_property(sd_bus_message *m, const json_t *property)
{
	const char *name = json_string_value(json_array_get(property, 0)),
		   *signature = json_string_value(json_array_get(property, 1));
	int rc = sd_bus_message_open_container(m, 'r', "sv");

	if (rc < 0 || !name || !signature)
		return rc < 0 ? rc : -EINVAL;
	rc = sd_bus_message_append(m, "s", name);
	if (rc >= 0)
		rc = sd_bus_message_open_container(m, 'v', signature);
	if (rc >= 0)
		rc = append_value(m, signature, json_array_get(property, 2));
	if (rc >= 0)
		rc = sd_bus_message_close_container(m);
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

int scope_append(sd_bus_message *m, const json_t *properties)
{
	int rc = sd_bus_message_open_container(m, 'a', "(sv)");
	const json_t *one;
	size_t i;

	json_array_foreach(properties, i, one) rc = rc < 0 ? rc : append_property(m, one);
	return rc < 0 ? rc : sd_bus_message_close_container(m);
}

/* --- jobs --- */

static int on_job(sd_bus_message *m, void *arg, sd_bus_error *ignored)
{
	const char *job, *unit, *result;
	struct talk *t = arg;
	uint32_t id;

	(void)ignored;
	if (sd_bus_message_read(m, "uoss", &id, &job, &unit, &result) >= 0 &&
	    strcmp(unit, t->unit) == 0)
		json_object_set_new(t->done, job, json_from_str(result));
	return 0;
}

/* Until the job that a reply names has ended; -ECANCELED: otherwise than done. */
static int await_job(struct talk *t, sd_bus_message *reply)
{
	const char *job, *result;
	int rc = sd_bus_message_read(reply, "o", &job);

	while (rc >= 0 && !(result = json_get_str(t->done, job))) {
		rc = sd_bus_process(t->bus, NULL);
		if (rc == 0)
			rc = sd_bus_wait(t->bus, UINT64_MAX);
	}
	if (rc < 0 || strcmp(result, "done") == 0)
		return rc;
	sd_bus_error_setf(&t->why, SYSTEMD ".Job", "the job ended as \"%s\"", result);
	return -ECANCELED;
}

/* --- verbs --- */

static int begin(struct talk *t, const char *method, sd_bus_message **ret)
{
	int rc = sd_bus_message_new_method_call(t->bus, ret, MANAGER, method);

	return rc < 0 ? rc : sd_bus_message_append(*ret, "s", t->unit);
}

static int start_once(struct talk *t, const json_t *plan, sd_bus_message **ret)
{
	auto_message sd_bus_message *m = NULL;
	int rc = begin(t, "StartTransientUnit", &m);

	if (rc >= 0)
		rc = sd_bus_message_append(m, "s", "fail");
	if (rc >= 0)
		rc = scope_append(m, json_object_get(plan, "properties"));
	if (rc >= 0)
		rc = sd_bus_message_append(m, "a(sa(sv))", 0);
	return rc < 0 ? rc : sd_bus_call(t->bus, m, 0, &t->why, ret);
}

/* One that failed keeps its name until systemd is told to forget it. */
static int forget(struct talk *t)
{
	return sd_bus_call_method(t->bus, MANAGER, "ResetFailedUnit", NULL, NULL, "s", t->unit);
}

static int start(struct talk *t, const json_t *plan, json_t *answer)
{
	auto_message sd_bus_message *reply = NULL;
	auto_free char *group = NULL;
	int rc = start_once(t, plan, &reply);

	if (sd_bus_error_has_name(&t->why, SYSTEMD ".UnitExists") && forget(t) >= 0) {
		sd_bus_error_free(&t->why);
		rc = start_once(t, plan, &reply);
	}
	if (rc >= 0)
		rc = await_job(t, reply);
	if (rc >= 0)
		rc = sd_bus_get_property_string(t->bus, SYSTEMD, t->path, SYSTEMD ".Scope",
						"ControlGroup", &t->why, &group);
	json_set_str(answer, "group", group);
	return rc;
}

static int set(struct talk *t, const json_t *plan, json_t *answer)
{
	auto_message sd_bus_message *m = NULL;
	int rc = begin(t, "SetUnitProperties", &m);

	(void)answer;
	if (rc >= 0)
		rc = sd_bus_message_append(m, "b", true); /* it is not written to /etc */
	if (rc >= 0)
		rc = scope_append(m, json_object_get(plan, "properties"));
	return rc < 0 ? rc : sd_bus_call(t->bus, m, 0, &t->why, NULL);
}

/* One that is empty goes by itself. */
static int stop(struct talk *t, const json_t *plan, json_t *answer)
{
	auto_message sd_bus_message *reply = NULL;
	auto_free char *what = NULL;
	int rc = sd_bus_get_property_string(t->bus, SYSTEMD, t->path, SYSTEMD ".Unit",
					    "Description", &t->why, &what);

	(void)answer;
	if (rc < 0 || !str_eq(what, json_get_str(plan, "description")))
		return rc;
	rc = sd_bus_call_method(t->bus, MANAGER, "StopUnit", &t->why, &reply, "ss", t->unit,
				"replace");
	if (rc >= 0)
		rc = await_job(t, reply);
	if (rc == -ECANCELED || sd_bus_error_has_name(&t->why, SYSTEMD ".NoSuchUnit"))
		rc = 0;
	forget(t);
	return rc;
}

/* --- the connection --- */

/* systemd's own socket is root's, there before and without a bus; a container that shale itself
 * runs in may have been given the bus alone, or one that the environment names. */
static int connect_to(sd_bus **ret)
{
	int rc = getenv("DBUS_SYSTEM_BUS_ADDRESS") ? -ENOENT : sd_bus_new(ret);

	if (rc >= 0)
		rc = sd_bus_set_address(*ret, "unix:path=/run/systemd/private");
	if (rc >= 0)
		rc = sd_bus_start(*ret);
	if (rc >= 0)
		return rc;
	*ret = sd_bus_unref(*ret);
	return sd_bus_open_system(ret);
}

static int open_talk(struct talk *t)
{
	int rc = connect_to(&t->bus);

	/* By a bus others can send the same; without one messages name no sender. */
	if (rc >= 0)
		rc = sd_bus_match_signal(t->bus, NULL,
					 sd_bus_is_bus_client(t->bus) > 0 ? SYSTEMD : NULL, OBJECT,
					 SYSTEMD ".Manager", "JobRemoved", on_job, t);
	if (rc >= 0)
		rc = sd_bus_call_method(t->bus, MANAGER, "Subscribe", &t->why, NULL, NULL);
	return rc;
}

static void close_talk(struct talk *t)
{
	sd_bus_close_unref(t->bus);
	sd_bus_error_free(&t->why);
	free(t->path);
	json_decref(t->done);
}

int scope_run(const json_t *plan, json_t *answer, struct err *err)
{
	static const struct {
		const char *verb;
		int (*run)(struct talk *t, const json_t *plan, json_t *answer);
	} verbs[] = { { SCOPE_START, start }, { SCOPE_SET, set }, { SCOPE_STOP, stop } };
	struct talk t = { .unit = json_get_str(plan, "unit") };
	const char *during = "systemd cannot be asked";
	int rc = -EINVAL;

	for (size_t i = 0; i < ARRAY_LEN(verbs) && t.unit; i++) {
		if (!str_eq(verbs[i].verb, json_get_str(plan, "verb")))
			continue;
		t.done = json_object();
		rc = sd_bus_path_encode(OBJECT "/unit", t.unit, &t.path);
		if (rc >= 0)
			rc = open_talk(&t);
		if (rc >= 0) {
			during = "systemd";
			rc = verbs[i].run(&t, plan, answer);
		}
	}
	if (rc < 0)
		err_set(err, -rc, "%s: %.200s", during, t.why.message ?: strerror(-rc));
	close_talk(&t);
	return rc < 0 ? rc : 0;
}
