/* SPDX-License-Identifier: Apache-2.0 */
/* What makes the fields of an HTTP/2 message malformed (RFC 9113 8.1.1, 8.2, 8.3). A field that a
 * table brings again is checked when it comes for the first time only. */
#include "http/h2_session_int.h"

enum head_seen {
    SEEN_METHOD = 1 << 0,
    SEEN_SCHEME = 1 << 1,
    SEEN_AUTHORITY = 1 << 2,
    SEEN_PATH = 1 << 3,
    SEEN_PROTOCOL = 1 << 4,
    SEEN_REGULAR = 1 << 5,
    SEEN_HOST = 1 << 6,
    SEEN_LENGTH = 1 << 7,
    SEEN_STATUS = 1 << 8,
};

#define NOTE_CHECKED 1u

void h2_head_refuse(struct h2_session *s, struct h2_stream *h)
{
    if (!h->is_malformed) {
        h->is_malformed = true;
        if (h->stream->reject == H1_REJECT_NONE) {
            h->stream->reject = H1_REJECT_MESSAGE;
        }
        s->mux.events.on_refused(s->mux.events.context, H1_REJECT_MESSAGE, 0);
        h2_stream_reset(s, h, H2_PROTOCOL_ERROR);
    }
}

static unsigned head_pseudo(struct str name)
{
    static const struct {
        struct str name;
        unsigned seen;
    } known[] = {
        {{":method", 7}, SEEN_METHOD},     {{":scheme", 7}, SEEN_SCHEME},
        {{":path", 5}, SEEN_PATH},         {{":authority", 10}, SEEN_AUTHORITY},
        {{":protocol", 9}, SEEN_PROTOCOL},
    };
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (str_eq(known[i].name, name)) {
            return known[i].seen;
        }
    }
    return 0;
}

static bool head_is_lower_token(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] >= 'A' && name.p[i] <= 'Z') {
            return false;
        }
    }
    return http_token_is_valid(name);
}

static bool head_is_digits(struct str value)
{
    uint64_t ignored;
    return str_to_u64(value, &ignored) == ERR_OK;
}

/* Beyond the grammar of any field. */
static bool head_is_allowed(const struct hpack_field *f)
{
    switch (f->id) {
    case HTTP_FIELD_CONNECTION:
    case HTTP_FIELD_KEEP_ALIVE:
    case HTTP_FIELD_PROXY_CONNECTION:
    case HTTP_FIELD_TRANSFER_ENCODING:
    case HTTP_FIELD_UPGRADE:
        return false;
    case HTTP_FIELD_TE:
        return str_eq_ci(f->value, STR("trailers"));
    case HTTP_FIELD_CONTENT_LENGTH:
        return head_is_digits(f->value);
    default:
        return true;
    }
}

static bool head_is_regular_valid(struct h2_stream *h, const struct hpack_field *f)
{
    unsigned once = f->id == HTTP_FIELD_HOST             ? SEEN_HOST
                    : f->id == HTTP_FIELD_CONTENT_LENGTH ? SEEN_LENGTH
                                                         : 0u;
    if (h->head_seen & once) {
        return false;
    }
    h->head_seen |= SEEN_REGULAR | once;
    if (f->note && (*f->note & NOTE_CHECKED)) {
        return true;
    }
    if ((!f->is_name_lasting && !head_is_lower_token(f->name)) ||
        !http_field_value_is_valid(f->value) || !head_is_allowed(f)) {
        return false;
    }
    if (f->note) {
        *f->note |= NOTE_CHECKED;
    }
    return true;
}

