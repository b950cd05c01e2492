/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "os/clock.h"

static void on_change(void *context)
{
    (void)context;
}

static void on_stopped(void *context)
{
    struct rig *r = context;
    r->is_stopped = true;
}

bool rig_try_init(struct rig *r)
{
    *r = (struct rig){.loop = NULL};
    strcpy(r->folder, "/tmp/sws_run_XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    arena_init(&r->arena, 4096, 0);
    buf_init(&r->bytes, 0);
    if (loop_create(POLLER_KIND_EPOLL, &r->loop) != ERR_OK ||
        log_create(STR("/dev/null"), LOG_LEVEL_DEBUG, &r->log) != ERR_OK) {
        return false;
    }
    const struct runner_options options = {.log = r->log,
                                           .loop = r->loop,
                                           .directory = r->folder,
                                           .edge_gid = getegid(),
                                           .cgroup_root = "/nonexistent",
                                           .cgroup_own = "/nonexistent",
                                           .on_change = on_change,
                                           .on_stopped = on_stopped,
                                           .context = r};
    return runner_create(&options, &r->runner) == ERR_OK;
}

void rig_init(struct rig *r)
{
    assert_true(rig_try_init(r));
}

void rig_done(struct rig *r)
{
    runner_destroy(r->runner);
    if (r->loop) {
        loop_destroy(r->loop);
    }
    log_destroy(r->log);
    arena_done(&r->arena);
    buf_done(&r->bytes);
    assert_int_equal(rmdir(r->folder), 0); /* every socket is gone */
}

struct settings *rig_settings(const char *process)
{
    struct buf text;
    struct diag_list diags;
    struct settings *s = NULL;
    buf_init(&text, 0);
    diag_list_init(&diags);
    buf_printf(&text,
               "server: {timeouts: {drain: 200ms}}\n"
               "hosts:\n  - domains: app.test\n    backend: {process: %s}\n",
               process);
    enum err e = settings_load_text("test", buf_str(&text), NULL, &s, &diags);
    if (e) {
        buf_clear(&text);
        diag_list_print(&diags, &text);
        buf_add_char(&text, '\0');
        fail_msg("%s", text.p);
    }
    diag_list_done(&diags);
    buf_done(&text);
    return s;
}

void rig_apply(struct rig *r, const char *process)
{
    struct settings *s = rig_settings(process);
    assert_int_equal(runner_apply(r->runner, s), ERR_OK);
    settings_destroy(s);
}

void rig_turn(struct rig *r)
{
    loop_turn(r->loop, loop_clock_ns(r->loop) + 5 * NS_PER_MS);
    runner_reap(r->runner);
    arena_done(&r->arena);
    buf_clear(&r->bytes);
    runner_report(r->runner, &r->bytes);
    if (!r->bytes.is_failed) {
        enum err e = report_read(&r->arena, buf_str(&r->bytes), &r->report);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
    }
}

void rig_wait(struct rig *r, rig_fn fn, const char *what)
{
    uint64_t end_ns = clock_monotonic_ns() + 20ull * NS_PER_S;
    do {
        rig_turn(r);
        if (clock_monotonic_ns() > end_ns) {
            fail_msg("no %s", what);
        }
    } while (!fn(r));
}

const struct report_instance *rig_instance(const struct rig *r, enum instance_state state)
{
    for (size_t i = 0; i < r->report.instance_count; i++) {
        if (r->report.instances[i].state == state) {
            return &r->report.instances[i];
        }
    }
    return NULL;
}
