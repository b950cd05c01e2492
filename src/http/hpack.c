/* SPDX-License-Identifier: Apache-2.0 */
#include "http/hpack_int.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define ENTRIES_FIRST 16u
#define BYTES_FIRST 512u
#define STATIC_COUNT 61u
#define INTEGER_MAX 0x0fffffffu /* far beyond any limit of ours */

/* First octets, RFC 7541 section 6. */
#define KIND_INDEXED 0x80u
#define KIND_INSERT 0x40u
#define KIND_RESIZE 0x20u
#define KIND_NEVER 0x10u
#define KIND_LITERAL 0x00u
#define STRING_HUFFMAN 0x80u

struct static_entry {
    struct str name;
    struct str value;
    uint16_t id;
};

#define STATIC(text)                                                                               \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
static const struct static_entry static_table[STATIC_COUNT] = {
    {STATIC(":authority"), STATIC(""), HTTP_FIELD_OTHER},
    {STATIC(":method"), STATIC("GET"), HTTP_FIELD_OTHER},
    {STATIC(":method"), STATIC("POST"), HTTP_FIELD_OTHER},
    {STATIC(":path"), STATIC("/"), HTTP_FIELD_OTHER},
    {STATIC(":path"), STATIC("/index.html"), HTTP_FIELD_OTHER},
    {STATIC(":scheme"), STATIC("http"), HTTP_FIELD_OTHER},
    {STATIC(":scheme"), STATIC("https"), HTTP_FIELD_OTHER},
    {STATIC(":status"), STATIC("200"), HTTP_FIELD_OTHER},
    {STATIC(":status"), STATIC("204"), HTTP_FIELD_OTHER},
    {STATIC(":status"), STATIC("206"), HTTP_FIELD_OTHER},
    {STATIC(":status"), STATIC("304"), HTTP_FIELD_OTHER},
    {STATIC(":status"), STATIC("400"), HTTP_FIELD_OTHER},
    {STATIC(":status"), STATIC("404"), HTTP_FIELD_OTHER},
    {STATIC(":status"), STATIC("500"), HTTP_FIELD_OTHER},
    {STATIC("accept-charset"), STATIC(""), HTTP_FIELD_OTHER},
    {STATIC("accept-encoding"), STATIC("gzip, deflate"), HTTP_FIELD_ACCEPT_ENCODING},
    {STATIC("accept-language"), STATIC(""), HTTP_FIELD_ACCEPT_LANGUAGE},
    {STATIC("accept-ranges"), STATIC(""), HTTP_FIELD_ACCEPT_RANGES},
    {STATIC("accept"), STATIC(""), HTTP_FIELD_ACCEPT},
    {STATIC("access-control-allow-origin"), STATIC(""), HTTP_FIELD_ACCESS_CONTROL_ALLOW_ORIGIN},
    {STATIC("age"), STATIC(""), HTTP_FIELD_AGE},
    {STATIC("allow"), STATIC(""), HTTP_FIELD_ALLOW},
    {STATIC("authorization"), STATIC(""), HTTP_FIELD_AUTHORIZATION},
    {STATIC("cache-control"), STATIC(""), HTTP_FIELD_CACHE_CONTROL},
    {STATIC("content-disposition"), STATIC(""), HTTP_FIELD_CONTENT_DISPOSITION},
    {STATIC("content-encoding"), STATIC(""), HTTP_FIELD_CONTENT_ENCODING},
    {STATIC("content-language"), STATIC(""), HTTP_FIELD_CONTENT_LANGUAGE},
    {STATIC("content-length"), STATIC(""), HTTP_FIELD_CONTENT_LENGTH},
    {STATIC("content-location"), STATIC(""), HTTP_FIELD_CONTENT_LOCATION},
    {STATIC("content-range"), STATIC(""), HTTP_FIELD_CONTENT_RANGE},
    {STATIC("content-type"), STATIC(""), HTTP_FIELD_CONTENT_TYPE},
    {STATIC("cookie"), STATIC(""), HTTP_FIELD_COOKIE},
    {STATIC("date"), STATIC(""), HTTP_FIELD_DATE},
    {STATIC("etag"), STATIC(""), HTTP_FIELD_ETAG},
    {STATIC("expect"), STATIC(""), HTTP_FIELD_EXPECT},
    {STATIC("expires"), STATIC(""), HTTP_FIELD_EXPIRES},
    {STATIC("from"), STATIC(""), HTTP_FIELD_FROM},
    {STATIC("host"), STATIC(""), HTTP_FIELD_HOST},
    {STATIC("if-match"), STATIC(""), HTTP_FIELD_IF_MATCH},
    {STATIC("if-modified-since"), STATIC(""), HTTP_FIELD_IF_MODIFIED_SINCE},
    {STATIC("if-none-match"), STATIC(""), HTTP_FIELD_IF_NONE_MATCH},
    {STATIC("if-range"), STATIC(""), HTTP_FIELD_IF_RANGE},
    {STATIC("if-unmodified-since"), STATIC(""), HTTP_FIELD_IF_UNMODIFIED_SINCE},
    {STATIC("last-modified"), STATIC(""), HTTP_FIELD_LAST_MODIFIED},
    {STATIC("link"), STATIC(""), HTTP_FIELD_LINK},
    {STATIC("location"), STATIC(""), HTTP_FIELD_LOCATION},
    {STATIC("max-forwards"), STATIC(""), HTTP_FIELD_MAX_FORWARDS},
    {STATIC("proxy-authenticate"), STATIC(""), HTTP_FIELD_PROXY_AUTHENTICATE},
    {STATIC("proxy-authorization"), STATIC(""), HTTP_FIELD_PROXY_AUTHORIZATION},
    {STATIC("range"), STATIC(""), HTTP_FIELD_RANGE},
    {STATIC("referer"), STATIC(""), HTTP_FIELD_REFERER},
    {STATIC("refresh"), STATIC(""), HTTP_FIELD_OTHER},
    {STATIC("retry-after"), STATIC(""), HTTP_FIELD_RETRY_AFTER},
    {STATIC("server"), STATIC(""), HTTP_FIELD_SERVER},
    {STATIC("set-cookie"), STATIC(""), HTTP_FIELD_SET_COOKIE},
    {STATIC("strict-transport-security"), STATIC(""), HTTP_FIELD_STRICT_TRANSPORT_SECURITY},
    {STATIC("transfer-encoding"), STATIC(""), HTTP_FIELD_TRANSFER_ENCODING},
    {STATIC("user-agent"), STATIC(""), HTTP_FIELD_USER_AGENT},
    {STATIC("vary"), STATIC(""), HTTP_FIELD_VARY},
    {STATIC("via"), STATIC(""), HTTP_FIELD_VIA},
    {STATIC("www-authenticate"), STATIC(""), HTTP_FIELD_WWW_AUTHENTICATE},
};

