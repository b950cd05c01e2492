/* SPDX-License-Identifier: Apache-2.0 */
/* Receipts (C2SP tlog-proof). */
#include "proof/receipt_int.h"

#include "base/assert.h"
#include "base/base64.h"
#include "crypto/sha256.h"
#include "proof/checkpoint_int.h"

/* The head of `extra` in whole groups of base64: three bytes of four characters. */
#define HEAD_GROUPS_BYTES ((RECEIPT_HEAD_BYTES + 2) / 3 * 3)

struct lines {
    struct str extra;  /* base64, or no pointer */
    struct str sealed; /* all behind the extra line */
    uint64_t index;
    uint8_t path[SWS_PATH_MAX][SWS_HASH_BYTES];
    size_t path_count;
    struct str checkpoint;
};

static bool take_mark(struct str *line, struct str mark)
{
    bool is_there = str_starts_with(*line, mark);
    *line = is_there ? str_sub(*line, mark.n, line->n) : *line;
    return is_there;
}

static enum sws_proof_error parse_lines(struct str rest, struct lines *ret)
{
    struct str line;
    ret->extra = (struct str){NULL, 0};
    ret->path_count = 0;
    if (!note_line(&rest, &line) || !str_eq(line, STR(RECEIPT_FIRST_LINE))) {
        return SWS_PROOF_VERSION;
    }
    ret->sealed = rest;
    if (note_line(&rest, &line) && take_mark(&line, STR(RECEIPT_EXTRA_MARK))) {
        ret->extra = line;
        ret->sealed = rest;
    }
    rest = ret->sealed;
    if (!note_line(&rest, &line) || !take_mark(&line, STR(RECEIPT_INDEX_MARK)) ||
        !note_number(line, &ret->index)) {
        return SWS_PROOF_SYNTAX;
    }
    while (note_line(&rest, &line) && line.n) {
        if (ret->path_count == SWS_PATH_MAX) {
            return SWS_PROOF_LENGTH;
        }
        if (!note_hash(line, ret->path[ret->path_count++])) {
            return SWS_PROOF_SYNTAX;
        }
    }
    ret->checkpoint = rest;
    return SWS_PROOF_OK;
}

/* Bytes [start, start + n) of the text, with n <= HEAD_GROUPS_BYTES; start is a multiple of 3. */
static size_t decode_at(struct str text, size_t start, uint8_t ret_bytes[HEAD_GROUPS_BYTES])
{
    struct str part = str_sub(text, start / 3 * 4, BASE64_TEXT_BYTES(HEAD_GROUPS_BYTES));
    bool is_last = start / 3 * 4 + part.n == text.n;
    size_t n = base64_bytes(part);
    if (n == SIZE_MAX || base64_decode(part, ret_bytes) || (!is_last && n != HEAD_GROUPS_BYTES)) {
        return SIZE_MAX;
    }
    return n;
}

void receipt_seal_init(struct sha256 *h, uint64_t entry_bytes)
{
    uint8_t length[8];
    for (size_t i = 0; i < sizeof(length); i++) {
        length[i] = (uint8_t)(entry_bytes >> (56 - 8 * i));
    }
    sha256_init(h);
    sha256_add(h, "selenia receipt v1\n", 19);
    sha256_add(h, length, sizeof(length));
}

