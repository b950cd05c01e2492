/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys, policies and tile paths that are read are written as they were; a checkpoint with the
 * input's text as an extension is verified whenever it could be signed, and under the witness that
 * signed it.
 */
#include "base/assert.h"
#include "input.h"
#include "proof/sign.h"
#include "proof/tile.h"

static struct sign_key keys[2];
static struct buf policy_text;
static struct sws_policy fixed;

static void start(void)
{
    static const char seeds[2][32] = {{1}, {2}};
    uint32_t line;
    if (keys[0].seed) {
        return;
    }
    keys[0] =
        (struct sign_key){STR("log.example"), SWS_KEY_LOG, secret_create(str_make(seeds[0], 32))};
    keys[1] =
        (struct sign_key){STR("w.example"), SWS_KEY_WITNESS, secret_create(str_make(seeds[1], 32))};
    buf_init(&policy_text, 0);
    buf_add_str(&policy_text, STR("log "));
    enum err e = sign_key_write(&keys[0], &policy_text);
    buf_add_str(&policy_text, STR("\nwitness w "));
    e = e ? e : sign_key_write(&keys[1], &policy_text);
    buf_add_str(&policy_text, STR("\nquorum w\n"));
    ASSERT(!e);
    enum sws_proof_error p = sws_policy_parse(policy_text.p, policy_text.n, &fixed, &line);
    ASSERT(!p);
}

static void check_policy(struct str text)
{
    static struct sws_policy policy;
    uint32_t line = 0;
    if (sws_policy_parse(text.p, text.n, &policy, &line)) {
        ASSERT(line <= text.n);
        return;
    }
    ASSERT(policy.quorum < (int32_t)policy.member_count);
    for (uint32_t i = 0; i < policy.member_count; i++) {
        const struct sws_policy_member *m = &policy.members[i];
        ASSERT(m->group == -1 || (m->group > (int32_t)i && policy.members[m->group].threshold));
        ASSERT(m->threshold <= m->member_count);
    }
}

static void check_path(struct str text)
{
    struct tile tile;
    char again[TILE_PATH_BYTES_MAX];
    if (!tile_parse(text, &tile)) {
        ASSERT(str_eq(str_make(again, tile_path(&tile, again)), text));
    }
}

static void check_bundle(struct str text)
{
    struct str rest = text, entry;
    struct buf again;
    enum err e;
    buf_init(&again, 0);
    while (!(e = bundle_next(&rest, &entry))) {
        e = bundle_add(&again, entry);
        ASSERT(!e);
    }
    ASSERT(str_eq(buf_str(&again), str_sub(text, 0, text.n - rest.n)));
    ASSERT((e == ERR_EOF) == (rest.n == 0));
    buf_done(&again);
}

/* Whatever is between the root and the empty line. */
static void check_extension(struct str extension)
{
    static const uint8_t root[SWS_HASH_BYTES] = {3};
    struct sign_checkpoint c = {keys[0].name, 5, root, NULL};
    struct sws_checkpoint found;
    struct buf note;
    buf_init(&note, 0);
    enum err e = sign_checkpoint_write(&c, &note);
    ASSERT(!e);
    note.n--;
    buf_add_str(&note, extension);
    buf_add_str(&note, STR("\n\n"));
    if (!sign_note(&keys[0], 0, &note)) {
        e = sign_note(&keys[1], 7, &note);
        enum sws_proof_error p = sws_verify_checkpoint(note.p, note.n, &fixed, &found);
        if (!e && !p) {
            ASSERT(found.size == 5 && found.witness_count == 1 && found.witness_time == 7);
            note.p[5] ^= 1; /* in the name of the log */
            ASSERT(sws_verify_checkpoint(note.p, note.n, &fixed, &found) != SWS_PROOF_OK);
        }
        ASSERT(e || p == SWS_PROOF_OK || p == SWS_PROOF_SYNTAX || p == SWS_PROOF_LIMIT);
    }
    buf_done(&note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, n};
    struct sws_key key;
    start();
    unsigned what = take(&in);
    struct str text = str_make((const char *)in.p, in.n);
    switch (what % 5) {
    case 0:
        check_policy(text);
        break;
    case 1:
        check_path(text);
        break;
    case 2:
        check_bundle(text);
        break;
    case 3:
        check_extension(text);
        break;
    default:
        if (!sws_key_parse(text.p, text.n, &key)) {
            ASSERT(key.name.p == text.p && key.name.n < text.n);
        }
    }
    return 0;
}
