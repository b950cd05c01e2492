/* SPDX-License-Identifier: Apache-2.0 */
/* Files in a coding that is made here: small ones once, large ones as they are sent. */
#include "edge/file_send.h"

#include <stddef.h>

#include "base/assert.h"

#define STEP_BYTES 65536u
#define STEPS_PER_TURN                                                                             \
    8 /* half a megabyte of input, then the other connections have their turn                      \
       */
#define SMALL_LEVEL_BONUS 2 /* made once and kept: may cost a little more */

static enum compress_coding compress_of(enum coding_choice c)
{
    switch (c) {
    case CODING_ZSTD:
        return COMPRESS_ZSTD;
    case CODING_BR:
        return COMPRESS_BROTLI;
    case CODING_GZIP:
        return COMPRESS_GZIP;
    }
    return COMPRESS_GZIP;
}

static struct compress_options compress_options_for(const struct request *r,
                                                    enum coding_choice coding, uint64_t bytes)
{
    int64_t level = r->route->keys->compress.level;
    enum compress_coding c = compress_of(coding);
    return (struct compress_options){
        .coding = c,
        .level = level ? (int)level : compress_level(c, loop_load_permille(r->pipeline->loop)),
        .body_bytes = bytes,
    };
}

bool file_compress_small(struct request *r, struct file_entry *e, enum coding_choice coding)
{
    if (e->coded[coding]) {
        return true;
    }
    struct compress_options options = compress_options_for(r, coding, e->info.size);
    if (r->route->keys->compress.level == 0) {
        options.level += SMALL_LEVEL_BONUS;
    }
    struct compress *c = NULL;
    struct buf out;
    struct str input = str_make(e->ready.body->data, e->ready.body->n);
    bool is_done = false;
    buf_init(&out, 0);
    enum err err = compress_create(&options, &c);
    while (!err && !is_done) {
        err = compress_run(c, COMPRESS_END, &input, STEP_BYTES, &out, &is_done);
    }
    if (!err && !out.is_failed) {
        e->coded[coding] = chunk_from(buf_str(&out));
    }
    compress_destroy(c);
    buf_done(&out);
    if (e->coded[coding]) {
        file_cache_account(r->pipeline->files, e, e->coded[coding]->n);
    }
    return e->coded[coding] != NULL;
}

struct compress_job {
    struct request *request;
    struct timer next_turn;
    struct compress *compress;
    struct exchange_file *file;
    uint64_t offset;
    uint64_t end;
    struct buf out;
    char *input;
};

static void compress_job_end(struct request *r)
{
    struct compress_job *job = r->handler;
    timer_cancel(&job->next_turn);
    compress_destroy(job->compress);
    exchange_file_unref(job->file);
    buf_done(&job->out);
}

static void compress_job_run(struct request *r)
{
    struct compress_job *job = r->handler;
    unsigned steps = 0;
    timer_cancel(&job->next_turn);
    while (exchange_room(r->x) > 0) {
        if (steps++ == STEPS_PER_TURN) {
            struct loop *loop = r->pipeline->loop;
            loop_timer_set(loop, &job->next_turn, loop_now_ms(loop));
            return;
        }
        uint64_t left = job->end - job->offset;
        size_t n = left < STEP_BYTES ? (size_t)left : STEP_BYTES;
        size_t got = 0;
        bool is_last = n == left;
        enum err e = file_read_at(job->file->fd, job->offset, job->input, n, &got);
        if (!e && got != n) {
            e = ERR_EOF; /* cut while being sent */
        }
        struct str input = str_make(job->input, n);
        bool is_done = false;
        buf_clear(&job->out);
        while (!e && !is_done) {
            e = compress_run(job->compress, is_last ? COMPRESS_END : COMPRESS_FEED, &input,
                             STEP_BYTES, &job->out, &is_done);
        }
        if (!e && job->out.n) {
            e = exchange_send_bytes(r->x, buf_str(&job->out));
        }
        if (e) {
            exchange_reset(r->x, e);
            return;
        }
        job->offset += n;
        if (is_last) {
            r->on_room = NULL;
            exchange_finish(r->x);
            return;
        }
    }
}

static void compress_job_on_turn(struct timer *t)
{
    struct compress_job *job = CONTAINER_OF(t, struct compress_job, next_turn);
    compress_job_run(job->request);
}

void file_send_compressed(struct request *r, struct file_entry *e, enum coding_choice coding,
                          const struct response_head *head)
{
    struct compress_options options = compress_options_for(r, coding, e->info.size);
    struct compress_job *job = arena_zalloc(&r->x->arena, sizeof(*job));
    char *input = arena_alloc(&r->x->arena, STEP_BYTES);
    struct compress *c = NULL;
    enum err err = job && input ? compress_create(&options, &c) : ERR_NOMEM;
    if (!err) {
        err = exchange_respond(r->x, head, EXCHANGE_LENGTH_UNKNOWN);
    }
    if (err) {
        compress_destroy(c);
        request_fail(r, 503, err_text(err));
        return;
    }
    if (r->x->is_head_only) {
        compress_destroy(c);
        exchange_finish(r->x);
        return;
    }
    *job = (struct compress_job){.request = r,
                                 .compress = c,
                                 .file = exchange_file_ref(e->file),
                                 .end = e->info.size,
                                 .input = input};
    buf_init(&job->out, 0);
    timer_init(&job->next_turn, compress_job_on_turn);
    r->handler = job;
    r->on_room = compress_job_run;
    r->on_end = compress_job_end;
    compress_job_run(r);
}
