/* SPDX-License-Identifier: Apache-2.0 */
/* A connection gets the bytes at once, and again in pieces: the same answers, byte for byte. */
#include <sys/socket.h>

#include "../unit/net/rig.c"

#define PIECES_MAX 64

static void run(const uint8_t *cuts, size_t cut_count, struct str all, struct buf *ret_got)
{
    struct server_limits limits = rig_limits();
    struct rig rig;
    struct client c;
    limits.header_bytes_max = 512;
    limits.header_count_max = 8;
    limits.uri_bytes_max = 128;
    limits.body_bytes_max = 1024;
    rig_start(&rig, &limits);
    rig.is_fuzzing = true;
    client_open(&rig, &c);
    for (size_t i = 0; i < cut_count && all.n; i++) {
        size_t n = (size_t)cuts[i] + 1;
        client_send(&c, str_sub(all, 0, n));
        all = str_sub(all, n, all.n);
    }
    client_send(&c, all);
    shutdown(c.fd, SHUT_WR);
    for (int i = 0; i < PIECES_MAX; i++) {
        rig_advance(&rig, RIG_LATER_MS + 2);
        client_send(&c, STR(""));
    }
    rig_blank_dates(&c.got);
    *ret_got = c.got;
    buf_init(&c.got, 0);
    client_close(&c);
    rig_stop(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t cut_count = n ? data[0] % PIECES_MAX : 0;
    if (n < 1 + cut_count || n > 4096) {
        return 0;
    }
    struct buf all, whole, cut;
    buf_init(&all, 0);
    buf_add(&all, data + 1 + cut_count, n - 1 - cut_count);
    /* Every head gets an end: what is wrong in one that has none may be reported late. */
    buf_add_str(&all, STR("\r\n\r\n"));
    run(NULL, 0, buf_str(&all), &whole);
    run(data + 1, cut_count, buf_str(&all), &cut);
    ASSERT(str_eq(buf_str(&whole), buf_str(&cut)));
    buf_done(&all);
    buf_done(&whole);
    buf_done(&cut);
    return 0;
}
