/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A receipt is made of the input's bytes and refused as soon as one of them differs. Input that
 * says nothing of changes is taken as a receipt itself, with and without a given entry, and as a
 * checkpoint.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "input.h"
#include "proof/sign.h"

static struct sign_key key;
static struct buf key_text;
static struct sws_policy policy;

static void start(void)
{
    struct sws_key parsed;
    static const char seed[32] = {1};
    if (key.seed) {
        return;
    }
    key = (struct sign_key){STR("log.example"), SWS_KEY_LOG,
                            secret_create(str_make(seed, sizeof(seed)))};
    buf_init(&key_text, 0);
    enum err e = sign_key_write(&key, &key_text);
    ASSERT(!e);
    enum sws_proof_error p = sws_key_parse(key_text.p, key_text.n, &parsed);
    ASSERT(!p);
    p = sws_policy_of_log(&parsed, &policy);
    ASSERT(!p);
}

static void check_raw(struct str text)
{
    struct sws_receipt r;
    struct sws_checkpoint c;
    const struct sws_text entry = {text.p, text.n % 64 < text.n ? text.n % 64 : text.n};
    if (!sws_verify_receipt(text.p, text.n, &policy, NULL, &r)) {
        uint8_t *bytes = malloc(r.entry_bytes ? r.entry_bytes : 1);
        uint8_t leaf[SWS_HASH_BYTES];
        ASSERT(bytes && r.index < r.checkpoint.size);
        sws_receipt_entry(&r, bytes);
        sws_leaf_hash(bytes, r.entry_bytes, leaf);
        ASSERT(memcmp(leaf, r.leaf_hash, sizeof(leaf)) == 0);
        free(bytes);
    }
    if (!sws_verify_receipt(text.p, text.n, &policy, &entry, &r)) {
        ASSERT(!r.entry_text.p || r.entry_bytes == entry.n);
    }
    if (!sws_verify_checkpoint(text.p, text.n, &policy, &c)) {
        ASSERT(c.origin.n == key.name.n && c.witness_count == 0);
    }
}

/* A log with this one entry. */
static void make(struct str entry, struct buf *receipt)
{
    uint8_t root[SWS_HASH_BYTES];
    struct merkle_path path = {.count = 0};
    struct buf note;
    buf_init(&note, 0);
    sws_leaf_hash(entry.p, entry.n, root);
    struct sign_checkpoint c = {key.name, 1, root, NULL};
    enum err e = sign_checkpoint_write(&c, &note);
    e = e ? e : sign_note(&key, 0, &note);
    struct sign_receipt r = {entry, 0, &path, buf_str(&note)};
    e = e ? e : sign_receipt_write(&r, receipt);
    ASSERT(!e);
    buf_done(&note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    struct sws_receipt r;
    struct buf receipt;
    start();
    if (take(&in) % 2 == 0) {
        check_raw(str_make((const char *)in.p, in.n));
        return 0;
    }
    buf_init(&receipt, 0);
    make(take_text(&in), &receipt);
    enum sws_proof_error e = sws_verify_receipt(receipt.p, receipt.n, &policy, NULL, &r);
    ASSERT(!e);
    bool is_changed = false;
    while (in.n) {
        size_t at = (take(&in) << 8 | take(&in)) % receipt.n;
        char mask = (char)take(&in);
        receipt.p[at] ^= mask;
        is_changed |= mask != 0;
        e = sws_verify_receipt(receipt.p, receipt.n, &policy, NULL, &r);
        ASSERT(e || !is_changed);
        receipt.p[at] ^= mask;
        is_changed = false;
    }
    buf_done(&receipt);
    return 0;
}