static const uint8_t static_of_id[HTTP_FIELD_COUNT] = {
    [HTTP_FIELD_ACCEPT_ENCODING] = 16,
    [HTTP_FIELD_ACCEPT_LANGUAGE] = 17,
    [HTTP_FIELD_ACCEPT_RANGES] = 18,
    [HTTP_FIELD_ACCEPT] = 19,
    [HTTP_FIELD_ACCESS_CONTROL_ALLOW_ORIGIN] = 20,
    [HTTP_FIELD_AGE] = 21,
    [HTTP_FIELD_ALLOW] = 22,
    [HTTP_FIELD_AUTHORIZATION] = 23,
    [HTTP_FIELD_CACHE_CONTROL] = 24,
    [HTTP_FIELD_CONTENT_DISPOSITION] = 25,
    [HTTP_FIELD_CONTENT_ENCODING] = 26,
    [HTTP_FIELD_CONTENT_LANGUAGE] = 27,
    [HTTP_FIELD_CONTENT_LENGTH] = 28,
    [HTTP_FIELD_CONTENT_LOCATION] = 29,
    [HTTP_FIELD_CONTENT_RANGE] = 30,
    [HTTP_FIELD_CONTENT_TYPE] = 31,
    [HTTP_FIELD_COOKIE] = 32,
    [HTTP_FIELD_DATE] = 33,
    [HTTP_FIELD_ETAG] = 34,
    [HTTP_FIELD_EXPECT] = 35,
    [HTTP_FIELD_EXPIRES] = 36,
    [HTTP_FIELD_FROM] = 37,
    [HTTP_FIELD_HOST] = 38,
    [HTTP_FIELD_IF_MATCH] = 39,
    [HTTP_FIELD_IF_MODIFIED_SINCE] = 40,
    [HTTP_FIELD_IF_NONE_MATCH] = 41,
    [HTTP_FIELD_IF_RANGE] = 42,
    [HTTP_FIELD_IF_UNMODIFIED_SINCE] = 43,
    [HTTP_FIELD_LAST_MODIFIED] = 44,
    [HTTP_FIELD_LINK] = 45,
    [HTTP_FIELD_LOCATION] = 46,
    [HTTP_FIELD_MAX_FORWARDS] = 47,
    [HTTP_FIELD_PROXY_AUTHENTICATE] = 48,
    [HTTP_FIELD_PROXY_AUTHORIZATION] = 49,
    [HTTP_FIELD_RANGE] = 50,
    [HTTP_FIELD_REFERER] = 51,
    [HTTP_FIELD_RETRY_AFTER] = 53,
    [HTTP_FIELD_SERVER] = 54,
    [HTTP_FIELD_SET_COOKIE] = 55,
    [HTTP_FIELD_STRICT_TRANSPORT_SECURITY] = 56,
    [HTTP_FIELD_TRANSFER_ENCODING] = 57,
    [HTTP_FIELD_USER_AGENT] = 58,
    [HTTP_FIELD_VARY] = 59,
    [HTTP_FIELD_VIA] = 60,
    [HTTP_FIELD_WWW_AUTHENTICATE] = 61,
};