/* Neither a space nor a control; the layers above know more of each. */
static bool head_is_visible(struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (c <= ' ' || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool head_is_pseudo_valid(struct h2_session *s, struct h2_stream *h,
                                 const struct hpack_field *f)
{
    unsigned seen = head_pseudo(f->name);
    if (!seen || (h->head_seen & (seen | SEEN_REGULAR)) || h->stream->is_trailer) {
        return false;
    }
    h->head_seen |= seen;
    if (f->note && (*f->note & NOTE_CHECKED)) {
        return true;
    }
    bool is_valid = head_is_visible(f->value);
    if (seen == SEEN_METHOD) {
        is_valid = http_token_is_valid(f->value);
    } else if (seen == SEEN_PROTOCOL) {
        /* What is no token is no protocol that we speak either, and that is answered. */
        is_valid = s->mux.limits.has_connect_protocol && f->value.n > 0 &&
                   http_field_value_is_valid(f->value);
    }
    if (!is_valid) {
        return false;
    }
    if (f->note) {
        *f->note |= NOTE_CHECKED;
    }
    return true;
}

/* RFC 9113 8.3.2. */
static bool head_is_status_valid(struct h2_stream *h, const struct hpack_field *f)
{
    bool is_valid = str_eq(f->name, STR(":status")) &&
                    !(h->head_seen & (SEEN_STATUS | SEEN_REGULAR)) && !h->stream->is_trailer &&
                    h2_client_take_status(h, f->value);
    h->head_seen |= SEEN_STATUS;
    return is_valid;
}

static void head_on_field(void *context, const struct hpack_field *f)
{
    struct h2_session *s = context;
    struct h2_stream *h = s->reading;
    if (!h || h->is_malformed || h->stream->is_resetting) {
        return;
    }
    bool is_pseudo = f->name.n > 0 && f->name.p[0] == ':';
    bool is_valid = !is_pseudo     ? head_is_regular_valid(h, f)
                    : s->is_client ? head_is_status_valid(h, f)
                                   : head_is_pseudo_valid(s, h, f);
    if (!is_valid) {
        h2_head_refuse(s, h);
        return;
    }
    if (is_pseudo && s->is_client) {
        return;
    }
    if (f->id == HTTP_FIELD_PRIORITY && !s->is_client && !h->has_update && !h->stream->is_trailer) {
        http_priority_parse(f->value, &h->priority);
    }
    const struct mux_field field = {f->name, f->value, f->id, f->is_name_lasting};
    mux_head_field(&s->mux, h->stream, &field);
}

/* RFC 9113 8.3.1, 8.5, RFC 8441 4. */
static bool head_is_whole(const struct h2_stream *h)
{
    const struct request_head *head = &h->stream->head;
    unsigned seen = h->head_seen;
    bool has_target = (seen & SEEN_SCHEME) && (seen & SEEN_PATH);
    if (!(seen & SEEN_METHOD) || !(seen & (SEEN_AUTHORITY | SEEN_HOST))) {
        return false;
    }
    if (head->method == HTTP_CONNECT && !(seen & SEEN_PROTOCOL)) {
        return (seen & SEEN_AUTHORITY) && !(seen & (SEEN_SCHEME | SEEN_PATH));
    }
    if (!has_target ||
        ((seen & SEEN_PROTOCOL) && (head->method != HTTP_CONNECT || !(seen & SEEN_AUTHORITY)))) {
        return false;
    }
    if (h->stream->reject != H1_REJECT_NONE) {
        return true; /* the path may not have been kept */
    }
    bool is_server = head->method == HTTP_OPTIONS && str_eq(head->target, STR("*"));
    return is_server || (head->target.n > 0 && head->target.p[0] == '/');
}

static void head_finish(struct h2_session *s, struct h2_stream *h)
{
    struct mux_stream *stream = h->stream;
    const struct http_field *length =
        http_fields_get(&stream->head.fields, HTTP_FIELD_CONTENT_LENGTH);
    uint64_t n = 0;
    bool is_length_wrong =
        stream->is_body_done && length && (str_to_u64(length->value, &n) != ERR_OK || n != 0);
    if (!head_is_whole(h) || is_length_wrong) {
        h2_head_refuse(s, h);
    } else {
        mux_head_finish(&s->mux, stream);
    }
}

void h2_head_read(struct h2_session *s, struct h2_stream *h, const uint8_t *block, size_t n)
{
    s->reading = h;
    if (h) {
        h->head_seen = 0;
    }
    enum err e = hpack_decode(&s->decoder, block, n, &s->pool->scratch, head_on_field, s);
    s->reading = NULL;
    if (e == ERR_NOMEM) {
        h2_session_exhaust(s);
    } else if (e == ERR_LIMIT) {
        h2_session_fail_calm(s, H2_ABUSE_HEADERS);
    } else if (e) {
        h2_session_fail(s, H2_COMPRESSION_ERROR);
    } else if (h && !h->is_malformed && !h->stream->is_resetting && !h->stream->is_trailer) {
        if (!s->is_client) {
            head_finish(s, h);
        } else if (h->head_seen & SEEN_STATUS) {
            h2_client_head_finish(s, h, (s->block_frame.flags & H2_END_STREAM) != 0);
        } else {
            h2_head_refuse(s, h);
        }
    }
}
