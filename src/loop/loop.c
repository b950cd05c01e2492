/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/clock.h"

#define LOOP_MAGIC 0x6c6f6f70u
#define LOOP_EVENTS_PER_TURN 256
#define LOOP_MAIL_MAX 4096
#define LOAD_WINDOW_NS NS_PER_S

struct loop_mail {
    loop_message_fn fn;
    void *context;
    uint64_t value;
};

struct loop_slot {
    struct loop_watch *watch;
    uint32_t generation;
};

struct loop {
    uint32_t magic;
    struct poller *poller;
    struct timer_wheel timers;
    uint64_t now_ns;
    uint64_t wall_ns;
    struct loop_slot *slots; /* by descriptor */
    int slot_count;
    struct list tasks;
    struct list end_tasks;
    struct loop_stats stats;
    uint64_t window_start_ns;
    uint64_t window_busy_ns;
    unsigned load_permille;
    atomic_bool is_stopping;

    pthread_mutex_t mail_lock;
    struct loop_mail *mail; /* written by any thread under the lock */
    struct loop_mail *mail_taken;
    unsigned mail_count;
    struct loop_watch mail_watch;
};

static void loop_on_mail(struct loop_watch *w, unsigned events)
{
    (void)events;
    struct loop *l = CONTAINER_OF(w, struct loop, mail_watch);
    ASSERT_MAGIC(l, LOOP_MAGIC);
    uint64_t count;
    ssize_t got = read(w->fd, &count, sizeof(count));
    (void)got;
    pthread_mutex_lock(&l->mail_lock);
    struct loop_mail *mail = l->mail;
    unsigned n = l->mail_count;
    l->mail = l->mail_taken;
    l->mail_taken = mail;
    l->mail_count = 0;
    pthread_mutex_unlock(&l->mail_lock);
    for (unsigned i = 0; i < n; i++) {
        mail[i].fn(mail[i].context, mail[i].value);
    }
}

static void loop_update_time(struct loop *l)
{
    l->now_ns = poller_now_ns(l->poller);
    l->wall_ns = clock_wall_ns();
}

enum err loop_create(enum poller_kind kind, struct loop **ret_loop)
{
    enum err e;
    struct loop *l = mem_zalloc(1, sizeof(*l));
    if (!l) {
        return ERR_NOMEM;
    }
    l->magic = LOOP_MAGIC;
    list_init(&l->tasks);
    list_init(&l->end_tasks);
    pthread_mutex_init(&l->mail_lock, NULL);
    l->mail_watch.fd = -1;
    e = poller_create(kind, &l->poller);
    if (e) {
        goto fail;
    }
    l->mail = mem_zalloc(LOOP_MAIL_MAX, sizeof(*l->mail));
    l->mail_taken = mem_zalloc(LOOP_MAIL_MAX, sizeof(*l->mail));
    if (!l->mail || !l->mail_taken) {
        e = ERR_NOMEM;
        goto fail;
    }
    loop_update_time(l);
    l->window_start_ns = l->now_ns;
    timer_wheel_init(&l->timers, l->now_ns / NS_PER_MS);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        e = err_from_errno(errno);
        goto fail;
    }
    e = loop_watch(l, &l->mail_watch, fd, POLLER_READ, loop_on_mail);
    if (e) {
        l->mail_watch.fd = fd;
        goto fail;
    }
    *ret_loop = l;
    return ERR_OK;
fail:
    loop_destroy(l);
    return e;
}

void loop_destroy(struct loop *l)
{
    if (!l) {
        return;
    }
    ASSERT_MAGIC(l, LOOP_MAGIC);
    poller_destroy(l->poller);
    if (l->mail_watch.fd >= 0) {
        close(l->mail_watch.fd);
    }
    pthread_mutex_destroy(&l->mail_lock);
    mem_free(l->mail);
    mem_free(l->mail_taken);
    mem_free(l->slots);
    l->magic = 0;
    mem_free(l);
}

static void loop_run_tasks(struct list *tasks)
{
    while (!list_is_empty(tasks)) {
        struct loop_task *t = CONTAINER_OF(tasks->next, struct loop_task, link);
        list_remove(&t->link);
        t->run(t);
    }
}

