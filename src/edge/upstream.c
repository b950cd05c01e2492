/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/upstream.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/tls_client.h"
#include "edge/endpoint.h"
#include "edge/pipeline.h"
#include "edge/upstream_int.h"
#include "net/resolver.h"

/* A program that ended is known to have within a moment; until then nobody listens there. */
#define TRIES_MAX_PROCESS 12
#define PROCESS_PAUSE_MS 10u

static enum balance_policy upstream_policy(enum balance_choice choice)
{
    switch (choice) {
    case BALANCE_CHOICE_P2C:
        return BALANCE_P2C;
    case BALANCE_CHOICE_RR:
        return BALANCE_RR;
    case BALANCE_CHOICE_LEAST:
        return BALANCE_LEAST;
    case BALANCE_CHOICE_FIRST:
        return BALANCE_FIRST;
    case BALANCE_CHOICE_HASH:
        return BALANCE_HASH;
    }
    return BALANCE_P2C;
}

/* ---- the list ---- */

static enum err upstream_make_tls(struct upstream *u, struct fault *fault)
{
    const struct backend_tls_settings *tls = &u->settings->tls;
    /* What a file will say is not known yet. */
    bool is_needed = u->settings->discover.is_on && u->settings->discover.by == DISCOVER_FILE;
    for (size_t i = 0; i < u->settings->proxy.count; i++) {
        struct upstream_address a;
        size_t at;
        const char *wrong = value_parse_upstream(u->settings->proxy.items[i].url, &a, &at);
        is_needed |= !wrong && a.is_tls;
    }
    const struct tls_client_config config = {
        .name = STR(""), /* each endpoint has its own, and its ALPN */
        .verifies = tls->verify,
        .ca_pem = tls->ca_pem,
        .cert_pem = tls->cert_pem,
        .key_pem = tls->key_pem.n ? tls->key_pem : tls->cert_pem,
    };
    if (tls->key_pem.n && !tls->cert_pem.n) {
        return fault_set(fault, ERR_CONFIG, "there is a key without its certificate");
    }
    return is_needed ? tls_client_create(&config, &u->tls, fault) : ERR_OK;
}

/* Whether the list is one that somebody published. */
static bool upstream_is_told(const struct backend_settings *settings)
{
    return settings->proxy.count == 0 || settings->discover.is_on;
}

/* What the settings name, or what was published before, until more is known. */
static size_t upstream_first_list(const struct backend_settings *settings,
                                  const struct members *before,
                                  struct member ret_list[BALANCE_ENDPOINTS_MAX])
{
    size_t n = before ? 0 : settings->proxy.count;
    for (size_t i = 0; i < n; i++) {
        const struct endpoint_settings *from = &settings->proxy.items[i];
        ret_list[i] = (struct member){.name = from->url,
                                      .url = from->url,
                                      .weight = (uint32_t)from->weight,
                                      .is_backup = from->backup,
                                      .zone = from->zone.p ? from->zone : STR("")};
    }
    for (; before && n < before->count; n++) {
        ret_list[n] = members_told(&before->items[n]);
    }
    return n;
}

static enum err upstream_make_list(const struct upstream *u, const struct upstream *before,
                                   struct members **ret_members, struct fault *fault)
{
    struct member list[BALANCE_ENDPOINTS_MAX];
    bool goes_on = before && upstream_is_told(u->settings) && upstream_is_told(before->settings);
    const struct members_input input = {
        .settings = u->settings,
        .backend = u->name,
        .list = list,
        .count = upstream_first_list(u->settings, goes_on ? upstream_members(before) : NULL, list),
        .tls = u->tls,
        .zone = u->zone,
        .before = before ? upstream_members(before) : NULL,
    };
    return members_create(&input, ret_members, fault);
}

enum err upstream_create(const struct upstream_input *input, struct upstream **ret_upstream,
                         struct fault *reterr_fault)
{
    const struct backend_settings *settings = input->settings;
    struct upstream *u = arena_zalloc(input->arena, sizeof(*u));
    struct upstream_shared *shared = arena_zalloc(input->arena, sizeof(*shared));
    struct members *members;
    if (!u || !shared) {
        return ERR_NOMEM;
    }
    *u = (struct upstream){
        .settings = settings,
        .name = input->name,
        .zone = input->zone,
        .index = input->index,
        .timeouts = {.connect_ms = (uint64_t)settings->timeout.connect_ms,
                     .first_ms = (uint64_t)settings->timeout.first_ms,
                     .idle_ms = (uint64_t)settings->timeout.idle_ms,
                     .tunnel_ms = (uint64_t)settings->timeout.stream_ms},
        .rules = {.policy = upstream_policy(settings->balance),
                  .in_flight_max = (uint32_t)settings->breaker.in_flight_max,
                  .slow_start_ms = (uint64_t)settings->slow_start_ms},
        .shared = shared,
    };
    pthread_mutex_init(&shared->lock, NULL);
    enum err e = upstream_make_tls(u, reterr_fault);
    e = e ? e : upstream_make_list(u, input->before, &members, reterr_fault);
    if (e) {
        upstream_done(u);
        return e;
    }
    atomic_init(&shared->members, members);
    *ret_upstream = u;
    return ERR_OK;
}

