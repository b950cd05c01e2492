/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/acme_store.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "crypto/digest.h"
#include "os/file.h"

#define FILE_BYTES_MAX (512u * 1024u)
#define KEY_MODE 0600u
#define PLAIN_MODE 0640u
#define ID_BYTES 96
#define ID_TEXT_BYTES 48 /* of the readable part */

void store_wipe(struct buf *secret)
{
    if (secret->n) {
        explicit_bzero(secret->p, secret->n);
    }
    buf_done(secret);
}

enum err store_path(struct str folder, const char *a, const char *b, char ret_path[PATH_MAX])
{
    int n = snprintf(ret_path, PATH_MAX, STR_FMT "/%s%s%s", STR_ARG(folder), a, *b ? "/" : "", b);
    return n < 0 || n >= PATH_MAX ? ERR_LIMIT : ERR_OK;
}

/* `readable` with what may not stand in a file name replaced, then part of a hash. */
static void store_id(struct str readable, const uint8_t hash[32], char ret_id[ID_BYTES])
{
    size_t n = 0;
    for (size_t i = 0; i < readable.n && n < ID_TEXT_BYTES; i++) {
        char c = readable.p[i];
        bool is_plain = ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || (c == '.' && n);
        ret_id[n++] = is_plain ? c : '_';
    }
    snprintf(ret_id + n, ID_BYTES - n, "-%02x%02x%02x%02x%02x%02x", hash[0], hash[1], hash[2],
             hash[3], hash[4], hash[5]);
}

static enum err store_ca_id(struct str url, char ret_id[ID_BYTES])
{
    uint8_t hash[32];
    struct str host = str_starts_with(url, STR("https://")) ? str_sub(url, 8, url.n) : url;
    ptrdiff_t slash = str_index(host, '/');
    enum err e = digest_of(DIGEST_SHA256, url, hash);
    if (!e) {
        store_id(slash < 0 ? host : str_sub(host, 0, (size_t)slash), hash, ret_id);
    }
    return e;
}

/* The sum over the names: their order does not matter. */
static enum err store_names_hash(const struct store_set *set, uint8_t ret_hash[32])
{
    memset(ret_hash, 0, 32);
    for (size_t i = 0; i < set->name_count; i++) {
        uint8_t one[32];
        enum err e = digest_of(DIGEST_SHA256, set->names[i], one);
        if (e) {
            return e;
        }
        for (size_t k = 0; k < 32; k++) {
            ret_hash[k] ^= one[k];
        }
    }
    return ERR_OK;
}

uint64_t store_seed(const struct store_set *set)
{
    uint8_t hash[32];
    uint64_t seed = 0;
    if (store_names_hash(set, hash) == ERR_OK) {
        memcpy(&seed, hash, sizeof(seed));
    }
    return seed;
}

static enum err store_file(const struct store_set *set, const char *name, char ret_path[PATH_MAX])
{
    char id[ID_BYTES];
    enum err e = store_ca_id(set->ca, id);
    return e ? e : store_path(set->folder, id, name, ret_path);
}

static enum err store_set_file(const struct store_set *set, const char *suffix,
                               char ret_path[PATH_MAX])
{
    char id[ID_BYTES], name[ID_BYTES + 8];
    uint8_t hash[32];
    enum err e = store_names_hash(set, hash);
    if (e) {
        return e;
    }
    ASSERT(set->name_count);
    store_id(set->names[0], hash, id);
    snprintf(name, sizeof(name), "%s%s", id, suffix);
    return store_file(set, name, ret_path);
}

enum err store_make_folder(const struct store_set *set)
{
    char path[PATH_MAX];
    enum err e = store_file(set, "", path);
    return e ? e : file_make_directories(path);
}