/* ---- the table ---- */

static void table_init(struct hpack_table *t)
{
    *t = (struct hpack_table){.cost_max = HPACK_TABLE_BYTES};
}

static void table_done(struct hpack_table *t)
{
    mem_free(t->bytes);
    mem_free(t->entries);
}

static struct hpack_entry *table_at(const struct hpack_table *t, uint32_t number)
{
    return &t->entries[number & (t->entry_size - 1)];
}

static struct str table_name(const struct hpack_table *t, const struct hpack_entry *e)
{
    return str_make((const char *)t->bytes + e->at, e->name_n);
}

static struct str table_value(const struct hpack_table *t, const struct hpack_entry *e)
{
    return str_make((const char *)t->bytes + e->at + e->name_n, e->value_n);
}

static void table_evict(struct hpack_table *t, uint32_t cost_max)
{
    while (t->cost > cost_max) {
        const struct hpack_entry *e = table_at(t, t->first++);
        t->cost -= e->name_n + e->value_n + HPACK_ENTRY_COST;
    }
    if (t->first == t->next) {
        t->bytes_n = 0;
    }
}

static void table_resize(struct hpack_table *t, uint32_t cost_max)
{
    t->cost_max = cost_max;
    table_evict(t, cost_max);
}

/* Room for one more entry. Its texts may be of the table itself: what moves is copied into new
 * memory, and the old one is the caller's to free. */
static enum err table_grow_bytes(struct hpack_table *t, size_t n, uint8_t **ret_old)
{
    size_t live = 0;
    *ret_old = NULL;
    if (t->bytes && t->bytes_n + n <= t->bytes_size) {
        return ERR_OK;
    }
    for (uint32_t i = t->first; i != t->next; i++) {
        live += table_at(t, i)->name_n + table_at(t, i)->value_n;
    }
    size_t size = t->bytes_size ? t->bytes_size : BYTES_FIRST;
    while (size < (live + n) * 2) {
        size *= 2;
    }
    uint8_t *bytes = mem_alloc(size);
    if (!bytes) {
        return ERR_NOMEM;
    }
    t->bytes_n = 0;
    for (uint32_t i = t->first; i != t->next; i++) {
        struct hpack_entry *e = table_at(t, i);
        memcpy(bytes + t->bytes_n, t->bytes + e->at, e->name_n + e->value_n);
        e->at = (uint32_t)t->bytes_n;
        t->bytes_n += e->name_n + e->value_n;
    }
    *ret_old = t->bytes;
    t->bytes = bytes;
    t->bytes_size = size;
    return ERR_OK;
}

