/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/dns_update.h"

#include <string.h>

#include "base/assert.h"
#include "base/base64url.h"
#include "crypto/digest.h"

#define HEADER_BYTES 12u
#define TYPE_SOA 6u
#define TYPE_TXT 16u
#define TYPE_TSIG 250u
#define CLASS_IN 1u
#define CLASS_NONE 254u
#define CLASS_ANY 255u
#define FLAGS_UPDATE 0x2800u
#define FLAG_ANSWER 0x8000u
#define CODE_MASK 0x000fu
#define OPCODE_MASK 0x7800u
#define TTL_S 60u
#define FUDGE_S 300u
#define LABELS_MAX 128u

static const struct str algorithm = STR("hmac-sha256");

/* ---- writing ---- */

static void put16(struct buf *out, unsigned value)
{
    buf_add_char(out, (char)(value >> 8 & 255u));
    buf_add_char(out, (char)(value & 255u));
}

static void put32(struct buf *out, uint32_t value)
{
    put16(out, value >> 16);
    put16(out, value & 0xffffu);
}

static void put48(struct buf *out, int64_t value)
{
    put16(out, (unsigned)((uint64_t)value >> 32 & 0xffffu));
    put32(out, (uint32_t)((uint64_t)value & 0xffffffffu));
}

static enum err put_name(struct buf *out, struct str name)
{
    struct str label;
    size_t start = out->n;
    if (name.n && name.p[name.n - 1] == '.') {
        name.n--;
    }
    while (name.n && str_split(&name, '.', &label)) {
        if (label.n == 0 || label.n > 63) {
            return ERR_SYNTAX;
        }
        buf_add_char(out, (char)label.n);
        for (size_t i = 0; i < label.n; i++) {
            buf_add_char(out, ascii_lower(label.p[i]));
        }
    }
    buf_add_char(out, '\0');
    return out->n - start > DNS_NAME_BYTES_MAX ? ERR_SYNTAX : ERR_OK;
}

static void put_header(struct buf *out, uint16_t id, unsigned flags, unsigned first, unsigned third)
{
    put16(out, id);
    put16(out, flags);
    put16(out, first);
    put16(out, 0);
    put16(out, third);
    put16(out, 0);
}

static enum err put_question(struct buf *out, struct str name)
{
    enum err e = put_name(out, name);
    put16(out, TYPE_SOA);
    put16(out, CLASS_IN);
    return e;
}

enum err dns_put_zone_query(uint16_t id, struct str name, struct buf *out)
{
    put_header(out, id, 0, 1, 0);
    enum err e = put_question(out, name);
    return !e && out->is_failed ? ERR_NOMEM : e;
}

/* The fields of a TSIG record that are signed (RFC 8945 4.3.3). */
static enum err put_variables(struct buf *out, struct str key_name, int64_t time_s,
                              unsigned fudge_s, unsigned code, struct str other)
{
    enum err e = put_name(out, key_name);
    put16(out, CLASS_ANY);
    put32(out, 0);
    if (!e) {
        e = put_name(out, algorithm);
    }
    put48(out, time_s);
    put16(out, fudge_s);
    put16(out, code);
    put16(out, (unsigned)other.n);
    buf_add_str(out, other);
    return e;
}

static enum err put_signature(const struct dns_update *u, struct buf *out, size_t start,
                              uint8_t mac[DNS_MAC_BYTES])
{
    struct buf text;
    buf_init(&text, 0);
    buf_add(&text, out->p + start, out->n - start);
    enum err e = put_variables(&text, u->key_name, u->now_s, FUDGE_S, 0, STR(""));
    if (!e) {
        e = text.is_failed ? ERR_NOMEM : digest_hmac(u->key, buf_str(&text), mac);
    }
    buf_done(&text);
    if (e) {
        return e;
    }
    out->p[start + 11] = 1; /* one additional record */
    e = put_name(out, u->key_name);
    put16(out, TYPE_TSIG);
    put16(out, CLASS_ANY);
    put32(out, 0);
    size_t length_at = out->n;
    put16(out, 0);
    if (!e) {
        e = put_name(out, algorithm);
    }
    put48(out, u->now_s);
    put16(out, FUDGE_S);
    put16(out, DNS_MAC_BYTES);
    buf_add(out, mac, DNS_MAC_BYTES);
    put16(out, u->id);
    put16(out, 0);
    put16(out, 0);
    if (!e && !out->is_failed) {
        size_t length = out->n - length_at - 2;
        out->p[length_at] = (char)(length >> 8);
        out->p[length_at + 1] = (char)(length & 255);
    }
    return e;
}

