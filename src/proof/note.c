/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/note_int.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "crypto/sha256.h"
#include "crypto/signature.h"

#define ID_BYTES 4
#define ID_DIGITS 8
#define TIME_MAX (UINT64_MAX / 2)

/* The White_Space characters of Unicode beyond ASCII, which `p` may start with. */
static bool is_space(const uint8_t *p, size_t n)
{
    if (n >= 2 && p[0] == 0xc2) {
        return p[1] == 0x85 || p[1] == 0xa0;
    }
    if (n < 3) {
        return false;
    }
    uint32_t c = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
    return c == 0xe19a80 || (c >= 0xe28080 && c <= 0xe2808a) || c == 0xe280a8 || c == 0xe280a9 ||
           c == 0xe280af || c == 0xe2819f || c == 0xe38080;
}

bool note_name_is_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        if (c <= ' ' || c == '+' || is_space((const uint8_t *)name.p + i, name.n - i)) {
            return false;
        }
    }
    return name.n && utf8_is_valid(name.p, name.n);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint32_t note_key_id(struct str name, enum sws_key_type type,
                     const uint8_t public_key[SWS_PUBLIC_KEY_BYTES])
{
    const uint8_t middle[2] = {'\n', (uint8_t)type};
    uint8_t hash[SHA256_BYTES];
    struct sha256 h;
    sha256_init(&h);
    sha256_add(&h, name.p, name.n);
    sha256_add(&h, middle, sizeof(middle));
    sha256_add(&h, public_key, SWS_PUBLIC_KEY_BYTES);
    sha256_finish(&h, hash);
    return big_endian(hash);
}

bool note_number(struct str s, uint64_t *ret_value)
{
    return !(s.n > 1 && s.p[0] == '0') && str_to_u64(s, ret_value) == ERR_OK;
}

bool note_hash(struct str s, uint8_t ret_hash[SWS_HASH_BYTES])
{
    return s.n == BASE64_TEXT_BYTES(SWS_HASH_BYTES) && base64_bytes(s) == SWS_HASH_BYTES &&
           base64_decode(s, ret_hash) == ERR_OK;
}

bool note_line(struct str *rest, struct str *ret_line)
{
    ptrdiff_t end = str_index(*rest, '\n');
    if (end < 0) {
        return false;
    }
    *ret_line = str_sub(*rest, 0, (size_t)end);
    *rest = str_sub(*rest, (size_t)end + 1, rest->n);
    return true;
}

enum sws_proof_error sws_key_parse(const char *text, size_t text_bytes, struct sws_key *ret_key)
{
    struct sws_key key = {.type = SWS_KEY_LOG};
    struct str rest = str_make(text, text_bytes), name, id;
    uint8_t bytes[1 + SWS_PUBLIC_KEY_BYTES];
    if (text_bytes > SWS_CHECKPOINT_BYTES_MAX || !str_split(&rest, '+', &name) ||
        !str_split(&rest, '+', &id) || !rest.p || !note_name_is_valid(name) || id.n != ID_DIGITS) {
        return SWS_PROOF_KEY;
    }
    for (size_t i = 0; i < id.n; i++) {
        int digit = ascii_hex_value(id.p[i]);
        if (digit < 0 || ascii_lower(id.p[i]) != id.p[i]) {
            return SWS_PROOF_KEY;
        }
        key.id = key.id << 4 | (uint32_t)digit;
    }
    if (base64_bytes(rest) != sizeof(bytes) || base64_decode(rest, bytes) ||
        (bytes[0] != SWS_KEY_LOG && bytes[0] != SWS_KEY_WITNESS)) {
        return SWS_PROOF_KEY;
    }
    key.type = bytes[0] == SWS_KEY_LOG ? SWS_KEY_LOG : SWS_KEY_WITNESS;
    key.name = text_of(name);
    memcpy(key.public_key, bytes + 1, SWS_PUBLIC_KEY_BYTES);
    if (key.id != note_key_id(name, key.type, key.public_key)) {
        return SWS_PROOF_KEY;
    }
    *ret_key = key;
    return SWS_PROOF_OK;
}

/* ---- signature lines ---- */

struct signature_line {
    struct str name;
    struct str text; /* base64 of id and signature */
    size_t bytes;    /* of both */
};

static bool line_split(struct str line, struct signature_line *ret_line)
{
    struct str mark = STR(NOTE_SIGNATURE_MARK);
    if (!str_starts_with(line, mark)) {
        return false;
    }
    struct str rest = str_sub(line, mark.n, line.n), name;
    if (!str_split(&rest, ' ', &name) || !rest.p) {
        return false;
    }
    *ret_line = (struct signature_line){name, rest, base64_bytes(rest)};
    return ret_line->bytes != SIZE_MAX && ret_line->bytes > ID_BYTES;
}

