/* SPDX-License-Identifier: Apache-2.0 */
#include "log/log.h"

#include <pthread.h>

#include "base/assert.h"
#include "base/mem.h"
#include "log/escape.h"
#include "log/log_file.h"

#define LOG_MAGIC 0x6c6f6721u

struct log {
    uint32_t magic;
    _Atomic int level;
    _Atomic uint64_t lost;
    pthread_mutex_t lock; /* guards fd against a reopen */
    char *path;           /* NULL: stderr */
    int fd;
};

static const char *const level_names[] = {"debug", "info", "notice", "warn", "error", "off"};

enum err log_create(struct str path, enum log_level level, struct log **ret_log)
{
    struct log *log = mem_zalloc(1, sizeof(*log));
    if (!log) {
        return ERR_NOMEM;
    }
    log->magic = LOG_MAGIC;
    log->fd = 2;
    atomic_init(&log->level, (int)level);
    pthread_mutex_init(&log->lock, NULL);
    if (path.n > 0) {
        log->fd = -1;
        log->path = mem_dup(path.p, path.n);
        enum err e = log->path ? log_file_open(log->path, &log->fd) : ERR_NOMEM;
        if (e) {
            log_destroy(log);
            return e;
        }
    }
    *ret_log = log;
    return ERR_OK;
}

void log_destroy(struct log *log)
{
    if (!log) {
        return;
    }
    ASSERT_MAGIC(log, LOG_MAGIC);
    if (log->path || log->fd < 0) {
        log_file_close(log->fd);
    }
    pthread_mutex_destroy(&log->lock);
    mem_free(log->path);
    log->magic = 0;
    mem_free(log);
}

void log_set_level(struct log *log, enum log_level level)
{
    atomic_store_explicit(&log->level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(const struct log *log)
{
    return (enum log_level)atomic_load_explicit(&log->level, memory_order_relaxed);
}

bool log_is_on(const struct log *log, enum log_level level)
{
    return log && level >= log_get_level(log) && level < LOG_LEVEL_OFF;
}

enum err log_reopen(struct log *log)
{
    int fd;
    if (!log->path) {
        return ERR_OK;
    }
    enum err e = log_file_open(log->path, &fd);
    if (e) {
        return e;
    }
    pthread_mutex_lock(&log->lock);
    int old = log->fd;
    log->fd = fd;
    pthread_mutex_unlock(&log->lock);
    log_file_close(old);
    return ERR_OK;
}

static void log_add_field(struct buf *out, const struct log_field *field)
{
    buf_add_char(out, ' ');
    buf_add_str(out, str_of(field->key));
    buf_add_char(out, '=');
    switch (field->type) {
    case LOG_FIELD_STR:
        escape_logfmt(out, str_sub(field->text, 0, LOG_VALUE_BYTES_MAX));
        break;
    case LOG_FIELD_U64:
        buf_add_u64(out, field->u64);
        break;
    case LOG_FIELD_I64:
        if (field->i64 < 0) {
            buf_add_char(out, '-');
        }
        buf_add_u64(out, field->i64 < 0 ? 0 - (uint64_t)field->i64 : (uint64_t)field->i64);
        break;
    }
}

void log_format(uint64_t time_ns, enum log_level level, const char *text,
                const struct log_field *fields, size_t field_count, struct buf *out)
{
    static const struct str cut = {" cut=true\n", 10};
    size_t start = out->n;
    escape_time_rfc3339(out, time_ns);
    buf_add_char(out, ' ');
    buf_add_str(out, str_of(log_level_name(level)));
    buf_add_char(out, ' ');
    escape_json(out, str_sub(str_of(text), 0, LOG_VALUE_BYTES_MAX));
    for (size_t i = 0; i < field_count; i++) {
        size_t before = out->n;
        log_add_field(out, &fields[i]);
        if (out->n - start > LOG_LINE_BYTES_MAX - cut.n) {
            out->n = before;
            buf_add_str(out, cut);
            return;
        }
    }
    buf_add_char(out, '\n');
}

void log_event(struct log *log, enum log_level level, const char *text,
               const struct log_field *fields, size_t field_count)
{
    if (!log_is_on(log, level)) {
        return;
    }
    struct buf line;
    buf_init(&line, 0);
    log_format(log_file_time_ns(), level, text, fields, field_count, &line);
    bool is_written = false;
    if (!line.is_failed) {
        pthread_mutex_lock(&log->lock);
        is_written = log_file_write(log->fd, buf_str(&line)) == line.n;
        pthread_mutex_unlock(&log->lock);
    }
    if (!is_written) {
        atomic_fetch_add_explicit(&log->lost, 1, memory_order_relaxed);
    }
    buf_done(&line);
}

const char *log_level_name(enum log_level level)
{
    return (size_t)level < COUNT_OF(level_names) ? level_names[level] : "unknown";
}

enum err log_level_parse(struct str name, enum log_level *ret_level)
{
    for (size_t i = 0; i < COUNT_OF(level_names); i++) {
        if (str_eq(name, str_of(level_names[i]))) {
            *ret_level = (enum log_level)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

uint64_t log_lost_count(const struct log *log)
{
    return atomic_load_explicit(&log->lost, memory_order_relaxed);
}
