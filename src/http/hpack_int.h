/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header compression of HTTP/2 (RFC 7541): blocks become fields and fields become blocks, each
 * direction with a table of its own that both ends of a connection keep alike.
 *
 * An entry of a table knows which field of http/field.h its name is, and has room for a note of the
 * reader, so that a field which is repeated is neither looked up nor checked again.
 */
#pragma once

#include "base/buf.h"
#include "http/field.h"

#define HPACK_TABLE_BYTES 4096u /* the usual size, and the most that we keep */
#define HPACK_ENTRY_COST 32u    /* RFC 7541 4.1 */
#define HPACK_NAMES_BYTES_MAX 65536u

struct hpack_entry {
    uint32_t at; /* in the bytes of the table: the name, then the value */
    uint32_t name_n;
    uint32_t value_n;
    uint32_t hash;
    uint16_t id;
    uint8_t note;
};

struct hpack_table {
    uint8_t *bytes;
    size_t bytes_n; /* used, with what was dropped meanwhile */
    size_t bytes_size;
    struct hpack_entry *entries; /* a ring */
    uint32_t entry_size;         /* a power of two */
    uint32_t first;              /* number of the oldest */
    uint32_t next;               /* number that the next one gets; they never end */
    uint32_t cost;
    uint32_t cost_max;
};

struct hpack_field {
    struct str name;
    struct str value;
    uint16_t id;          /* HTTP_FIELD_OTHER for pseudo fields too */
    bool is_name_lasting; /* the name is of the static table, or of http/field.h */
    uint8_t *note;        /* of the entry, 0 at first; NULL: the field has none */
};

struct hpack_decoder {
    struct hpack_table table;
    uint32_t bytes_max; /* what we announced (SETTINGS_HEADER_TABLE_SIZE) */
    /* Of names that entries of this block took from others: two octets can have one of 4 KiB
     * copied, so there is a maximum, far beyond what a list of fields may have. */
    uint32_t names_bytes;
};

/* The texts are valid during the call. */
typedef void (*hpack_field_fn)(void *context, const struct hpack_field *field);

void hpack_decoder_init(struct hpack_decoder *d);
void hpack_decoder_done(struct hpack_decoder *d);

/* A whole block. `scratch` is used for texts and may be shared by decoders. ERR_SYNTAX: the
 * connection is beyond help (COMPRESSION_ERROR); ERR_LIMIT: past HPACK_NAMES_BYTES_MAX, and
 * ERR_NOMEM: the same. */
enum err hpack_decode(struct hpack_decoder *d, const uint8_t *p, size_t n, struct buf *scratch,
                      hpack_field_fn on_field, void *context) MUST_CHECK;

struct hpack_encoder {
    struct hpack_table table;
    uint32_t newest[HTTP_FIELD_COUNT];  /* number of the newest entry of an id, plus one */
    uint32_t passing[HTTP_FIELD_COUNT]; /* hash of the value that an id had and that went without
                                         * an entry; where it comes again at once, it gets one */
    uint32_t size_least;                /* the table became as small as this ... */
    bool is_resized;                    /* ... which the next block must say */
};

void hpack_encoder_init(struct hpack_encoder *e);
void hpack_encoder_done(struct hpack_encoder *e);

/* The peer keeps at most so many bytes. */
void hpack_encoder_resize(struct hpack_encoder *e, uint32_t bytes_max);

/* To be called before the fields of each block. */
void hpack_encode_start(struct hpack_encoder *e, struct buf *out);
void hpack_encode_status(struct hpack_encoder *e, struct buf *out, uint16_t status);

/* The pseudo fields of a request, which stand before the others (RFC 9113 8.3.1). Empty ones are
 * left out, but for the authority. */
struct hpack_target {
    struct str method;
    struct str scheme;
    struct str authority;
    struct str path;
    struct str protocol;
};
void hpack_encode_target(struct hpack_encoder *e, struct buf *out, const struct hpack_target *t);

/* One field, with its name in lower case. Out of memory only costs size; `out` may fail. */
void hpack_encode(struct hpack_encoder *e, struct buf *out, uint16_t id, struct str name,
                  struct str value);

/* hpack_huffman.c: size of `s` in that code; the code itself; and back, into `out` of at least
 * HPACK_PLAIN_BYTES. ERR_SYNTAX. */
#define HPACK_PLAIN_BYTES(n) ((n)*8 / 5 + 1)
size_t hpack_huffman_bytes(struct str s);
void hpack_huffman_encode(struct str s, uint8_t *out);
enum err hpack_huffman_decode(const uint8_t *p, size_t n, char *out, size_t *ret_n) MUST_CHECK;
