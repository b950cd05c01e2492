/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done about endpoints once in a while, beside what each failure does at once: who fails
 * much more often than the others is left out, and what was left out or came back is said in the
 * log. Of the thread that publishes lists.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define OUTLIER_WINDOW_MS 10000u

struct log;
struct metrics_block;
struct site;

/* To be called about once a second; `ends_window`: every OUTLIER_WINDOW_MS. `log` may be NULL,
 * `metrics` is the caller's own block. */
void outlier_turn(const struct site *site, uint64_t now_ms, bool ends_window, struct log *log,
                  struct metrics_block *metrics);
