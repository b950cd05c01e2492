/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/demand.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "crypto/certificate.h"
#include "issuer/acme_store.h"
#include "os/file.h"

#define NAME_BYTES_MAX 253u
#define WAITING_MAX 16u
#define REFUSED_MAX 1024u
#define REFUSED_S 900
#define ASK_AGAIN_S 86400
#define UNKNOWN_S 60 /* the service was not there, or there is no room */
#define ASK_TIMEOUT_MS 5000
#define FAILURES_MAX 3u
#define FILE_MODE 0640u

/* One name and the settings it is got with. */
struct entry {
    char text[NAME_BYTES_MAX + 1];
    struct str name;
    const struct task_set *kind; /* of the task's demands */
    int64_t asked_s;             /* the last time its renewal was asked about */
};

/* Direct-mapped: what a later name displaces is asked about again. */
struct refusal {
    uint64_t name; /* a mark of it */
    int64_t until_s;
};

struct demand {
    struct task *task;
    const struct issuer_io *io;
    struct task_set *own_sets; /* of the task, as they were */
    size_t own_count;
    struct entry *entries[DEMAND_NAMES_MAX]; /* of the sets behind the own ones */
    size_t count;
    struct entry waiting[WAITING_MAX];
    size_t waiting_count;
    struct refusal refused[REFUSED_MAX];
    bool is_ask_broken; /* said already */
};

/* ---- names on disk ---- */

void demand_write(struct str name, const struct acme_settings *acme, struct buf *out)
{
    buf_printf(out, STR_FMT "\n" STR_FMT "\n" STR_FMT, STR_ARG(name), STR_ARG(acme->ask),
               STR_ARG(acme->ca));
}

/* Names become names of files: only what the edge lets through is one. */
static bool name_is_legal(struct str name)
{
    bool is_legal = name.n && name.n <= NAME_BYTES_MAX && name.p[0] != '.' && name.p[0] != '-';
    for (size_t i = 0; i < name.n && is_legal; i++) {
        char c = name.p[i];
        is_legal = (c >= 'a' && c <= 'z') || ascii_is_digit(c) || c == '-' || c == '.';
    }
    return is_legal;
}

static const struct task_set *demand_parse(const struct demand *d, struct str message,
                                           struct str *ret_name)
{
    struct str ask;
    if (!str_split(&message, '\n', ret_name) || !str_split(&message, '\n', &ask) ||
        !name_is_legal(*ret_name)) {
        return NULL;
    }
    for (size_t i = 0; i < d->task->demand_count; i++) {
        const struct task_set *kind = &d->task->demands[i];
        if (str_eq(kind->acme.ask, ask) && str_eq(kind->acme.ca, message)) {
            return kind;
        }
    }
    return NULL;
}

static enum err demand_path(const struct demand *d, const char *name, char ret_path[PATH_MAX])
{
    return store_path(d->task->folder, STORE_DEMAND_FOLDER, name, ret_path);
}

static enum err demand_keep(const struct demand *d, const struct entry *entry)
{
    char path[PATH_MAX];
    struct buf text;
    enum err e = demand_path(d, "", path);
    if (!e) {
        e = file_make_directories(path);
    }
    if (!e) {
        e = demand_path(d, entry->text, path);
    }
    buf_init(&text, 0);
    demand_write(entry->name, &entry->kind->acme, &text);
    if (!e) {
        e = text.is_failed ? ERR_NOMEM : file_replace(path, buf_str(&text), FILE_MODE);
    }
    buf_done(&text);
    return e;
}

struct listing {
    demand_name_fn on_name;
    void *context;
};

static bool listing_on_entry(void *context, const char *name)
{
    const struct listing *l = context;
    if (name_is_legal(str_of(name))) {
        l->on_name(l->context, str_of(name));
    }
    return true;
}

void demand_each(struct str folder, demand_name_fn on_name, void *context)
{
    char path[PATH_MAX];
    int root;
    struct listing listing = {on_name, context};
    if (store_path(folder, STORE_DEMAND_FOLDER, "", path) == ERR_OK &&
        file_open_root(path, &root) == ERR_OK) {
        enum err ignored = file_list(root, listing_on_entry, &listing);
        (void)ignored; /* none was demanded yet */
        file_close(root);
    }
}

/* ---- names as sets ---- */

static enum err demand_add(struct demand *d, struct str name, const struct task_set *kind)
{
    if (d->count == DEMAND_NAMES_MAX) {
        return ERR_LIMIT;
    }
    struct entry *entry = mem_zalloc(1, sizeof(*entry));
    if (!entry) {
        return ERR_NOMEM;
    }
    memcpy(entry->text, name.p, name.n);
    entry->name = str_make(entry->text, name.n);
    entry->kind = kind;
    d->entries[d->count++] = entry;
    d->task->sets[d->task->count++] = (struct task_set){
        .names = &entry->name, .name_count = 1, .acme = kind->acme, .is_on_demand = true};
    return ERR_OK;
}

