/* SPDX-License-Identifier: Apache-2.0 */
/* scope, shared inside the module. */
#ifndef SHALE_SCOPE_PRIV_H
#define SHALE_SCOPE_PRIV_H

#include <systemd/sd-bus.h>

#include <shale/base/json.h>
#include <shale/scope.h>

/* Properties as "a(sv)" at the end of m: as sd-bus does, 0 or more, or -errno. */
int scope_append(sd_bus_message *m, const json_t *properties);
/* What a plan asks for, into answer. */
int scope_run(const json_t *plan, json_t *answer, struct err *err);

#endif
