/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ways to trouble a server: bytes of any kind, which must end the same however they are cut,
 * and the bytes of a real client with some of them changed, of which nothing wrong may come out.
 */
#include "../unit/crypto/rig.c"

#define CUTS_MAX 16
#define EDITS_MAX 8
#define PLAIN STR("the plaintext")

static struct rig *rig_get(void)
{
    static struct rig rig;
    if (!rig.server) {
        struct world *w = world_get();
        rig_start(&rig, &(struct rig_config){.policy = {.alpn = {STR("h2")},
                                                        .alpn_count = 1,
                                                        .client_auth = TLS_CLIENT_OPTIONAL,
                                                        .client_ca_pem = buf_str(&w->root_pem)}});
    }
    return &rig;
}

static enum err feed(struct str bytes, const uint8_t *cuts, size_t cut_count)
{
    struct tls_conn *c;
    struct buf out;
    char plain[1024];
    size_t got = 0;
    enum err e = ERR_AGAIN;
    buf_init(&out, 0);
    ASSERT(tls_conn_create(rig_get()->server, NULL, world_get()->now_s, &c) == ERR_OK);
    for (size_t i = 0; e == ERR_AGAIN && i <= cut_count; i++) {
        size_t n = i < cut_count && cuts[i] < bytes.n ? cuts[i] : bytes.n;
        struct tls_input in = {bytes.p, i < cut_count ? n : bytes.n, i == cut_count};
        e = tls_conn_read(c, &in, plain, sizeof(plain), &out, &got);
        ASSERT(e != ERR_OK && e != ERR_EOF);
        bytes = str_sub(bytes, n, bytes.n);
    }
    ASSERT(e != ERR_AGAIN && !tls_conn_is_handshaken(c));
    /* GnuTLS takes an alert in place of the hello for the one when it comes at once, and for the
     * other when it comes in pieces. */
    e = e == ERR_RESET ? ERR_SYNTAX : e;
    tls_conn_destroy(c);
    buf_done(&out);
    return e;
}

static void run_bytes(const uint8_t *data, size_t n)
{
    size_t cut_count = n ? data[0] % CUTS_MAX : 0;
    if (n < 1 + cut_count) {
        return;
    }
    struct str bytes = str_make((const char *)data + 1 + cut_count, n - 1 - cut_count);
    ASSERT(feed(bytes, NULL, 0) == feed(bytes, data + 1, cut_count));
}

/* `data`: version, then (place in the stream of the client, change) three bytes each. */
static void run_edits(const uint8_t *data, size_t n)
{
    struct link l;
    size_t seen = 0, edit_count = n ? (n - 1) / 3 : 0;
    if (edit_count == 0 || edit_count > EDITS_MAX) {
        return;
    }
    link_open(&l, rig_get(),
              &(struct link_config){.priority = data[0] & 1 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2"
                                                            : "NORMAL:-VERS-ALL:+VERS-TLS1.3",
                                    .sni = "www.example.com",
                                    .alpn = {"h2"}});
    for (int turn = 0; turn < 6; turn++) {
        client_step(&l);
        if (l.is_client_done && turn == 4) {
            link_client_write(&l, PLAIN);
        }
        for (size_t i = 0; i < edit_count; i++) {
            const uint8_t *edit = data + 1 + 3 * i;
            size_t at = (size_t)edit[0] << 8 | edit[1];
            if (at >= seen && at < seen + l.to_server.n) {
                l.to_server.p[at - seen] = (char)(l.to_server.p[at - seen] ^ edit[2]);
            }
        }
        seen += l.to_server.n;
        link_feed_server(&l);
    }
    ASSERT(l.got.n == 0 || str_eq(buf_str(&l.got), PLAIN));
    link_close(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n && n < 4096) {
        if (data[0] & 1) {
            run_bytes(data + 1, n - 1);
        } else {
            run_edits(data + 1, n - 1);
        }
    }
    return 0;
}