static enum err table_grow_entries(struct hpack_table *t)
{
    if (t->next - t->first < t->entry_size) {
        return ERR_OK;
    }
    uint32_t size = t->entry_size ? t->entry_size * 2 : ENTRIES_FIRST;
    struct hpack_entry *entries = mem_alloc(size * sizeof(*entries));
    if (!entries) {
        return ERR_NOMEM;
    }
    for (uint32_t i = t->first; i != t->next; i++) {
        entries[i & (size - 1)] = *table_at(t, i);
    }
    mem_free(t->entries);
    t->entries = entries;
    t->entry_size = size;
    return ERR_OK;
}

/* Adds an entry, whose number is t->next - 1 then; `*ret_entry` NULL: it is larger than the table,
 * which is empty now (RFC 7541 4.4). The texts may be of entries that make way; their memory stays
 * as it is until the next call. */
static enum err table_insert(struct hpack_table *t, struct str name, struct str value, uint16_t id,
                             struct hpack_entry **ret_entry)
{
    size_t n = name.n + value.n;
    uint8_t *old;
    *ret_entry = NULL;
    if (n + HPACK_ENTRY_COST > t->cost_max) {
        table_evict(t, 0);
        return ERR_OK;
    }
    size_t used = t->bytes_n;
    table_evict(t, t->cost_max - (uint32_t)n - HPACK_ENTRY_COST);
    t->bytes_n = used;
    enum err err = table_grow_entries(t);
    if (!err) {
        err = table_grow_bytes(t, n, &old);
    }
    if (err) {
        return err;
    }
    struct hpack_entry *e = table_at(t, t->next++);
    *e = (struct hpack_entry){.at = (uint32_t)t->bytes_n,
                              .name_n = (uint32_t)name.n,
                              .value_n = (uint32_t)value.n,
                              .id = id};
    if (name.n) {
        memcpy(t->bytes + t->bytes_n, name.p, name.n);
    }
    if (value.n) {
        memcpy(t->bytes + t->bytes_n + name.n, value.p, value.n);
    }
    t->bytes_n += n;
    t->cost += (uint32_t)n + HPACK_ENTRY_COST;
    mem_free(old);
    *ret_entry = e;
    return ERR_OK;
}

/* ---- from a block ---- */

struct hpack_input {
    const uint8_t *p;
    const uint8_t *end;
};

static enum err input_integer(struct hpack_input *in, unsigned prefix_bits, uint32_t *ret)
{
    uint32_t max = (1u << prefix_bits) - 1;
    uint64_t value = *in->p++ & max;
    if (value == max) {
        unsigned shift = 0;
        uint8_t octet;
        do {
            if (in->p == in->end || shift > 28) {
                return ERR_SYNTAX;
            }
            octet = *in->p++;
            value += (uint64_t)(octet & 0x7f) << shift;
            shift += 7;
        } while (octet & 0x80);
    }
    *ret = (uint32_t)value;
    return value <= INTEGER_MAX ? ERR_OK : ERR_SYNTAX;
}

/* A text as it stands in the block, or decoded into `scratch`, which has room. */
static enum err input_string(struct hpack_input *in, struct buf *scratch, struct str *ret)
{
    uint32_t n;
    if (in->p == in->end) {
        return ERR_SYNTAX;
    }
    bool is_huffman = (*in->p & STRING_HUFFMAN) != 0;
    enum err err = input_integer(in, 7, &n);
    if (err || n > (size_t)(in->end - in->p)) {
        return ERR_SYNTAX;
    }
    const uint8_t *p = in->p;
    in->p += n;
    if (!is_huffman) {
        *ret = str_make((const char *)p, n);
        return ERR_OK;
    }
    size_t plain_n;
    char *plain = scratch->p + scratch->n;
    err = hpack_huffman_decode(p, n, plain, &plain_n);
    if (!err) {
        scratch->n += plain_n;
        *ret = str_make(plain, plain_n);
    }
    return err;
}

