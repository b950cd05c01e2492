/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which early data was seen already (RFC 8446 8.2). Every entry is kept for at least one window;
 * when a window is full the answer is no. One per process, shared by its threads: tickets work on
 * any of them, so a replay may arrive at any of them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct replay_window;

/* `entry_max`: entries per window (16 bytes of memory each). `window_ms` bounds how old a
 * ClientHello may be; GnuTLS also refuses early data on tickets older than its own last window, so
 * that a short window costs acceptance. ERR_RANGE, ERR_NOMEM. */
enum err replay_window_create(size_t entry_max, uint32_t window_ms,
                              struct replay_window **ret_window) MUST_CHECK;

struct replay_window *replay_window_ref(struct replay_window *w);
void replay_window_unref(struct replay_window *w);

uint32_t replay_window_ms(const struct replay_window *w);

/* Refuses everything before `until_s`, counted as want of room: what comes may have been taken by
 * another process, whose window is not known here. Before it is shared between threads. */
void replay_window_hold(struct replay_window *w, int64_t until_s);

/* Notes `id`. ERR_EXISTS: seen before; ERR_LIMIT: no room, which must be treated alike. `now_s`
 * must not go back by more than a window. */
enum err replay_window_add(struct replay_window *w, struct str id, int64_t now_s) MUST_CHECK;

/* How often early data was refused: seen before, and for want of room. */
struct replay_counts {
    uint64_t seen;
    uint64_t full;
};

struct replay_counts replay_window_counts(struct replay_window *w);
