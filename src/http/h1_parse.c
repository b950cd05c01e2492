/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_parse_int.h"

#include "base/assert.h"
#include "http/authority.h"
#include "http/h1_scan_int.h"

#define METHOD_BYTES_MAX 32

struct reject {
    struct str name;
    uint16_t status;
    enum err err;
};

static const struct reject rejects[H1_REJECT_COUNT] = {
#define X(id, name, status, err) [id] = {{name, sizeof(name) - 1}, status, err},
    H1_REJECT_TABLE(X)
#undef X
};

/* What is left to parse. */
struct cursor {
    const char *at;
    const char *end;
};

struct str h1_reject_name(enum h1_reject reason)
{
    ASSERT(reason < H1_REJECT_COUNT);
    return rejects[reason].name;
}

uint16_t h1_reject_status(enum h1_reject reason)
{
    ASSERT(reason < H1_REJECT_COUNT);
    return rejects[reason].status;
}

struct h1_limits h1_limits_default(void)
{
    return (struct h1_limits){
        .head_bytes_max = 32768, .target_bytes_max = 8192, .field_count_max = 100};
}

static enum err refuse(enum h1_reject *reterr_reason, enum h1_reject reason)
{
    *reterr_reason = reason;
    return rejects[reason].err;
}

/* Why the byte that ended a name is not a colon. */
static enum h1_reject name_fault(const char *line, const char *stop)
{
    bool is_white = *stop == ' ' || *stop == '\t';
    if (is_white) {
        return stop == line ? H1_REJECT_FIELD_FOLD : H1_REJECT_FIELD_NAME_SPACE;
    }
    return *stop == '\n' ? H1_REJECT_LINE_END : H1_REJECT_FIELD_NAME;
}

enum err h1_field_line(const char **at, const char *end, struct str *ret_name,
                       struct str *ret_value, enum h1_reject *reterr_reason)
{
    const char *line = *at;
    const char *colon = h1_scan(line, end, &h1_class_token);
    if (colon == end) {
        return ERR_AGAIN;
    }
    if (*colon != ':' || colon == line) {
        return refuse(reterr_reason, name_fault(line, colon));
    }
    const char *value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    const char *stop = h1_scan(value, end, &h1_class_value);
    if (stop == end || (*stop == '\r' && stop + 1 == end)) {
        return ERR_AGAIN;
    }
    if (*stop != '\r') {
        return refuse(reterr_reason, *stop == '\n' ? H1_REJECT_LINE_END : H1_REJECT_FIELD_VALUE);
    }
    if (stop[1] != '\n') {
        return refuse(reterr_reason, H1_REJECT_LINE_END);
    }
    *at = stop + 2;
    while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t')) {
        stop--;
    }
    *ret_name = str_make(line, (size_t)(colon - line));
    *ret_value = str_make(value, (size_t)(stop - value));
    return ERR_OK;
}

/* One empty line before the request is tolerated (RFC 9112 2.2): old clients send one after a
 * POST. */
static enum err skip_empty_line(struct cursor *c, enum h1_reject *reterr_reason)
{
    if (c->at < c->end && *c->at == '\r') {
        if (c->end - c->at < 2) {
            return ERR_AGAIN;
        }
        if (c->at[1] != '\n') {
            return refuse(reterr_reason, H1_REJECT_LINE_END);
        }
        c->at += 2;
    }
    if (c->at < c->end && *c->at == '\n') {
        return refuse(reterr_reason, H1_REJECT_LINE_END);
    }
    return ERR_OK;
}

static enum err parse_method(struct cursor *c, struct request_head *head,
                             enum h1_reject *reterr_reason)
{
    const char *start = c->at;
    if (c->end - start >= 4 && memcmp(start, "GET ", 4) == 0) {
        head->method = HTTP_GET;
        head->method_text = str_make(start, 3);
        c->at = start + 4;
        return ERR_OK;
    }
    const char *stop = start;
    while (stop < c->end && stop - start <= METHOD_BYTES_MAX &&
           h1_class_has(&h1_class_token, *stop)) {
        stop++;
    }
    if (stop - start > METHOD_BYTES_MAX) {
        return refuse(reterr_reason, H1_REJECT_METHOD_LONG);
    }
    if (stop == c->end) {
        return ERR_AGAIN;
    }
    if (stop == start || *stop != ' ') {
        return refuse(reterr_reason, H1_REJECT_METHOD);
    }
    head->method_text = str_make(start, (size_t)(stop - start));
    head->method = http_method_of(head->method_text);
    c->at = stop + 1;
    return ERR_OK;
}