void upstream_done(struct upstream *u)
{
    if (u) {
        members_unref(atomic_load(&u->shared->members));
        tls_client_unref(u->tls);
        pthread_mutex_destroy(&u->shared->lock);
    }
}

struct members *upstream_members(const struct upstream *u)
{
    return atomic_load_explicit(&u->shared->members, memory_order_relaxed);
}

enum err upstream_publish(const struct upstream *u, const struct member *list, size_t count,
                          struct fault *reterr_fault)
{
    struct upstream_shared *shared = u->shared;
    struct members *before = atomic_load_explicit(&shared->members, memory_order_relaxed);
    struct members *after;
    const struct members_input input = {.settings = u->settings,
                                        .backend = u->name,
                                        .list = list,
                                        .count = count,
                                        .tls = u->tls,
                                        .zone = u->zone,
                                        .before = before};
    enum err e = members_create(&input, &after, reterr_fault);
    if (!e) {
        pthread_mutex_lock(&shared->lock);
        atomic_store_explicit(&shared->members, after, memory_order_relaxed);
        pthread_mutex_unlock(&shared->lock);
        members_unref(before);
    }
    return e;
}

static void members_use_end(struct members_use *use)
{
    if (use && --use->use_count == 0) {
        members_unref(use->members);
        mem_free(use);
    }
}

void upstream_view_done(struct upstream_view *view)
{
    if (view->pipeline) {
        timer_cancel(&view->timer);
    }
    members_use_end(view->now);
    view->now = NULL;
}

/* The list in force. Each loop compares addresses alone before it takes the lock, once for each
 * list that is published: it holds a reference of what it compares with, so no other list can lie
 * there. NULL: no memory, and none was known before. */
static struct members_use *upstream_look_up(const struct upstream *u, struct upstream_view *view)
{
    struct upstream_shared *shared = u->shared;
    if (view->now &&
        view->now->members == atomic_load_explicit(&shared->members, memory_order_relaxed)) {
        return view->now;
    }
    struct members_use *use = mem_alloc(sizeof(*use));
    if (use) {
        pthread_mutex_lock(&shared->lock);
        use->members = members_ref(atomic_load_explicit(&shared->members, memory_order_relaxed));
        pthread_mutex_unlock(&shared->lock);
        use->use_count = 1;
        members_use_end(view->now);
        view->now = use;
    }
    return view->now;
}

/* What was tried of the old list is tried in the new one. */
static void upstream_take_list(struct upstream_use *use, struct members_use *list)
{
    struct members_use *old = use->list;
    uint64_t tried = 0;
    for (size_t i = 0; old && i < list->members->count; i++) {
        for (size_t k = 0; k < old->members->count; k++) {
            if (list->members->items[i].state == old->members->items[k].state) {
                tried |= (use->tried >> k & 1) << i;
            }
        }
    }
    list->use_count++;
    use->list = list;
    use->tried = tried;
    use->endpoint = NULL;
    members_use_end(old);
}

struct str upstream_name(const struct upstream *u)
{
    return u->name;
}

size_t upstream_index(const struct upstream *u)
{
    return u->index;
}

const struct backend_settings *upstream_settings(const struct upstream *u)
{
    return u->settings;
}

const struct client_timeouts *upstream_timeouts(const struct upstream *u)
{
    return &u->timeouts;
}

size_t upstream_replay_bytes(const struct upstream *u)
{
    return u->settings->retry.is_on ? (size_t)u->settings->retry.body_bytes : 0;
}

/* ---- the choice ---- */

static void upstream_look(const struct upstream_use *use, uint64_t now_ms,
                          struct balance_endpoint *ret_list)
{
    members_look(use->list->members, now_ms, ret_list);
    for (size_t i = 0; i < use->list->members->count; i++) {
        ret_list[i].is_tried = use->tried >> i & 1;
    }
}

