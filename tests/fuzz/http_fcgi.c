/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of FastCGI: what is read of them does not depend on where the bytes were cut, and a head
 * of CGI that is accepted can be sent on. */
#include "base/assert.h"
#include "base/buf.h"
#include "http/cgi_response.h"
#include "http/fcgi.h"
#include "http/status.h"

struct reading {
    struct fcgi_reader reader;
    struct buf out;
    struct buf log;
    enum err error;
    bool is_ended;
    uint32_t app_status;
    uint8_t protocol_status;
};

static void feed(struct reading *r, const char *p, size_t n)
{
    while (!r->error && !r->is_ended) {
        struct fcgi_piece piece;
        size_t used;
        r->error = fcgi_read(&r->reader, p, n, &used, &piece);
        ASSERT(used <= n);
        if (r->error) {
            return;
        }
        p += used;
        n -= used;
        switch (piece.event) {
        case FCGI_EVENT_NONE:
            ASSERT(n == 0);
            return;
        case FCGI_EVENT_STDOUT:
        case FCGI_EVENT_STDERR:
            ASSERT(piece.data.p == p && piece.data.n > 0 && piece.data.n <= n);
            buf_add_str(piece.event == FCGI_EVENT_STDOUT ? &r->out : &r->log, piece.data);
            fcgi_take(&r->reader, piece.data.n);
            p += piece.data.n;
            n -= piece.data.n;
            break;
        case FCGI_EVENT_END:
            r->is_ended = true;
            r->app_status = piece.app_status;
            r->protocol_status = piece.protocol_status;
            break;
        }
    }
}

static void check_head(struct str out)
{
    static struct http_field array[20];
    struct cgi_response r;
    cgi_scan_state scan = 0;
    bool is_whole;
    size_t n = cgi_scan(&scan, out.p, out.n, &is_whole);
    ASSERT(n <= out.n && (is_whole || n == out.n));
    http_fields_init(&r.head.fields, array, COUNT_OF(array));
    if (!is_whole || cgi_parse(str_make(out.p, n), &r) != ERR_OK) {
        return;
    }
    ASSERT(r.head.status >= 200 && http_status_is_valid(r.head.status));
    ASSERT(!http_fields_get(&r.head.fields, HTTP_FIELD_TRANSFER_ENCODING));
    ASSERT((r.content_length != CGI_LENGTH_NONE) ==
           (http_fields_get(&r.head.fields, HTTP_FIELD_CONTENT_LENGTH) != NULL));
    for (unsigned i = 0; i < r.head.fields.n; i++) {
        ASSERT(http_token_is_valid(r.head.fields.v[i].name));
        ASSERT(http_field_value_is_valid(r.head.fields.v[i].value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct reading whole = {.error = ERR_OK}, cut = {.error = ERR_OK};
    if (n < 2) {
        return 0;
    }
    size_t step = 1 + data[0];
    const char *p = (const char *)data + 1;
    n--;
    feed(&whole, p, n);
    for (size_t at = 0; at < n; at += step) {
        feed(&cut, p + at, n - at < step ? n - at : step);
    }
    ASSERT(whole.error == cut.error && whole.is_ended == cut.is_ended);
    ASSERT(whole.app_status == cut.app_status && whole.protocol_status == cut.protocol_status);
    ASSERT(str_eq(buf_str(&whole.out), buf_str(&cut.out)));
    ASSERT(str_eq(buf_str(&whole.log), buf_str(&cut.log)));
    check_head(buf_str(&whole.out));
    check_head(str_make(p, n)); /* heads without records, so that they are found sooner */
    buf_done(&whole.out);
    buf_done(&whole.log);
    buf_done(&cut.out);
    buf_done(&cut.log);
    return 0;
}
