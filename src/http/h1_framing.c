/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_parse_int.h"

#include "http/authority.h"

_Static_assert(HTTP_FIELD_EXPECT < 64, "the fields that must not repeat need a bit");

/* RFC 9112 3.2: exactly one valid Host on 1.1, at most one on 1.0. The authority of an
 * absolute-form target rules, but Host has to be well-formed all the same. */
static enum h1_reject check_host(struct h1_request *request, uint64_t repeated)
{
    struct request_head *head = &request->head;
    const struct http_field *host = http_fields_get(&head->fields, HTTP_FIELD_HOST);
    struct str name;
    uint16_t port;
    if (!host) {
        return head->version >= HTTP_VERSION_11 ? H1_REJECT_HOST_MISSING : H1_REJECT_NONE;
    }
    if (repeated & h1_field_bit(HTTP_FIELD_HOST)) {
        return H1_REJECT_HOST_DUPLICATE;
    }
    if (http_authority_parse(host->value, &name, &port) != ERR_OK) {
        return H1_REJECT_HOST_INVALID;
    }
    if (head->authority.n == 0) {
        head->authority = host->value;
    }
    return H1_REJECT_NONE;
}

/* RFC 9112 6.3, without its leniency: anything a second parser could frame differently ends the
 * connection. */
static enum h1_reject decide_body(struct h1_request *request, uint64_t repeated)
{
    const struct request_head *head = &request->head;
    const struct http_field *length = http_fields_get(&head->fields, HTTP_FIELD_CONTENT_LENGTH);
    const struct http_field *coding = http_fields_get(&head->fields, HTTP_FIELD_TRANSFER_ENCODING);
    if (!length && !coding) {
        return H1_REJECT_NONE;
    }
    if (length && coding) {
        return H1_REJECT_LENGTH_AND_CODING;
    }
    if (coding) {
        if (head->version < HTTP_VERSION_11) {
            return H1_REJECT_CODING_VERSION;
        }
        if ((repeated & h1_field_bit(HTTP_FIELD_TRANSFER_ENCODING)) ||
            !str_eq_ci(coding->value, STR("chunked"))) {
            return H1_REJECT_CODING;
        }
        request->framing = H1_FRAMING_CHUNKED;
    } else {
        uint64_t bytes;
        if (repeated & h1_field_bit(HTTP_FIELD_CONTENT_LENGTH)) {
            return H1_REJECT_LENGTH_DUPLICATE;
        }
        if (str_to_u64(length->value, &bytes) != ERR_OK || bytes > INT64_MAX) {
            return H1_REJECT_LENGTH;
        }
        request->framing = H1_FRAMING_LENGTH;
        request->content_length = bytes;
    }
    /* RFC 9110 9.3.6, 9.3.8: content has no meaning there, so a body can only be an attempt to
     * disagree about where the next request starts. */
    if ((head->method == HTTP_CONNECT || head->method == HTTP_TRACE) &&
        (coding || request->content_length > 0)) {
        return H1_REJECT_BODY_UNEXPECTED;
    }
    return H1_REJECT_NONE;
}

static void decide_connection(struct h1_request *request)
{
    const struct http_fields *fields = &request->head.fields;
    bool is_11 = request->head.version >= HTTP_VERSION_11;
    bool has_close = false, has_keep_alive = false, has_upgrade = false;
    for (const struct http_field *f = http_fields_get(fields, HTTP_FIELD_CONNECTION); f;
         f = http_fields_next(fields, f)) {
        struct str rest = f->value, token;
        while (http_list_next(&rest, &token)) {
            if (str_eq_ci(token, STR("keep-alive"))) {
                has_keep_alive = true;
            } else if (str_eq_ci(token, STR("close"))) {
                has_close = true;
            } else if (str_eq_ci(token, STR("upgrade"))) {
                has_upgrade = true;
            } else if (!http_field_is_hop_by_hop(http_field_id(token))) {
                request->connection_names = true;
            }
        }
    }
    request->keep_alive = !has_close && (is_11 || has_keep_alive);
    const struct http_field *upgrade = http_fields_get(fields, HTTP_FIELD_UPGRADE);
    if (is_11 && has_upgrade && upgrade) {
        request->upgrade = true;
        request->upgrade_value = upgrade->value;
    }
}

/* RFC 9110 10.1.1. A 1.0 client cannot wait for an interim response. */
static enum h1_reject decide_expect(struct h1_request *request, uint64_t repeated)
{
    const struct http_field *expect = http_fields_get(&request->head.fields, HTTP_FIELD_EXPECT);
    if (!expect) {
        return H1_REJECT_NONE;
    }
    if ((repeated & h1_field_bit(HTTP_FIELD_EXPECT)) ||
        !str_eq_ci(expect->value, STR("100-continue"))) {
        return H1_REJECT_EXPECT;
    }
    bool has_body = request->framing == H1_FRAMING_CHUNKED || request->content_length > 0;
    request->expect_continue = has_body && request->head.version >= HTTP_VERSION_11;
    return H1_REJECT_NONE;
}

enum h1_reject h1_framing_decide(struct h1_request *request, uint64_t repeated)
{
    enum h1_reject reason = check_host(request, repeated);
    if (reason == H1_REJECT_NONE) {
        reason = decide_body(request, repeated);
    }
    if (reason == H1_REJECT_NONE) {
        reason = decide_expect(request, repeated);
    }
    if (reason == H1_REJECT_NONE) {
        decide_connection(request);
    }
    return reason;
}
