/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole server of HTTP/3 on its endpoint, and a client that asks it something. The input says
 * what happens to the client's datagrams on the way, and sends some of its own: the client is
 * answered all the same, the service sees its request once, and afterwards others are served.
 *
 * Randomness of TLS is a fixed sequence here, so that an input does the same again.
 */
#include <sys/random.h>

#include "../sim/quic_rig.c"
#include "../unit/net/rig.c"

#include "../unit/net/h3_peer.c"

#define CHANGED_MAX 32u /* datagrams that the input decides about */
#define SPOILED_MAX 3u  /* of them are not to be understood: each waits twice as long as before */
#define RUN_MS 9000u

/* In place of the C library's. */
ssize_t getrandom(void *p, size_t n, unsigned flags)
{
    static uint64_t state = 1;
    (void)flags;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)p)[i] = (uint8_t)(state >> 56);
    }
    return (ssize_t)n;
}

struct input {
    const uint8_t *p;
    size_t n;
    unsigned changed;
    unsigned spoiled;
};

static unsigned take(struct input *in)
{
    if (in->n == 0) {
        return 0;
    }
    in->n--;
    return *in->p++;
}

static void change(struct h3_peer *p, uint8_t *bytes, size_t n)
{
    struct input *in = p->context;
    unsigned order = in->changed++ < CHANGED_MAX ? take(in) : 0;
    unsigned where = take(in) * 6u + (order >> 4);
    bool spoils = (order & 15) >= 1 && (order & 15) <= 4;
    if (spoils && in->spoiled++ >= SPOILED_MAX) {
        order = 0;
    }
    switch (order & 15) {
    case 1: /* lost */
        return;
    case 2: /* cut */
        n = where % n;
        break;
    case 3: /* one bit; 4: the front, where what is not encrypted stands */
        bytes[where % n] ^= (uint8_t)(1u << (order >> 4 & 7));
        break;
    case 4:
        bytes[where % (n < 48 ? n : 48)] = (uint8_t)take(in);
        break;
    case 5: /* doubled */
        h3_peer_send(p, bytes, n);
        break;
    case 6: /* something of the input's before it */
        h3_peer_send(p, in->p, in->n < 1500 ? in->n : 1500);
        break;
    case 7: { /* the same, long enough for an Initial */
        uint8_t padded[1200] = {0};
        memcpy(padded, in->p, in->n < sizeof(padded) ? in->n : sizeof(padded));
        h3_peer_send(p, padded, sizeof(padded));
        break;
    }
    default:
        break;
    }
    h3_peer_send(p, bytes, n);
}

static void ask(struct rig *r, struct h3_port *port, struct input *in)
{
    struct h3_peer p;
    unsigned before = r->exchanges;
    ASSERT(h3_peer_open(&p, r, port, "/k", "words"));
    if (in) {
        p.change = change;
        p.context = in;
    }
    h3_peer_run(&p, RUN_MS);
    ASSERT(p.is_answered && h3_peer_has(&p, "words"));
    ASSERT(r->exchanges == before + 1);
    h3_peer_close(&p, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static bool is_started;
    struct input in = {.p = data, .n = n};
    struct server_limits own = rig_limits();
    struct rig rig;
    struct h3_port port;
    if (!is_started) {
        is_started = true;
        sim_start();
    }
    sim_seed = 1;
    sim_restart();
    own.stream_count_max = 100;
    rig_start(&rig, &own);
    h3_port_open(&port, &rig);
    ask(&rig, &port, &in);
    ask(&rig, &port, NULL);
    h3_port_close(&port);
    rig_stop(&rig);
    return 0;
}
