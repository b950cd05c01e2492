/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/acme_json.h"

#include <jansson.h>

#include "base/assert.h"

#define DETAIL_BYTES_MAX 200
#define CHALLENGES_SEEN_MAX 32

static const char *const challenge_names[ACME_CHALLENGE_KINDS] = {
    [ACME_TLS_ALPN_01] = "tls-alpn-01",
    [ACME_HTTP_01] = "http-01",
    [ACME_DNS_01] = "dns-01",
};

bool acme_url_is_good(struct str url)
{
    if (!str_starts_with(url, STR("https://")) || url.n > ACME_URL_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < url.n; i++) {
        char c = url.p[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\') {
            return false;
        }
    }
    return true;
}

bool acme_token_is_good(struct str token)
{
    for (size_t i = 0; i < token.n; i++) {
        char c = token.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_') {
            return false;
        }
    }
    return token.n != 0 && token.n <= ACME_TOKEN_BYTES_MAX;
}

/* ERR_SYNTAX: not JSON, or no object at its top. */
static enum err json_read(struct str text, json_t **ret_root)
{
    json_error_t fault;
    json_t *root = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, &fault);
    if (!root) {
        return json_error_code(&fault) == json_error_out_of_memory ? ERR_NOMEM : ERR_SYNTAX;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return ERR_SYNTAX;
    }
    *ret_root = root;
    return ERR_OK;
}

/* Pointer NULL where there is no such text. */
static struct str json_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value) ? str_make(json_string_value(value), json_string_length(value))
                                 : (struct str){NULL, 0};
}

static enum err json_keep(struct arena *arena, struct str text, struct str *ret)
{
    *ret = arena_str(arena, text);
    return ret->p ? ERR_OK : ERR_NOMEM;
}

static enum err json_url(struct arena *arena, const json_t *object, const char *key,
                         bool is_required, struct str *ret)
{
    struct str text = json_text(object, key);
    *ret = (struct str){NULL, 0};
    if (!text.p) {
        return is_required ? ERR_SYNTAX : ERR_OK;
    }
    return acme_url_is_good(text) ? json_keep(arena, text, ret) : ERR_SYNTAX;
}

static enum err json_problem(struct arena *arena, const json_t *object, struct acme_problem *ret)
{
    static const struct str prefix = STR("urn:ietf:params:acme:error:");
    struct str type = json_text(object, "type"), detail = json_text(object, "detail");
    *ret = (struct acme_problem){STR(""), STR("")};
    if (str_starts_with(type, prefix)) {
        type = str_sub(type, prefix.n, type.n);
    }
    enum err e = json_keep(arena, str_sub(type, 0, DETAIL_BYTES_MAX), &ret->type);
    return e ? e : json_keep(arena, str_sub(detail, 0, DETAIL_BYTES_MAX), &ret->detail);
}

static enum acme_status json_status(const json_t *object)
{
    struct str text = json_text(object, "status");
    return str_eq(text, STR("pending"))      ? ACME_PENDING
           : str_eq(text, STR("ready"))      ? ACME_READY
           : str_eq(text, STR("processing")) ? ACME_PROCESSING
           : str_eq(text, STR("valid"))      ? ACME_VALID
                                             : ACME_INVALID;
}

enum err acme_parse_directory(struct arena *arena, struct str json, struct acme_directory *ret)
{
    json_t *root;
    enum err e = json_read(json, &root);
    if (e) {
        return e;
    }
    *ret = (struct acme_directory){0};
    e = json_url(arena, root, "newNonce", true, &ret->new_nonce);
    if (!e) {
        e = json_url(arena, root, "newAccount", true, &ret->new_account);
    }
    if (!e) {
        e = json_url(arena, root, "newOrder", true, &ret->new_order);
    }
    if (!e) {
        e = json_url(arena, root, "renewalInfo", false, &ret->renewal_info);
    }
    const json_t *meta = json_object_get(root, "meta");
    ret->needs_external_account = json_is_true(json_object_get(meta, "externalAccountRequired"));
    json_decref(root);
    return e;
}

static enum err order_authorizations(struct arena *arena, const json_t *root,
                                     struct acme_order *order)
{
    const json_t *list = json_object_get(root, "authorizations");
    size_t n = json_array_size(list);
    if (n == 0 || n > ACME_NAMES_MAX) {
        return ERR_SYNTAX;
    }
    order->authorizations = arena_zalloc(arena, n * sizeof(*order->authorizations));
    if (!order->authorizations) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        struct str url = json_is_string(item)
                             ? str_make(json_string_value(item), json_string_length(item))
                             : (struct str){NULL, 0};
        if (!acme_url_is_good(url)) {
            return ERR_SYNTAX;
        }
        enum err e = json_keep(arena, url, &order->authorizations[i]);
        if (e) {
            return e;
        }
    }
    order->authorization_count = n;
    return ERR_OK;
}

enum err acme_parse_order(struct arena *arena, struct str json, struct acme_order *ret)
{
    json_t *root;
    enum err e = json_read(json, &root);
    if (e) {
        return e;
    }
    *ret = (struct acme_order){.status = json_status(root)};
    e = order_authorizations(arena, root, ret);
    if (!e) {
        e = json_url(arena, root, "finalize", true, &ret->finalize);
    }
    if (!e) {
        e = json_url(arena, root, "certificate", ret->status == ACME_VALID, &ret->certificate);
    }
    if (!e) {
        e = json_problem(arena, json_object_get(root, "error"), &ret->problem);
    }
    json_decref(root);
    return e;
}

