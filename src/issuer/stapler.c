/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/stapler.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "crypto/certificate.h"
#include "issuer/acme_store.h"
#include "issuer/plan.h"
#include "os/file.h"

#define STAPLES_MAX (2 * TASK_SETS_MAX)
#define ANSWER_BYTES_MAX 65535u
#define REVOKED_AGAIN_S 3600
#define PAUSE_S_MIN 10
#define SLEEP_S_MAX 86400
#define FILE_NAME_BYTES (2 * CERTIFICATE_FINGERPRINT_BYTES + sizeof(".der"))

/* What is known of one certificate. */
struct item {
    uint8_t fingerprint[CERTIFICATE_FINGERPRINT_BYTES];
    int64_t due_s;
    unsigned failures; /* since the last good answer */
    bool is_in_use;
};

struct stapler {
    const struct task *task;
    const struct issuer_io *io;
    struct item *items;
    size_t count;
    uint64_t broken; /* a mark of the responder that could not be reached in this round, 0 = none */
};

enum err stapler_create(const struct task *task, const struct issuer_io *io,
                        struct stapler **ret_stapler)
{
    struct stapler *s = mem_zalloc(1, sizeof(*s));
    if (s) {
        *s = (struct stapler){
            .task = task, .io = io, .items = mem_zalloc(STAPLES_MAX, sizeof(struct item))};
    }
    if (!s || !s->items) {
        mem_free(s);
        return ERR_NOMEM;
    }
    *ret_stapler = s;
    return ERR_OK;
}

void stapler_destroy(struct stapler *s)
{
    if (s) {
        mem_free(s->items);
        mem_free(s);
    }
}

/* ---- what is kept ---- */

static void file_name(const uint8_t *fingerprint, char ret_name[FILE_NAME_BYTES])
{
    for (size_t i = 0; i < CERTIFICATE_FINGERPRINT_BYTES; i++) {
        snprintf(ret_name + 2 * i, 3, "%02x", fingerprint[i]);
    }
    memcpy(ret_name + 2 * CERTIFICATE_FINGERPRINT_BYTES, ".der", sizeof(".der"));
}

static enum err file_path(struct str folder, const uint8_t *fingerprint, char ret_path[PATH_MAX])
{
    char name[FILE_NAME_BYTES];
    file_name(fingerprint, name);
    return store_path(folder, STORE_OCSP_FOLDER, name, ret_path);
}

enum err stapler_staple(struct str folder, struct certificate *c, int64_t now_s,
                        struct certificate **ret_stapled)
{
    char path[PATH_MAX];
    struct buf answer;
    struct fault fault;
    buf_init(&answer, 0);
    enum err e = file_path(folder, certificate_fingerprint(c), path);
    if (!e) {
        e = file_read_all(path, ANSWER_BYTES_MAX, &answer);
    }
    if (!e) {
        e = certificate_staple(c, buf_str(&answer), now_s, ret_stapled, &fault);
    }
    buf_done(&answer);
    return e == ERR_NOMEM || !e ? e : ERR_NOT_FOUND;
}

static enum err stapler_keep(const struct stapler *s, const struct certificate *c,
                             struct str answer)
{
    char path[PATH_MAX];
    enum err e = store_path(s->task->folder, STORE_OCSP_FOLDER, "", path);
    if (!e) {
        e = file_make_directories(path);
    }
    if (!e) {
        e = file_path(s->task->folder, certificate_fingerprint(c), path);
    }
    return e ? e : file_replace(path, answer, 0640);
}

static enum err stapler_remove(const struct stapler *s, const uint8_t *fingerprint)
{
    char path[PATH_MAX];
    enum err e = file_path(s->task->folder, fingerprint, path);
    return e ? e : file_remove(path);
}

/* ---- asking ---- */

static void stapler_say(const struct stapler *s, enum issuer_event event,
                        const struct certificate *c, const char *text)
{
    struct str name = certificate_name_count(c) ? certificate_name(c, 0) : STR("?");
    const struct task_set set = {.names = &name, .name_count = certificate_name_count(c)};
    s->io->on_event(s->io->context, event, &set, text);
}

static int64_t stapler_half_s(const struct certificate *stapled, int64_t now_s)
{
    int64_t from_s = certificate_staple_from_s(stapled);
    int64_t until_s = certificate_staple_until_s(stapled);
    int64_t half_s = from_s + (until_s - from_s) / 2;
    if (half_s <= now_s) {
        /* Responders hand out answers that they have had for a while. */
        half_s = now_s + (until_s - now_s) / 2;
    }
    return half_s < now_s + PAUSE_S_MIN ? now_s + PAUSE_S_MIN : half_s;
}

static enum err stapler_ask(struct stapler *s, struct certificate *c, int64_t now_s,
                            struct certificate **ret_stapled, struct fault *fault)
{
    struct web_answer answer;
    struct buf body;
    const char *reason = NULL;
    buf_init(&body, 0);
    enum err e = certificate_ocsp_request(c, &body);
    if (e) {
        fault_set(fault, e, "an OCSP request cannot be made: %s", err_text(e));
    } else {
        const struct web_request request = {.method = WEB_POST,
                                            .url = certificate_ocsp_url(c),
                                            .body = buf_str(&body),
                                            .type = "application/ocsp-request",
                                            .may_be_plain = true};
        e = s->io->send(s->io->context, &request, &answer, &reason);
        if (e) {
            s->broken = hash_str(certificate_ocsp_url(c)) | 1;
            fault_set(fault, e, "the OCSP responder cannot be asked: %s", reason);
        } else if (answer.status != 200) {
            e = fault_set(fault, ERR_SYNTAX, "the OCSP responder answers with status %u",
                          answer.status);
        } else {
            e = certificate_staple(c, answer.body, now_s, ret_stapled, fault);
        }
    }
    if (!e) {
        e = stapler_keep(s, c, answer.body);
        if (e) {
            certificate_unref(*ret_stapled);
            fault_set(fault, e, "the state directory cannot be written");
        }
    }
    buf_done(&body);
    return e;
}