static enum err parse_target(struct cursor *c, const struct h1_limits *limits,
                             struct request_head *head, enum h1_reject *reterr_reason)
{
    const char *start = c->at;
    const char *stop = h1_scan(start, c->end, &h1_class_target);
    if ((size_t)(stop - start) > limits->target_bytes_max) {
        return refuse(reterr_reason, H1_REJECT_TARGET_LONG);
    }
    if (stop == c->end) {
        return ERR_AGAIN;
    }
    if (stop == start || *stop != ' ') {
        bool has_line_end = stop > start && (*stop == '\r' || *stop == '\n');
        return refuse(reterr_reason, has_line_end ? H1_REJECT_VERSION : H1_REJECT_TARGET);
    }
    head->target = str_make(start, (size_t)(stop - start));
    c->at = stop + 1;
    return ERR_OK;
}

static enum err parse_version(struct cursor *c, struct request_head *head,
                              enum h1_reject *reterr_reason)
{
    static const char form[] = "HTTP/0.0\r\n"; /* 0 stands for any digit */
    const size_t n = sizeof(form) - 1;
    const size_t line_end_at = 8;
    if ((size_t)(c->end - c->at) >= n && memcmp(c->at, "HTTP/1.1\r\n", n) == 0) {
        head->version = HTTP_VERSION_11;
        c->at += n;
        return ERR_OK;
    }
    for (size_t i = 0; i < n; i++) {
        if (i == line_end_at) {
            if (c->at[5] != '1' || c->at[7] > '1') {
                return refuse(reterr_reason, H1_REJECT_VERSION_UNSUPPORTED);
            }
            head->version = c->at[7] == '1' ? HTTP_VERSION_11 : HTTP_VERSION_10;
        }
        if (c->at + i == c->end) {
            return ERR_AGAIN;
        }
        char byte = c->at[i];
        if (form[i] == '0' ? !ascii_is_digit(byte) : byte != form[i]) {
            bool is_line_end = i >= line_end_at || byte == '\n';
            return refuse(reterr_reason, is_line_end ? H1_REJECT_LINE_END : H1_REJECT_VERSION);
        }
    }
    c->at += n;
    return ERR_OK;
}

static void split_path(struct request_head *head, struct str path)
{
    ptrdiff_t at = str_index(path, '?');
    head->has_query = at >= 0;
    if (at >= 0) {
        head->query = str_sub(path, (size_t)at + 1, path.n);
        path.n = (size_t)at;
    }
    head->path = path;
}

/* RFC 9112 3.2.2: `http://host[:port][/path][?query]`. */
static enum h1_reject split_absolute(struct request_head *head)
{
    struct str target = head->target;
    ptrdiff_t colon = str_index(target, ':');
    struct str scheme = str_make(target.p, colon < 0 ? 0 : (size_t)colon);
    if (!str_eq_ci(scheme, STR("http")) && !str_eq_ci(scheme, STR("https"))) {
        return H1_REJECT_TARGET_FORM;
    }
    struct str rest = str_sub(target, scheme.n, target.n);
    if (!str_starts_with(rest, STR("://"))) {
        return H1_REJECT_TARGET_FORM;
    }
    rest = str_sub(rest, 3, rest.n);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?') {
        n++;
    }
    struct str authority = str_make(rest.p, n), host;
    uint16_t port;
    if (http_authority_parse(authority, &host, &port) != ERR_OK) {
        return H1_REJECT_AUTHORITY;
    }
    head->scheme = scheme;
    head->authority = authority;
    split_path(head, str_sub(rest, n, rest.n));
    if (head->path.n == 0) {
        /* RFC 9112 3.2.4: OPTIONS of an authority alone is about the server. */
        bool is_server = head->method == HTTP_OPTIONS && !head->has_query;
        head->path = is_server ? STR("*") : STR("/");
    }
    return H1_REJECT_NONE;
}

/* The four forms of RFC 9112 3.2. */
static enum h1_reject split_target(struct request_head *head)
{
    if (head->method == HTTP_CONNECT) {
        struct str host;
        uint16_t port;
        if (http_authority_parse(head->target, &host, &port) != ERR_OK || port == 0) {
            return H1_REJECT_AUTHORITY;
        }
        head->authority = head->target;
        return H1_REJECT_NONE;
    }
    if (head->target.p[0] == '/') {
        split_path(head, head->target);
        return H1_REJECT_NONE;
    }
    if (head->target.n == 1 && head->target.p[0] == '*') {
        head->path = head->target;
        return head->method == HTTP_OPTIONS ? H1_REJECT_NONE : H1_REJECT_TARGET_FORM;
    }
    return split_absolute(head);
}

