/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/issuer.h"

#include <stdio.h>
#include <string.h>

#include "base/base64url.h"
#include "crypto/certificate.h"
#include "base/assert.h"
#include "crypto/csr.h"
#include "crypto/digest.h"
#include "issuer/acme_store.h"
#include "issuer/challenge.h"
#include "issuer/origin.h"

#define WINDOW_RETRY_S 21600
#define WINDOW_NONE_S 86400
#define SLEEP_S_MAX 86400

struct issuer {
    const struct task *task;
    const struct issuer_io *io;
    bool is_ending;
};

/* One try with one CA. */
struct attempt {
    struct issuer *issuer;
    const struct task_set *set;
    struct store_set place;
    struct store_account account;
    struct store_record record;
    struct private_key *key; /* of the certificate */
    struct buf csr;
    struct buf replaces;
    struct acme *acme;
    struct acme_failure failure;
};

static int64_t issuer_now_s(const struct issuer *i)
{
    return i->io->now_s(i->io->context);
}

static void issuer_say(const struct issuer *i, enum issuer_event event, const struct task_set *set,
                       const char *text)
{
    i->io->on_event(i->io->context, event, set, text);
}

static struct store_set issuer_place(struct str folder, const struct task_set *set, struct str ca)
{
    return (struct store_set){folder, ca, set->names, set->name_count};
}

/* ---- what there is ---- */

/* ERR_NOT_FOUND: none, or none that fits the names. */
static enum err issuer_read_certificate(const struct store_set *place,
                                        struct certificate **ret_certificate)
{
    struct buf pem;
    struct fault fault;
    buf_init(&pem, 0);
    enum err e = store_read_certificate(place, &pem);
    if (!e) {
        e = certificate_create(buf_str(&pem), buf_str(&pem), ret_certificate, &fault);
    }
    store_wipe(&pem);
    return e == ERR_NOMEM || !e ? e : ERR_NOT_FOUND;
}

/* The one that lasts longer, of the CA or the second one; `*ret_ca` says whose it is. */
static enum err issuer_best(struct str folder, const struct task_set *set,
                            struct certificate **ret_certificate, struct str *ret_ca)
{
    const struct str cas[] = {set->acme.ca, set->acme.fallback};
    struct certificate *best = NULL;
    *ret_ca = cas[0];
    for (size_t i = 0; i < 2 && cas[i].n; i++) {
        const struct store_set place = issuer_place(folder, set, cas[i]);
        struct certificate *c;
        enum err e = issuer_read_certificate(&place, &c);
        if (e == ERR_NOMEM) {
            certificate_unref(best);
            return e;
        }
        if (e) {
            continue;
        }
        if (best && certificate_not_after_s(c) <= certificate_not_after_s(best)) {
            certificate_unref(c);
            continue;
        }
        certificate_unref(best);
        best = c;
        *ret_ca = cas[i];
    }
    *ret_certificate = best;
    return best ? ERR_OK : ERR_NOT_FOUND;
}

enum err issuer_certificate(struct str folder, const struct task_set *set,
                            struct certificate **ret_certificate, struct issuer_status *ret_status)
{
    struct certificate *c = NULL;
    struct store_record record;
    struct str ca;
    enum err e = issuer_best(folder, set, &c, &ca);
    if (ret_status) {
        const struct store_set place = issuer_place(folder, set, set->acme.ca);
        enum err no_record = store_read_record(&place, &record);
        *ret_status = (struct issuer_status){
            .state = e                               ? ISSUER_WAITS
                     : !no_record && record.failures ? ISSUER_TROUBLED
                                                     : ISSUER_GOOD,
            .ca = ca,
            .not_after_s = e ? 0 : certificate_not_after_s(c),
            .retry_at_s = record.retry_at_s,
        };
        snprintf(ret_status->error, sizeof(ret_status->error), "%s", record.error);
        store_record_done(&record);
    }
    if (e) {
        return e;
    }
    *ret_certificate = c;
    return ERR_OK;
}

