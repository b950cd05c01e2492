/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints from a file, which is read when it may have changed. */
#include "base/assert.h"
#include "conf/endpoint_file.h"
#include "edge/discover_int.h"
#include "edge/upstream.h"
#include "log/log.h"
#include "os/file.h"

/* Whoever writes a file in place may not be done when the first notice comes. */
#define SETTLE_MS 50u

static void file_say(struct discover_source *s, struct str reason)
{
    if (!s->is_said) {
        LOG(discover_log(s->discover), LOG_LEVEL_ERROR,
            "the file of endpoints is not taken, the last ones stay",
            log_str("backend", upstream_name(s->upstream)),
            log_str("file", upstream_settings(s->upstream)->discover.file),
            log_str("reason", reason));
    }
    s->is_said = true;
    s->is_failed = true;
}

static void file_on_notice(struct loop_watch *w, unsigned events)
{
    struct discover_source *s = CONTAINER_OF(w, struct discover_source, ready);
    struct loop *loop = discover_loop(s->discover);
    (void)events;
    if (file_watch_take(s->watch)) {
        loop_timer_set(loop, &s->timer, loop_now_ms(loop) + SETTLE_MS);
    }
}

/* Anew for each round, because links may lead elsewhere. Before the file is read, so that nothing
 * is missed; where it cannot be watched it is read from time to time. */
static void file_watch(struct discover_source *s)
{
    discover_file_cancel(s);
    if (file_watch_create(&s->watch) != ERR_OK) {
        s->watch = NULL;
        return;
    }
    enum err e = file_watch_add(s->watch, upstream_settings(s->upstream)->discover.file.p);
    if (!e) {
        e = loop_watch(discover_loop(s->discover), &s->ready, file_watch_fd(s->watch), POLLER_READ,
                       file_on_notice);
    }
    if (e) {
        file_watch_destroy(s->watch);
        s->watch = NULL;
    }
}

void discover_file_cancel(struct discover_source *s)
{
    if (s->watch) {
        loop_unwatch(discover_loop(s->discover), &s->ready);
        file_watch_destroy(s->watch);
        s->watch = NULL;
    }
}

static const char *file_check(const struct endpoint_settings *from)
{
    struct upstream_address a;
    size_t at;
    return value_parse_upstream(from->url, &a, &at);
}

static void file_take(struct discover_source *s, const struct endpoint_list *list)
{
    for (size_t i = 0; i < list->count && !s->is_failed; i++) {
        const struct endpoint_settings *from = &list->items[i];
        const struct member m = {.name = from->url,
                                 .url = from->url,
                                 .weight = (uint32_t)from->weight,
                                 .is_backup = from->backup,
                                 .zone = from->zone.p ? from->zone : STR("")};
        const char *wrong = file_check(from);
        if (wrong) {
            file_say(s, str_of(wrong));
        } else if (!discover_add(s, &m)) {
            file_say(s, str_of(err_text(ERR_NOMEM)));
        }
    }
}

static void file_parse(struct discover_source *s, struct str text)
{
    struct str path = upstream_settings(s->upstream)->discover.file;
    struct endpoint_list list;
    struct diag_list diags;
    diag_list_init(&diags);
    enum err e = endpoint_file_parse(&s->arena, path.p, text, &list, &diags);
    if (!e) {
        file_take(s, &list);
    } else {
        file_say(s, e == ERR_CONFIG && diags.count ? diags.items[0].sentence : str_of(err_text(e)));
    }
    diag_list_done(&diags);
}

void discover_file_begin(struct discover_source *s)
{
    struct buf text;
    file_watch(s);
    buf_init(&text, 0);
    enum err e = file_read_all(upstream_settings(s->upstream)->discover.file.p,
                               ENDPOINT_FILE_BYTES_MAX, &text);
    if (e) {
        file_say(s, str_of(err_text(e)));
    } else {
        file_parse(s, buf_str(&text));
    }
    buf_done(&text);
    discover_finish(s);
}