/* Whether name and base64 have their form, also where nobody will look at them. */
static bool line_is_valid(const struct signature_line *line)
{
    if (!note_name_is_valid(line->name)) {
        return false;
    }
    for (size_t at = 0; at < line->text.n; at += 4) {
        uint8_t bytes[3];
        struct str part = str_sub(line->text, at, 4);
        bool is_last = at + 4 == line->text.n;
        if (base64_decode(part, bytes) || (!is_last && base64_bytes(part) != 3)) {
            return false;
        }
    }
    return true;
}

enum sws_proof_error note_parse(struct str whole, struct note *ret_note)
{
    struct note note;
    size_t count = 0;
    if (whole.n > SWS_NOTE_BYTES_MAX) {
        return SWS_PROOF_LIMIT;
    }
    for (size_t i = 0; i < whole.n; i++) {
        if ((unsigned char)whole.p[i] < ' ' && whole.p[i] != '\n') {
            return SWS_PROOF_SYNTAX;
        }
    }
    if (!whole.n || !utf8_is_valid(whole.p, whole.n)) {
        return SWS_PROOF_SYNTAX;
    }
    size_t at = whole.n - 1;
    while (at && !(whole.p[at] == '\n' && whole.p[at - 1] == '\n')) {
        at--;
    }
    note.text = str_sub(whole, 0, at);
    note.signatures = str_sub(whole, at + 1, whole.n);
    if (!at || !note.signatures.n) {
        return SWS_PROOF_SYNTAX;
    }
    for (struct str rest = note.signatures, line; rest.n; count++) {
        struct signature_line parsed;
        if (!note_line(&rest, &line) || !line_split(line, &parsed) || !line_is_valid(&parsed)) {
            return SWS_PROOF_SYNTAX;
        }
    }
    if (count > SWS_NOTE_SIGNATURES_MAX) {
        return SWS_PROOF_LIMIT;
    }
    *ret_note = note;
    return SWS_PROOF_OK;
}

size_t note_cosigned_head(uint64_t time, char ret_head[NOTE_COSIGNED_HEAD_BYTES_MAX])
{
    static const char head[] = "cosignature/v1\ntime ";
    char digits[20];
    size_t n = sizeof(head) - 1, count = 0;
    memcpy(ret_head, head, n);
    do {
        digits[count++] = (char)('0' + time % 10);
        time /= 10;
    } while (time);
    while (count) {
        ret_head[n++] = digits[--count];
    }
    ret_head[n++] = '\n';
    return n;
}

static bool cosignature_verify(struct str text, const struct sws_key *key, const uint8_t *signature,
                               uint64_t *ret_time)
{
    char message[NOTE_COSIGNED_HEAD_BYTES_MAX + SWS_CHECKPOINT_BYTES_MAX];
    uint64_t time = (uint64_t)big_endian(signature) << 32 | big_endian(signature + 4);
    ASSERT(text.n <= SWS_CHECKPOINT_BYTES_MAX);
    if (time > TIME_MAX) {
        return false;
    }
    size_t head = note_cosigned_head(time, message);
    memcpy(message + head, text.p, text.n);
    *ret_time = time;
    return signature_verify(key->public_key, str_make(message, head + text.n),
                            signature + NOTE_TIME_BYTES);
}

enum sws_proof_error note_verify(const struct note *note, const struct sws_key *key,
                                 uint64_t *ret_time)
{
    bool is_log = key->type == SWS_KEY_LOG;
    size_t bytes = ID_BYTES + NOTE_SIGNATURE_BYTES + (is_log ? 0u : NOTE_TIME_BYTES);
    uint64_t latest = 0;
    bool is_found = false;
    for (struct str rest = note->signatures, line; note_line(&rest, &line);) {
        uint8_t id[6], signature[ID_BYTES + NOTE_TIME_BYTES + NOTE_SIGNATURE_BYTES];
        struct signature_line at;
        uint64_t time = 0;
        bool is_line = line_split(line, &at); /* note_parse has seen to it */
        ASSERT(is_line);
        if (!str_eq(at.name, text_str(key->name)) || base64_decode(str_sub(at.text, 0, 8), id) ||
            big_endian(id) != key->id) {
            continue;
        }
        if (at.bytes != bytes || base64_decode(at.text, signature) ||
            !(is_log ? signature_verify(key->public_key, note->text, signature + ID_BYTES)
                     : cosignature_verify(note->text, key, signature + ID_BYTES, &time))) {
            return SWS_PROOF_SIGNATURE;
        }
        is_found = true;
        latest = time > latest ? time : latest;
    }
    if (!is_found) {
        return SWS_PROOF_LOG;
    }
    *ret_time = latest;
    return SWS_PROOF_OK;
}