/* A mark of the settings that a failure may be owed to: after their change a new try is due. */
static uint64_t issuer_settings(const struct task *task, const struct task_set *set)
{
    const struct acme_settings *s = &set->acme;
    const struct str parts[] = {s->dns.rfc2136.server,
                                s->dns.rfc2136.key_name,
                                s->dns.rfc2136.key_secret,
                                s->email,
                                s->ca_pem,
                                s->dns.exec,
                                s->eab.kid,
                                s->eab.key,
                                set->origin.token,
                                task->has_plain ? STR("plain") : STR("")};
    uint64_t mark = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        uint8_t hash[32];
        uint64_t part = 0;
        if (digest_of(DIGEST_SHA256, parts[i], hash) == ERR_OK) {
            memcpy(&part, hash, sizeof(part));
        }
        mark = mark * 31 + part;
    }
    return mark;
}

static enum err issuer_read_record(const struct task *task, const struct task_set *set,
                                   const struct store_set *place, struct store_record *ret_record)
{
    enum err e = store_read_record(place, ret_record);
    uint64_t settings = issuer_settings(task, set);
    if (!e && ret_record->settings != settings) {
        ret_record->settings = settings;
        ret_record->failures = 0;
        ret_record->retry_at_s = 0;
    }
    return e;
}

/* ---- one try ---- */

static enum acme_challenge_kind attempt_challenge(const struct attempt *a)
{
    if (task_set_has_dns(a->set)) {
        return ACME_DNS_01;
    }
    return a->issuer->task->has_plain && a->record.turn % 2 == 1 ? ACME_HTTP_01 : ACME_TLS_ALPN_01;
}

static void attempt_done(struct attempt *a)
{
    acme_destroy(a->acme);
    private_key_destroy(a->key);
    store_record_done(&a->record);
    store_account_done(&a->account);
    buf_done(&a->csr);
    buf_done(&a->replaces);
}

/* The key of an order that is under way is on disk with it. */
static enum err attempt_open_key(struct attempt *a)
{
    struct fault fault;
    if (a->record.order_url[0] &&
        private_key_import(buf_str(&a->record.key_pem), &a->key, &fault) == ERR_OK) {
        return ERR_OK;
    }
    a->record.order_url[0] = '\0';
    buf_clear(&a->record.key_pem);
    enum err e = private_key_create(PRIVATE_KEY_P256, &a->key);
    return e ? e : private_key_export(a->key, &a->record.key_pem);
}

static enum err attempt_open(struct attempt *a, struct fault *fault)
{
    buf_init(&a->csr, 0);
    buf_init(&a->replaces, 0);
    enum err e = issuer_read_record(a->issuer->task, a->set, &a->place, &a->record);
    fault_set(fault, ERR_OK, "out of memory");
    if (!e) {
        e = store_open_account(&a->place, &a->account, fault);
    }
    if (!e) {
        const struct acme_settings *s = &a->set->acme;
        const struct acme_config config = {
            .directory = a->place.ca,
            .key = a->account.key,
            .account = str_of(a->account.url),
            .email = s->email,
            .eab_kid = s->eab.kid,
            .eab_key = s->eab.key,
        };
        e = acme_create(&config, &a->acme);
    }
    return e;
}

static enum err attempt_begin(struct attempt *a)
{
    int64_t now_s = issuer_now_s(a->issuer);
    enum err e = attempt_open_key(a);
    if (!e) {
        e = csr_create(a->key, a->set->names, a->set->name_count, &a->csr);
    }
    if (!e) {
        const struct acme_request_order request = {
            .names = a->set->names,
            .name_count = a->set->name_count,
            .csr = buf_str(&a->csr),
            .url = str_of(a->record.order_url),
            .replaces = buf_str(&a->replaces),
            .challenge = attempt_challenge(a),
        };
        e = acme_begin_order(a->acme, &request, now_s);
    }
    return e;
}

static enum err attempt_keep_url(char *into, size_t bytes, struct str url)
{
    if (url.n >= bytes) {
        return ERR_LIMIT;
    }
    snprintf(into, bytes, STR_FMT, STR_ARG(url));
    return ERR_OK;
}

