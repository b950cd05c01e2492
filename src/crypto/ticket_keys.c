/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/ticket_keys.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/digest.h"
#include "crypto/secret.h"

#define KEYS_MAGIC 0x7469636bu
#define SEED_BYTES 32
#define KEY_NAME_BYTES 16
#define GNUTLS_PERIODS 3 /* GnuTLS changes keys every three lifetimes by itself */
#define EPOCH_STEPS_MAX 1000
#define SEAL_ABOUT STR("sws ticket keys 1")
#define SEALED_BYTES (1 + 4 + 4 + 8 + 2 * SEED_BYTES)

struct ticket_keys {
    uint32_t magic;
    atomic_uint ref_count;
    pthread_mutex_t lock;
    uint32_t lifetime_s;
    uint32_t epoch_s;
    int64_t epoch; /* of `seed` */
    struct secret *seed;
    struct secret *last_seed;
};

static void keys_free(struct ticket_keys *k)
{
    k->magic = 0;
    secret_destroy(k->seed);
    secret_destroy(k->last_seed);
    pthread_mutex_destroy(&k->lock);
    mem_free(k);
}

static enum err keys_alloc(uint32_t lifetime_s, uint32_t epoch_s, struct ticket_keys **ret_keys)
{
    if (lifetime_s == 0 || lifetime_s > TICKET_LIFETIME_S_MAX || epoch_s < lifetime_s) {
        return ERR_RANGE;
    }
    struct ticket_keys *k = mem_zalloc(1, sizeof(*k));
    if (!k) {
        return ERR_NOMEM;
    }
    k->magic = KEYS_MAGIC;
    atomic_init(&k->ref_count, 1);
    pthread_mutex_init(&k->lock, NULL);
    k->lifetime_s = lifetime_s;
    k->epoch_s = epoch_s;
    *ret_keys = k;
    return ERR_OK;
}

/* Random seeds in place of what there is, which stays on failure. */
static enum err keys_renew(struct ticket_keys *k, int64_t epoch)
{
    struct secret *seed = secret_create_random(SEED_BYTES);
    struct secret *last_seed = secret_create_random(SEED_BYTES);
    if (!seed || !last_seed) {
        secret_destroy(seed);
        secret_destroy(last_seed);
        return ERR_NOMEM;
    }
    secret_destroy(k->seed);
    secret_destroy(k->last_seed);
    k->seed = seed;
    k->last_seed = last_seed;
    k->epoch = epoch;
    return ERR_OK;
}

enum err ticket_keys_create(uint32_t lifetime_s, uint32_t epoch_s, int64_t now_s,
                            struct ticket_keys **ret_keys)
{
    struct ticket_keys *k;
    enum err e = keys_alloc(lifetime_s, epoch_s, &k);
    if (e) {
        return e;
    }
    e = keys_renew(k, now_s / epoch_s);
    if (e) {
        keys_free(k);
        return e;
    }
    *ret_keys = k;
    return ERR_OK;
}

static void put_number(struct buf *b, uint64_t value, unsigned bytes)
{
    while (bytes--) {
        buf_add_char(b, (char)(value >> (8 * bytes) & 0xff));
    }
}

static uint64_t take_number(const char **at, unsigned bytes)
{
    uint64_t value = 0;
    while (bytes--) {
        value = value << 8 | (unsigned char)*(*at)++;
    }
    return value;
}

enum err ticket_keys_export(struct ticket_keys *k, const uint8_t seal_key[TICKET_SEAL_KEY_BYTES],
                            struct buf *out)
{
    struct buf plain;
    buf_init(&plain, 0);
    enum err e = ERR_NOMEM;
    if (buf_reserve(&plain, SEALED_BYTES)) {
        pthread_mutex_lock(&k->lock);
        put_number(&plain, 1, 1);
        put_number(&plain, k->lifetime_s, 4);
        put_number(&plain, k->epoch_s, 4);
        put_number(&plain, (uint64_t)k->epoch, 8);
        buf_add_str(&plain, secret_str(k->seed));
        buf_add_str(&plain, secret_str(k->last_seed));
        pthread_mutex_unlock(&k->lock);
        e = aead_seal(AEAD_AES_256_GCM, seal_key, SEAL_ABOUT, buf_str(&plain), out);
        secret_wipe(plain.p, plain.n);
    }
    buf_done(&plain);
    return e;
}

static enum err keys_read(struct str plain, struct ticket_keys **ret_keys)
{
    const char *at = plain.p;
    struct ticket_keys *k;
    if (plain.n != SEALED_BYTES || take_number(&at, 1) != 1) {
        return ERR_UNSUPPORTED;
    }
    uint32_t lifetime_s = (uint32_t)take_number(&at, 4);
    uint32_t epoch_s = (uint32_t)take_number(&at, 4);
    enum err e = keys_alloc(lifetime_s, epoch_s, &k);
    if (e) {
        return e == ERR_NOMEM ? e : ERR_UNSUPPORTED;
    }
    k->epoch = (int64_t)take_number(&at, 8);
    k->seed = secret_create(str_make(at, SEED_BYTES));
    k->last_seed = secret_create(str_make(at + SEED_BYTES, SEED_BYTES));
    if (!k->seed || !k->last_seed) {
        keys_free(k);
        return ERR_NOMEM;
    }
    *ret_keys = k;
    return ERR_OK;
}