static void stapler_renew(struct stapler *s, struct item *item, struct certificate *c)
{
    struct fault fault = {""};
    struct certificate *stapled;
    int64_t now_s = s->io->now_s(s->io->context);
    uint64_t seed;
    memcpy(&seed, item->fingerprint, sizeof(seed));
    if (s->broken == (hash_str(certificate_ocsp_url(c)) | 1)) {
        /* Many certificates of one authority must not wait for it one after the other. */
        item->due_s = now_s + plan_pause_s(item->failures + 1, true, seed);
        return;
    }
    enum err e = stapler_ask(s, c, now_s, &stapled, &fault);
    if (!e) {
        item->failures = 0;
        item->due_s = stapler_half_s(stapled, now_s);
        certificate_unref(stapled);
        stapler_say(s, ISSUER_STAPLED, c, "");
    } else if (e == ERR_CANCELLED) {
        enum err left = stapler_remove(s, item->fingerprint);
        item->due_s = now_s + REVOKED_AGAIN_S;
        stapler_say(s, ISSUER_REVOKED, c, left ? "its old OCSP answer cannot be removed" : "");
    } else {
        item->failures++;
        item->due_s = now_s + plan_pause_s(item->failures, true, seed);
        /* What follows in a row is the same trouble. */
        if (item->failures == 1) {
            stapler_say(s, ISSUER_UNSTAPLED, c, fault.text);
        }
    }
}

/* ---- all of them ---- */

static struct item *stapler_item(struct stapler *s, struct certificate *c, int64_t now_s)
{
    const uint8_t *fingerprint = certificate_fingerprint(c);
    for (size_t i = 0; i < s->count; i++) {
        if (memcmp(s->items[i].fingerprint, fingerprint, CERTIFICATE_FINGERPRINT_BYTES) == 0) {
            return &s->items[i];
        }
    }
    if (s->count == STAPLES_MAX) {
        return NULL;
    }
    struct item *item = &s->items[s->count++];
    struct certificate *stapled;
    *item = (struct item){.due_s = now_s};
    memcpy(item->fingerprint, fingerprint, CERTIFICATE_FINGERPRINT_BYTES);
    if (stapler_staple(s->task->folder, c, now_s, &stapled) == ERR_OK) {
        item->due_s = stapler_half_s(stapled, now_s);
        certificate_unref(stapled);
    }
    return item;
}

static void stapler_look_after(struct stapler *s, struct certificate *c)
{
    int64_t now_s = s->io->now_s(s->io->context);
    if (certificate_ocsp_url(c).n == 0) {
        return;
    }
    struct item *item = stapler_item(s, c, now_s);
    if (!item) {
        return;
    }
    item->is_in_use = true;
    if (item->due_s <= now_s) {
        stapler_renew(s, item, c);
    }
}

static bool stapler_on_file(void *context, const char *name)
{
    struct stapler *s = context;
    char known[FILE_NAME_BYTES], path[PATH_MAX];
    bool is_known = false;
    for (size_t i = 0; i < s->count && !is_known; i++) {
        file_name(s->items[i].fingerprint, known);
        is_known = strcmp(name, known) == 0;
    }
    if (!is_known && store_path(s->task->folder, STORE_OCSP_FOLDER, name, path) == ERR_OK) {
        enum err ignored = file_remove(path);
        (void)ignored; /* the next round tries again */
    }
    return true;
}

/* Forgets certificates that are served no more, and their answers. */
static void stapler_clean(struct stapler *s)
{
    char path[PATH_MAX];
    int root;
    for (size_t i = 0; i < s->count;) {
        if (s->items[i].is_in_use) {
            i++;
        } else {
            s->items[i] = s->items[--s->count];
        }
    }
    if (store_path(s->task->folder, STORE_OCSP_FOLDER, "", path) == ERR_OK &&
        file_open_root(path, &root) == ERR_OK) {
        enum err ignored = file_list(root, stapler_on_file, s);
        (void)ignored;
        file_close(root);
    }
}

int64_t stapler_work(struct stapler *s)
{
    struct certificate *c;
    struct fault fault;
    s->broken = 0;
    for (size_t i = 0; i < s->count; i++) {
        s->items[i].is_in_use = false;
    }
    for (size_t i = 0; i < s->task->chain_count; i++) {
        if (certificate_create_public(s->task->chains[i], &c, &fault) == ERR_OK) {
            stapler_look_after(s, c);
            certificate_unref(c);
        }
    }
    for (size_t i = 0; i < s->task->count; i++) {
        if (issuer_certificate(s->task->folder, &s->task->sets[i], &c, NULL) == ERR_OK) {
            stapler_look_after(s, c);
            certificate_unref(c);
        }
    }
    stapler_clean(s);
    int64_t next_s = s->io->now_s(s->io->context) + SLEEP_S_MAX;
    for (size_t i = 0; i < s->count; i++) {
        next_s = s->items[i].due_s < next_s ? s->items[i].due_s : next_s;
    }
    return next_s;
}