static void attempt_act(struct attempt *a, const struct acme_action *action)
{
    struct fault fault = {"the state directory cannot be written"};
    const struct challenge_place place = {a->place.folder, &a->set->acme.dns,
                                          issuer_now_s(a->issuer)};
    enum err e = ERR_OK;
    if (action->kind == ACME_KEEP_ACCOUNT) {
        e = attempt_keep_url(a->account.url, sizeof(a->account.url), action->url);
        e = e ? e : store_keep_account(&a->place, &a->account);
    } else if (action->kind == ACME_KEEP_ORDER) {
        e = attempt_keep_url(a->record.order_url, sizeof(a->record.order_url), action->url);
        e = e ? e : store_keep_record(&a->place, &a->record);
    } else if (action->kind == ACME_PRESENT) {
        e = challenge_present(&place, action, &fault);
    } else {
        e = challenge_clean(&place, action, &fault);
        if (e) {
            issuer_say(a->issuer, ISSUER_WARNING, a->set, fault.text);
        }
    }
    acme_on_done(a->acme, e, fault.text);
}

/* Until the end of what was begun. False: there is to be an end of everything. */
static bool attempt_drive(struct attempt *a)
{
    const struct issuer_io *io = a->issuer->io;
    for (;;) {
        struct acme_action action;
        struct web_answer answer;
        const char *reason;
        acme_next(a->acme, issuer_now_s(a->issuer), &action);
        if (action.kind == ACME_END) {
            return true;
        }
        if (action.kind == ACME_WAIT) {
            if (!io->wait(io->context, action.until_s)) {
                return false;
            }
        } else if (action.kind == ACME_SEND) {
            const struct web_request request = {.method = action.method,
                                                .url = action.url,
                                                .body = action.body,
                                                .type = "application/jose+json",
                                                .ca_pem = a->set->acme.ca_pem};
            enum err e = io->send(io->context, &request, &answer, &reason);
            if (e) {
                acme_on_broken(a->acme, reason);
            } else {
                acme_on_answer(a->acme, issuer_now_s(a->issuer), &answer);
            }
        } else {
            attempt_act(a, &action);
        }
    }
}

static void attempt_fail(struct attempt *a, const char *text)
{
    a->failure = (struct acme_failure){0};
    snprintf(a->failure.text, sizeof(a->failure.text), "%s", text);
}

/* The chain must fit the key and carry the names before anybody sees it. */
static bool attempt_keep_certificate(struct attempt *a, struct str chain)
{
    struct certificate *c;
    struct fault fault;
    enum err e = certificate_create(chain, buf_str(&a->record.key_pem), &c, &fault);
    if (e) {
        attempt_fail(a, fault.text);
        return false;
    }
    certificate_unref(c);
    e = store_keep_certificate(&a->place, chain, buf_str(&a->record.key_pem));
    if (e) {
        attempt_fail(a, "the state directory cannot be written");
        return false;
    }
    return true;
}

static void attempt_keep_success(struct attempt *a)
{
    unsigned turn = a->record.turn;
    uint64_t settings = a->record.settings;
    store_record_done(&a->record);
    a->record = (struct store_record){.turn = turn, .settings = settings};
    buf_init(&a->record.key_pem, 0);
    if (store_keep_record(&a->place, &a->record) != ERR_OK) {
        issuer_say(a->issuer, ISSUER_WARNING, a->set, "the state directory cannot be written");
    }
    char ca[ACME_URL_BYTES_MAX + 1];
    snprintf(ca, sizeof(ca), STR_FMT, STR_ARG(a->place.ca));
    issuer_say(a->issuer, ISSUER_ISSUED, a->set, ca);
}

