/* SPDX-License-Identifier: Apache-2.0 */
/* CPU time of the server side alone, the client's being left out: microseconds per handshake, per
 * small answer, per megabyte sent; and bytes of an idle connection. Medians of ROUNDS. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../tests/unit/crypto/rig.c"

#define ROUNDS 9
#define HANDSHAKES 60
#define ANSWERS 3000
#define MEGABYTES 32
#define IDLE_COUNT 1000

/* Groups as browsers order them. */
#define GROUPS ":-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1"
#define TLS12 "NORMAL:-VERS-ALL:+VERS-TLS1.2" GROUPS
#define TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3" GROUPS
#define RSA_ONLY ":-SIGN-ALL:+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-SHA256"

static int compare(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

static double median(double *rounds)
{
    qsort(rounds, ROUNDS, sizeof(*rounds), compare);
    return rounds[ROUNDS / 2];
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* One connection; returns what the server spent on its handshake. */
static double handshake(struct link *l, struct rig *r, const struct link_config *config)
{
    double spent = -now_us();
    link_open(l, r, config); /* about a tenth of it is the client's */
    spent += now_us();
    while (!link_is_up(l)) {
        client_step(l);
        double start = now_us();
        link_feed_server(l);
        spent += now_us() - start;
    }
    return spent;
}

static void measure_handshakes(const char *name, struct rig *r, const char *priority,
                               bool is_resumed)
{
    double rounds[ROUNDS];
    struct link l;
    struct link_config config = {.priority = priority, .sni = "www.example.com"};
    gnutls_datum_t session = {NULL, 0};
    if (is_resumed) {
        handshake(&l, r, &config);
        session = link_session(&l);
        link_close(&l);
        config.session = &session;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        rounds[i] = 0;
        for (unsigned k = 0; k < HANDSHAKES; k++) {
            rounds[i] += handshake(&l, r, &config) / HANDSHAKES;
            ASSERT(tls_conn_is_resumed(l.conn) == is_resumed);
            link_close(&l);
        }
    }
    printf("%-28s %8.1f us\n", name, median(rounds));
    gnutls_free(session.data);
}

static void measure_writes(const char *name, struct rig *r, const char *priority, size_t bytes,
                           unsigned repeats)
{
    static char block[TLS_RECORD_BYTES * 4];
    const struct link_config config = {.priority = priority, .sni = "www.example.com"};
    double rounds[ROUNDS];
    struct link l;
    handshake(&l, r, &config);
    for (unsigned i = 0; i < ROUNDS; i++) {
        double start = now_us();
        for (unsigned k = 0; k < repeats; k++) {
            buf_clear(&l.to_client);
            ASSERT(link_server_write(&l, str_make(block, bytes)) == ERR_OK);
        }
        rounds[i] = (now_us() - start) / repeats;
    }
    double us = median(rounds);
    printf("%-28s %8.2f us for %zu bytes, %.0f MB/s\n", name, us, bytes, (double)bytes / us);
    link_close(&l);
}

static void measure_memory(struct rig *r)
{
    static struct tls_conn *conns[IDLE_COUNT];
    const struct link_config config = {.sni = "www.example.com"};
    size_t before = mallinfo2().uordblks;
    for (unsigned i = 0; i < IDLE_COUNT; i++) {
        struct link l;
        handshake(&l, r, &config);
        conns[i] = l.conn;
        l.conn = NULL;
        link_close(&l);
    }
    printf("%-28s %8zu bytes\n", "idle connection", (mallinfo2().uordblks - before) / IDLE_COUNT);
    for (unsigned i = 0; i < IDLE_COUNT; i++) {
        tls_conn_destroy(conns[i]);
    }
}

int main(void)
{
    struct rig r;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    measure_handshakes("handshake 1.3, P-256", &r, TLS13, false);
    measure_handshakes("handshake 1.3, resumed", &r, TLS13, true);
    measure_handshakes("handshake 1.2, P-256", &r, TLS12, false);
    measure_handshakes("handshake 1.2, resumed", &r, TLS12, true);
    measure_handshakes("handshake 1.3, RSA 2048", &r, TLS13 RSA_ONLY, false);
    measure_writes("1 KiB, AES-128-GCM", &r, TLS13 ":-CIPHER-ALL:+AES-128-GCM", 1024, ANSWERS);
    measure_writes("64 KiB, AES-128-GCM", &r, TLS13 ":-CIPHER-ALL:+AES-128-GCM", 65536,
                   MEGABYTES * 16);
    measure_writes("64 KiB, AES-256-GCM", &r, TLS13 ":-CIPHER-ALL:+AES-256-GCM", 65536,
                   MEGABYTES * 16);
    measure_writes("64 KiB, CHACHA20-POLY1305", &r, TLS13 ":-CIPHER-ALL:+CHACHA20-POLY1305", 65536,
                   MEGABYTES * 16);
    measure_memory(&r);
    rig_stop(&r);
    world_free();
    return 0;
}
