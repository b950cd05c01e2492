/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields (headers and trailers) of a message, whatever the version. Names and values are views:
 * whoever fills a list owns the bytes and the array for as long as the list is used.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* id, name on HTTP/2 and 3, name on HTTP/1, then first, middle [n / 2] and last character of the
 * lower-case name. Length and these three make the perfect hash of field.c: two names that
 * collide do not compile (initialiser given twice), a wrong character fails its unit test. */
#define HTTP_FIELD_TABLE(X)                                                                        \
    X(HTTP_FIELD_HOST, "host", "Host", 'h', 's', 't')                                              \
    X(HTTP_FIELD_CONNECTION, "connection", "Connection", 'c', 'c', 'n')                            \
    X(HTTP_FIELD_CONTENT_LENGTH, "content-length", "Content-Length", 'c', '-', 'h')                \
    X(HTTP_FIELD_TRANSFER_ENCODING, "transfer-encoding", "Transfer-Encoding", 't', '-', 'g')       \
    X(HTTP_FIELD_EXPECT, "expect", "Expect", 'e', 'e', 't')                                        \
    X(HTTP_FIELD_UPGRADE, "upgrade", "Upgrade", 'u', 'r', 'e')                                     \
    X(HTTP_FIELD_TE, "te", "TE", 't', 'e', 'e')                                                    \
    X(HTTP_FIELD_TRAILER, "trailer", "Trailer", 't', 'i', 'r')                                     \
    X(HTTP_FIELD_KEEP_ALIVE, "keep-alive", "Keep-Alive", 'k', 'a', 'e')                            \
    X(HTTP_FIELD_PROXY_CONNECTION, "proxy-connection", "Proxy-Connection", 'p', 'n', 'n')          \
    X(HTTP_FIELD_HTTP2_SETTINGS, "http2-settings", "HTTP2-Settings", 'h', 'e', 's')                \
    X(HTTP_FIELD_ACCEPT, "accept", "Accept", 'a', 'e', 't')                                        \
    X(HTTP_FIELD_ACCEPT_ENCODING, "accept-encoding", "Accept-Encoding", 'a', 'e', 'g')             \
    X(HTTP_FIELD_ACCEPT_LANGUAGE, "accept-language", "Accept-Language", 'a', 'l', 'e')             \
    X(HTTP_FIELD_ACCEPT_RANGES, "accept-ranges", "Accept-Ranges", 'a', '-', 's')                   \
    X(HTTP_FIELD_ACCESS_CONTROL_ALLOW_ORIGIN, "access-control-allow-origin",                       \
      "Access-Control-Allow-Origin", 'a', 'l', 'n')                                                \
    X(HTTP_FIELD_ACCESS_CONTROL_REQUEST_HEADERS, "access-control-request-headers",                 \
      "Access-Control-Request-Headers", 'a', 'r', 's')                                             \
    X(HTTP_FIELD_ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method",                   \
      "Access-Control-Request-Method", 'a', '-', 'd')                                              \
    X(HTTP_FIELD_AGE, "age", "Age", 'a', 'g', 'e')                                                 \
    X(HTTP_FIELD_ALLOW, "allow", "Allow", 'a', 'l', 'w')                                           \
    X(HTTP_FIELD_ALT_SVC, "alt-svc", "Alt-Svc", 'a', '-', 'c')                                     \
    X(HTTP_FIELD_AUTHORIZATION, "authorization", "Authorization", 'a', 'i', 'n')                   \
    X(HTTP_FIELD_CACHE_CONTROL, "cache-control", "Cache-Control", 'c', 'c', 'l')                   \
    X(HTTP_FIELD_CONTENT_DISPOSITION, "content-disposition", "Content-Disposition", 'c', 'i', 'n') \
    X(HTTP_FIELD_CONTENT_ENCODING, "content-encoding", "Content-Encoding", 'c', 'e', 'g')          \
    X(HTTP_FIELD_CONTENT_LANGUAGE, "content-language", "Content-Language", 'c', 'l', 'e')          \
    X(HTTP_FIELD_CONTENT_LOCATION, "content-location", "Content-Location", 'c', 'l', 'n')          \
    X(HTTP_FIELD_CONTENT_RANGE, "content-range", "Content-Range", 'c', 't', 'e')                   \
    X(HTTP_FIELD_CONTENT_SECURITY_POLICY, "content-security-policy", "Content-Security-Policy",    \
      'c', 'u', 'y')                                                                               \
    X(HTTP_FIELD_CONTENT_TYPE, "content-type", "Content-Type", 'c', 't', 'e')                      \
    X(HTTP_FIELD_COOKIE, "cookie", "Cookie", 'c', 'k', 'e')                                        \
    X(HTTP_FIELD_DATE, "date", "Date", 'd', 't', 'e')                                              \
    X(HTTP_FIELD_EARLY_DATA, "early-data", "Early-Data", 'e', '-', 'a')                            \
    X(HTTP_FIELD_ETAG, "etag", "ETag", 'e', 'a', 'g')                                              \
    X(HTTP_FIELD_EXPIRES, "expires", "Expires", 'e', 'i', 's')                                     \
    X(HTTP_FIELD_FORWARDED, "forwarded", "Forwarded", 'f', 'a', 'd')                               \
    X(HTTP_FIELD_FROM, "from", "From", 'f', 'o', 'm')                                              \
    X(HTTP_FIELD_IF_MATCH, "if-match", "If-Match", 'i', 'a', 'h')                                  \
    X(HTTP_FIELD_IF_MODIFIED_SINCE, "if-modified-since", "If-Modified-Since", 'i', 'i', 'e')       \
    X(HTTP_FIELD_IF_NONE_MATCH, "if-none-match", "If-None-Match", 'i', 'e', 'h')                   \
    X(HTTP_FIELD_IF_RANGE, "if-range", "If-Range", 'i', 'a', 'e')                                  \
    X(HTTP_FIELD_IF_UNMODIFIED_SINCE, "if-unmodified-since", "If-Unmodified-Since", 'i', 'f', 'e') \
    X(HTTP_FIELD_LAST_MODIFIED, "last-modified", "Last-Modified", 'l', 'o', 'd')                   \
    X(HTTP_FIELD_LINK, "link", "Link", 'l', 'n', 'k')                                              \
    X(HTTP_FIELD_LOCATION, "location", "Location", 'l', 't', 'n')                                  \
    X(HTTP_FIELD_MAX_FORWARDS, "max-forwards", "Max-Forwards", 'm', 'r', 's')                      \
    X(HTTP_FIELD_ORIGIN, "origin", "Origin", 'o', 'g', 'n')                                        \
    X(HTTP_FIELD_PRAGMA, "pragma", "Pragma", 'p', 'g', 'a')                                        \
    X(HTTP_FIELD_PRIORITY, "priority", "Priority", 'p', 'r', 'y')                                  \
    X(HTTP_FIELD_PROXY_AUTHENTICATE, "proxy-authenticate", "Proxy-Authenticate", 'p', 'h', 'e')    \
    X(HTTP_FIELD_PROXY_AUTHORIZATION, "proxy-authorization", "Proxy-Authorization", 'p', 'h', 'n') \
    X(HTTP_FIELD_RANGE, "range", "Range", 'r', 'n', 'e')                                           \
    X(HTTP_FIELD_REFERER, "referer", "Referer", 'r', 'e', 'r')                                     \
    X(HTTP_FIELD_RETRY_AFTER, "retry-after", "Retry-After", 'r', '-', 'r')                         \
    X(HTTP_FIELD_SEC_FETCH_SITE, "sec-fetch-site", "Sec-Fetch-Site", 's', 'c', 'e')                \
    X(HTTP_FIELD_SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept", "Sec-WebSocket-Accept", 's', 'k',   \
      't')                                                                                         \
    X(HTTP_FIELD_SEC_WEBSOCKET_EXTENSIONS, "sec-websocket-extensions", "Sec-WebSocket-Extensions", \
      's', 't', 's')                                                                               \
    X(HTTP_FIELD_SEC_WEBSOCKET_KEY, "sec-websocket-key", "Sec-WebSocket-Key", 's', 'o', 'y')       \
    X(HTTP_FIELD_SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol", "Sec-WebSocket-Protocol", 's',  \
      'e', 'l')                                                                                    \
    X(HTTP_FIELD_SEC_WEBSOCKET_VERSION, "sec-websocket-version", "Sec-WebSocket-Version", 's',     \
      'k', 'n')                                                                                    \
    X(HTTP_FIELD_SERVER, "server", "Server", 's', 'v', 'r')                                        \
    X(HTTP_FIELD_SET_COOKIE, "set-cookie", "Set-Cookie", 's', 'o', 'e')                            \
    X(HTTP_FIELD_STRICT_TRANSPORT_SECURITY, "strict-transport-security",                           \
      "Strict-Transport-Security", 's', 'p', 'y')                                                  \
    X(HTTP_FIELD_TRACEPARENT, "traceparent", "Traceparent", 't', 'p', 't')                         \
    X(HTTP_FIELD_TRACESTATE, "tracestate", "Tracestate", 't', 's', 'e')                            \
    X(HTTP_FIELD_UPGRADE_INSECURE_REQUESTS, "upgrade-insecure-requests",                           \
      "Upgrade-Insecure-Requests", 'u', 'c', 's')                                                  \
    X(HTTP_FIELD_USER_AGENT, "user-agent", "User-Agent", 'u', 'a', 't')                            \
    X(HTTP_FIELD_VARY, "vary", "Vary", 'v', 'r', 'y')                                              \
    X(HTTP_FIELD_VIA, "via", "Via", 'v', 'i', 'a')                                                 \
    X(HTTP_FIELD_WWW_AUTHENTICATE, "www-authenticate", "WWW-Authenticate", 'w', 'e', 'e')          \
    X(HTTP_FIELD_X_ACCEL_BUFFERING, "x-accel-buffering", "X-Accel-Buffering", 'x', 'b', 'g')       \
    X(HTTP_FIELD_X_CONTENT_TYPE_OPTIONS, "x-content-type-options", "X-Content-Type-Options", 'x',  \
      'y', 's')                                                                                    \
    X(HTTP_FIELD_X_FORWARDED_FOR, "x-forwarded-for", "X-Forwarded-For", 'x', 'r', 'r')             \
    X(HTTP_FIELD_X_FORWARDED_HOST, "x-forwarded-host", "X-Forwarded-Host", 'x', 'd', 't')          \
    X(HTTP_FIELD_X_FORWARDED_PROTO, "x-forwarded-proto", "X-Forwarded-Proto", 'x', 'd', 'o')       \
    X(HTTP_FIELD_X_FRAME_OPTIONS, "x-frame-options", "X-Frame-Options", 'x', '-', 's')             \
    X(HTTP_FIELD_X_REAL_IP, "x-real-ip", "X-Real-IP", 'x', 'a', 'p')                               \
    X(HTTP_FIELD_X_REQUEST_ID, "x-request-id", "X-Request-ID", 'x', 'e', 'd')

enum http_field_id {
    HTTP_FIELD_OTHER = 0,
#define X(id, lower, title, first, middle, last) id,
    HTTP_FIELD_TABLE(X)
#undef X
        HTTP_FIELD_COUNT
};

#define HTTP_FIELD_NONE 0xff /* "no such field" in http_fields.known */
#define HTTP_FIELDS_MAX 254  /* most fields in one list: an index fits a byte */

struct http_field {
    struct str name;
    struct str value; /* without white space around it */
    uint16_t id;      /* enum http_field_id */
};

/* Read `v` and `n` freely; change them only through the functions below, which keep `known`. */
struct http_fields {
    struct http_field *v; /* in the order of the message */
    unsigned n;
    unsigned capacity;
    uint8_t known[HTTP_FIELD_COUNT]; /* index of the first field of an id, or HTTP_FIELD_NONE */
};

/* The id of `name` in any letter case; HTTP_FIELD_OTHER when it is none of the table. */
enum http_field_id http_field_id(struct str name);

/* Lower-case name (HTTP/2, 3) and usual name (HTTP/1) of `id`; empty for HTTP_FIELD_OTHER. */
struct str http_field_name(enum http_field_id id);
struct str http_field_title(enum http_field_id id);

/* A non-empty token (RFC 9110 5.6.2). */
bool http_token_is_valid(struct str s);

/* No byte that a field value must not hold (RFC 9110 5.5): control characters but HTAB. White
 * space at an end is refused too; the empty value is valid. */
bool http_field_value_is_valid(struct str value);

/* Fields that must not come in trailers: framing, routing, authentication and what describes the
 * content (RFC 9110 6.5.1). */
bool http_field_is_forbidden_in_trailer(enum http_field_id id);

/* Fields that belong to one connection only and are never passed on (RFC 9110 7.6.1), apart from
 * those which Connection itself names. */
bool http_field_is_hop_by_hop(enum http_field_id id);

/* An empty list over `capacity` elements at `v`; uses at most HTTP_FIELDS_MAX of them. */
void http_fields_init(struct http_fields *fields, struct http_field *v, unsigned capacity);

/* Appends; the id is looked up. Does not check the bytes. ERR_LIMIT when the array is full. */
enum err http_fields_add(struct http_fields *fields, struct str name, struct str value) MUST_CHECK;

/* Appends a well-known field under its lower-case name. ERR_LIMIT when the array is full. */
enum err http_fields_add_id(struct http_fields *fields, enum http_field_id id,
                            struct str value) MUST_CHECK;

/* Makes `value` the only value of `id`. ERR_LIMIT when the array is full. */
enum err http_fields_set_id(struct http_fields *fields, enum http_field_id id,
                            struct str value) MUST_CHECK;

/* Removes every field of that id or name and returns how many there were. */
unsigned http_fields_remove_id(struct http_fields *fields, enum http_field_id id);
unsigned http_fields_remove(struct http_fields *fields, struct str name);

/* The first field of `id` (not HTTP_FIELD_OTHER), or NULL. */
static inline const struct http_field *http_fields_get(const struct http_fields *fields,
                                                       enum http_field_id id)
{
    uint8_t at = fields->known[id];
    return at == HTTP_FIELD_NONE ? NULL : &fields->v[at];
}

/* The field of the same id (or, for HTTP_FIELD_OTHER, the same name) behind `field`, or NULL. */
const struct http_field *http_fields_next(const struct http_fields *fields,
                                          const struct http_field *field);

/* The first field of that name in any letter case, or NULL. */
const struct http_field *http_fields_find(const struct http_fields *fields, struct str name);

/* The value of the first field of `id`; pointer NULL when there is none. */
struct str http_fields_value(const struct http_fields *fields, enum http_field_id id);

/* Takes the next element of a comma-separated list (RFC 9110 5.6.1): commas within quoted strings
 * do not separate, empty elements are skipped, white space around is cut. False at the end. */
bool http_list_next(struct str *rest, struct str *ret_element);

/* True when a field of `id` lists `token` in any letter case. */
bool http_fields_has_token(const struct http_fields *fields, enum http_field_id id,
                           struct str token);