static void attempt_keep_failure(struct attempt *a)
{
    struct store_record *r = &a->record;
    int64_t now_s = issuer_now_s(a->issuer);
    r->failures++;
    r->turn += a->failure.is_challenge;
    r->retry_at_s =
        now_s + plan_pause_s(r->failures, a->failure.is_unreachable, store_seed(&a->place));
    if (a->failure.retry_at_s > r->retry_at_s) {
        r->retry_at_s = a->failure.retry_at_s;
    }
    snprintf(r->error, sizeof(r->error), "%s", a->failure.text);
    /* Where only the way to the CA failed, the order is gone on with. */
    if (!a->failure.is_unreachable || !r->order_url[0]) {
        r->order_url[0] = '\0';
        if (r->key_pem.n) {
            explicit_bzero(r->key_pem.p, r->key_pem.n);
        }
        buf_clear(&r->key_pem);
    }
    if (store_keep_record(&a->place, r) != ERR_OK) {
        issuer_say(a->issuer, ISSUER_WARNING, a->set, "the state directory cannot be written");
    }
    issuer_say(a->issuer, ISSUER_FAILED, a->set, r->error);
}

enum outcome {
    OUTCOME_ISSUED,
    OUTCOME_FAILED,
    OUTCOME_CHALLENGE_FAILED,
    OUTCOME_STALE, /* what failed was an order of before: a new one may do better */
    OUTCOME_LATER,
};

/* An order beyond the first of a name counts towards the limit of the hour, and each of a name that
 * a client brought. */
static bool attempt_may_order(struct attempt *a, bool has_certificate)
{
    int64_t now_s = issuer_now_s(a->issuer);
    bool is_first = !has_certificate && a->record.failures == 0 && !a->set->is_on_demand;
    if (a->record.order_url[0] || is_first) {
        return true;
    }
    if (plan_allowed_s(&a->account.orders, now_s) > now_s) {
        return false;
    }
    plan_add_order(&a->account.orders, now_s);
    return store_keep_account(&a->place, &a->account) == ERR_OK;
}

static enum outcome attempt_run(struct attempt *a, bool has_certificate)
{
    char ca[ACME_URL_BYTES_MAX + 1];
    bool was_begun = a->record.order_url[0] != '\0';
    enum err e = attempt_begin(a);
    if (e) {
        attempt_fail(a, e == ERR_SYNTAX ? "a name cannot stand in a certificate" : err_text(e));
        attempt_keep_failure(a);
        return OUTCOME_FAILED;
    }
    if (!attempt_may_order(a, has_certificate)) {
        return OUTCOME_LATER;
    }
    snprintf(ca, sizeof(ca), STR_FMT, STR_ARG(a->place.ca));
    issuer_say(a->issuer, ISSUER_ORDERS, a->set, ca);
    if (!attempt_drive(a)) {
        a->issuer->is_ending = true;
        return OUTCOME_LATER;
    }
    if (acme_failure(a->acme)) {
        a->failure = *acme_failure(a->acme);
    } else if (attempt_keep_certificate(a, acme_chain(a->acme))) {
        attempt_keep_success(a);
        return OUTCOME_ISSUED;
    }
    attempt_keep_failure(a);
    return a->failure.is_challenge                   ? OUTCOME_CHALLENGE_FAILED
           : was_begun && !a->failure.is_unreachable ? OUTCOME_STALE
                                                     : OUTCOME_FAILED;
}

/* The identifier of RFC 9773 4.1. */
static void put_window_id(const struct certificate *c, struct buf *out)
{
    struct str issuer = certificate_authority_key_id(c), serial = certificate_serial(c);
    if (issuer.n && serial.n) {
        base64url_encode(out, issuer);
        buf_add_char(out, '.');
        base64url_encode(out, serial);
    }
}

/* ---- the Origin CA ---- */

static enum err attempt_make_origin_request(struct attempt *a, struct buf *body)
{
    const struct task_set *set = a->set;
    enum err e = issuer_read_record(a->issuer->task, set, &a->place, &a->record);
    if (!e) {
        e = store_make_folder(&a->place);
    }
    if (!e) {
        e = attempt_open_key(a);
    }
    if (!e) {
        e = csr_create(a->key, set->names, set->name_count, &a->csr);
    }
    return e ? e
             : origin_write(set->names, set->name_count, buf_str(&a->csr), set->origin.days, body);
}

