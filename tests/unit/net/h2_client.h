/* SPDX-License-Identifier: Apache-2.0 */
/* A client that speaks HTTP/2 to the server of the rig: frames go out as a test writes them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "../http/h2_wire.h"
#include "base/mem.h"
#include "net/h2_conn_int.h"
#include "rig.h"

static struct rig rig;
static struct client client;
static struct buf out;

static inline struct server_limits h2_limits_of_rig(void)
{
    struct server_limits limits = rig_limits();
    limits.speaks_h2c = true;
    limits.stream_count_max = 100;
    limits.header_bytes_max = 32768;
    return limits;
}

static inline void open_with(const struct server_limits *limits)
{
    rig_start(&rig, limits);
    client_open(&rig, &client);
    buf_init(&out, 0);
    wire_hello(&out);
}

static inline int begin(void **state)
{
    const struct server_limits limits = h2_limits_of_rig();
    open_with(&limits);
    return 0;
}

static inline int end(void **state)
{
    client_close(&client);
    rig_stop(&rig);
    buf_done(&out);
    return 0;
}

/* Sends what was written, and takes what comes back. */
static inline void talk(void)
{
    client_send(&client, buf_str(&out));
    buf_clear(&out);
}

static inline struct str got(void)
{
    return buf_str(&client.got);
}

static inline void get(uint32_t id, const char *path)
{
    wire_request(&out, id, WIRE_END_STREAM, "GET", path, "");
}

static inline void open_windows(void)
{
    wire_put(&out, WIRE_SETTINGS, 0, 0, str_make("\0\4\x7f\xff\xff\xff", 6));
    wire_put(&out, WIRE_SETTINGS, WIRE_ACK, 0, STR(""));
    wire_put_u32(&out, WIRE_WINDOW_UPDATE, 0, INT32_MAX - 65535);
}

static inline void assert_body(uint32_t id, size_t n)
{
    bool is_ended;
    assert_int_equal(wire_body(got(), id, &is_ended), n);
    assert_true(is_ended);
}

/* Whether a header block of `id` has this field. The decoder keeps state: all blocks are given to
 * it. */
static inline bool has_field(uint32_t id, const char *name, const char *value)
{
    nghttp2_hd_inflater *inflater;
    struct str rest = got();
    struct wire_frame f;
    bool is_found = false;
    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    while (wire_next(&rest, &f)) {
        int flags = 0;
        const uint8_t *p = (const uint8_t *)f.payload.p;
        size_t n = f.payload.n;
        while (f.type == WIRE_HEADERS && !(flags & NGHTTP2_HD_INFLATE_FINAL)) {
            nghttp2_nv nv;
            ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, n, 1);
            assert_true(used >= 0);
            p += used;
            n -= (size_t)used;
            is_found |= (flags & NGHTTP2_HD_INFLATE_EMIT) && f.id == id &&
                        str_eq(str_make((char *)nv.name, nv.namelen), str_of(name)) &&
                        str_eq(str_make((char *)nv.value, nv.valuelen), str_of(value));
        }
        nghttp2_hd_inflate_end_headers(inflater);
    }
    nghttp2_hd_inflate_del(inflater);
    return is_found;
}

static inline void assert_status(uint32_t id, const char *status)
{
    assert_true(has_field(id, ":status", status));
}