static void demand_drop(struct demand *d, size_t i)
{
    mem_free(d->entries[i]);
    d->entries[i] = d->entries[--d->count];
    d->task->sets[d->own_count + i] = d->task->sets[--d->task->count];
}

/* A name whose host is gone from the configuration goes too; a client brings it back. */
static void demand_on_kept(void *context, struct str name)
{
    struct demand *d = context;
    char path[PATH_MAX];
    struct buf text;
    struct str kept;
    buf_init(&text, 0);
    if (demand_path(d, name.p, path) != ERR_OK) {
        return;
    }
    enum err e = file_read_all(path, DEMAND_MESSAGE_BYTES_MAX, &text);
    const struct task_set *kind = e ? NULL : demand_parse(d, buf_str(&text), &kept);
    if (kind && str_eq(kept, name)) {
        e = demand_add(d, name, kind);
    } else if (e != ERR_NOMEM) {
        e = file_remove(path);
    }
    buf_done(&text);
}

enum err demand_open(struct task *task, const struct issuer_io *io, struct demand **ret_demand)
{
    struct demand *d = mem_zalloc(1, sizeof(*d));
    struct task_set *sets = mem_zalloc(task->count + DEMAND_NAMES_MAX, sizeof(*sets));
    if (!d || !sets) {
        mem_free(d);
        mem_free(sets);
        return ERR_NOMEM;
    }
    *d = (struct demand){.task = task, .io = io, .own_sets = task->sets, .own_count = task->count};
    if (task->count) {
        memcpy(sets, task->sets, task->count * sizeof(*sets));
    }
    task->sets = sets;
    demand_each(task->folder, demand_on_kept, d);
    *ret_demand = d;
    return ERR_OK;
}

void demand_close(struct demand *d)
{
    if (!d) {
        return;
    }
    while (d->count) {
        demand_drop(d, d->count - 1);
    }
    mem_free(d->task->sets);
    d->task->sets = d->own_sets;
    mem_free(d);
}

/* ---- asking ---- */

static uint64_t name_mark(struct str name)
{
    return hash_str(name) | 1;
}

static void demand_refuse(struct demand *d, struct str name, int64_t until_s)
{
    uint64_t mark = name_mark(name);
    d->refused[mark % REFUSED_MAX] = (struct refusal){mark, until_s};
}

void demand_take(struct demand *d, struct str message)
{
    struct str name;
    const struct task_set *kind = demand_parse(d, message, &name);
    bool is_known = !kind || d->waiting_count == WAITING_MAX;
    if (!is_known) {
        const struct refusal *refusal = &d->refused[name_mark(name) % REFUSED_MAX];
        is_known =
            refusal->name == name_mark(name) && refusal->until_s > d->io->now_s(d->io->context);
    }
    for (size_t i = 0; i < d->count && !is_known; i++) {
        is_known = str_eq(d->entries[i]->name, name);
    }
    for (size_t i = 0; i < d->waiting_count && !is_known; i++) {
        is_known = str_eq(d->waiting[i].name, name);
    }
    if (!is_known) {
        struct entry *entry = &d->waiting[d->waiting_count++];
        *entry = (struct entry){.kind = kind};
        memcpy(entry->text, name.p, name.n);
        entry->name = str_make(entry->text, name.n);
    }
}

bool demand_is_waiting(const struct demand *d)
{
    return d->waiting_count != 0;
}

static void demand_say(const struct demand *d, enum issuer_event event, const struct entry *entry,
                       const char *text)
{
    struct str name = entry->name;
    const struct task_set set = {.names = &name, .name_count = 1};
    d->io->on_event(d->io->context, event, &set, text);
}

static enum err demand_send(const struct demand *d, const struct entry *entry, unsigned *ret_status,
                            const char **ret_reason)
{
    struct buf url;
    struct web_answer answer;
    struct str ask = entry->kind->acme.ask;
    buf_init(&url, 0);
    buf_printf(&url, STR_FMT "%sdomain=" STR_FMT, STR_ARG(ask), str_index(ask, '?') < 0 ? "?" : "&",
               STR_ARG(entry->name));
    const struct web_request request = {.method = WEB_GET,
                                        .url = buf_str(&url),
                                        .may_be_plain = true,
                                        .timeout_ms = ASK_TIMEOUT_MS};
    *ret_reason = err_text(ERR_NOMEM);
    enum err e =
        url.is_failed ? ERR_NOMEM : d->io->send(d->io->context, &request, &answer, ret_reason);
    *ret_status = e ? 0 : answer.status;
    buf_done(&url);
    return e;
}

