/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parent's side of shale-transfer: a process without privileges that talks to registries and
 * hands bytes over pipes. Nothing that it says is believed: digests are computed here. One thread.
 */
#ifndef SHALE_IMAGE_TRANSFER_H
#define SHALE_IMAGE_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include <shale/base/err.h>
#include <shale/base/json.h>

struct image_transfer;

/* interrupted (may be NULL): waiting ends with -EINTR when it is set. */
int image_transfer_start(volatile int *interrupted, struct image_transfer **ret, struct err *err);
void image_transfer_cleanup(struct image_transfer **t); /* ends the process */
#define auto_image_transfer cleanup(image_transfer_cleanup)

/* request is the caller's; it gets its id. fd (-1: none) stays the caller's too. Returns the id. */
int image_transfer_send(struct image_transfer *t, json_t *request, int fd, struct err *err);
/* The answer of that request: 1, or 0 when it is not there yet. Events in between go to the event
 * function. An answer of failure is a failure. ret may be NULL. */
int image_transfer_answer(struct image_transfer *t, int id, json_t **ret, struct err *err);
/* Both, waiting for the answer. */
int image_transfer_call(struct image_transfer *t, json_t *request, int fd, json_t **ret,
			struct err *err);
/* Waits until there is something to read, or other_fd (-1: none) is readable, or the time is over. */
int image_transfer_wait(struct image_transfer *t, int other_fd, int timeout_ms, struct err *err);
typedef void image_transfer_event_fn(int id, const char *text, void *arg);
void image_transfer_on_event(struct image_transfer *t, image_transfer_event_fn *fn, void *arg);

#endif