static enum err authorization_challenge(struct arena *arena, const json_t *item,
                                        struct acme_authorization *a)
{
    struct str type = json_text(item, "type"), token = json_text(item, "token");
    enum err e = ERR_OK;
    for (unsigned kind = 0; kind < ACME_CHALLENGE_KINDS && !e; kind++) {
        struct acme_challenge *c = &a->challenges[kind];
        if (!str_eq(type, str_of(challenge_names[kind])) || c->url.p) {
            continue;
        }
        if (!acme_token_is_good(token)) {
            return ERR_SYNTAX;
        }
        c->status = json_status(item);
        e = json_keep(arena, token, &c->token);
        if (!e) {
            e = json_problem(arena, json_object_get(item, "error"), &c->problem);
        }
        if (!e) {
            e = json_url(arena, item, "url", true, &c->url);
        }
    }
    return e;
}

enum err acme_parse_authorization(struct arena *arena, struct str json,
                                  struct acme_authorization *ret)
{
    json_t *root;
    enum err e = json_read(json, &root);
    if (e) {
        return e;
    }
    *ret = (struct acme_authorization){.status = json_status(root)};
    struct str name = json_text(json_object_get(root, "identifier"), "value");
    const json_t *list = json_object_get(root, "challenges");
    e = name.n ? json_keep(arena, name, &ret->name) : ERR_SYNTAX;
    if (json_array_size(list) > CHALLENGES_SEEN_MAX) {
        e = ERR_SYNTAX;
    }
    for (size_t i = 0; i < json_array_size(list) && !e; i++) {
        e = authorization_challenge(arena, json_array_get(list, i), ret);
    }
    json_decref(root);
    return e;
}

enum err acme_parse_problem(struct arena *arena, struct str json, struct acme_problem *ret)
{
    json_t *root;
    enum err e = json_read(json, &root);
    *ret = (struct acme_problem){STR(""), STR("")};
    if (e) {
        return e == ERR_NOMEM ? e : ERR_OK;
    }
    e = json_problem(arena, root, ret);
    json_decref(root);
    return e;
}

/* `n` digits at `*at`. */
static bool date_number(struct str text, size_t *at, size_t n, int *ret)
{
    *ret = 0;
    for (size_t end = *at + n; *at < end; (*at)++) {
        if (*at >= text.n || !ascii_is_digit(text.p[*at])) {
            return false;
        }
        *ret = *ret * 10 + (text.p[*at] - '0');
    }
    return true;
}

static bool date_mark(struct str text, size_t *at, char mark)
{
    bool is_there = *at < text.n && ascii_lower(text.p[*at]) == mark;
    *at += is_there;
    return is_there;
}

/* Days from 1970-01-01 to a day of the Gregorian calendar. */
static int64_t date_days(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3; /* March is the first */
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

/* Z, or the hours and minutes that local time is ahead. */
static bool date_zone(struct str text, size_t *at, int64_t *ret_ahead_s)
{
    int hours, minutes;
    *ret_ahead_s = 0;
    if (date_mark(text, at, 'z')) {
        return true;
    }
    bool is_ahead = date_mark(text, at, '+');
    if ((!is_ahead && !date_mark(text, at, '-')) || !date_number(text, at, 2, &hours) ||
        !date_mark(text, at, ':') || !date_number(text, at, 2, &minutes) || hours > 23 ||
        minutes > 59) {
        return false;
    }
    *ret_ahead_s = (is_ahead ? 1 : -1) * (hours * 3600 + minutes * 60);
    return true;
}

enum err acme_parse_date(struct str text, int64_t *ret_s)
{
    int year, month, day, hour, minute, second;
    int64_t ahead_s;
    size_t at = 0;
    bool is_good = date_number(text, &at, 4, &year) && date_mark(text, &at, '-') &&
                   date_number(text, &at, 2, &month) && date_mark(text, &at, '-') &&
                   date_number(text, &at, 2, &day) && date_mark(text, &at, 't') &&
                   date_number(text, &at, 2, &hour) && date_mark(text, &at, ':') &&
                   date_number(text, &at, 2, &minute) && date_mark(text, &at, ':') &&
                   date_number(text, &at, 2, &second);
    if (is_good && date_mark(text, &at, '.')) {
        while (at < text.n && ascii_is_digit(text.p[at])) {
            at++;
        }
    }
    if (!is_good || !date_zone(text, &at, &ahead_s) || at != text.n || month < 1 || month > 12 ||
        day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) {
        return ERR_SYNTAX;
    }
    *ret_s = date_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - ahead_s;
    return ERR_OK;
}

enum err acme_parse_window(struct str json, struct acme_window *ret)
{
    json_t *root;
    enum err e = json_read(json, &root);
    if (e) {
        return e;
    }
    const json_t *window = json_object_get(root, "suggestedWindow");
    e = acme_parse_date(json_text(window, "start"), &ret->start_s);
    if (!e) {
        e = acme_parse_date(json_text(window, "end"), &ret->end_s);
    }
    json_decref(root);
    return !e && ret->end_s <= ret->start_s ? ERR_SYNTAX : e;
}