/* 200 is yes, what a client did wrong is no; all else is the service's own trouble. */
static bool demand_is_no(unsigned status)
{
    return status >= 400 && status < 500;
}

static void demand_ask(struct demand *d, const struct entry *entry)
{
    char text[320];
    const char *reason;
    unsigned status;
    enum err e = demand_send(d, entry, &status, &reason);
    int64_t now_s = d->io->now_s(d->io->context);
    if (status == 200) {
        d->is_ask_broken = false;
        e = demand_keep(d, entry);
        if (!e) {
            e = demand_add(d, entry->name, entry->kind);
        }
        if (e) {
            demand_refuse(d, entry->name, now_s + UNKNOWN_S);
            snprintf(text, sizeof(text), "a name that was asked for has no place: %s", err_text(e));
            demand_say(d, ISSUER_WARNING, entry, text);
        }
    } else if (!e && demand_is_no(status)) {
        d->is_ask_broken = false;
        demand_refuse(d, entry->name, now_s + REFUSED_S);
        demand_say(d, ISSUER_REFUSED, entry, "");
    } else {
        demand_refuse(d, entry->name, now_s + UNKNOWN_S);
        if (!d->is_ask_broken && e) {
            snprintf(text, sizeof(text), "the service of acme.ask cannot be asked: %s", reason);
        } else {
            snprintf(text, sizeof(text), "the service of acme.ask answers with status %u", status);
        }
        if (!d->is_ask_broken) {
            demand_say(d, ISSUER_WARNING, entry, text);
        }
        d->is_ask_broken = true;
    }
}

/* ---- giving up ---- */

/* Nobody is served with it, and trying leads nowhere: a name that points elsewhere by now. */
static bool demand_is_vain(const struct demand *d, const struct task_set *set)
{
    const struct store_set place = {d->task->folder, set->acme.ca, set->names, set->name_count};
    struct store_record record;
    struct certificate *c;
    enum err e = store_read_record(&place, &record);
    bool is_vain = !e && record.failures >= FAILURES_MAX;
    store_record_done(&record);
    if (is_vain && issuer_certificate(d->task->folder, set, &c, NULL) == ERR_OK) {
        is_vain = certificate_not_after_s(c) <= d->io->now_s(d->io->context);
        certificate_unref(c);
    }
    return is_vain;
}

/* Before a renewal the service is asked again, once a day; what it does not answer is no refusal,
 * because sites must not depend on it being there. */
static bool demand_is_taken_back(const struct demand *d, size_t i)
{
    const struct task_set *set = &d->task->sets[d->own_count + i];
    struct entry *entry = d->entries[i];
    int64_t now_s = d->io->now_s(d->io->context);
    struct certificate *c;
    const char *reason;
    unsigned status;
    if (now_s < entry->asked_s + ASK_AGAIN_S ||
        issuer_certificate(d->task->folder, set, &c, NULL) != ERR_OK) {
        return false;
    }
    int64_t until_s = certificate_not_after_s(c);
    bool is_late = now_s > until_s - (until_s - certificate_not_before_s(c)) / 3;
    certificate_unref(c);
    if (!is_late) {
        return false;
    }
    entry->asked_s = now_s;
    return demand_send(d, entry, &status, &reason) == ERR_OK && demand_is_no(status);
}

static void demand_give_up(struct demand *d, size_t i, const char *why)
{
    const struct task_set *set = &d->task->sets[d->own_count + i];
    const struct str cas[] = {set->acme.ca, set->acme.fallback};
    char path[PATH_MAX];
    enum err e = demand_path(d, d->entries[i]->text, path);
    e = e ? e : file_remove(path);
    for (size_t c = 0; c < 2 && cas[c].n && !e; c++) {
        const struct store_set place = {d->task->folder, cas[c], set->names, set->name_count};
        e = store_remove(&place);
    }
    demand_refuse(d, d->entries[i]->name, d->io->now_s(d->io->context) + REFUSED_S);
    demand_say(d, ISSUER_WARNING, d->entries[i],
               e ? "a name that was given up cannot be removed" : why);
    demand_drop(d, i);
}

void demand_work(struct demand *d)
{
    for (size_t i = 0; i < d->count;) {
        if (demand_is_vain(d, &d->task->sets[d->own_count + i])) {
            demand_give_up(d, i, "a name that gets no certificate is forgotten");
        } else if (demand_is_taken_back(d, i)) {
            demand_give_up(d, i, "a name is not wanted any more and is forgotten");
        } else {
            i++;
        }
    }
    while (d->waiting_count) {
        struct entry entry = d->waiting[--d->waiting_count];
        entry.name.p = entry.text;
        demand_ask(d, &entry);
    }
}