static uint64_t loop_token(const struct loop_watch *w)
{
    return (uint64_t)(uint32_t)w->fd | (uint64_t)w->generation << 32;
}

/* What can be read and is not wanted would be reported in every turn: the poller forgets it now. */
static void loop_tell(struct loop *l, struct loop_watch *w, unsigned events)
{
    unsigned told = events;
    if ((events & POLLER_READ) && w->armed != w->events) {
        enum err ignored = poller_change(l->poller, w->fd, w->events, loop_token(w));
        (void)ignored; /* less to watch for takes no memory */
        w->armed = w->events;
        told &= events & POLLER_HANGUP ? ~0u : ~(unsigned)POLLER_READ;
    }
    if (told) {
        w->on_ready(w, told);
    }
}

static void loop_dispatch(struct loop *l, const struct poller_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        int fd = (int)(uint32_t)events[i].token;
        const struct loop_slot *slot = &l->slots[fd];
        if (slot->watch && slot->generation == (uint32_t)(events[i].token >> 32)) {
            loop_tell(l, slot->watch, events[i].events);
        }
    }
}

static void loop_account(struct loop *l)
{
    uint64_t busy = poller_now_ns(l->poller) - l->now_ns;
    l->stats.turns++;
    l->stats.busy_ns += busy;
    l->window_busy_ns += busy;
    if (busy > l->stats.lag_max_ns) {
        l->stats.lag_max_ns = busy;
    }
    uint64_t window = l->now_ns + busy - l->window_start_ns;
    if (window >= LOAD_WINDOW_NS) {
        uint64_t load = l->window_busy_ns * 1000 / window;
        l->load_permille = load > 1000 ? 1000 : (unsigned)load;
        l->window_busy_ns = 0;
        l->window_start_ns = l->now_ns + busy;
    }
}

bool loop_turn(struct loop *l, uint64_t deadline_ns)
{
    struct poller_event events[LOOP_EVENTS_PER_TURN];
    uint64_t timer_ms = timer_wheel_next_ms(&l->timers);
    uint64_t timer_ns = timer_ms == UINT64_MAX ? UINT64_MAX : timer_ms * NS_PER_MS;
    uint64_t until = timer_ns < deadline_ns ? timer_ns : deadline_ns;
    int n = poller_wait(l->poller, events, LOOP_EVENTS_PER_TURN, until);
    loop_update_time(l);
    uint64_t now_ms = l->now_ns / NS_PER_MS;
    bool has_worked = n > 0 || timer_ms <= now_ms;
    timer_wheel_advance(&l->timers, now_ms);
    loop_dispatch(l, events, n);
    loop_run_tasks(&l->tasks);
    loop_run_tasks(&l->end_tasks);
    loop_account(l);
    return has_worked;
}

void loop_run(struct loop *l)
{
    while (!atomic_load_explicit(&l->is_stopping, memory_order_acquire)) {
        loop_turn(l, UINT64_MAX);
    }
}

static void loop_wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t put = write(l->mail_watch.fd, &one, sizeof(one));
    (void)put; /* fails only when the counter is full, and then the loop wakes anyway */
}

void loop_stop(struct loop *l)
{
    atomic_store_explicit(&l->is_stopping, true, memory_order_release);
    loop_wake(l);
}

enum err loop_post(struct loop *l, loop_message_fn fn, void *context, uint64_t value)
{
    enum err e = ERR_OK;
    pthread_mutex_lock(&l->mail_lock);
    if (l->mail_count == LOOP_MAIL_MAX) {
        e = ERR_LIMIT;
    } else {
        l->mail[l->mail_count++] = (struct loop_mail){fn, context, value};
    }
    pthread_mutex_unlock(&l->mail_lock);
    if (!e) {
        loop_wake(l);
    }
    return e;
}

uint64_t loop_now_ns(const struct loop *l)
{
    return l->now_ns;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return l->now_ns / NS_PER_MS;
}

uint64_t loop_clock_ns(const struct loop *l)
{
    return poller_now_ns(l->poller);
}

uint64_t loop_wall_ns(const struct loop *l)
{
    return l->wall_ns;
}

int64_t loop_wall_s(const struct loop *l)
{
    return (int64_t)(l->wall_ns / NS_PER_S);
}

