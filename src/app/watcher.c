/* SPDX-License-Identifier: Apache-2.0 */
#include "app/watcher.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/control.h"
#include "base/hash.h"
#include "base/mem.h"
#include "conf/record.h"
#include "conf/settings.h"
#include "os/file.h"
#include "os/file_watch.h"
#include "os/process.h"
#include "os/sandbox.h"

#define LOOK_MS 60000 /* for what no event tells */
#define QUIET_MS 100  /* a certificate and its key are written one after the other */
#define QUIET_ROUNDS_MAX 20
#define TEXT_BYTES_MAX (1024u * 1024u)

struct watcher {
    struct settings *settings;
    const char **paths; /* each once; texts of the settings */
    size_t count;
    struct file_watch *watch; /* NULL: none could be had, looking from time to time remains */
    uint64_t seen;            /* a mark of what the files looked like when they were read */
    uint64_t sent;            /* a mark of what was handed on */
    bool is_incomplete;       /* some file could not be read, and may be without looking other */
};

/* ---- which files ---- */

static void watcher_add(struct watcher *w, const struct str_list *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        bool is_known = false;
        for (size_t k = 0; k < w->count && !is_known; k++) {
            is_known = strcmp(w->paths[k], paths->items[i].p) == 0;
        }
        if (!is_known) {
            w->paths[w->count++] = paths->items[i].p;
        }
    }
}

static enum err watcher_gather(struct watcher *w)
{
    const struct settings *s = w->settings;
    size_t max = s->server.tls.cert.count + s->server.tls.key.count;
    for (size_t i = 0; i < s->hosts.count; i++) {
        max += s->hosts.items[i].ssl.cert.count + s->hosts.items[i].ssl.key.count;
    }
    w->paths = mem_zalloc(max + 1, sizeof(*w->paths));
    if (!w->paths) {
        return ERR_NOMEM;
    }
    watcher_add(w, &s->server.tls.cert);
    watcher_add(w, &s->server.tls.key);
    for (size_t i = 0; i < s->hosts.count; i++) {
        watcher_add(w, &s->hosts.items[i].ssl.cert);
        watcher_add(w, &s->hosts.items[i].ssl.key);
    }
    return ERR_OK;
}

static enum err watcher_load(struct watcher *w, const char *config)
{
    struct diag_list diags;
    diag_list_init(&diags);
    enum err e = settings_load(&config, 1, NULL, &w->settings, &diags);
    diag_list_done(&diags);
    if (!e) {
        settings_wipe_keys(w->settings);
        e = watcher_gather(w);
    }
    return e;
}

/* ---- handing on ---- */

static enum err watcher_hand_on(struct watcher *w)
{
    struct conf_record record;
    int fd = -1;
    conf_record_init(&record, &conf_io_system);
    const struct conf_io io = conf_record_io(&record);
    w->is_incomplete = false;
    for (size_t i = 0; i < w->count; i++) {
        struct buf text;
        buf_init(&text, TEXT_BYTES_MAX);
        w->is_incomplete |= io.read_file(io.context, w->paths[i], &text) != ERR_OK;
        buf_done_secret(&text);
    }
    uint64_t mark = hash_str(buf_str(&record.bytes));
    enum err e = record.bytes.is_failed ? ERR_NOMEM : ERR_OK;
    if (!e && mark != w->sent) {
        const struct control_message m = {.kind = CONTROL_FILES, .fd = -1};
        e = file_in_memory(buf_str(&record.bytes), &fd);
        e = e ? e : control_send(PROCESS_CHANNEL_FD, &m, fd);
        file_close(fd);
        w->sent = mark;
    }
    conf_record_done(&record);
    return e;
}

/* What the files look like, without reading them. */
static uint64_t watcher_look(const struct watcher *w)
{
    uint64_t mark = 0;
    for (size_t i = 0; i < w->count; i++) {
        struct file_info info = {0};
        enum err e = file_info_at(w->paths[i], &info);
        const uint64_t facts[] = {
            info.size, (uint64_t)info.mtime_s, info.mtime_ns, info.inode, info.device, e ? 1 : 0};
        mark = mark * 31 + hash_str(str_make((const char *)facts, sizeof(facts)));
    }
    return mark;
}

/* The watch comes first, so that what changes after the look is noticed. */
static void watcher_begin_watch(struct watcher *w)
{
    file_watch_destroy(w->watch);
    w->watch = NULL;
    if (file_watch_create(&w->watch) != ERR_OK) {
        return;
    }
    for (size_t i = 0; i < w->count; i++) {
        enum err ignored = file_watch_add(w->watch, w->paths[i]);
        (void)ignored; /* likewise looking remains */
    }
}

/* ---- waiting ---- */

/* False: the supervisor is gone. */
static bool watcher_wait(struct watcher *w, int timeout_ms, bool *ret_is_noticed)
{
    struct pollfd fds[] = {{.fd = PROCESS_CHANNEL_FD, .events = POLLIN},
                           {.fd = w->watch ? file_watch_fd(w->watch) : -1, .events = POLLIN}};
    int n = poll(fds, 2, timeout_ms);
    *ret_is_noticed = n > 0 && fds[1].revents && file_watch_take(w->watch);
    /* Nothing is ever said after the start: whatever comes is the end. */
    return !fds[0].revents;
}

/* Until something may have changed, and then until nothing does any more for a moment. */
static bool watcher_wait_changed(struct watcher *w)
{
    bool is_noticed;
    if (!watcher_wait(w, LOOK_MS, &is_noticed)) {
        return false;
    }
    for (unsigned round = 0; is_noticed && round < QUIET_ROUNDS_MAX; round++) {
        if (!watcher_wait(w, QUIET_MS, &is_noticed)) {
            return false;
        }
    }
    return true;
}

static enum err watcher_watch(struct watcher *w)
{
    enum err e = ERR_OK;
    do {
        watcher_begin_watch(w);
        uint64_t seen = watcher_look(w);
        if (seen != w->seen || w->is_incomplete) {
            w->seen = seen;
            e = watcher_hand_on(w);
        }
    } while (!e && watcher_wait_changed(w));
    return e;
}

int watcher_run(const char *config)
{
    struct watcher w = {.settings = NULL};
    struct control_message hello;
    int fd = -1;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* a Ctrl-C reaches the whole group; the supervisor decides */
    enum err e = control_recv(PROCESS_CHANNEL_FD, true, &hello, &fd);
    if (!e) {
        file_close(fd);
        e = watcher_load(&w, config);
    }
    if (!e) {
        e = sandbox_keep_reading();
    }
    if (!e && w.settings->server.sandbox) {
        enum err limited = sandbox_limit_calls();
        (void)limited; /* the edge says that the kernel cannot */
    }
    if (!e) {
        e = watcher_watch(&w);
    }
    file_watch_destroy(w.watch);
    mem_free(w.paths);
    settings_destroy(w.settings);
    /* The supervisor went away while it was told something: no fault of ours. */
    if (e && e != ERR_EOF && e != ERR_RESET) {
        fprintf(stderr, "sws: the files of certificates cannot be watched: %s\n", err_text(e));
        return 1;
    }
    return 0;
}
