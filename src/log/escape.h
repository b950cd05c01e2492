/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Escapes for text that peers choose. All of them append to a buf and never emit a control
 * character, so no value can forge a line or drive a terminal. Invalid UTF-8 becomes U+FFFD.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* `s` as the inside of a JSON string (RFC 8259, section 7), without the quotes. */
void escape_json(struct buf *out, struct str s);

/* `s` as the inside of a quoted item of a common or combined log line: `"` and `\` behind a
 * backslash, every byte outside printable ASCII as \xHH (the way of Apache). */
void escape_clf(struct buf *out, struct str s);

/* `s` as a logfmt value: bare where it can be, else in JSON quotes. */
void escape_logfmt(struct buf *out, struct str s);

/* Times, `time_ns` since 1970, UTC. RFC 3339 with milliseconds: 2026-11-21T05:27:46.123Z */
void escape_time_rfc3339(struct buf *out, uint64_t time_ns);

/* 21/Nov/2026:05:27:46 +0000 */
void escape_time_clf(struct buf *out, uint64_t time_ns);