/* Judges the seal and hashes the entry, without room for all of it. */
static enum sws_proof_error open_extra(const struct lines *lines, struct sws_receipt *r)
{
    uint8_t bytes[HEAD_GROUPS_BYTES], seal[SWS_HASH_BYTES], found[SWS_HASH_BYTES];
    struct sha256 leaf, whole;
    size_t total = base64_bytes(lines->extra), n = decode_at(lines->extra, 0, bytes);
    if (total == SIZE_MAX || n == SIZE_MAX) {
        return SWS_PROOF_SYNTAX;
    }
    if (n < RECEIPT_HEAD_BYTES || memcmp(bytes, RECEIPT_MAGIC, RECEIPT_MAGIC_BYTES) != 0 ||
        bytes[RECEIPT_MAGIC_BYTES] != RECEIPT_VERSION) {
        return SWS_PROOF_VERSION;
    }
    if (total - RECEIPT_HEAD_BYTES > SWS_ENTRY_BYTES_MAX) {
        return SWS_PROOF_LIMIT;
    }
    memcpy(seal, bytes + RECEIPT_MAGIC_BYTES + 1, sizeof(seal));
    r->entry_bytes = total - RECEIPT_HEAD_BYTES;
    r->entry_text = text_of(lines->extra);
    sha256_init(&leaf);
    sha256_add(&leaf, "\x00", 1);
    receipt_seal_init(&whole, r->entry_bytes);
    for (size_t at = 0, skip = RECEIPT_HEAD_BYTES; at < total; at += n, skip = 0) {
        n = decode_at(lines->extra, at, bytes);
        if (n == SIZE_MAX) {
            return SWS_PROOF_SYNTAX;
        }
        sha256_add(&leaf, bytes + skip, n - skip);
        sha256_add(&whole, bytes + skip, n - skip);
    }
    sha256_add(&whole, lines->sealed.p, lines->sealed.n);
    sha256_finish(&whole, found);
    sha256_finish(&leaf, r->leaf_hash);
    return memcmp(seal, found, sizeof(seal)) == 0 ? SWS_PROOF_OK : SWS_PROOF_DAMAGED;
}

static enum sws_proof_error find_leaf(const struct lines *lines, const struct sws_text *entry,
                                      struct sws_receipt *r)
{
    uint8_t given[SWS_HASH_BYTES];
    r->entry_bytes = 0;
    r->entry_text = (struct sws_text){NULL, 0};
    if (!entry && !lines->extra.p) {
        return SWS_PROOF_NO_ENTRY;
    }
    if (entry && entry->n > SWS_ENTRY_BYTES_MAX) {
        return SWS_PROOF_LIMIT;
    }
    if (entry) {
        sws_leaf_hash(entry->p, entry->n, given);
    }
    if (!lines->extra.p) {
        memcpy(r->leaf_hash, given, sizeof(given));
        return SWS_PROOF_OK;
    }
    enum sws_proof_error e = open_extra(lines, r);
    if (!e && entry && memcmp(given, r->leaf_hash, sizeof(given)) != 0) {
        e = SWS_PROOF_OTHER_ENTRY;
    }
    return e;
}

enum sws_proof_error sws_verify_receipt(const char *text, size_t text_bytes,
                                        const struct sws_policy *policy,
                                        const struct sws_text *entry,
                                        struct sws_receipt *ret_receipt)
{
    struct lines lines;
    struct sws_receipt r;
    if (text_bytes > SWS_RECEIPT_BYTES_MAX) {
        return SWS_PROOF_LIMIT;
    }
    enum sws_proof_error e = parse_lines(str_make(text, text_bytes), &lines);
    if (!e) {
        e = find_leaf(&lines, entry, &r);
    }
    if (!e) {
        e = sws_verify_checkpoint(lines.checkpoint.p, lines.checkpoint.n, policy, &r.checkpoint);
    }
    if (e) {
        return e;
    }
    r.index = lines.index;
    const struct sws_inclusion claim = {.index = r.index,
                                        .size = r.checkpoint.size,
                                        .leaf_hash = r.leaf_hash,
                                        .root = r.checkpoint.root,
                                        .path = (const uint8_t(*)[SWS_HASH_BYTES])lines.path,
                                        .path_count = lines.path_count};
    e = sws_verify_inclusion(&claim);
    if (!e) {
        *ret_receipt = r;
    }
    return e;
}

void sws_receipt_entry(const struct sws_receipt *receipt, uint8_t *ret_entry)
{
    uint8_t bytes[HEAD_GROUPS_BYTES];
    struct str text = text_str(receipt->entry_text);
    for (size_t at = 0, skip = RECEIPT_HEAD_BYTES, n;
         receipt->entry_bytes && at < base64_bytes(text); at += n, skip = 0) {
        n = decode_at(text, at, bytes);
        ASSERT(n != SIZE_MAX);
        memcpy(ret_entry, bytes + skip, n - skip);
        ret_entry += n - skip;
    }
}