enum err dns_put_update(const struct dns_update *u, struct buf *out, uint8_t ret_mac[DNS_MAC_BYTES])
{
    size_t start = out->n;
    if (u->value.n > 255) {
        return ERR_SYNTAX;
    }
    put_header(out, u->id, FLAGS_UPDATE, 1, 1);
    enum err e = put_question(out, u->zone);
    if (!e) {
        e = put_name(out, u->name);
    }
    put16(out, TYPE_TXT);
    put16(out, u->is_removal ? CLASS_NONE : CLASS_IN);
    put32(out, u->is_removal ? 0 : TTL_S);
    put16(out, (unsigned)u->value.n + 1);
    buf_add_char(out, (char)u->value.n);
    buf_add_str(out, u->value);
    if (e || out->is_failed) {
        return e ? e : ERR_NOMEM;
    }
    e = put_signature(u, out, start, ret_mac);
    return !e && out->is_failed ? ERR_NOMEM : e;
}

/* ---- reading ---- */

struct reader {
    struct str message;
    size_t at;
    bool is_broken;
};

static unsigned read8(struct reader *r)
{
    if (r->at >= r->message.n) {
        r->is_broken = true;
        return 0;
    }
    return (unsigned char)r->message.p[r->at++];
}

static unsigned read16(struct reader *r)
{
    unsigned high = read8(r);
    return high << 8 | read8(r);
}

static uint32_t read32(struct reader *r)
{
    uint32_t high = read16(r);
    return high << 16 | read16(r);
}

static struct str read_bytes(struct reader *r, size_t n)
{
    if (n > r->message.n - r->at || r->is_broken) {
        r->is_broken = true;
        return STR("");
    }
    r->at += n;
    return str_make(r->message.p + r->at - n, n);
}

/* A name in lower case with dots. Pointers only lead backwards, so it ends (RFC 1035 4.1.4). */
static void read_name(struct reader *r, char ret_text[DNS_NAME_BYTES_MAX + 1], struct str *ret_name)
{
    size_t n = 0, behind = 0, bound = r->at;
    *ret_name = STR("");
    for (unsigned labels = 0; !r->is_broken; labels++) {
        unsigned length = read8(r);
        if ((length & 0xc0u) == 0xc0u) {
            size_t target = (length & 0x3fu) << 8 | read8(r);
            behind = behind ? behind : r->at;
            r->is_broken |= target >= bound;
            bound = target;
            r->at = target;
            continue;
        }
        struct str label = read_bytes(r, length);
        if (length > 63 || labels > LABELS_MAX || n + length + 1 > DNS_NAME_BYTES_MAX) {
            r->is_broken = true;
        }
        if (length == 0 || r->is_broken) {
            break;
        }
        if (n) {
            ret_text[n++] = '.';
        }
        for (size_t i = 0; i < label.n; i++) {
            ret_text[n++] = ascii_lower(label.p[i]);
        }
    }
    r->at = behind ? behind : r->at;
    *ret_name = str_make(ret_text, n);
}

struct record {
    char text[DNS_NAME_BYTES_MAX + 1];
    struct str name;
    unsigned type;
    unsigned class;
    size_t data_at;
    size_t data_bytes;
};

static void read_record(struct reader *r, struct record *ret)
{
    read_name(r, ret->text, &ret->name);
    ret->type = read16(r);
    ret->class = read16(r);
    (void)read32(r);
    ret->data_bytes = read16(r);
    ret->data_at = r->at;
    (void)read_bytes(r, ret->data_bytes);
}

struct header {
    unsigned flags;
    unsigned counts[4];
};

/* Past the header and the questions. */
static enum err read_header(struct reader *r, uint16_t id, unsigned opcode, struct header *ret)
{
    char text[DNS_NAME_BYTES_MAX + 1];
    struct str name;
    unsigned got = read16(r);
    ret->flags = read16(r);
    for (size_t i = 0; i < 4; i++) {
        ret->counts[i] = read16(r);
    }
    for (unsigned i = 0; i < ret->counts[0] && !r->is_broken; i++) {
        read_name(r, text, &name);
        (void)read32(r);
    }
    bool is_ours = got == id && (ret->flags & FLAG_ANSWER) != 0 &&
                   (ret->flags & OPCODE_MASK) == (opcode & OPCODE_MASK);
    return r->is_broken || !is_ours ? ERR_SYNTAX : ERR_OK;
}

enum err dns_read_zone_answer(uint16_t id, struct str name, struct str answer, bool *ret_is_zone)
{
    struct reader r = {.message = answer};
    struct header h;
    struct record record;
    enum err e = read_header(&r, id, 0, &h);
    unsigned code = h.flags & CODE_MASK;
    bool is_zone = false;
    if (e) {
        return e;
    }
    if (code != 0 && code != 3) { /* NXDOMAIN says that it begins higher up */
        return ERR_ACCESS;
    }
    for (unsigned i = 0; i < h.counts[1] && !r.is_broken; i++) {
        read_record(&r, &record);
        is_zone |= record.type == TYPE_SOA && str_eq_ci(record.name, name);
    }
    if (r.is_broken) {
        return ERR_SYNTAX;
    }
    *ret_is_zone = is_zone;
    return ERR_OK;
}