static enum err decoder_lookup(struct hpack_decoder *d, uint32_t index, struct hpack_field *ret)
{
    struct hpack_table *t = &d->table;
    if (index == 0) {
        return ERR_SYNTAX;
    }
    if (index <= STATIC_COUNT) {
        const struct static_entry *e = &static_table[index - 1];
        *ret = (struct hpack_field){
            .name = e->name, .value = e->value, .id = e->id, .is_name_lasting = true};
        return ERR_OK;
    }
    index -= STATIC_COUNT;
    if (index > t->next - t->first) {
        return ERR_SYNTAX;
    }
    struct hpack_entry *e = table_at(t, t->next - index);
    bool is_known = e->id != HTTP_FIELD_OTHER;
    *ret = (struct hpack_field){.name = is_known ? http_field_name((enum http_field_id)e->id)
                                                 : table_name(t, e),
                                .value = table_value(t, e),
                                .id = e->id,
                                .is_name_lasting = is_known,
                                .note = &e->note};
    return ERR_OK;
}

/* A field in full, or with a name that was before. */
static enum err decoder_literal(struct hpack_decoder *d, struct hpack_input *in, bool is_inserted,
                                struct buf *scratch, struct hpack_field *ret)
{
    uint32_t index;
    scratch->n = 0;
    enum err err = input_integer(in, is_inserted ? 6 : 4, &index);
    if (!err && index) {
        err = decoder_lookup(d, index, ret);
    } else if (!err) {
        *ret = (struct hpack_field){0};
        err = input_string(in, scratch, &ret->name);
        /* A name in capitals is no name here. */
        enum http_field_id id = err ? HTTP_FIELD_OTHER : http_field_id(ret->name);
        if (id != HTTP_FIELD_OTHER && str_eq(ret->name, http_field_name(id))) {
            ret->id = (uint16_t)id;
            ret->name = http_field_name(id);
            ret->is_name_lasting = true;
        }
    }
    ret->note = NULL;
    if (!err) {
        err = input_string(in, scratch, &ret->value);
    }
    if (err || !is_inserted) {
        return err;
    }
    d->names_bytes += index && !ret->is_name_lasting ? (uint32_t)ret->name.n : 0;
    if (d->names_bytes > HPACK_NAMES_BYTES_MAX) {
        return ERR_LIMIT;
    }
    struct hpack_entry *e;
    err = table_insert(&d->table, ret->name, ret->value, ret->id, &e);
    if (!err && e) {
        ret->name = ret->is_name_lasting ? ret->name : table_name(&d->table, e);
        ret->value = table_value(&d->table, e);
        ret->note = &e->note;
    }
    return err;
}

void hpack_decoder_init(struct hpack_decoder *d)
{
    table_init(&d->table);
    d->bytes_max = HPACK_TABLE_BYTES;
}

void hpack_decoder_done(struct hpack_decoder *d)
{
    table_done(&d->table);
}

enum err hpack_decode(struct hpack_decoder *d, const uint8_t *p, size_t n, struct buf *scratch,
                      hpack_field_fn on_field, void *context)
{
    struct hpack_input in = {p, n ? p + n : p};
    struct hpack_field field;
    uint32_t value;
    bool is_begun = false;
    d->names_bytes = 0;
    scratch->n = 0;
    if (!buf_reserve(scratch, HPACK_PLAIN_BYTES(n))) {
        return ERR_NOMEM;
    }
    while (in.p < in.end) {
        uint8_t kind = *in.p;
        enum err err;
        if (kind & KIND_INDEXED) {
            err = input_integer(&in, 7, &value);
            err = err ? err : decoder_lookup(d, value, &field);
        } else if (!(kind & KIND_INSERT) && (kind & KIND_RESIZE)) {
            /* Only before the fields, RFC 7541 4.2. */
            err = input_integer(&in, 5, &value);
            if (err || is_begun || value > d->bytes_max) {
                return ERR_SYNTAX;
            }
            table_resize(&d->table, value);
            continue;
        } else {
            err = decoder_literal(d, &in, (kind & KIND_INSERT) != 0, scratch, &field);
        }
        if (err) {
            return err;
        }
        is_begun = true;
        on_field(context, &field);
    }
    return ERR_OK;
}

/* ---- to a block ---- */

void hpack_encoder_init(struct hpack_encoder *e)
{
    *e = (struct hpack_encoder){.size_least = HPACK_TABLE_BYTES};
    table_init(&e->table);
}

