/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/sign.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "crypto/sha256.h"
#include "crypto/signature.h"
#include "proof/checkpoint_int.h"
#include "proof/note_int.h"
#include "proof/receipt_int.h"

_Static_assert(SIGNATURE_PUBLIC_BYTES == SWS_PUBLIC_KEY_BYTES, "a key is a public key");
_Static_assert(SIGNATURE_BYTES == NOTE_SIGNATURE_BYTES, "a signature is one of Ed25519");

/* What failed is taken back. */
static enum err end(struct buf *out, size_t before, enum err e)
{
    e = out->is_failed ? ERR_NOMEM : e;
    out->n = e ? before : out->n;
    return e;
}

static void add_base64(struct buf *out, const void *bytes, size_t n)
{
    if (buf_reserve(out, BASE64_TEXT_BYTES(n))) {
        base64_encode(str_make(bytes, n), out->p + out->n);
        out->n += BASE64_TEXT_BYTES(n);
    }
}

static void put_id(uint32_t id, uint8_t ret_bytes[4])
{
    for (unsigned i = 0; i < 4; i++) {
        ret_bytes[i] = (uint8_t)(id >> (24 - 8 * i));
    }
}

enum err sign_key_write(const struct sign_key *key, struct buf *out)
{
    uint8_t bytes[1 + SWS_PUBLIC_KEY_BYTES] = {(uint8_t)key->type};
    size_t before = out->n;
    if (!note_name_is_valid(key->name)) {
        return ERR_SYNTAX;
    }
    signature_public(key->seed, bytes + 1);
    buf_add_str(out, key->name);
    buf_printf(out, "+%08x+", (unsigned)note_key_id(key->name, key->type, bytes + 1));
    add_base64(out, bytes, sizeof(bytes));
    return end(out, before, ERR_OK);
}

static bool is_line(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < ' ') {
            return false;
        }
    }
    return s.n && utf8_is_valid(s.p, s.n);
}

enum err sign_checkpoint_write(const struct sign_checkpoint *checkpoint, struct buf *out)
{
    size_t before = out->n;
    if (!is_line(checkpoint->origin)) {
        return ERR_SYNTAX;
    }
    buf_add_str(out, checkpoint->origin);
    buf_add_char(out, '\n');
    buf_add_u64(out, checkpoint->size);
    buf_add_char(out, '\n');
    add_base64(out, checkpoint->root, SWS_HASH_BYTES);
    buf_add_char(out, '\n');
    if (checkpoint->state_root) {
        buf_add_str(out, STR(CHECKPOINT_STATE_MARK));
        add_base64(out, checkpoint->state_root, SWS_HASH_BYTES);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
    return end(out, before, ERR_OK);
}

/* The text of a note that has signatures, or none yet. */
static enum err find_text(struct str whole, struct str *ret_text)
{
    struct note note;
    if (str_ends_with(whole, STR("\n\n"))) {
        *ret_text = str_sub(whole, 0, whole.n - 1);
    } else if (note_parse(whole, &note)) {
        return ERR_SYNTAX;
    } else {
        *ret_text = note.text;
    }
    return ret_text->n > SWS_CHECKPOINT_BYTES_MAX ? ERR_LIMIT : ERR_OK;
}

enum err sign_note(const struct sign_key *key, uint64_t time, struct buf *note)
{
    uint8_t public_key[SIGNATURE_PUBLIC_BYTES];
    uint8_t bytes[4 + NOTE_TIME_BYTES + SIGNATURE_BYTES];
    char message[NOTE_COSIGNED_HEAD_BYTES_MAX + SWS_CHECKPOINT_BYTES_MAX];
    bool is_witness = key->type == SWS_KEY_WITNESS;
    size_t before = note->n, head = 0, n = 4;
    struct str text;
    enum err e = note_name_is_valid(key->name) ? find_text(buf_str(note), &text) : ERR_SYNTAX;
    if (!e && is_witness && time > UINT64_MAX / 2) {
        e = ERR_RANGE;
    }
    if (e) {
        return e;
    }
    signature_public(key->seed, public_key);
    put_id(note_key_id(key->name, key->type, public_key), bytes);
    if (is_witness) {
        head = note_cosigned_head(time, message);
        put_id((uint32_t)(time >> 32), bytes + 4);
        put_id((uint32_t)time, bytes + 8);
        n += NOTE_TIME_BYTES;
    }
    memcpy(message + head, text.p, text.n);
    signature_sign(key->seed, str_make(message, head + text.n), bytes + n);
    buf_add_str(note, STR(NOTE_SIGNATURE_MARK));
    buf_add_str(note, key->name);
    buf_add_char(note, ' ');
    add_base64(note, bytes, n + SIGNATURE_BYTES);
    buf_add_char(note, '\n');
    return end(note, before, ERR_OK);
}

/* ---- receipts ---- */

static void add_lines(const struct sign_receipt *receipt, struct buf *out)
{
    buf_add_str(out, STR(RECEIPT_INDEX_MARK));
    buf_add_u64(out, receipt->index);
    buf_add_char(out, '\n');
    for (size_t i = 0; i < receipt->path->count; i++) {
        add_base64(out, receipt->path->hashes[i], SWS_HASH_BYTES);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
    buf_add_str(out, receipt->checkpoint);
}

/* Base64 of head and entry as one: the head is filled up to whole groups of three with the front
 * of the entry. */
static void add_extra(struct str entry, const uint8_t head[RECEIPT_HEAD_BYTES], struct buf *out)
{
    uint8_t first[(RECEIPT_HEAD_BYTES + 2) / 3 * 3];
    size_t room = sizeof(first) - RECEIPT_HEAD_BYTES;
    size_t taken = entry.n < room ? entry.n : room;
    memcpy(first, head, RECEIPT_HEAD_BYTES);
    if (taken) {
        memcpy(first + RECEIPT_HEAD_BYTES, entry.p, taken);
    }
    buf_add_str(out, STR(RECEIPT_EXTRA_MARK));
    add_base64(out, first, RECEIPT_HEAD_BYTES + taken);
    if (taken < entry.n) {
        add_base64(out, entry.p + taken, entry.n - taken);
    }
    buf_add_char(out, '\n');
}

enum err sign_receipt_write(const struct sign_receipt *receipt, struct buf *out)
{
    uint8_t head[RECEIPT_HEAD_BYTES] = RECEIPT_MAGIC;
    size_t before = out->n;
    struct sha256 seal;
    struct buf lines;
    if (receipt->entry.n > SWS_ENTRY_BYTES_MAX) {
        return ERR_RANGE;
    }
    buf_init(&lines, 0);
    add_lines(receipt, &lines);
    if (lines.is_failed) {
        buf_done(&lines);
        return ERR_NOMEM;
    }
    receipt_seal_init(&seal, receipt->entry.n);
    sha256_add(&seal, receipt->entry.p, receipt->entry.n);
    sha256_add(&seal, lines.p, lines.n);
    head[RECEIPT_MAGIC_BYTES] = RECEIPT_VERSION;
    sha256_finish(&seal, head + RECEIPT_MAGIC_BYTES + 1);
    buf_add_str(out, STR(RECEIPT_FIRST_LINE "\n"));
    add_extra(receipt->entry, head, out);
    buf_add_str(out, buf_str(&lines));
    buf_done(&lines);
    return end(out, before, ERR_OK);
}
