/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cdi: what a vendor's file says that a device needs (Container Device Interface). Files in JSON,
 * in /etc/cdi, /etc/buildkit/cdi and /var/run/cdi, or where SHALE_CDI_DIRS says; a later directory
 * counts more.
 */
#ifndef SHALE_BASE_CDI_H
#define SHALE_BASE_CDI_H

#include <stdbool.h>

#include <jansson.h>

#include <shale/base/err.h>

/* "vendor.com/class=name", "vendor.com/class=*", "vendor.com/class". */
bool cdi_is_name(const char *name);
/* The containerEdits of the device, or of all that are meant, as an array that the caller owns.
 * -ENOENT. */
int cdi_find(const char *name, json_t **ret, struct err *err);
/* -ENOTSUP, and its name, for an edit that is none of these (NULL-terminated). */
int cdi_only(const json_t *edits, const char *const *known, struct err *err);

#endif