void hpack_encoder_done(struct hpack_encoder *e)
{
    table_done(&e->table);
}

void hpack_encoder_resize(struct hpack_encoder *e, uint32_t bytes_max)
{
    uint32_t size = bytes_max < HPACK_TABLE_BYTES ? bytes_max : HPACK_TABLE_BYTES;
    if (size == e->table.cost_max) {
        return;
    }
    e->size_least = size < e->size_least ? size : e->size_least;
    e->is_resized = true;
    table_resize(&e->table, size);
}

static void encode_integer(struct buf *out, unsigned kind, unsigned prefix_bits, uint32_t value)
{
    uint32_t max = (1u << prefix_bits) - 1;
    uint8_t octets[6];
    size_t n = 0;
    if (value < max) {
        octets[n++] = (uint8_t)(kind | value);
    } else {
        octets[n++] = (uint8_t)(kind | max);
        for (value -= max; value >= 0x80; value >>= 7) {
            octets[n++] = (uint8_t)(value | 0x80);
        }
        octets[n++] = (uint8_t)value;
    }
    buf_add(out, octets, n);
}

static void encode_string(struct buf *out, struct str s)
{
    size_t n = hpack_huffman_bytes(s);
    if (n >= s.n) {
        encode_integer(out, 0, 7, (uint32_t)s.n);
        buf_add_str(out, s);
        return;
    }
    encode_integer(out, STRING_HUFFMAN, 7, (uint32_t)n);
    if (buf_reserve(out, n)) {
        hpack_huffman_encode(s, (uint8_t *)out->p + out->n);
        out->n += n;
    }
}

void hpack_encode_start(struct hpack_encoder *e, struct buf *out)
{
    if (!e->is_resized) {
        return;
    }
    /* The smallest size first: the peer evicted at that one too. */
    if (e->size_least < e->table.cost_max) {
        encode_integer(out, KIND_RESIZE, 5, e->size_least);
    }
    encode_integer(out, KIND_RESIZE, 5, e->table.cost_max);
    e->size_least = e->table.cost_max;
    e->is_resized = false;
}

void hpack_encode_status(struct hpack_encoder *e, struct buf *out, uint16_t status)
{
    static const uint16_t known[] = {200, 204, 206, 304, 400, 404, 500}; /* from index 8 on */
    const char digits[3] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                            (char)('0' + status % 10)};
    (void)e;
    for (unsigned i = 0; i < COUNT_OF(known); i++) {
        if (known[i] == status) {
            encode_integer(out, KIND_INDEXED, 7, 8 + i);
            return;
        }
    }
    encode_integer(out, KIND_LITERAL, 4, 8);
    encode_string(out, str_make(digits, sizeof(digits)));
}

/* Values that mostly are new each time would only push others out. */
static bool encoder_is_passing(uint16_t id)
{
    switch (id) {
    case HTTP_FIELD_AGE:
    case HTTP_FIELD_CONTENT_LENGTH:
    case HTTP_FIELD_CONTENT_RANGE:
    case HTTP_FIELD_ETAG:
    case HTTP_FIELD_LAST_MODIFIED:
    case HTTP_FIELD_LOCATION:
    case HTTP_FIELD_TRACEPARENT:
    case HTTP_FIELD_X_REQUEST_ID:
        return true;
    default:
        return false;
    }
}

/* A secret must not be in a table that an attacker's fields can be compared with, RFC 7541 7.1. */
static unsigned encoder_kind(const struct hpack_encoder *e, uint16_t id, struct str name,
                             struct str value)
{
    switch (id) {
    case HTTP_FIELD_AUTHORIZATION:
    case HTTP_FIELD_COOKIE:
    case HTTP_FIELD_PROXY_AUTHORIZATION:
    case HTTP_FIELD_SET_COOKIE:
        return KIND_NEVER;
    default:
        return name.n + value.n + HPACK_ENTRY_COST > e->table.cost_max / 2 ? KIND_LITERAL
                                                                           : KIND_INSERT;
    }
}