static bool upstream_is_drained(const struct balance_endpoint *list, size_t n)
{
    bool is_drained = true;
    for (size_t i = 0; i < n; i++) {
        is_drained &= list[i].is_drained;
    }
    return is_drained;
}

/* The endpoint that the cookie names, as long as it can: another one is better than none. */
static size_t upstream_find_mark(const struct upstream *u, const struct upstream_use *use,
                                 const struct balance_endpoint *list, uint64_t now_ms)
{
    const struct members *m = use->list->members;
    for (size_t i = 0; use->has_mark && i < m->count; i++) {
        if (memcmp(use->mark, m->items[i].mark, STICKY_MARK_BYTES) == 0) {
            return balance_can(&u->rules, &list[i], now_ms) ? i : BALANCE_NONE;
        }
    }
    return BALANCE_NONE;
}

enum upstream_choice upstream_choose(struct pipeline *p, const struct upstream *u,
                                     struct upstream_use *use)
{
    struct balance_endpoint list[BALANCE_ENDPOINTS_MAX];
    struct members_use *now = upstream_look_up(u, use->view);
    if (now && now != use->list) {
        upstream_take_list(use, now);
    }
    if (!now || now->members->count == 0) {
        return UPSTREAM_FULL;
    }
    const struct balance_turn turn = {
        .now_ms = loop_now_ms(p->loop),
        .key = use->key,
        .random = pipeline_random(p),
        .tick = atomic_fetch_add_explicit(&u->shared->turns, 1, memory_order_relaxed)};
    bool is_panic = false;
    upstream_look(use, turn.now_ms, list);
    size_t i = upstream_find_mark(u, use, list, turn.now_ms);
    if (i == BALANCE_NONE) {
        i = balance_pick(&u->rules, list, now->members->count, &turn, &is_panic);
    }
    if (i == BALANCE_NONE) {
        return upstream_is_drained(list, now->members->count) ? UPSTREAM_CLOSED : UPSTREAM_FULL;
    }
    if (is_panic) {
        metrics_add(p->metrics, METRICS_UPSTREAM_PANICS, 1);
    }
    use->endpoint = &now->members->items[i];
    use->tried |= (uint64_t)1 << i;
    use->try_count++;
    use->start_ns = loop_now_ns(p->loop);
    use->is_under_way = true;
    endpoint_begin(use->endpoint->state);
    atomic_fetch_add_explicit(&u->shared->active, 1, memory_order_relaxed);
    return UPSTREAM_GIVEN;
}

bool upstream_has_endpoint(const struct upstream_use *use)
{
    return use->list && use->list->members->count > 0;
}

bool upstream_pick(struct pipeline *p, const struct upstream *u, struct upstream_use *use)
{
    bool is_given = upstream_choose(p, u, use) == UPSTREAM_GIVEN;
    metrics_add(p->metrics, METRICS_UPSTREAM_REFUSED, !is_given);
    return is_given;
}

void upstream_last(const struct upstream *u, struct upstream_use *use)
{
    if (use->is_retry) {
        use->is_retry = false;
        atomic_fetch_sub_explicit(&u->shared->retries, 1, memory_order_relaxed);
    }
}

void upstream_tunnel(const struct upstream *u, struct upstream_use *use)
{
    upstream_last(u, use);
    use->is_tunnel = true;
    endpoint_begin_tunnel(use->endpoint->state);
}

void upstream_release(const struct upstream *u, struct upstream_use *use)
{
    upstream_last(u, use);
    if (use->is_under_way) {
        use->is_under_way = false;
        if (use->is_tunnel) {
            use->is_tunnel = false;
            endpoint_end_tunnel(use->endpoint->state);
        }
        endpoint_end(use->endpoint->state);
        atomic_fetch_sub_explicit(&u->shared->active, 1, memory_order_relaxed);
        upstream_queue_room(use->view);
    }
}

void upstream_end(const struct upstream *u, struct upstream_use *use)
{
    upstream_release(u, use);
    upstream_queue_leave(u, use);
    members_use_end(use->list);
    use->list = NULL;
    use->endpoint = NULL;
}

/* ---- how it went ---- */

