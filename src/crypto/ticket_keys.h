/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeds of session tickets. Time is cut into epochs; the seed of an epoch is derived from the
 * one before it, which is then forgotten, so that processes that were given the same seed once
 * agree without talking, and what is in memory today opens no ticket of the past beyond the last
 * epoch. The key of a connection is derived from the seed and from the `binding`: who asks for one
 * name under one client policy cannot use a ticket of another (EDGE.md, row 27).
 * May be shared between threads.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define TICKET_KEY_BYTES 64      /* what GnuTLS takes */
#define TICKET_SEAL_KEY_BYTES 32 /* AES-256-GCM */
#define TICKET_LIFETIME_S_MAX (7 * 86400)

struct ticket_keys;

/* Random seeds. Tickets are good for `lifetime_s` (1 to TICKET_LIFETIME_S_MAX); seeds change every
 * `epoch_s`, which must not be shorter than that. `now_s` is in Unix seconds. ERR_RANGE,
 * ERR_NOMEM. */
enum err ticket_keys_create(uint32_t lifetime_s, uint32_t epoch_s, int64_t now_s,
                            struct ticket_keys **ret_keys) MUST_CHECK;

/* The seeds as sealed bytes, for another process of the same program. */
enum err ticket_keys_export(struct ticket_keys *k, const uint8_t seal_key[TICKET_SEAL_KEY_BYTES],
                            struct buf *out) MUST_CHECK;

/* Seeds from sealed bytes. ERR_ACCESS: another key, or changed bytes; ERR_UNSUPPORTED: another
 * format; ERR_NOMEM. */
enum err ticket_keys_import(struct str sealed, const uint8_t seal_key[TICKET_SEAL_KEY_BYTES],
                            struct ticket_keys **ret_keys) MUST_CHECK;

struct ticket_keys *ticket_keys_ref(struct ticket_keys *k);
void ticket_keys_unref(struct ticket_keys *k);

uint32_t ticket_keys_lifetime_s(const struct ticket_keys *k);

/* Writes the key for a connection: that of the last epoch where `ticket` (may be empty) was made
 * with it, else that of the present one. Moves the seeds on when `now_s` asks for it; a leap over
 * more than 1000 epochs makes random ones. */
enum err ticket_keys_pick(struct ticket_keys *k, struct str binding, struct str ticket,
                          int64_t now_s, uint8_t ret_key[TICKET_KEY_BYTES]) MUST_CHECK;
