/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What loading settings read, as one piece of bytes: recorded by a process that may read it,
 * replayed by one that may not. The bytes never leave the machine; both sides are one program.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"
#include "conf/io.h"

struct conf_record {
    const struct conf_io *inner;
    struct buf bytes; /* `is_failed` where memory ran out */
};

/* Starts a record of what `inner` is asked. Ended by conf_record_done. */
void conf_record_init(struct conf_record *r, const struct conf_io *inner);
void conf_record_done(struct conf_record *r);

/* An io that passes everything to `inner` and keeps what it said. */
struct conf_io conf_record_io(struct conf_record *r);

/* An io that answers as the recorded one did; ERR_NOT_FOUND for what was not asked then. The
 * bytes of the record must outlive the loading. */
struct conf_io conf_replay_io(const struct str *bytes);