const char *loop_poller_name(const struct loop *l)
{
    return poller_name(l->poller);
}

struct loop_stats loop_read_stats(struct loop *l)
{
    struct loop_stats stats = l->stats;
    l->stats.lag_max_ns = 0;
    return stats;
}

unsigned loop_load_permille(const struct loop *l)
{
    return l->load_permille;
}

static enum err loop_grow_slots(struct loop *l, int fd)
{
    int count = l->slot_count ? l->slot_count : 64;
    while (count <= fd) {
        count *= 2;
    }
    struct loop_slot *slots = mem_realloc(l->slots, (size_t)count * sizeof(*slots));
    if (!slots) {
        return ERR_NOMEM;
    }
    memset(slots + l->slot_count, 0, (size_t)(count - l->slot_count) * sizeof(*slots));
    l->slots = slots;
    l->slot_count = count;
    return ERR_OK;
}

enum err loop_watch_later(struct loop *l, struct loop_watch *w, int fd, loop_ready_fn on_ready)
{
    if (fd >= l->slot_count) {
        enum err e = loop_grow_slots(l, fd);
        if (e) {
            return e;
        }
    }
    struct loop_slot *slot = &l->slots[fd];
    ASSERT(slot->watch == NULL);
    *w = (struct loop_watch){
        .fd = fd, .generation = ++slot->generation, .is_active = true, .on_ready = on_ready};
    slot->watch = w;
    return ERR_OK;
}

enum err loop_watch(struct loop *l, struct loop_watch *w, int fd, unsigned events,
                    loop_ready_fn on_ready)
{
    enum err e = loop_watch_later(l, w, fd, on_ready);
    if (!e) {
        e = loop_rewatch(l, w, events);
        if (e) {
            loop_unwatch(l, w);
        }
    }
    return e;
}

static bool loop_is_armed(const struct loop_watch *w, unsigned events)
{
    return w->is_added && (w->armed == events || w->armed == (events | POLLER_READ));
}

/* Interest in reading stays with the poller when it is lost: mostly it comes back before anything
 * was there to be read, and the kernel need not be asked twice. */
enum err loop_rewatch(struct loop *l, struct loop_watch *w, unsigned events)
{
    if (!w->is_active) {
        return ERR_OK;
    }
    if (loop_is_armed(w, events)) {
        w->events = events;
        return ERR_OK;
    }
    enum err e = w->is_added ? poller_change(l->poller, w->fd, events, loop_token(w))
                             : poller_add(l->poller, w->fd, events, loop_token(w));
    if (!e) {
        w->is_added = true;
        w->events = events;
        w->armed = events;
    }
    return e;
}

static void loop_forget(struct loop *l, struct loop_watch *w, bool is_closing)
{
    if (w->is_active) {
        if (w->is_added) {
            poller_remove(l->poller, w->fd, loop_token(w), is_closing);
        }
        l->slots[w->fd].watch = NULL;
        w->is_active = false;
    }
}

void loop_unwatch(struct loop *l, struct loop_watch *w)
{
    loop_forget(l, w, false);
}

void loop_watch_move(struct loop *l, struct loop_watch *to, struct loop_watch *from)
{
    ASSERT(l->slots[to->fd].watch == from);
    l->slots[to->fd].watch = to;
    from->is_active = false;
}

void loop_close(struct loop *l, struct loop_watch *w)
{
    loop_forget(l, w, true);
    close(w->fd);
}

void loop_timer_set(struct loop *l, struct timer *t, uint64_t deadline_ms)
{
    timer_set(&l->timers, t, deadline_ms);
}

void loop_task_init(struct loop_task *t, loop_task_fn run)
{
    list_init(&t->link);
    t->run = run;
}

void loop_defer(struct loop *l, struct loop_task *t)
{
    if (list_is_empty(&t->link)) {
        list_push_back(&l->tasks, &t->link);
    }
}

void loop_defer_end(struct loop *l, struct loop_task *t)
{
    if (list_is_empty(&t->link)) {
        list_push_back(&l->end_tasks, &t->link);
    }
}

void loop_task_cancel(struct loop_task *t)
{
    list_remove(&t->link);
}
