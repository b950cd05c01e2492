/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/record.h"

#include <stdint.h>
#include <string.h>

enum record_kind { RECORD_FILE, RECORD_PATHS, RECORD_VARIABLE };

/* Followed by the name and the answer: the text of a file, paths that each end with a zero, or a
 * value. */
struct record_head {
    uint32_t kind;
    int32_t error; /* enum err */
    uint64_t name_bytes;
    uint64_t answer_bytes;
};

static void record_add(struct conf_record *r, enum record_kind kind, enum err error,
                       const char *name, struct str answer)
{
    const struct record_head head = {
        .kind = kind, .error = error, .name_bytes = strlen(name), .answer_bytes = answer.n};
    buf_add(&r->bytes, &head, sizeof(head));
    buf_add(&r->bytes, name, head.name_bytes);
    buf_add_str(&r->bytes, answer);
}

static enum err record_read_file(void *context, const char *path, struct buf *out)
{
    struct conf_record *r = context;
    size_t before = out->n;
    enum err e = r->inner->read_file(r->inner->context, path, out);
    struct str got = e || out->n == before ? STR("") : str_make(out->p + before, out->n - before);
    record_add(r, RECORD_FILE, e, path, got);
    return e;
}

struct record_paths {
    enum err (*on_path)(void *arg, const char *path);
    void *arg;
    struct buf paths;
};

static enum err record_on_path(void *arg, const char *path)
{
    struct record_paths *p = arg;
    buf_add(&p->paths, path, strlen(path) + 1);
    return ERR_OK;
}

/* The paths are gathered first: what on_path reads is recorded behind them. */
static enum err record_glob(void *context, const char *pattern,
                            enum err (*on_path)(void *arg, const char *path), void *arg)
{
    struct conf_record *r = context;
    struct record_paths p;
    buf_init(&p.paths, 0);
    enum err e = r->inner->glob(r->inner->context, pattern, record_on_path, &p);
    if (!e && p.paths.is_failed) {
        e = ERR_NOMEM;
    }
    record_add(r, RECORD_PATHS, e, pattern, e ? STR("") : buf_str(&p.paths));
    for (size_t at = 0; !e && at < p.paths.n; at += strlen(p.paths.p + at) + 1) {
        e = on_path(arg, p.paths.p + at);
    }
    buf_done(&p.paths);
    return e;
}

static const char *record_get_env(void *context, const char *name)
{
    struct conf_record *r = context;
    const char *value = r->inner->get_env(r->inner->context, name);
    /* With its zero, so that the replay can point at it. */
    struct str answer = value ? str_make(value, strlen(value) + 1) : STR("");
    record_add(r, RECORD_VARIABLE, value ? ERR_OK : ERR_NOT_FOUND, name, answer);
    return value;
}

void conf_record_init(struct conf_record *r, const struct conf_io *inner)
{
    r->inner = inner;
    buf_init(&r->bytes, 0);
}

void conf_record_done(struct conf_record *r)
{
    buf_done_secret(&r->bytes); /* it may hold keys */
}

struct conf_io conf_record_io(struct conf_record *r)
{
    return (struct conf_io){r, record_read_file, record_glob, record_get_env};
}

static enum err replay_find(const struct str *bytes, enum record_kind kind, const char *name,
                            struct str *ret_answer)
{
    struct record_head head;
    size_t name_bytes = strlen(name);
    for (size_t at = 0; bytes->n - at >= sizeof(head);
         at += sizeof(head) + head.name_bytes + head.answer_bytes) {
        memcpy(&head, bytes->p + at, sizeof(head));
        size_t left = bytes->n - at - sizeof(head);
        if (head.name_bytes > left || head.answer_bytes > left - head.name_bytes) {
            break;
        }
        const char *p = bytes->p + at + sizeof(head);
        if (head.kind == kind && head.name_bytes == name_bytes && !memcmp(p, name, name_bytes)) {
            *ret_answer = str_make(p + name_bytes, head.answer_bytes);
            return (enum err)head.error;
        }
    }
    return ERR_NOT_FOUND;
}

static enum err replay_read_file(void *context, const char *path, struct buf *out)
{
    struct str text;
    enum err e = replay_find(context, RECORD_FILE, path, &text);
    if (e) {
        return e;
    }
    if (out->bytes_max > 0 && text.n > out->bytes_max - out->n) {
        return ERR_LIMIT;
    }
    buf_add_str(out, text);
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

static enum err replay_glob(void *context, const char *pattern,
                            enum err (*on_path)(void *arg, const char *path), void *arg)
{
    struct str paths;
    enum err e = replay_find(context, RECORD_PATHS, pattern, &paths);
    for (size_t at = 0; !e && at < paths.n;) {
        size_t n = strnlen(paths.p + at, paths.n - at);
        if (n == paths.n - at) {
            return ERR_SYNTAX;
        }
        e = on_path(arg, paths.p + at);
        at += n + 1;
    }
    return e;
}

static const char *replay_get_env(void *context, const char *name)
{
    struct str value;
    if (replay_find(context, RECORD_VARIABLE, name, &value)) {
        return NULL;
    }
    return value.n && value.p[value.n - 1] == '\0' ? value.p : NULL;
}

struct conf_io conf_replay_io(const struct str *bytes)
{
    return (struct conf_io){(void *)(uintptr_t)bytes, replay_read_file, replay_glob,
                            replay_get_env};
}
