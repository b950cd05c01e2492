/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/capture.h"

#include <string.h>

#include "base/assert.h"
#include "os/child.h"
#include "os/file.h"

#define LINES_PER_S 500u
#define BURST_LINES 2000u
#define TELL_MS 1000u
#define READ_BYTES 16384u
#define TURN_BYTES (4 * READ_BYTES) /* then others have their turn */

void capture_budget_init(struct capture_budget *b, uint64_t now_ms)
{
    *b = (struct capture_budget){.at_ms = now_ms, .told_ms = now_ms, .tokens = BURST_LINES * 1000};
}

static bool capture_may_log(struct capture *o)
{
    struct capture_budget *b = o->budget;
    uint64_t now_ms = loop_now_ms(o->loop);
    b->tokens += (now_ms - b->at_ms) * LINES_PER_S;
    b->at_ms = now_ms;
    if (b->tokens > BURST_LINES * 1000) {
        b->tokens = BURST_LINES * 1000;
    }
    if (b->tokens < 1000) {
        b->dropped_count++;
        return false;
    }
    b->tokens -= 1000;
    return true;
}

void capture_tell_dropped(struct capture *o, bool is_last)
{
    struct capture_budget *b = o->budget;
    uint64_t now_ms = loop_now_ms(o->loop);
    if (b->dropped_count != b->told_count && (is_last || now_ms - b->told_ms >= TELL_MS)) {
        LOG(o->log, LOG_LEVEL_WARN, "a program writes too much: lines were dropped",
            log_str("process", o->source.process), log_u64("instance", o->source.number),
            log_u64("lines", b->dropped_count - b->told_count));
        b->told_count = b->dropped_count;
        b->told_ms = now_ms;
    }
}

/* A character is not cut apart where the text is UTF-8. */
static size_t capture_border(const char *text, size_t n)
{
    size_t at = n;
    while (at > n - 4 && ((unsigned char)text[at - 1] & 0xc0) == 0x80) {
        at--;
    }
    bool begins = at > n - 4 && ((unsigned char)text[at - 1] & 0xc0) == 0xc0;
    return begins ? at - 1 : n;
}

static void capture_log(struct capture *o, struct str text, bool is_part, bool is_cut)
{
    if (!log_is_on(o->log, o->level) || !capture_may_log(o)) {
        return;
    }
    const struct log_field fields[] = {
        log_str("process", o->source.process),       log_u64("instance", o->source.number),
        log_str("stream", str_of(o->source.stream)), log_str("line", text),
        log_u64("part", o->piece_count + 1),         log_str("cut", STR("true")),
    };
    size_t count = is_cut ? 6 : is_part ? 5 : 4;
    log_event(o->log, o->level, "output", fields, count);
}

/* The line goes on: a piece of it is logged, or what is too much is skipped. */
static void capture_spill(struct capture *o)
{
    size_t n = capture_border(o->text, o->n);
    if (o->piece_count < CAPTURE_PIECES_MAX) {
        capture_log(o, str_make(o->text, n), true, o->piece_count + 1 == CAPTURE_PIECES_MAX);
        o->piece_count++;
    }
    memmove(o->text, o->text + n, o->n - n);
    o->n -= n;
}

static void capture_end_line(struct capture *o)
{
    if (o->n && o->text[o->n - 1] == '\r') {
        o->n--;
    }
    if (o->n && o->piece_count < CAPTURE_PIECES_MAX) {
        capture_log(o, str_make(o->text, o->n), o->piece_count > 0, false);
    }
    o->n = 0;
    o->piece_count = 0;
}

void capture_take(struct capture *o, const char *bytes, size_t n)
{
    const char *end = bytes + n;
    while (bytes < end) {
        const char *mark = memchr(bytes, '\n', (size_t)(end - bytes));
        size_t left = (size_t)((mark ? mark : end) - bytes);
        size_t room = sizeof(o->text) - o->n;
        size_t part = left < room ? left : room;
        memcpy(o->text + o->n, bytes, part);
        o->n += part;
        bytes += part;
        if (mark == bytes) {
            capture_end_line(o);
            bytes++;
        } else if (o->n == sizeof(o->text)) {
            capture_spill(o);
        }
    }
}

void capture_flush(struct capture *o)
{
    capture_end_line(o);
    capture_tell_dropped(o, true);
}

/* At most `bytes_max`; false: there is no more. */
static bool capture_read(struct capture *o, size_t bytes_max)
{
    char bytes[READ_BYTES];
    size_t total = 0;
    while (total < bytes_max) {
        size_t n;
        enum err e = child_read(o->watch.fd, bytes, sizeof(bytes), &n);
        if (e) {
            return e == ERR_AGAIN;
        }
        capture_take(o, bytes, n);
        total += n;
    }
    return true;
}

static void capture_on_ready(struct loop_watch *w, unsigned events)
{
    struct capture *o = CONTAINER_OF(w, struct capture, watch);
    (void)events;
    bool is_open = capture_read(o, TURN_BYTES);
    capture_tell_dropped(o, false);
    if (!is_open) {
        capture_flush(o);
        loop_close(o->loop, &o->watch);
        o->is_open = false;
    }
}

enum err capture_open(struct capture *o, int fd)
{
    o->n = 0;
    o->piece_count = 0;
    enum err e = loop_watch(o->loop, &o->watch, fd, POLLER_READ, capture_on_ready);
    o->is_open = !e;
    if (e) {
        file_close(fd);
    }
    return e;
}

/* What the program wrote before it ended is in the pipe; others that hold it may write on, so there
 * is a bound. */
void capture_close(struct capture *o)
{
    if (o->is_open) {
        bool ignored = capture_read(o, TURN_BYTES * 16);
        (void)ignored;
        capture_flush(o);
        loop_close(o->loop, &o->watch);
        o->is_open = false;
    }
}
