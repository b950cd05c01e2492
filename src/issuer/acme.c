/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/acme.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/jws.h"
#include "http/date.h"
#include "issuer/acme_post.h"

#define ACME_MAGIC 0x61636d65u
#define ACME_BYTES_MAX (16u * 1024u * 1024u) /* of all documents of one order */
#define BAD_NONCE_MAX 20u
#define POLL_S_MAX 10
#define POLLING_S_MAX 600
#define RETRY_S_MAX 86400
#define WINDOW_AGAIN_S 21600 /* RFC 9773 4.3.3: where the CA does not say */

/* In the order they are passed; some are skipped. */
enum acme_state {
    AT_DIRECTORY,
    AT_WINDOW,
    AT_ACCOUNT,
    AT_KEEP_ACCOUNT,
    AT_NEW_ORDER,
    AT_KEEP_ORDER,
    AT_OLD_ORDER, /* one of before is looked at */
    AT_FORGET_ORDER,
    AT_AUTHORIZATION, /* for each: looked at */
    AT_PRESENT,       /* for each that is pending */
    AT_CHALLENGE,     /* likewise: the CA is told */
    AT_POLL_AUTHORIZATION,
    AT_FINALIZE,
    AT_POLL_ORDER,
    AT_CERTIFICATE,
    AT_CLEAN, /* for each that was presented; not earlier, because a CA may look more than once */
    AT_END,
};

struct acme_proof {
    struct acme_authorization authorization;
    struct str key_authorization;
    bool is_presented;
};

struct acme {
    uint32_t magic;
    struct arena config_arena;
    struct acme_config config;
    struct str thumbprint;
    struct str account;
    struct arena directory_arena;
    struct acme_directory directory;
    char nonce[ACME_TOKEN_BYTES_MAX];
    size_t nonce_bytes;
    /* one order or question */
    struct arena arena;
    enum acme_state state;
    enum acme_state kept_next; /* what follows AT_KEEP_ORDER */
    bool is_asking_nonce;
    bool is_window;
    struct acme_request_order request;
    struct str order_url;
    struct acme_order order;
    struct acme_proof *proofs;
    size_t proof_count;
    size_t at;           /* index of the authorization at hand */
    unsigned bad_nonces; /* in a row */
    unsigned polls;
    bool has_new_account; /* made within this order: a second time will not help */
    int64_t wait_until_s;
    int64_t begun_s;
    struct buf body;
    struct buf payload;
    struct buf chain;
    struct str window_id;
    struct acme_window window;
    bool has_window;
    int64_t window_again_s;
    bool is_failed;
    struct acme_failure failure;
};

/* ---- ends ---- */

/* What was presented is cleaned up before the end. */
static void acme_finish(struct acme *a)
{
    a->at = 0;
    a->wait_until_s = 0;
    a->state = AT_CLEAN;
}