static uint32_t hash_field(uint16_t id, struct str name, struct str value)
{
    uint32_t hash = id * 2654435761u + (uint32_t)value.n;
    for (size_t i = 0; i < value.n; i++) {
        hash = (hash ^ (uint8_t)value.p[i]) * 16777619u;
    }
    for (size_t i = 0; id == HTTP_FIELD_OTHER && i < name.n; i++) {
        hash = (hash ^ (uint8_t)name.p[i]) * 16777619u;
    }
    return hash;
}

static bool entry_is(const struct hpack_table *t, const struct hpack_entry *e, uint16_t id,
                     struct str name, struct str value)
{
    return e->id == id && str_eq(table_value(t, e), value) &&
           (id != HTTP_FIELD_OTHER || str_eq(table_name(t, e), name));
}

/* The index of the very same field; 0: it is not in the table. */
static uint32_t encoder_find(const struct hpack_encoder *e, uint16_t id, struct str name,
                             struct str value, uint32_t *ret_hash)
{
    const struct hpack_table *t = &e->table;
    uint32_t newest = id == HTTP_FIELD_OTHER ? 0 : e->newest[id];
    *ret_hash = 0;
    bool is_there = newest != 0 && newest - 1 - t->first < t->next - t->first;
    if (is_there && entry_is(t, table_at(t, newest - 1), id, name, value)) {
        return STATIC_COUNT + t->next - (newest - 1);
    }
    *ret_hash = hash_field(id, name, value);
    for (uint32_t i = t->next; i != t->first; i--) {
        const struct hpack_entry *entry = table_at(t, i - 1);
        if (entry->hash == *ret_hash && entry_is(t, entry, id, name, value)) {
            return STATIC_COUNT + t->next - (i - 1);
        }
    }
    return 0;
}

/* `index`: of the name in the static table; 0: it is not there. */
static void encode_field(struct hpack_encoder *e, struct buf *out, uint16_t id, uint32_t index,
                         struct str name, struct str value)
{
    unsigned kind = encoder_kind(e, id, name, value);
    uint32_t hash;
    if (kind == KIND_INSERT) {
        uint32_t found = encoder_find(e, id, name, value, &hash);
        if (found) {
            encode_integer(out, KIND_INDEXED, 7, found);
            return;
        }
        struct hpack_entry *entry;
        if (encoder_is_passing(id) && e->passing[id] != hash) {
            e->passing[id] = hash;
            kind = KIND_LITERAL;
        } else if (table_insert(&e->table, name, value, id, &entry) != ERR_OK || !entry) {
            kind = KIND_LITERAL;
        } else {
            entry->hash = hash;
            e->newest[id] = e->table.next;
        }
    }
    encode_integer(out, kind, kind == KIND_INSERT ? 6 : 4, index);
    if (index == 0) {
        encode_string(out, name);
    }
    encode_string(out, value);
}

/* `known`: the values that the static table has for the name, at `index` and behind it. */
static void encode_pseudo(struct buf *out, uint32_t index, const struct str known[2],
                          struct str value)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (str_eq(known[i], value)) {
            encode_integer(out, KIND_INDEXED, 7, index + i);
            return;
        }
    }
    if (value.n) {
        encode_integer(out, KIND_LITERAL, 4, index);
        encode_string(out, value);
    }
}

void hpack_encode_target(struct hpack_encoder *e, struct buf *out, const struct hpack_target *t)
{
    static const struct str methods[2] = {{"GET", 3}, {"POST", 4}};
    static const struct str paths[2] = {{"/", 1}, {"/index.html", 11}};
    static const struct str schemes[2] = {{"http", 4}, {"https", 5}};
    encode_pseudo(out, 2, methods, t->method);
    encode_pseudo(out, 6, schemes, t->scheme);
    encode_pseudo(out, 4, paths, t->path);
    encode_field(e, out, HTTP_FIELD_OTHER, 1, STR(":authority"), t->authority);
    if (t->protocol.n) {
        encode_field(e, out, HTTP_FIELD_OTHER, 0, STR(":protocol"), t->protocol);
    }
}

void hpack_encode(struct hpack_encoder *e, struct buf *out, uint16_t id, struct str name,
                  struct str value)
{
    encode_field(e, out, id, static_of_id[id], name, value);
}
