/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error log: one line per event, `time level text key=value ...`, written at once with one
 * write. Values from peers are escaped, so a line is always one line of printable ASCII or valid
 * UTF-8. Thread-safe. Not for requests: those go to log/access.h.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define LOG_LINE_BYTES_MAX 4096
#define LOG_VALUE_BYTES_MAX 512 /* longer ones are cut */

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_OFF, /* as a threshold only */
};

enum log_field_type {
    LOG_FIELD_STR,
    LOG_FIELD_U64,
    LOG_FIELD_I64,
};

struct log_field {
    const char *key; /* static, letters, digits and _ */
    enum log_field_type type;
    union {
        struct str text;
        uint64_t u64;
        int64_t i64;
    };
};

static inline struct log_field log_str(const char *key, struct str text)
{
    return (struct log_field){.key = key, .type = LOG_FIELD_STR, .text = text};
}

static inline struct log_field log_u64(const char *key, uint64_t value)
{
    return (struct log_field){.key = key, .type = LOG_FIELD_U64, .u64 = value};
}

static inline struct log_field log_i64(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .type = LOG_FIELD_I64, .i64 = value};
}

static inline struct log_field log_err(enum err e)
{
    return log_str("error", str_of(err_text(e)));
}

struct log;

/* A log at `level` to the file `path` (appended to, created with mode 0640), or to stderr where
 * `path` is empty. ERR_NOMEM, or what opening the file says. */
enum err log_create(struct str path, enum log_level level, struct log **ret_log) MUST_CHECK;
void log_destroy(struct log *log);

/* Changes the threshold from any thread; lines already begun are written. */
void log_set_level(struct log *log, enum log_level level);
enum log_level log_get_level(const struct log *log);

/* Opens the file again (after a rotation from outside); keeps the old one on failure. */
enum err log_reopen(struct log *log) MUST_CHECK;

/* Writes one line unless `level` is below the threshold. `log` may be NULL: dropped. A line past
 * LOG_LINE_BYTES_MAX is cut at a value's border and marked. */
void log_event(struct log *log, enum log_level level, const char *text,
               const struct log_field *fields, size_t field_count);

/* LOG(log, LOG_LEVEL_WARN, "upstream failed", log_str("host", h), log_u64("status", 502)); at
 * least one field. The fields are not evaluated below the threshold. */
#define LOG(log, level, text, ...)                                                                 \
    do {                                                                                           \
        if (log_is_on((log), (level))) {                                                           \
            const struct log_field log_fields_[] = {__VA_ARGS__};                                  \
            log_event((log), (level), (text), log_fields_,                                         \
                      sizeof(log_fields_) / sizeof(log_fields_[0]));                               \
        }                                                                                          \
    } while (0)

bool log_is_on(const struct log *log, enum log_level level);

/* "debug", "info", "notice", "warn", "error", "off"; never NULL. */
const char *log_level_name(enum log_level level);

/* The level called `name`: ERR_NOT_FOUND. */
enum err log_level_parse(struct str name, enum log_level *ret_level) MUST_CHECK;

/* Lines that could not be written since the start. */
uint64_t log_lost_count(const struct log *log);

/* Formats without writing, `time_ns` since 1970; for tests and other sinks. */
void log_format(uint64_t time_ns, enum log_level level, const char *text,
                const struct log_field *fields, size_t field_count, struct buf *out);