static void acme_fail(struct acme *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void acme_fail(struct acme *a, const char *format, ...)
{
    va_list args;
    if (!a->is_failed) {
        va_start(args, format);
        vsnprintf(a->failure.text, sizeof(a->failure.text), format, args);
        va_end(args);
        a->is_failed = true;
    }
    if (a->state == AT_CLEAN) {
        return;
    }
    acme_finish(a);
}

static void acme_fail_err(struct acme *a, enum err e, const char *what)
{
    acme_fail(a, "%s: %s", what, e == ERR_SYNTAX ? "the CA sent what is no answer" : err_text(e));
}

/* ---- creation ---- */

enum err acme_create(const struct acme_config *config, struct acme **ret_acme)
{
    struct acme *a = mem_zalloc(1, sizeof(*a));
    struct buf thumbprint;
    if (!a) {
        return ERR_NOMEM;
    }
    a->magic = ACME_MAGIC;
    a->state = AT_END;
    arena_init(&a->config_arena, 1024, 0);
    arena_init(&a->directory_arena, 1024, ACME_BYTES_MAX);
    arena_init(&a->arena, 4096, ACME_BYTES_MAX);
    buf_init(&a->body, 0);
    buf_init(&a->payload, 0);
    buf_init(&a->chain, ACME_CHAIN_BYTES_MAX);
    buf_init(&thumbprint, 0);
    a->config = (struct acme_config){
        .directory = arena_str(&a->config_arena, config->directory),
        .key = config->key,
        .email = arena_str(&a->config_arena, config->email),
        .eab_kid = arena_str(&a->config_arena, config->eab_kid),
        .eab_key = arena_str(&a->config_arena, config->eab_key),
    };
    a->account = arena_str(&a->config_arena, config->account);
    enum err e = jws_put_thumbprint(config->key, &thumbprint);
    if (!e) {
        a->thumbprint = arena_str(&a->config_arena, buf_str(&thumbprint));
        bool is_whole = a->config.directory.p && a->config.email.p && a->config.eab_kid.p &&
                        a->config.eab_key.p && a->account.p && a->thumbprint.p;
        e = is_whole ? ERR_OK : ERR_NOMEM;
    }
    buf_done(&thumbprint);
    if (e) {
        acme_destroy(a);
        return e;
    }
    *ret_acme = a;
    return ERR_OK;
}

void acme_destroy(struct acme *a)
{
    if (!a) {
        return;
    }
    ASSERT_MAGIC(a, ACME_MAGIC);
    a->magic = 0;
    arena_done(&a->config_arena);
    arena_done(&a->directory_arena);
    arena_done(&a->arena);
    buf_done(&a->body);
    buf_done(&a->payload);
    buf_done(&a->chain);
    mem_free(a);
}

static void acme_begin(struct acme *a, int64_t now_s)
{
    ASSERT(a->state == AT_END);
    arena_done(&a->arena);
    buf_clear(&a->chain);
    a->state = AT_DIRECTORY;
    a->is_asking_nonce = false;
    a->order = (struct acme_order){0};
    a->order_url = (struct str){NULL, 0};
    a->proofs = NULL;
    a->proof_count = 0;
    a->at = 0;
    a->bad_nonces = 0;
    a->polls = 0;
    a->has_new_account = false;
    a->wait_until_s = 0;
    a->begun_s = now_s;
    a->has_window = false;
    a->is_failed = false;
    a->failure = (struct acme_failure){.text = ""};
}

enum err acme_begin_order(struct acme *a, const struct acme_request_order *request, int64_t now_s)
{
    acme_begin(a, now_s);
    a->is_window = false;
    struct str *names = arena_zalloc(&a->arena, (request->name_count + 1) * sizeof(*names));
    bool is_whole = names != NULL;
    for (size_t i = 0; i < request->name_count && is_whole; i++) {
        names[i] = arena_str(&a->arena, request->names[i]);
        is_whole = names[i].p != NULL;
    }
    a->request = *request;
    a->request.names = names;
    a->request.csr = arena_str(&a->arena, request->csr);
    a->request.replaces = arena_str(&a->arena, request->replaces);
    a->order_url = arena_str(&a->arena, request->url);
    if (!is_whole || !a->request.csr.p || !a->request.replaces.p || !a->order_url.p) {
        a->state = AT_END;
        return ERR_NOMEM;
    }
    return ERR_OK;
}

enum err acme_begin_window(struct acme *a, struct str id, int64_t now_s)
{
    acme_begin(a, now_s);
    a->is_window = true;
    a->window_id = arena_str(&a->arena, id);
    if (!a->window_id.p) {
        a->state = AT_END;
        return ERR_NOMEM;
    }
    return ERR_OK;
}

/* ---- what to do next ---- */

static bool acme_is_posting(const struct acme *a)
{
    switch (a->state) {
    case AT_ACCOUNT:
    case AT_NEW_ORDER:
    case AT_OLD_ORDER:
    case AT_AUTHORIZATION:
    case AT_CHALLENGE:
    case AT_POLL_AUTHORIZATION:
    case AT_FINALIZE:
    case AT_POLL_ORDER:
    case AT_CERTIFICATE:
        return true;
    case AT_DIRECTORY:
    case AT_WINDOW:
    case AT_KEEP_ACCOUNT:
    case AT_KEEP_ORDER:
    case AT_FORGET_ORDER:
    case AT_PRESENT:
    case AT_CLEAN:
    case AT_END:
        return false;
    }
    return false;
}

static const struct acme_challenge *acme_challenge_of(const struct acme *a, size_t i)
{
    return &a->proofs[i].authorization.challenges[a->request.challenge];
}

/* Where the request of this state goes, and what it carries. */
static enum err acme_compose(struct acme *a, struct str *ret_url)
{
    buf_clear(&a->payload);
    switch (a->state) {
    case AT_ACCOUNT: {
        const struct acme_account_request account = {a->config.key, a->directory.new_account,
                                                     a->config.email, a->config.eab_kid,
                                                     a->config.eab_key};
        *ret_url = a->directory.new_account;
        return acme_put_account(&account, &a->payload);
    }
    case AT_NEW_ORDER:
        *ret_url = a->directory.new_order;
        return acme_put_order(a->request.names, a->request.name_count,
                              a->directory.renewal_info.p ? a->request.replaces : STR(""),
                              &a->payload);
    case AT_AUTHORIZATION:
    case AT_POLL_AUTHORIZATION:
        *ret_url = a->order.authorizations[a->at];
        return ERR_OK;
    case AT_CHALLENGE:
        *ret_url = acme_challenge_of(a, a->at)->url;
        buf_add_str(&a->payload, STR("{}"));
        return a->payload.is_failed ? ERR_NOMEM : ERR_OK;
    case AT_FINALIZE:
        *ret_url = a->order.finalize;
        return acme_put_finalize(a->request.csr, &a->payload);
    case AT_CERTIFICATE:
        *ret_url = a->order.certificate;
        return ERR_OK;
    case AT_OLD_ORDER:
    case AT_POLL_ORDER:
        *ret_url = a->order_url;
        return ERR_OK;
    case AT_DIRECTORY:
    case AT_WINDOW:
    case AT_KEEP_ACCOUNT:
    case AT_KEEP_ORDER:
    case AT_FORGET_ORDER:
    case AT_PRESENT:
    case AT_CLEAN:
    case AT_END:
        break;
    }
    return ERR_INTERNAL;
}

static enum err acme_put_request(struct acme *a, struct acme_action *action)
{
    struct str url;
    enum err e = acme_compose(a, &url);
    buf_clear(&a->body);
    if (!e) {
        const struct acme_post post = {
            .key = a->config.key,
            .account = a->state == AT_ACCOUNT ? STR("") : a->account,
            .nonce = str_make(a->nonce, a->nonce_bytes),
            .url = url,
            .payload = buf_str(&a->payload),
        };
        e = acme_put_post(&post, &a->body);
    }
    if (!e) {
        *action = (struct acme_action){
            .kind = ACME_SEND, .method = WEB_POST, .url = url, .body = buf_str(&a->body)};
        a->nonce_bytes = 0;
    }
    return e;
}

/* Moves `at` to the next authorization for which there is something to do in this state. */
static bool acme_find_proof(struct acme *a)
{
    for (; a->at < a->proof_count; a->at++) {
        const struct acme_proof *p = &a->proofs[a->at];
        bool is_pending = p->authorization.status == ACME_PENDING;
        bool is_sent = is_pending && acme_challenge_of(a, a->at)->status == ACME_PENDING;
        if (a->state == AT_AUTHORIZATION || (a->state == AT_PRESENT && is_pending) ||
            (a->state == AT_CHALLENGE && is_sent) ||
            (a->state == AT_POLL_AUTHORIZATION && is_pending) ||
            (a->state == AT_CLEAN && p->is_presented)) {
            return true;
        }
    }
    return false;
}

/* States that are passed once for each authorization. */
static bool acme_has_proofs(enum acme_state state)
{
    return (state >= AT_AUTHORIZATION && state <= AT_POLL_AUTHORIZATION) || state == AT_CLEAN;
}

/* Passes the states of which nothing is left to do. */
static void acme_pass(struct acme *a)
{
    while (acme_has_proofs(a->state) && !acme_find_proof(a)) {
        a->at = 0;
        a->state = (enum acme_state)(a->state + 1);
    }
}

static void acme_describe_challenge(const struct acme *a, struct acme_action *action)
{
    const struct acme_proof *p = &a->proofs[a->at];
    *action = (struct acme_action){
        .kind = a->state == AT_PRESENT ? ACME_PRESENT : ACME_CLEAN,
        .challenge = a->request.challenge,
        .name = p->authorization.name,
        .token = acme_challenge_of(a, a->at)->token,
        .key_authorization = p->key_authorization,
    };
}

static enum err acme_describe(struct acme *a, struct acme_action *action)
{
    switch (a->state) {
    case AT_DIRECTORY:
        *action =
            (struct acme_action){.kind = ACME_SEND, .method = WEB_GET, .url = a->config.directory};
        return ERR_OK;
    case AT_WINDOW:
        buf_clear(&a->body);
        buf_printf(&a->body, STR_FMT "/" STR_FMT, STR_ARG(a->directory.renewal_info),
                   STR_ARG(a->window_id));
        *action =
            (struct acme_action){.kind = ACME_SEND, .method = WEB_GET, .url = buf_str(&a->body)};
        return a->body.is_failed ? ERR_NOMEM : ERR_OK;
    case AT_KEEP_ACCOUNT:
        *action = (struct acme_action){.kind = ACME_KEEP_ACCOUNT, .url = a->account};
        return ERR_OK;
    case AT_KEEP_ORDER:
    case AT_FORGET_ORDER:
        *action = (struct acme_action){.kind = ACME_KEEP_ORDER, .url = a->order_url};
        return ERR_OK;
    case AT_PRESENT:
    case AT_CLEAN:
        acme_describe_challenge(a, action);
        return ERR_OK;
    case AT_END:
        *action = (struct acme_action){.kind = ACME_END};
        return ERR_OK;
    case AT_ACCOUNT:
    case AT_NEW_ORDER:
    case AT_OLD_ORDER:
    case AT_AUTHORIZATION:
    case AT_CHALLENGE:
    case AT_POLL_AUTHORIZATION:
    case AT_FINALIZE:
    case AT_POLL_ORDER:
    case AT_CERTIFICATE:
        return acme_put_request(a, action);
    }
    return ERR_INTERNAL;
}

void acme_next(struct acme *a, int64_t now_s, struct acme_action *ret_action)
{
    ASSERT_MAGIC(a, ACME_MAGIC);
    acme_pass(a);
    if (a->state != AT_END && now_s < a->wait_until_s) {
        *ret_action = (struct acme_action){.kind = ACME_WAIT, .until_s = a->wait_until_s};
        return;
    }
    a->is_asking_nonce = acme_is_posting(a) && a->nonce_bytes == 0;
    if (a->is_asking_nonce) {
        *ret_action = (struct acme_action){
            .kind = ACME_SEND, .method = WEB_HEAD, .url = a->directory.new_nonce};
        return;
    }
    enum err e = acme_describe(a, ret_action);
    if (e) {
        acme_fail_err(a, e, "a request cannot be made");
        /* Cleaning up takes no memory. */
        acme_pass(a);
        e = acme_describe(a, ret_action);
        ASSERT(!e);
    }
}

/* ---- answers ---- */

static int64_t acme_retry_at(const struct web_answer *answer, int64_t now_s)
{
    uint64_t seconds;
    int64_t at_s = 0;
    struct str text = str_trim(answer->retry_after);
    if (str_to_u64(text, &seconds) == ERR_OK) {
        at_s = now_s + (seconds > RETRY_S_MAX ? RETRY_S_MAX : (int64_t)seconds);
    } else if (text.n == 0 || http_date_parse(text, now_s, &at_s) != ERR_OK) {
        return 0;
    }
    return at_s > now_s + RETRY_S_MAX ? now_s + RETRY_S_MAX : at_s;
}

static const char *acme_state_text(enum acme_state state)
{
    switch (state) {
    case AT_DIRECTORY:
        return "the directory";
    case AT_WINDOW:
        return "the renewal window";
    case AT_ACCOUNT:
    case AT_KEEP_ACCOUNT:
        return "the account";
    case AT_NEW_ORDER:
    case AT_KEEP_ORDER:
    case AT_OLD_ORDER:
    case AT_FORGET_ORDER:
    case AT_POLL_ORDER:
        return "the order";
    case AT_AUTHORIZATION:
    case AT_PRESENT:
    case AT_CHALLENGE:
    case AT_POLL_AUTHORIZATION:
    case AT_CLEAN:
        return "the proof";
    case AT_FINALIZE:
        return "the request for the certificate";
    case AT_CERTIFICATE:
    case AT_END:
        return "the certificate";
    }
    return "";
}

/* An account or an order of before may be unknown by now: it is made anew, once. */
static bool acme_start_over(struct acme *a, unsigned status, const struct acme_problem *problem)
{
    if (str_eq(problem->type, STR("accountDoesNotExist")) && !a->has_new_account) {
        a->account = STR("");
        a->state = AT_ACCOUNT;
        return true;
    }
    if (a->state == AT_OLD_ORDER && (status == 404 || status == 400 || status == 403)) {
        a->order_url = STR("");
        a->state = AT_FORGET_ORDER;
        return true;
    }
    return false;
}

static void acme_refused(struct acme *a, int64_t now_s, const struct web_answer *answer,
                         bool was_asking_nonce)
{
    const char *what = was_asking_nonce ? "a nonce" : acme_state_text(a->state);
    struct acme_problem problem;
    enum err e = acme_parse_problem(&a->arena, answer->body, &problem);
    if (e) {
        acme_fail_err(a, e, "an error of the CA");
        return;
    }
    if (str_eq(problem.type, STR("badNonce")) && a->bad_nonces < BAD_NONCE_MAX) {
        a->bad_nonces++;
        return;
    }
    if (!a->is_failed && acme_start_over(a, answer->status, &problem)) {
        return;
    }
    if (!a->is_failed) {
        a->failure.retry_at_s = acme_retry_at(answer, now_s);
        a->failure.is_unreachable = answer->status >= 500;
    }
    acme_fail(a, "%s was refused with %u%s" STR_FMT "%s" STR_FMT, what, answer->status,
              problem.type.n ? " " : "", STR_ARG(problem.type), problem.detail.n ? ": " : "",
              STR_ARG(problem.detail));
}

/* Asks again later, but not for ever. */
static void acme_poll_later(struct acme *a, int64_t now_s, const struct web_answer *answer)
{
    int64_t at_s = acme_retry_at(answer, now_s);
    a->polls++;
    if (now_s - a->begun_s > POLLING_S_MAX) {
        a->failure.is_challenge = a->state == AT_POLL_AUTHORIZATION;
        acme_fail(a, "%s is not done after %d minutes", acme_state_text(a->state),
                  POLLING_S_MAX / 60);
        return;
    }
    if (at_s <= now_s) {
        at_s = now_s + (a->polls < POLL_S_MAX ? (int64_t)a->polls : POLL_S_MAX);
    }
    a->wait_until_s = at_s;
}

static enum err acme_take_directory(struct acme *a, const struct web_answer *answer)
{
    arena_done(&a->directory_arena);
    enum err e = acme_parse_directory(&a->directory_arena, answer->body, &a->directory);
    if (e) {
        return e;
    }
    if (a->is_window) {
        a->state = a->directory.renewal_info.p ? AT_WINDOW : AT_END;
    } else if (a->account.n == 0) {
        a->state = AT_ACCOUNT;
        if (a->directory.needs_external_account && !a->config.eab_kid.n) {
            acme_fail(a, "the CA asks for an external account (acme.eab)");
        }
    } else {
        a->state = a->order_url.n ? AT_OLD_ORDER : AT_NEW_ORDER;
    }
    return ERR_OK;
}

static enum err acme_take_account(struct acme *a, const struct web_answer *answer)
{
    if (!acme_url_is_good(answer->location)) {
        return ERR_SYNTAX;
    }
    a->account = arena_str(&a->config_arena, answer->location);
    a->has_new_account = true;
    a->state = AT_KEEP_ACCOUNT;
    return a->account.p ? ERR_OK : ERR_NOMEM;
}

static void acme_order_failed(struct acme *a)
{
    const struct acme_problem *p = &a->order.problem;
    acme_fail(a, "the order failed: " STR_FMT "%s" STR_FMT,
              STR_ARG(p->type.n ? p->type : STR("the CA does not say why")),
              p->detail.n ? ": " : "", STR_ARG(p->detail));
}

static enum err acme_begin_proofs(struct acme *a)
{
    a->proofs = arena_zalloc(&a->arena, a->order.authorization_count * sizeof(*a->proofs));
    a->proof_count = a->proofs ? a->order.authorization_count : 0;
    a->at = 0;
    a->state = AT_AUTHORIZATION;
    return a->proofs ? ERR_OK : ERR_NOMEM;
}

/* The states of 7.1.6 decide where it goes on. */
static enum err acme_take_order(struct acme *a, int64_t now_s, const struct web_answer *answer)
{
    bool is_polled = a->state == AT_POLL_ORDER || a->state == AT_FINALIZE;
    struct acme_order order;
    enum err e = acme_parse_order(&a->arena, answer->body, &order);
    if (e) {
        return e;
    }
    a->order = order;
    switch (order.status) {
    case ACME_PENDING:
        if (is_polled) {
            acme_fail(a, "the order lost its proofs");
            return ERR_OK;
        }
        return acme_begin_proofs(a);
    case ACME_READY:
        if (a->state == AT_POLL_ORDER) {
            acme_poll_later(a, now_s, answer);
        } else {
            a->state = a->state == AT_FINALIZE ? AT_POLL_ORDER : AT_FINALIZE;
        }
        return ERR_OK;
    case ACME_PROCESSING:
        a->state = AT_POLL_ORDER;
        acme_poll_later(a, now_s, answer);
        return ERR_OK;
    case ACME_VALID:
        a->state = AT_CERTIFICATE;
        return ERR_OK;
    case ACME_INVALID:
        if (a->state == AT_OLD_ORDER) {
            a->order_url = STR("");
            a->state = AT_FORGET_ORDER;
        } else {
            acme_order_failed(a);
        }
        return ERR_OK;
    }
    return ERR_SYNTAX;
}

static enum err acme_take_new_order(struct acme *a, int64_t now_s, const struct web_answer *answer)
{
    if (!acme_url_is_good(answer->location)) {
        return ERR_SYNTAX;
    }
    a->order_url = arena_str(&a->arena, answer->location);
    if (!a->order_url.p) {
        return ERR_NOMEM;
    }
    enum err e = acme_take_order(a, now_s, answer);
    /* It goes on where the order says, after the order is kept. */
    if (!e && !a->is_failed) {
        a->kept_next = a->state;
        a->state = AT_KEEP_ORDER;
    }
    return e;
}

/* A CA may only ask us to prove what we asked for. */
static bool acme_is_ours(const struct acme *a, struct str name)
{
    for (size_t i = 0; i < a->request.name_count; i++) {
        struct str ours = a->request.names[i];
        bool is_wild = str_starts_with(ours, STR("*."));
        if (str_eq_ci(is_wild ? str_sub(ours, 2, ours.n) : ours, name)) {
            return true;
        }
    }
    return false;
}

static enum err acme_take_authorization(struct acme *a, const struct web_answer *answer)
{
    static const char *const names[] = {"tls-alpn-01", "http-01", "dns-01"};
    struct acme_proof *p = &a->proofs[a->at];
    enum err e = acme_parse_authorization(&a->arena, answer->body, &p->authorization);
    if (!e && !acme_is_ours(a, p->authorization.name)) {
        e = ERR_SYNTAX;
    }
    if (e) {
        return e;
    }
    const struct acme_challenge *c = acme_challenge_of(a, a->at);
    if (p->authorization.status == ACME_PENDING && !c->url.p) {
        a->failure.is_challenge = true;
        acme_fail(a, "the CA offers no %s for " STR_FMT, names[a->request.challenge],
                  STR_ARG(p->authorization.name));
        return ERR_OK;
    }
    if (p->authorization.status == ACME_PENDING) {
        p->key_authorization =
            arena_printf(&a->arena, STR_FMT "." STR_FMT, STR_ARG(c->token), STR_ARG(a->thumbprint));
        e = p->key_authorization.p ? ERR_OK : ERR_NOMEM;
    } else if (p->authorization.status != ACME_VALID) {
        acme_fail(a, STR_FMT " was refused before", STR_ARG(p->authorization.name));
        return ERR_OK;
    }
    a->at++;
    return e;
}

static enum err acme_take_poll(struct acme *a, int64_t now_s, const struct web_answer *answer)
{
    struct acme_proof *p = &a->proofs[a->at];
    struct acme_authorization fresh;
    enum err e = acme_parse_authorization(&a->arena, answer->body, &fresh);
    if (e) {
        return e;
    }
    if (fresh.status == ACME_PENDING) {
        acme_poll_later(a, now_s, answer);
        return ERR_OK;
    }
    p->authorization.status = fresh.status;
    if (fresh.status == ACME_VALID) {
        a->at++;
        return ERR_OK;
    }
    const struct acme_problem *problem = &fresh.challenges[a->request.challenge].problem;
    a->failure.is_challenge = true;
    acme_fail(a, STR_FMT " could not be proved: " STR_FMT "%s" STR_FMT,
              STR_ARG(p->authorization.name), STR_ARG(problem->type), problem->detail.n ? ": " : "",
              STR_ARG(problem->detail));
    return ERR_OK;
}

static void acme_take_window(struct acme *a, int64_t now_s, const struct web_answer *answer)
{
    enum err e = acme_parse_window(answer->body, &a->window);
    int64_t again_s = acme_retry_at(answer, now_s);
    if (e) {
        acme_fail_err(a, e, "the renewal window");
        return;
    }
    a->has_window = true;
    a->window_again_s = again_s > now_s ? again_s : now_s + WINDOW_AGAIN_S;
    a->state = AT_END;
}

static void acme_take_certificate(struct acme *a, const struct web_answer *answer)
{
    buf_add_str(&a->chain, answer->body);
    if (a->chain.is_failed || a->chain.n == 0) {
        acme_fail(a, "the certificate is empty or too long");
    } else {
        acme_finish(a);
    }
}

static enum err acme_take(struct acme *a, int64_t now_s, const struct web_answer *answer)
{
    switch (a->state) {
    case AT_DIRECTORY:
        return acme_take_directory(a, answer);
    case AT_WINDOW:
        acme_take_window(a, now_s, answer);
        return ERR_OK;
    case AT_ACCOUNT:
        return acme_take_account(a, answer);
    case AT_NEW_ORDER:
        return acme_take_new_order(a, now_s, answer);
    case AT_AUTHORIZATION:
        return acme_take_authorization(a, answer);
    case AT_CHALLENGE:
        a->at++;
        return ERR_OK;
    case AT_POLL_AUTHORIZATION:
        return acme_take_poll(a, now_s, answer);
    case AT_OLD_ORDER:
    case AT_FINALIZE:
    case AT_POLL_ORDER:
        return acme_take_order(a, now_s, answer);
    case AT_CERTIFICATE:
        acme_take_certificate(a, answer);
        return ERR_OK;
    case AT_KEEP_ACCOUNT:
    case AT_KEEP_ORDER:
    case AT_FORGET_ORDER:
    case AT_PRESENT:
    case AT_CLEAN:
    case AT_END:
        break;
    }
    return ERR_INTERNAL;
}

void acme_on_answer(struct acme *a, int64_t now_s, const struct web_answer *answer)
{
    bool was_asking_nonce = a->is_asking_nonce;
    ASSERT_MAGIC(a, ACME_MAGIC);
    a->is_asking_nonce = false;
    a->wait_until_s = 0;
    if (acme_token_is_good(answer->nonce)) {
        memcpy(a->nonce, answer->nonce.p, answer->nonce.n);
        a->nonce_bytes = answer->nonce.n;
    }
    if (answer->status < 200 || answer->status > 299) {
        acme_refused(a, now_s, answer, was_asking_nonce);
        return;
    }
    if (was_asking_nonce) {
        if (a->nonce_bytes == 0) {
            acme_fail(a, "the CA gives no nonce");
        }
        return;
    }
    a->bad_nonces = 0;
    enum err e = acme_take(a, now_s, answer);
    if (e) {
        acme_fail_err(a, e, acme_state_text(a->state));
    }
}

void acme_on_broken(struct acme *a, const char *reason)
{
    a->is_asking_nonce = false;
    a->failure.is_unreachable = true;
    acme_fail(a, "the CA cannot be reached: %s", reason);
}

void acme_on_done(struct acme *a, enum err e, const char *reason)
{
    switch (a->state) {
    case AT_KEEP_ACCOUNT:
        a->state = a->order_url.n ? AT_OLD_ORDER : AT_NEW_ORDER;
        break;
    case AT_KEEP_ORDER:
        a->state = a->kept_next;
        break;
    case AT_FORGET_ORDER:
        a->state = AT_NEW_ORDER;
        break;
    case AT_PRESENT:
        /* Also what failed half-way is cleaned up. */
        a->proofs[a->at].is_presented = true;
        a->at++;
        break;
    case AT_CLEAN:
        a->proofs[a->at].is_presented = false;
        a->at++;
        return;
    case AT_DIRECTORY:
    case AT_WINDOW:
    case AT_ACCOUNT:
    case AT_NEW_ORDER:
    case AT_OLD_ORDER:
    case AT_AUTHORIZATION:
    case AT_CHALLENGE:
    case AT_POLL_AUTHORIZATION:
    case AT_FINALIZE:
    case AT_POLL_ORDER:
    case AT_CERTIFICATE:
    case AT_END:
        ASSERT(a->state == AT_CLEAN); /* nothing of the kind was asked for */
        break;
    }
    if (e) {
        acme_fail(a, "%s", reason);
    }
}

const struct acme_failure *acme_failure(const struct acme *a)
{
    return a->is_failed ? &a->failure : NULL;
}

struct str acme_chain(const struct acme *a)
{
    return buf_str(&a->chain);
}

bool acme_window(const struct acme *a, struct acme_window *ret_window, int64_t *ret_again_s)
{
    if (a->has_window) {
        *ret_window = a->window;
        *ret_again_s = a->window_again_s;
    }
    return a->has_window;
}