/* What stands in the data of a TSIG record. */
struct signature {
    int64_t time_s;
    unsigned fudge_s;
    struct str mac;
    unsigned code;
    struct str other;
};

static bool read_signature(struct str message, const struct record *record, struct signature *ret)
{
    struct reader r = {.message = str_make(message.p, record->data_at + record->data_bytes),
                       .at = record->data_at};
    char text[DNS_NAME_BYTES_MAX + 1];
    struct str name;
    read_name(&r, text, &name);
    ret->time_s = (int64_t)read16(&r) << 32;
    ret->time_s |= read32(&r);
    ret->fudge_s = read16(&r);
    ret->mac = read_bytes(&r, read16(&r));
    (void)read16(&r);
    ret->code = read16(&r);
    ret->other = read_bytes(&r, read16(&r));
    return !r.is_broken && str_eq(name, algorithm);
}

/* RFC 8945 5.4.1: over our own signature and the answer as it was before it was signed. */
static enum err check_signature(const struct dns_update *u, const uint8_t mac[DNS_MAC_BYTES],
                                struct str answer, size_t signed_bytes, const struct signature *s)
{
    uint8_t expected[DNS_MAC_BYTES];
    struct buf text;
    buf_init(&text, 0);
    put16(&text, DNS_MAC_BYTES);
    buf_add(&text, mac, DNS_MAC_BYTES);
    size_t start = text.n;
    buf_add(&text, answer.p, signed_bytes);
    enum err e = put_variables(&text, u->key_name, s->time_s, s->fudge_s, s->code, s->other);
    if (!e && text.is_failed) {
        e = ERR_NOMEM;
    }
    if (!e) {
        unsigned count =
            (unsigned char)text.p[start + 10] * 256u + (unsigned char)text.p[start + 11];
        text.p[start + 10] = (char)((count - 1) >> 8);
        text.p[start + 11] = (char)((count - 1) & 255u);
        e = digest_hmac(u->key, buf_str(&text), expected);
    }
    buf_done(&text);
    if (e) {
        return e;
    }
    unsigned difference = s->mac.n != DNS_MAC_BYTES;
    for (size_t i = 0; i < s->mac.n && i < DNS_MAC_BYTES; i++) {
        difference |= (unsigned char)s->mac.p[i] ^ expected[i];
    }
    int64_t apart_s = u->now_s > s->time_s ? u->now_s - s->time_s : s->time_s - u->now_s;
    return difference || apart_s > FUDGE_S ? ERR_ACCESS : ERR_OK;
}

enum err dns_read_update_answer(const struct dns_update *u, const uint8_t mac[DNS_MAC_BYTES],
                                struct str answer, unsigned *ret_code)
{
    struct reader r = {.message = answer};
    struct header h;
    struct record record = {.type = 0};
    struct signature s = {0};
    size_t signed_bytes = 0;
    enum err e = read_header(&r, u->id, FLAGS_UPDATE, &h);
    if (e) {
        return e;
    }
    unsigned count = h.counts[1] + h.counts[2] + h.counts[3];
    for (unsigned i = 0; i < count && !r.is_broken; i++) {
        signed_bytes = r.at;
        read_record(&r, &record);
    }
    if (r.is_broken) {
        return ERR_SYNTAX;
    }
    *ret_code = h.flags & CODE_MASK;
    bool is_signed = h.counts[3] && record.type == TYPE_TSIG && r.at == answer.n;
    if (!is_signed || !read_signature(answer, &record, &s)) {
        return *ret_code ? ERR_CONFIG : ERR_ACCESS;
    }
    *ret_code = s.code ? s.code : *ret_code;
    if (*ret_code) {
        return ERR_CONFIG; /* also one that could not sign, because it does not know the key */
    }
    return check_signature(u, mac, answer, signed_bytes, &s);
}

enum err dns_read_key(struct str base64, struct buf *out)
{
    char text[DNS_KEY_BYTES_MAX];
    size_t n = 0;
    while (base64.n && base64.p[base64.n - 1] == '=') {
        base64.n--;
    }
    if (base64.n == 0 || base64.n > sizeof(text)) {
        return ERR_SYNTAX;
    }
    for (size_t i = 0; i < base64.n; i++) {
        char c = base64.p[i];
        if (c == '-' || c == '_') {
            return ERR_SYNTAX;
        }
        text[n++] = c == '+' ? '-' : c == '/' ? '_' : c;
    }
    enum err e = base64url_decode(out, str_make(text, n));
    explicit_bzero(text, sizeof(text));
    return e;
}