/* ERR_NOT_FOUND also for what cannot be read as JSON: it is made anew. */
static enum err store_read_json(const char *path, json_t **ret_root)
{
    struct buf text;
    json_error_t fault;
    buf_init(&text, 0);
    enum err e = file_read_all(path, FILE_BYTES_MAX, &text);
    if (!e) {
        *ret_root = json_loadb(text.p ? text.p : "", text.n, 0, &fault);
        e = *ret_root                                             ? ERR_OK
            : json_error_code(&fault) == json_error_out_of_memory ? ERR_NOMEM
                                                                  : ERR_NOT_FOUND;
    }
    store_wipe(&text);
    return e;
}

/* Takes over `root`; NULL: memory ran out on the way to it. */
static enum err store_write_json(const char *path, json_t *root, unsigned mode)
{
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    enum err e = text ? file_replace(path, str_of(text), mode) : ERR_NOMEM;
    if (text) {
        explicit_bzero(text, strlen(text));
    }
    free(text);
    json_decref(root);
    return e;
}

static void store_copy_text(const json_t *root, const char *key, char *out, size_t bytes)
{
    const char *text = json_string_value(json_object_get(root, key));
    snprintf(out, bytes, "%s", text && strlen(text) < bytes ? text : "");
}

static int64_t store_number(const json_t *root, const char *key)
{
    return json_integer_value(json_object_get(root, key));
}

/* ---- the account ---- */

static enum err store_make_key(const char *path, struct private_key **ret_key)
{
    struct private_key *key;
    struct buf pem;
    enum err e = private_key_create(PRIVATE_KEY_P256, &key);
    if (e) {
        return e;
    }
    buf_init(&pem, 0);
    e = private_key_export(key, &pem);
    if (!e) {
        e = file_replace(path, buf_str(&pem), KEY_MODE);
    }
    store_wipe(&pem);
    if (e) {
        private_key_destroy(key);
    } else {
        *ret_key = key;
    }
    return e;
}

static enum err store_open_key(const char *path, struct private_key **ret_key, struct fault *fault)
{
    struct buf pem;
    buf_init(&pem, 0);
    enum err e = file_read_all(path, FILE_BYTES_MAX, &pem);
    if (!e) {
        e = private_key_import(buf_str(&pem), ret_key, fault);
    } else {
        fault_set(fault, e, "%s: %s", path, err_text(e));
        if (e == ERR_NOT_FOUND) {
            e = store_make_key(path, ret_key);
        }
    }
    store_wipe(&pem);
    return e;
}

enum err store_open_account(const struct store_set *set, struct store_account *ret_account,
                            struct fault *reterr_fault)
{
    char path[PATH_MAX];
    json_t *root = NULL;
    *ret_account = (struct store_account){0};
    fault_set(reterr_fault, ERR_OK, "the account cannot be kept");
    enum err e = store_make_folder(set);
    if (!e) {
        e = store_file(set, "account.key", path);
    }
    if (!e) {
        e = store_open_key(path, &ret_account->key, reterr_fault);
    }
    if (!e) {
        e = store_file(set, "account.json", path);
    }
    if (!e) {
        e = store_read_json(path, &root);
        e = e == ERR_NOT_FOUND ? ERR_OK : e;
    }
    if (e) {
        store_account_done(ret_account);
        return e;
    }
    const json_t *orders = json_object_get(root, "orders");
    store_copy_text(root, "url", ret_account->url, sizeof(ret_account->url));
    if (!acme_url_is_good(str_of(ret_account->url))) {
        ret_account->url[0] = '\0';
    }
    for (size_t i = 0; i < json_array_size(orders); i++) {
        plan_add_order(&ret_account->orders, json_integer_value(json_array_get(orders, i)));
    }
    json_decref(root);
    return ERR_OK;
}