static enum err parse_request_line(struct cursor *c, const struct h1_limits *limits,
                                   struct h1_request *request)
{
    struct request_head *head = &request->head;
    enum err e = skip_empty_line(c, &request->reject);
    if (e == ERR_OK) {
        e = parse_method(c, head, &request->reject);
    }
    if (e == ERR_OK) {
        e = parse_target(c, limits, head, &request->reject);
    }
    if (e == ERR_OK) {
        e = parse_version(c, head, &request->reject);
    }
    if (e == ERR_OK) {
        enum h1_reject reason = split_target(head);
        if (reason != H1_REJECT_NONE) {
            e = refuse(&request->reject, reason);
        }
    }
    return e;
}

enum err h1_field_lines(const char **at, const char *end, unsigned count_max,
                        struct http_fields *fields, uint64_t *ret_repeated,
                        enum h1_reject *reterr_reason)
{
    uint64_t repeated = 0;
    for (;;) {
        if (*at == end) {
            return ERR_AGAIN;
        }
        if (**at == '\r') {
            break;
        }
        if (fields->n >= count_max || fields->n >= fields->capacity) {
            return refuse(reterr_reason, H1_REJECT_FIELD_COUNT);
        }
        struct http_field *field = &fields->v[fields->n];
        enum err e = h1_field_line(at, end, &field->name, &field->value, reterr_reason);
        if (e != ERR_OK) {
            return e;
        }
        enum http_field_id id = http_field_id(field->name);
        field->id = (uint16_t)id;
        if (fields->known[id] == HTTP_FIELD_NONE) {
            fields->known[id] = (uint8_t)fields->n;
        } else {
            repeated |= h1_field_bit(id);
        }
        fields->n++;
    }
    if (end - *at < 2) {
        return ERR_AGAIN;
    }
    if ((*at)[1] != '\n') {
        return refuse(reterr_reason, H1_REJECT_LINE_END);
    }
    *at += 2;
    *ret_repeated = repeated;
    return ERR_OK;
}

bool h1_head_is_worth_parsing(const char *p, size_t n, size_t from)
{
    while (from < n) {
        const char *hit = memchr(p + from, '\n', n - from);
        if (!hit) {
            return false;
        }
        size_t at = (size_t)(hit - p);
        if (at < 3 || p[at - 1] != '\r' || (p[at - 2] == '\n' && p[at - 3] == '\r')) {
            return true;
        }
        from = at + 1;
    }
    return false;
}

static void clear(struct h1_request *request)
{
    struct http_field *v = request->head.fields.v;
    unsigned capacity = request->head.fields.capacity;
    request->head.method = HTTP_METHOD_OTHER;
    request->head.version = 0;
    request->head.has_query = false;
    request->head.method_text = request->head.target = (struct str){NULL, 0};
    request->head.scheme = request->head.authority = (struct str){NULL, 0};
    request->head.path = request->head.query = (struct str){NULL, 0};
    request->head.protocol = (struct str){NULL, 0};
    http_fields_init(&request->head.fields, v, capacity);
    request->framing = H1_FRAMING_NONE;
    request->content_length = 0;
    request->keep_alive = request->expect_continue = false;
    request->upgrade = request->connection_names = false;
    request->upgrade_value = (struct str){NULL, 0};
    request->reject = H1_REJECT_NONE;
}

ptrdiff_t h1_parse_request(const char *p, size_t n, size_t scanned_before,
                           const struct h1_limits *limits, struct h1_request *ret_request)
{
    bool is_full = n >= limits->head_bytes_max;
    ASSERT(scanned_before <= n);
    clear(ret_request);
    if (n == 0 ||
        (scanned_before > 0 && !is_full && !h1_head_is_worth_parsing(p, n, scanned_before))) {
        return ERR_AGAIN;
    }
    struct cursor c = {p, p + (is_full ? limits->head_bytes_max : n)};
    uint64_t repeated = 0;
    enum err e = parse_request_line(&c, limits, ret_request);
    if (e == ERR_OK) {
        e = h1_field_lines(&c.at, c.end, limits->field_count_max, &ret_request->head.fields,
                           &repeated, &ret_request->reject);
    }
    if (e == ERR_OK) {
        enum h1_reject reason = h1_framing_decide(ret_request, repeated);
        if (reason == H1_REJECT_NONE) {
            return c.at - p;
        }
        e = refuse(&ret_request->reject, reason);
    }
    if (e == ERR_AGAIN && is_full) {
        e = refuse(&ret_request->reject, H1_REJECT_HEAD_LONG);
    }
    return e;
}