static uint32_t upstream_elapsed_us(struct pipeline *p, const struct upstream_use *use)
{
    uint64_t us = (loop_now_ns(p->loop) - use->start_ns) / 1000;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* A failure counts as long as a connection may take, however quick it was: else whoever fails
 * fastest would be asked most. */
static void upstream_failed(struct pipeline *p, const struct upstream *u, struct upstream_use *use)
{
    const struct outlier_settings *outlier = &u->settings->outlier;
    struct balance_endpoint list[BALANCE_ENDPOINTS_MAX];
    uint64_t now_ms = loop_now_ms(p->loop);
    uint64_t least_us =
        u->timeouts.connect_ms < UINT32_MAX / 1000 ? u->timeouts.connect_ms * 1000 : UINT32_MAX;
    uint32_t us = upstream_elapsed_us(p, use);
    struct endpoint *state = use->endpoint->state;
    uint32_t count = endpoint_failed(state, now_ms, us > least_us ? us : (uint32_t)least_us);
    if (!outlier->is_on || count < outlier->error_count) {
        return;
    }
    const struct members *m = use->list->members;
    upstream_look(use, now_ms, list);
    if (balance_may_eject(list, m->count, (size_t)(use->endpoint - m->items), now_ms,
                          (uint32_t)outlier->max_ppm) &&
        endpoint_eject(state, now_ms, (uint64_t)outlier->eject_ms, ENDPOINT_FAILS_IN_ROW)) {
        metrics_add(p->metrics, METRICS_UPSTREAM_EJECTIONS, 1);
    }
}

void upstream_answered(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                       uint16_t status)
{
    if (status >= 502 && status <= 504) {
        upstream_failed(p, u, use);
    } else {
        endpoint_succeeded(use->endpoint->state, loop_now_ms(p->loop), upstream_elapsed_us(p, use));
    }
}

void upstream_avoid(struct pipeline *p, const struct upstream_use *use, enum client_fault fault,
                    const struct socket_address *address)
{
    if (use->endpoint->host.n &&
        (fault == CLIENT_FAULT_CONNECT || fault == CLIENT_FAULT_CONNECT_TIME)) {
        resolver_avoid(p->resolver, use->endpoint->host, address);
    }
}

/* Whether a fault says something about the endpoint. */
static bool upstream_is_failure(enum client_fault fault)
{
    switch (fault) {
    case CLIENT_FAULT_NAME:
    case CLIENT_FAULT_CONNECT:
    case CLIENT_FAULT_CONNECT_TIME:
    case CLIENT_FAULT_TLS:
    case CLIENT_FAULT_CLOSED:
    case CLIENT_FAULT_RESPONSE:
    case CLIENT_FAULT_INTERIM:
    case CLIENT_FAULT_FIRST_TIME:
    case CLIENT_FAULT_IDLE_TIME:
    case CLIENT_FAULT_CUT:
    case CLIENT_FAULT_RESET:
    case CLIENT_FAULT_REFUSED:
        return true;
    case CLIENT_FAULT_NONE:
    case CLIENT_FAULT_MEMORY:
    case CLIENT_FAULT_UPGRADE:
    case CLIENT_FAULT_REQUEST:
    case CLIENT_FAULT_GOAWAY:
    case CLIENT_FAULT_COUNT:
        break;
    }
    return false;
}

/* ---- another try ---- */

static bool upstream_retries_on(const struct upstream *u, enum retry_cause cause)
{
    const struct enum_list *on = &u->settings->retry.on;
    return u->settings->retry.is_on && memchr(on->items, (int)cause, on->count) != NULL;
}

static bool upstream_has_other(const struct upstream_use *use)
{
    return use->list->members->count > 1;
}

/* Tries that may be made in all. */
static unsigned upstream_tries_max(const struct upstream *u, const struct upstream_use *use)
{
    return upstream_has_other(use) ? 1 + (unsigned)u->settings->retry.try_count : 2;
}

/* Whether a try that failed so may be made again, `has_other`: at another endpoint. A connection
 * that had rested is none of the causes that are configured: our keeping it is at fault. */
static bool upstream_is_safe(const struct upstream *u, const struct client_end *end,
                             bool is_idempotent, bool has_other)
{
    bool may_repeat = !end->has_answered && (is_idempotent || !end->has_sent);
    switch (end->fault) {
    case CLIENT_FAULT_CONNECT:
        return upstream_retries_on(u, RETRY_CONNECT);
    case CLIENT_FAULT_REFUSED: /* RFC 9113 8.7: nothing was done for it */
    case CLIENT_FAULT_GOAWAY:
        return true;
    case CLIENT_FAULT_NAME:
    case CLIENT_FAULT_CONNECT_TIME:
    case CLIENT_FAULT_TLS:
        return has_other && !end->has_sent && upstream_retries_on(u, RETRY_CONNECT);
    case CLIENT_FAULT_CLOSED:
        return may_repeat &&
               (end->is_reused || (has_other && upstream_retries_on(u, RETRY_CLOSED)));
    case CLIENT_FAULT_FIRST_TIME:
        return may_repeat && has_other && upstream_retries_on(u, RETRY_TIMEOUT);
    case CLIENT_FAULT_NONE:
    case CLIENT_FAULT_MEMORY:
    case CLIENT_FAULT_RESPONSE:
    case CLIENT_FAULT_INTERIM:
    case CLIENT_FAULT_UPGRADE:
    case CLIENT_FAULT_IDLE_TIME:
    case CLIENT_FAULT_CUT:
    case CLIENT_FAULT_RESET:
    case CLIENT_FAULT_REQUEST:
    case CLIENT_FAULT_COUNT:
        break;
    }
    return false;
}

bool upstream_report(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                     const struct client_end *end, bool is_idempotent, bool is_replayable)
{
    /* An instance that ends has a successor. */
    bool has_other = upstream_has_other(use) || u->settings->process.is_on;
    bool has_ended = u->settings->process.is_on && end->fault == CLIENT_FAULT_CONNECT;
    bool may_repeat = is_idempotent && !use->endpoint->is_grpc;
    unsigned most = has_ended ? TRIES_MAX_PROCESS : upstream_tries_max(u, use);
    /* A connection that rested may end at any time; that is no fault of the endpoint. */
    bool is_stale = end->fault == CLIENT_FAULT_CLOSED && end->is_reused && !end->has_answered;
    metrics_add(p->metrics, end->is_reused ? METRICS_UPSTREAM_REUSED : METRICS_UPSTREAM_CONNECTIONS,
                1);
    if (end->fault) {
        metrics_add_at(p->metrics, METRICS_UPSTREAM_ERRORS, end->fault, 1);
        if (!is_stale && upstream_is_failure(end->fault)) {
            upstream_failed(p, u, use);
        }
    }
    upstream_release(u, use);
    if (!is_replayable || use->try_count >= most ||
        !upstream_is_safe(u, end, may_repeat, has_other)) {
        return false;
    }
    use->wants_new_connection = true;
    use->pause_ms = has_ended   ? PROCESS_PAUSE_MS * use->try_count
                    : has_other ? balance_retry_pause_ms(use->try_count, pipeline_random(p))
                                : 0;
    return true;
}

static bool upstream_has_budget(const struct upstream *u, const struct upstream_use *use)
{
    uint32_t active = atomic_load_explicit(&u->shared->active, memory_order_relaxed);
    uint32_t retries = atomic_load_explicit(&u->shared->retries, memory_order_relaxed);
    return balance_may_retry(active, retries - use->is_retry,
                             (uint32_t)u->settings->retry.budget_ppm);
}

static void upstream_take_budget(struct pipeline *p, const struct upstream *u,
                                 struct upstream_use *use)
{
    atomic_fetch_add_explicit(&u->shared->retries, 1, memory_order_relaxed);
    use->is_retry = true;
    metrics_add(p->metrics, METRICS_UPSTREAM_RETRIES, 1);
}

static bool upstream_retries_on_status(const struct upstream *u, uint16_t status)
{
    static const struct {
        uint16_t status;
        enum retry_cause cause;
    } rows[] = {
        {429, RETRY_429}, {500, RETRY_500}, {502, RETRY_502}, {503, RETRY_503}, {504, RETRY_504}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].status == status) {
            return upstream_retries_on(u, rows[i].cause);
        }
    }
    return false;
}

bool upstream_retry_answer(struct pipeline *p, const struct upstream *u, struct upstream_use *use,
                           uint16_t status)
{
    if (use->endpoint->is_grpc || !upstream_retries_on_status(u, status) ||
        !upstream_has_other(use) || use->try_count >= upstream_tries_max(u, use) ||
        !upstream_has_budget(u, use)) {
        return false;
    }
    upstream_release(u, use);
    upstream_take_budget(p, u, use);
    use->pause_ms = balance_retry_pause_ms(use->try_count, pipeline_random(p));
    return true;
}

bool upstream_begin_retry(struct pipeline *p, const struct upstream *u, struct upstream_use *use)
{
    if (use->is_retry) {
        return true;
    }
    if (!upstream_has_budget(u, use)) {
        use->pause_ms = 1 + balance_retry_pause_ms(use->try_count, pipeline_random(p));
        return false;
    }
    upstream_take_budget(p, u, use);
    return true;
}
