/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include <sws/proof.h>

#include "proof/state_path.h"

/* What a visited node is: an empty subtree and a lone leaf must not be the children of one node,
 * because the leaf would stand in its place. */
enum kind { KIND_EMPTY, KIND_LEAF, KIND_INNER };

struct verifier {
    const uint8_t *p;
    size_t n;
};

static const uint8_t *take(struct verifier *v, size_t n)
{
    const uint8_t *p = v->p;
    if (v->n < n) {
        return NULL;
    }
    v->p += n;
    v->n -= n;
    return p;
}

static const struct sws_state_claim *claim_at(const struct state_items *claims, size_t i)
{
    return (const struct sws_state_claim *)(const void *)(claims->p + i * claims->item_bytes);
}

/* The only claim of a value among them; `ret_count` says how many there are. */
static const struct sws_state_claim *find_present(const struct state_items *claims,
                                                  size_t *ret_count)
{
    const struct sws_state_claim *found = NULL;
    *ret_count = 0;
    for (size_t i = 0; i < claims->n; i++) {
        if (claim_at(claims, i)->value) {
            found = claim_at(claims, i);
            ++*ret_count;
        }
    }
    return found;
}

static enum sws_proof_error visit_leaf(struct verifier *v, const struct state_items *claims,
                                       unsigned depth, enum state_token token,
                                       uint8_t ret_hash[STATE_HASH_BYTES])
{
    size_t present;
    const struct sws_state_claim *claim = find_present(claims, &present);
    if (present != (token == STATE_TOKEN_ASKED ? 1u : 0u)) {
        return SWS_PROOF_CLAIM;
    }
    if (token == STATE_TOKEN_EMPTY) {
        memset(ret_hash, 0, STATE_HASH_BYTES);
        return SWS_PROOF_OK;
    }
    if (token == STATE_TOKEN_ASKED) {
        state_hash_pair(STATE_PREFIX_LEAF, claim->work, claim->work + STATE_HASH_BYTES, ret_hash);
        return SWS_PROOF_OK;
    }
    const uint8_t *leaf = take(v, (size_t)2 * STATE_HASH_BYTES);
    if (!leaf) {
        return SWS_PROOF_LENGTH;
    }
    if (!state_path_has_prefix(leaf, state_items_path(claims, 0), depth)) {
        return SWS_PROOF_SYNTAX;
    }
    if (state_items_find(claims, leaf) != SIZE_MAX) {
        return SWS_PROOF_CLAIM;
    }
    state_hash_pair(STATE_PREFIX_LEAF, leaf, leaf + STATE_HASH_BYTES, ret_hash);
    return SWS_PROOF_OK;
}

static enum sws_proof_error visit(struct verifier *v, struct state_items claims, unsigned depth,
                                  uint8_t ret_hash[STATE_HASH_BYTES], enum kind *ret_kind);

/* A side that no claim leads to. */
static enum sws_proof_error take_sibling(struct verifier *v, enum state_token token,
                                         uint8_t ret_hash[STATE_HASH_BYTES], enum kind *ret_kind)
{
    if (token == STATE_TOKEN_ONE_EMPTY) {
        memset(ret_hash, 0, STATE_HASH_BYTES);
        *ret_kind = KIND_EMPTY;
        return SWS_PROOF_OK;
    }
    const uint8_t *hash = take(v, STATE_HASH_BYTES);
    if (!hash) {
        return SWS_PROOF_LENGTH;
    }
    memcpy(ret_hash, hash, STATE_HASH_BYTES);
    *ret_kind = KIND_INNER;
    return state_hash_is_zero(hash) ? SWS_PROOF_SYNTAX : SWS_PROOF_OK;
}