/* Sends `body`; false: the failure says why. */
static bool attempt_send_origin(struct attempt *a, struct str body, struct buf *chain)
{
    const struct issuer_io *io = a->issuer->io;
    struct str token = a->set->origin.token;
    bool is_key = str_starts_with(token, STR("v1.0-"));
    struct web_answer answer;
    const char *reason;
    struct buf url, secret;
    buf_init(&url, 0);
    buf_init(&secret, 0);
    buf_printf(&url, STR_FMT "/certificates", STR_ARG(a->place.ca));
    buf_printf(&secret, "%s" STR_FMT, is_key ? "" : "Bearer ", STR_ARG(token));
    const struct web_request request = {.method = WEB_POST,
                                        .url = buf_str(&url),
                                        .body = body,
                                        .type = "application/json",
                                        .secret_field =
                                            is_key ? "X-Auth-User-Service-Key" : "Authorization",
                                        .secret = buf_str(&secret),
                                        .ca_pem = a->set->acme.ca_pem};
    reason = err_text(ERR_NOMEM);
    enum err e = url.is_failed || secret.is_failed
                     ? ERR_NOMEM
                     : io->send(io->context, &request, &answer, &reason);
    if (e) {
        attempt_fail(a, reason);
        a->failure.is_unreachable = true;
    } else {
        char text[ORIGIN_REASON_BYTES];
        e = origin_read(&answer, chain, text);
        attempt_fail(a, text);
    }
    buf_done(&url);
    store_wipe(&secret);
    return !e;
}

static enum outcome issuer_try_origin(struct issuer *i, const struct task_set *set)
{
    struct attempt a = {
        .issuer = i, .set = set, .place = issuer_place(i->task->folder, set, set->acme.ca)};
    enum outcome outcome = OUTCOME_FAILED;
    char ca[ACME_URL_BYTES_MAX + 1];
    struct buf body, chain;
    buf_init(&a.csr, 0);
    buf_init(&a.replaces, 0);
    buf_init(&body, 0);
    buf_init(&chain, ACME_CHAIN_BYTES_MAX);
    snprintf(ca, sizeof(ca), STR_FMT, STR_ARG(a.place.ca));
    enum err e = attempt_make_origin_request(&a, &body);
    if (e) {
        attempt_fail(&a, e == ERR_SYNTAX ? "a name cannot stand in a certificate" : err_text(e));
    } else {
        issuer_say(i, ISSUER_ORDERS, set, ca);
    }
    if (!e && attempt_send_origin(&a, buf_str(&body), &chain) &&
        attempt_keep_certificate(&a, buf_str(&chain))) {
        attempt_keep_success(&a);
        outcome = OUTCOME_ISSUED;
    } else {
        attempt_keep_failure(&a);
    }
    buf_done(&body);
    buf_done(&chain);
    attempt_done(&a);
    return outcome;
}

/* ---- who signs ---- */

static enum outcome issuer_try(struct issuer *i, const struct task_set *set, struct str ca,
                               const struct certificate *now)
{
    struct attempt a = {.issuer = i, .set = set, .place = issuer_place(i->task->folder, set, ca)};
    struct fault fault;
    enum outcome outcome = OUTCOME_FAILED;
    enum err e = attempt_open(&a, &fault);
    if (e) {
        issuer_say(i, ISSUER_FAILED, set, fault.text);
    } else {
        if (now && str_eq(ca, set->acme.ca)) {
            put_window_id(now, &a.replaces);
        }
        outcome = attempt_run(&a, now != NULL);
    }
    attempt_done(&a);
    return outcome;
}

/* The other challenge, then the other CA. */
static void issuer_obtain(struct issuer *i, const struct task_set *set,
                          const struct certificate *now)
{
    const struct str cas[] = {set->acme.ca, set->acme.fallback};
    if (set->origin.token.n) {
        (void)issuer_try_origin(i, set);
        return;
    }
    for (size_t c = 0; c < 2 && cas[c].n && !i->is_ending; c++) {
        enum outcome outcome = issuer_try(i, set, cas[c], now);
        bool has_other = i->task->has_plain && !task_set_has_dns(set);
        if ((outcome == OUTCOME_CHALLENGE_FAILED && has_other) || outcome == OUTCOME_STALE) {
            outcome = issuer_try(i, set, cas[c], now);
        }
        if (outcome == OUTCOME_ISSUED || outcome == OUTCOME_LATER) {
            return;
        }
    }
}