enum err store_keep_account(const struct store_set *set, const struct store_account *account)
{
    char path[PATH_MAX];
    enum err e = store_file(set, "account.json", path);
    if (e) {
        return e;
    }
    json_t *orders = json_array();
    json_t *root = json_pack("{s:s, s:o}", "url", account->url, "orders", orders);
    bool is_good = root != NULL;
    for (unsigned i = 0; i < account->orders.count && is_good; i++) {
        is_good = json_array_append_new(orders, json_integer(account->orders.at_s[i])) == 0;
    }
    if (!is_good) {
        json_decref(root);
        return ERR_NOMEM;
    }
    return store_write_json(path, root, PLAIN_MODE);
}

void store_account_done(struct store_account *account)
{
    private_key_destroy(account->key);
    account->key = NULL;
}

/* ---- one certificate ---- */

enum err store_read_record(const struct store_set *set, struct store_record *ret_record)
{
    char path[PATH_MAX];
    json_t *root = NULL;
    struct store_record *r = ret_record;
    *r = (struct store_record){0};
    buf_init(&r->key_pem, FILE_BYTES_MAX);
    enum err e = store_set_file(set, ".json", path);
    if (!e) {
        e = store_read_json(path, &root);
    }
    if (e) {
        return e == ERR_NOMEM ? e : ERR_OK;
    }
    const char *key = json_string_value(json_object_get(root, "key"));
    store_copy_text(root, "order", r->order_url, sizeof(r->order_url));
    store_copy_text(root, "error", r->error, sizeof(r->error));
    buf_add_str(&r->key_pem, str_of(key));
    if (!acme_url_is_good(str_of(r->order_url)) || r->key_pem.n == 0) {
        r->order_url[0] = '\0';
    }
    r->failures = (unsigned)store_number(root, "failures");
    r->turn = (unsigned)store_number(root, "turn");
    r->retry_at_s = store_number(root, "retry_at");
    r->window.start_s = store_number(root, "window_start");
    r->window.end_s = store_number(root, "window_end");
    r->window_again_s = store_number(root, "window_again");
    r->settings = (uint64_t)store_number(root, "settings");
    json_decref(root);
    return r->key_pem.is_failed ? ERR_NOMEM : ERR_OK;
}

enum err store_keep_record(const struct store_set *set, const struct store_record *r)
{
    char path[PATH_MAX];
    enum err e = store_set_file(set, ".json", path);
    if (e) {
        return e;
    }
    json_t *root = json_pack(
        "{s:s, s:s%, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "order", r->order_url, "key",
        r->key_pem.p ? r->key_pem.p : "", r->key_pem.n, "error", r->error, "failures",
        (json_int_t)r->failures, "turn", (json_int_t)r->turn, "retry_at", (json_int_t)r->retry_at_s,
        "window_start", (json_int_t)r->window.start_s, "window_end", (json_int_t)r->window.end_s,
        "window_again", (json_int_t)r->window_again_s, "settings", (json_int_t)r->settings);
    return store_write_json(path, root, KEY_MODE);
}

void store_record_done(struct store_record *record)
{
    store_wipe(&record->key_pem);
}

enum err store_read_certificate(const struct store_set *set, struct buf *out)
{
    char path[PATH_MAX];
    enum err e = store_set_file(set, ".pem", path);
    return e ? e : file_read_all(path, FILE_BYTES_MAX, out);
}

enum err store_keep_certificate(const struct store_set *set, struct str chain_pem,
                                struct str key_pem)
{
    char path[PATH_MAX];
    struct buf both;
    enum err e = store_set_file(set, ".pem", path);
    buf_init(&both, 0);
    buf_add_str(&both, chain_pem);
    buf_add_char(&both, '\n');
    buf_add_str(&both, key_pem);
    if (!e) {
        e = both.is_failed ? ERR_NOMEM : file_replace(path, buf_str(&both), KEY_MODE);
    }
    store_wipe(&both);
    return e;
}

enum err store_remove(const struct store_set *set)
{
    char path[PATH_MAX];
    enum err e = store_set_file(set, ".json", path);
    if (!e) {
        e = file_remove(path);
    }
    if (!e) {
        e = store_set_file(set, ".pem", path);
    }
    return e ? e : file_remove(path);
}