enum err ticket_keys_import(struct str sealed, const uint8_t seal_key[TICKET_SEAL_KEY_BYTES],
                            struct ticket_keys **ret_keys)
{
    struct buf plain;
    buf_init(&plain, 0);
    enum err e = aead_open(AEAD_AES_256_GCM, seal_key, SEAL_ABOUT, sealed, &plain);
    if (!e) {
        e = keys_read(buf_str(&plain), ret_keys);
        secret_wipe(plain.p, plain.n);
    }
    buf_done(&plain);
    return e;
}

struct ticket_keys *ticket_keys_ref(struct ticket_keys *k)
{
    ASSERT_MAGIC(k, KEYS_MAGIC);
    atomic_fetch_add_explicit(&k->ref_count, 1, memory_order_relaxed);
    return k;
}

void ticket_keys_unref(struct ticket_keys *k)
{
    if (!k || atomic_fetch_sub_explicit(&k->ref_count, 1, memory_order_acq_rel) != 1) {
        return;
    }
    ASSERT_MAGIC(k, KEYS_MAGIC);
    keys_free(k);
}

uint32_t ticket_keys_lifetime_s(const struct ticket_keys *k)
{
    return k->lifetime_s;
}

static enum err keys_step(struct ticket_keys *k)
{
    uint8_t next[SEED_BYTES];
    enum err e = digest_derive(secret_str(k->seed), STR("sws next epoch"), next, sizeof(next));
    struct secret *seed = e ? NULL : secret_create(str_make((char *)next, sizeof(next)));
    secret_wipe(next, sizeof(next));
    if (!seed) {
        return ERR_NOMEM;
    }
    secret_destroy(k->last_seed);
    k->last_seed = k->seed;
    k->seed = seed;
    k->epoch++;
    return ERR_OK;
}

/* A clock that was set back leaves the seeds where they are: what is forgotten is forgotten. One
 * that leaps (a machine that started without the time) costs the tickets, not the time to catch up.
 */
static enum err keys_move(struct ticket_keys *k, int64_t now_s)
{
    int64_t epoch = now_s / k->epoch_s;
    enum err e = ERR_OK;
    if (epoch - k->epoch > EPOCH_STEPS_MAX) {
        return keys_renew(k, epoch);
    }
    while (!e && k->epoch < epoch) {
        e = keys_step(k);
    }
    return e;
}

static enum err derive(const struct secret *seed, struct str binding, uint8_t *ret_key)
{
    uint8_t info[32];
    enum err e = digest_of(DIGEST_SHA256, binding, info);
    if (!e) {
        e = digest_derive(secret_str(seed), str_make((char *)info, sizeof(info)), ret_key,
                          TICKET_KEY_BYTES);
    }
    return e;
}

/* Whether GnuTLS would open `ticket` with `key`: it names its tickets by the front of
 * SHA3-512(period, key), and takes those of the present period and the one before it. Were that
 * to change, the tickets of the last epoch would lead to full handshakes. */
static bool key_made(const struct ticket_keys *k, const uint8_t *key, struct str ticket,
                     int64_t now_s)
{
    uint8_t text[8 + TICKET_KEY_BYTES], name[64];
    bool is_made = false;
    if (ticket.n < KEY_NAME_BYTES) {
        return false;
    }
    uint64_t period = (uint64_t)now_s / (k->lifetime_s * GNUTLS_PERIODS);
    for (unsigned back = 0; back < 2 && !is_made; back++, period--) {
        for (unsigned i = 0; i < 8; i++) {
            text[i] = (uint8_t)(period >> (56 - 8 * i));
        }
        memcpy(text + 8, key, TICKET_KEY_BYTES);
        is_made = gnutls_hash_fast(GNUTLS_DIG_SHA3_512, text, sizeof(text), name) >= 0 &&
                  memcmp(name, ticket.p, KEY_NAME_BYTES) == 0;
    }
    secret_wipe(text, sizeof(text));
    secret_wipe(name, sizeof(name));
    return is_made;
}

enum err ticket_keys_pick(struct ticket_keys *k, struct str binding, struct str ticket,
                          int64_t now_s, uint8_t ret_key[TICKET_KEY_BYTES])
{
    pthread_mutex_lock(&k->lock);
    enum err e = keys_move(k, now_s);
    bool is_last = false;
    if (!e && ticket.n) {
        e = derive(k->last_seed, binding, ret_key);
        is_last = !e && key_made(k, ret_key, ticket, now_s);
    }
    if (!e && !is_last) {
        e = derive(k->seed, binding, ret_key);
    }
    pthread_mutex_unlock(&k->lock);
    return e;
}