/* ---- renewal windows ---- */

static void issuer_ask_window(struct issuer *i, const struct task_set *set, struct str ca,
                              const struct certificate *c)
{
    struct attempt a = {.issuer = i, .set = set, .place = issuer_place(i->task->folder, set, ca)};
    struct fault fault;
    struct acme_window window;
    int64_t now_s = issuer_now_s(i), again_s;
    enum err e = attempt_open(&a, &fault);
    put_window_id(c, &a.replaces);
    if (!e && a.replaces.n) {
        e = acme_begin_window(a.acme, buf_str(&a.replaces), now_s);
    }
    if (!e && a.replaces.n && !attempt_drive(&a)) {
        i->is_ending = true;
    } else if (!e) {
        a.record.window_again_s = now_s + (acme_failure(a.acme) ? WINDOW_RETRY_S : WINDOW_NONE_S);
        if (acme_window(a.acme, &window, &again_s)) {
            a.record.window = window;
            a.record.window_again_s = again_s;
        }
        e = store_keep_record(&a.place, &a.record);
    }
    if (e) {
        issuer_say(i, ISSUER_WARNING, set, "the renewal window cannot be kept");
    }
    attempt_done(&a);
}

/* ---- all of them ---- */

static int64_t issuer_due_s(const struct issuer *i, const struct task_set *set,
                            const struct certificate *c, struct str ca, int64_t *ret_window_s)
{
    const struct store_set place = issuer_place(i->task->folder, set, set->acme.ca);
    const struct store_set signer = issuer_place(i->task->folder, set, ca);
    struct store_record record, signed_record;
    struct plan_facts facts = {.seed = store_seed(&place)};
    if (issuer_read_record(i->task, set, &place, &record) == ERR_OK) {
        facts.failures = record.failures;
        facts.retry_at_s = record.retry_at_s;
        facts.is_under_way = record.order_url[0] != '\0';
    }
    if (c) {
        facts.has_certificate = true;
        facts.not_before_s = certificate_not_before_s(c);
        facts.not_after_s = certificate_not_after_s(c);
        if (store_read_record(&signer, &signed_record) == ERR_OK) {
            facts.window = signed_record.window;
            *ret_window_s = signed_record.window_again_s;
        }
        store_record_done(&signed_record);
    }
    store_record_done(&record);
    return plan_due_s(&facts);
}

/* Returns when to look at it again. */
static int64_t issuer_look_after(struct issuer *i, const struct task_set *set)
{
    int64_t now_s = issuer_now_s(i), window_s = 0;
    for (unsigned round = 0;; round++) {
        struct certificate *c = NULL;
        struct str ca;
        enum err none = issuer_best(i->task->folder, set, &c, &ca);
        int64_t due_s = issuer_due_s(i, set, none ? NULL : c, ca, &window_s);
        bool is_due = due_s <= now_s;
        bool is_window_due = !none && !is_due && window_s <= now_s && !set->origin.token.n;
        if (round == 0 && is_due) {
            issuer_obtain(i, set, none ? NULL : c);
        } else if (round < 2 && is_window_due) {
            issuer_ask_window(i, set, ca, c);
        } else {
            certificate_unref(c);
            /* What is still due was held back by the limit of the hour, or by a full disk. */
            int64_t next_s = is_due ? now_s + plan_pause_s(1, false, 0) : due_s;
            return !none && window_s > now_s && window_s < next_s ? window_s : next_s;
        }
        certificate_unref(c);
        now_s = issuer_now_s(i);
        if (i->is_ending) {
            return now_s;
        }
    }
}

int64_t issuer_work(const struct task *task, const struct issuer_io *io)
{
    struct issuer i = {.task = task, .io = io};
    int64_t next_s = issuer_now_s(&i) + SLEEP_S_MAX;
    for (size_t s = 0; s < task->count && !i.is_ending; s++) {
        int64_t at_s = issuer_look_after(&i, &task->sets[s]);
        next_s = at_s < next_s ? at_s : next_s;
    }
    return i.is_ending ? 0 : next_s;
}
