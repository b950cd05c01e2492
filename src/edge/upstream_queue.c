/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait until an endpoint has room: first come, first served in each loop. Room that
 * another loop made is found by looking again after a moment. */
#include "base/assert.h"
#include "edge/pipeline.h"
#include "edge/upstream_int.h"

#define WAIT_MS 1000u
#define LOOK_MS 10u

static void upstream_queue_pop(const struct upstream *u, struct upstream_use *use)
{
    list_remove(&use->wait_link);
    use->is_waiting = false;
    metrics_add(use->view->pipeline->metrics, METRICS_UPSTREAM_WAITING, -1);
    atomic_fetch_sub_explicit(&u->shared->pending, 1, memory_order_relaxed);
}

/* Whose waiting is over goes to `ready`: an endpoint is found, or the time is. */
static void upstream_queue_collect(struct upstream_view *view, struct list *ready)
{
    struct pipeline *p = view->pipeline;
    uint64_t now_ms = loop_now_ms(p->loop);
    while (!list_is_empty(&view->waiting)) {
        struct upstream_use *use = CONTAINER_OF(view->waiting.next, struct upstream_use, wait_link);
        bool is_given = upstream_choose(p, view->upstream, use) == UPSTREAM_GIVEN;
        if (!is_given && now_ms < use->wait_until_ms) {
            loop_timer_set(p->loop, &view->timer, now_ms + LOOK_MS);
            return;
        }
        if (!is_given) {
            use->endpoint = NULL;
            metrics_add(p->metrics, METRICS_UPSTREAM_REFUSED, 1);
        }
        list_remove(&use->wait_link);
        list_push_back(ready, &use->wait_link);
    }
}

/* Any of the requests may end within its turn, and the last one may end the site with the view. */
static void upstream_queue_turn(struct timer *t)
{
    struct upstream_view *view = CONTAINER_OF(t, struct upstream_view, timer);
    const struct upstream *u = view->upstream;
    struct list ready;
    list_init(&ready);
    upstream_queue_collect(view, &ready);
    while (!list_is_empty(&ready)) {
        struct upstream_use *use = CONTAINER_OF(ready.next, struct upstream_use, wait_link);
        upstream_queue_pop(u, use);
        use->on_turn(use);
    }
}

void upstream_queue_room(struct upstream_view *view)
{
    if (view->pipeline && !list_is_empty(&view->waiting)) {
        loop_timer_set(view->pipeline->loop, &view->timer, loop_now_ms(view->pipeline->loop));
    }
}

void upstream_queue_leave(const struct upstream *u, struct upstream_use *use)
{
    if (use->is_waiting) {
        upstream_queue_pop(u, use);
    }
}

/* Programs that start are worth a moment more. */
static uint64_t upstream_queue_ms(const struct upstream *u)
{
    return u->settings->process.is_on && u->timeouts.connect_ms > WAIT_MS ? u->timeouts.connect_ms
                                                                          : WAIT_MS;
}

/* False: as many wait as may, or it has waited already for as long as it may. */
static bool upstream_queue_join(struct pipeline *p, const struct upstream *u,
                                struct upstream_use *use)
{
    struct upstream_view *view = use->view;
    uint32_t most = (uint32_t)u->settings->breaker.pending_max;
    uint64_t now_ms = loop_now_ms(p->loop);
    if (!use->wait_until_ms) {
        use->wait_until_ms = now_ms + upstream_queue_ms(u);
    } else if (now_ms >= use->wait_until_ms) {
        return false;
    }
    if (atomic_fetch_add_explicit(&u->shared->pending, 1, memory_order_relaxed) >= most) {
        atomic_fetch_sub_explicit(&u->shared->pending, 1, memory_order_relaxed);
        return false;
    }
    if (!view->pipeline) {
        view->pipeline = p;
        view->upstream = u;
        list_init(&view->waiting);
        timer_init(&view->timer, upstream_queue_turn);
    }
    if (list_is_empty(&view->waiting)) {
        loop_timer_set(p->loop, &view->timer, loop_now_ms(p->loop) + LOOK_MS);
    }
    use->is_waiting = true;
    metrics_add(p->metrics, METRICS_UPSTREAM_WAITING, 1);
    list_push_back(&view->waiting, &use->wait_link);
    return true;
}

enum upstream_answer upstream_pick_or_wait(struct pipeline *p, const struct upstream *u,
                                           struct upstream_use *use,
                                           void (*on_turn)(struct upstream_use *use))
{
    const struct upstream_view *view = use->view;
    bool has_queue = view->pipeline && !list_is_empty(&view->waiting);
    enum upstream_choice choice = has_queue ? UPSTREAM_FULL : upstream_choose(p, u, use);
    use->on_turn = on_turn;
    if (choice == UPSTREAM_GIVEN) {
        return UPSTREAM_PICKED;
    }
    if (choice == UPSTREAM_FULL && upstream_queue_join(p, u, use)) {
        return UPSTREAM_WAITS;
    }
    metrics_add(p->metrics, METRICS_UPSTREAM_REFUSED, 1);
    return UPSTREAM_REFUSED;
}