static enum sws_proof_error visit_inner(struct verifier *v, const struct state_items *claims,
                                        unsigned depth, enum state_token token,
                                        uint8_t ret_hash[STATE_HASH_BYTES])
{
    uint8_t hashes[2][STATE_HASH_BYTES];
    enum kind kinds[2];
    enum sws_proof_error e = SWS_PROOF_OK;
    size_t left = depth < STATE_DEPTH_MAX ? state_items_split(claims, depth) : 0;
    const struct state_items sides[2] = {state_items_part(claims, 0, left),
                                         state_items_part(claims, left, claims->n - left)};
    bool has_both = sides[0].n && sides[1].n;
    if (depth == STATE_DEPTH_MAX || has_both != (token == STATE_TOKEN_BOTH)) {
        return SWS_PROOF_SYNTAX;
    }
    for (int side = 0; side < 2 && !e; side++) {
        if (!sides[side].n) {
            e = take_sibling(v, token, hashes[side], &kinds[side]);
        }
    }
    for (int side = 0; side < 2 && !e; side++) {
        if (sides[side].n) {
            e = visit(v, sides[side], depth + 1, hashes[side], &kinds[side]);
        }
    }
    if (e) {
        return e;
    }
    bool has_empty = kinds[0] == KIND_EMPTY || kinds[1] == KIND_EMPTY;
    if (has_empty && kinds[0] != KIND_INNER && kinds[1] != KIND_INNER) {
        return SWS_PROOF_SYNTAX;
    }
    state_hash_pair(STATE_PREFIX_INNER, hashes[0], hashes[1], ret_hash);
    return SWS_PROOF_OK;
}

static enum sws_proof_error visit(struct verifier *v, struct state_items claims, unsigned depth,
                                  uint8_t ret_hash[STATE_HASH_BYTES], enum kind *ret_kind)
{
    const uint8_t *token = take(v, 1);
    if (!token) {
        return SWS_PROOF_LENGTH;
    }
    switch (*token) {
    case STATE_TOKEN_EMPTY:
        *ret_kind = KIND_EMPTY;
        return visit_leaf(v, &claims, depth, STATE_TOKEN_EMPTY, ret_hash);
    case STATE_TOKEN_ASKED:
    case STATE_TOKEN_OTHER:
        *ret_kind = KIND_LEAF;
        return visit_leaf(v, &claims, depth, (enum state_token) * token, ret_hash);
    case STATE_TOKEN_BOTH:
    case STATE_TOKEN_ONE_EMPTY:
    case STATE_TOKEN_ONE_SIBLING:
        *ret_kind = KIND_INNER;
        return visit_inner(v, &claims, depth, (enum state_token) * token, ret_hash);
    default:
        return SWS_PROOF_SYNTAX;
    }
}

enum sws_proof_error sws_verify_state(const uint8_t root[SWS_HASH_BYTES],
                                      struct sws_state_claim *claims, size_t count,
                                      const uint8_t *proof, size_t proof_bytes)
{
    const struct state_items items = {.p = (uint8_t *)claims,
                                      .n = count,
                                      .item_bytes = sizeof(*claims),
                                      .path_at = offsetof(struct sws_state_claim, work)};
    struct verifier v = {proof, proof_bytes};
    uint8_t hash[STATE_HASH_BYTES];
    enum kind kind;
    if (count > SWS_STATE_CLAIMS_MAX) {
        return SWS_PROOF_LIMIT;
    }
    if (!count) {
        return SWS_PROOF_CLAIM;
    }
    const uint8_t *version = take(&v, 1);
    if (!version || *version != STATE_PROOF_VERSION) {
        return SWS_PROOF_VERSION;
    }
    for (size_t i = 0; i < count; i++) {
        struct sws_state_claim *c = &claims[i];
        state_hash(STATE_PREFIX_KEY, c->key, c->key_bytes, c->work);
        if (c->value) {
            state_hash(STATE_PREFIX_VALUE, c->value, c->value_bytes, c->work + STATE_HASH_BYTES);
        }
    }
    if (!state_items_sort(&items)) {
        return SWS_PROOF_DUPLICATE;
    }
    enum sws_proof_error e = visit(&v, items, 0, hash, &kind);
    if (!e && v.n) {
        e = SWS_PROOF_LENGTH;
    }
    return e ? e : memcmp(hash, root, sizeof(hash)) == 0 ? SWS_PROOF_OK : SWS_PROOF_ROOT;
}
