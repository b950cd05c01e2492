/* SPDX-License-Identifier: Apache-2.0 */
#include "quic_rig.h"

#include <time.h>

#include "crypto/local_ca.h"
#include "crypto/start.h"

uint64_t sim_seed;
const uint8_t sim_secret[QUIC_SECRET_BYTES] = "a secret of the simulation";
struct tls_server *sim_tls;
int64_t sim_wall_s;

static uint64_t random_state;
static struct tls_policy *policy;
static struct certificate_store *store;
static struct buf root_pem;
static struct sockaddr_in client_address = {.sin_family = AF_INET, .sin_port = 1};
static struct sockaddr_in server_address = {.sin_family = AF_INET, .sin_port = 2};

void sim_restart(void)
{
    random_state = sim_seed;
}

uint64_t sim_draw(void)
{
    /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t sim_draw_below(uint64_t n)
{
    return sim_draw() % n;
}

struct quic_path sim_path(bool is_server)
{
    struct str c = str_make((char *)&client_address, sizeof(client_address));
    struct str s = str_make((char *)&server_address, sizeof(server_address));
    return is_server ? (struct quic_path){s, c} : (struct quic_path){c, s};
}

void sim_random(void *user, uint8_t *p, size_t n)
{
    (void)user;
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)sim_draw();
    }
}

void sim_make_cid(void *user, uint8_t *ret_bytes, uint8_t ret_token[QUIC_TOKEN_BYTES])
{
    struct quic_cid cid = {.n = QUIC_CID_BYTES};
    sim_random(user, cid.bytes, QUIC_CID_BYTES);
    memcpy(ret_bytes, cid.bytes, QUIC_CID_BYTES);
    quic_reset_token(sim_secret, &cid, ret_token);
}

void sim_drop_cid(void *user, const uint8_t *p, size_t n)
{
    (void)user;
    (void)p;
    CHECK(n == QUIC_CID_BYTES);
}

static enum err on_client_hello(void *context, void *user, const struct client_hello *hello,
                                struct tls_choice *ret)
{
    (void)context;
    (void)user;
    CHECK(str_eq(hello->sni, STR("quic.test")));
    *ret = (struct tls_choice){policy, store, false};
    return ERR_OK;
}

struct tls_server *sim_new_tls(void)
{
    struct tls_server *tls;
    const struct tls_server_config config = {.hooks = {.on_client_hello = on_client_hello}};
    CHECK(tls_server_create(&config, &tls) == ERR_OK);
    return tls;
}

void sim_start(void)
{
    static const struct str name = STR("quic.test");
    const struct local_ca_order order = {&name, 1, 30};
    struct local_ca *ca;
    struct certificate *certificate;
    struct fault fault;
    struct buf chain, key;
    buf_init(&chain, 0);
    buf_init(&key, 0);
    buf_init(&root_pem, 0);
    sim_wall_s = (int64_t)time(NULL);
    CHECK(crypto_start(NULL) == ERR_OK);
    CHECK(local_ca_create(STR("sim"), sim_wall_s, &ca) == ERR_OK);
    CHECK(local_ca_export_certificate(ca, &root_pem) == ERR_OK);
    CHECK(local_ca_issue(ca, &order, sim_wall_s, &chain, &key) == ERR_OK);
    CHECK(certificate_create(buf_str(&chain), buf_str(&key), &certificate, &fault) == ERR_OK);
    CHECK(certificate_store_create(&certificate, 1, SIZE_MAX, &store) == ERR_OK);
    const struct tls_policy_config config = {.min_version = TLS_VERSION_12};
    CHECK(tls_policy_create(&config, &policy, &fault) == ERR_OK);
    sim_tls = sim_new_tls();
    certificate_unref(certificate);
    local_ca_destroy(ca);
    buf_done(&chain);
    buf_done(&key);
}

void sim_end(void)
{
    tls_server_destroy(sim_tls);
    tls_policy_unref(policy);
    certificate_store_unref(store);
    buf_done(&root_pem);
}

struct tls_quic_client *sim_client(void)
{
    struct tls_quic_client *client;
    const struct tls_quic_client_config config = {.name = STR("quic.test"),
                                                  .trust_pem = buf_str(&root_pem)};
    return tls_quic_client_create(&config, &client) == ERR_OK ? client : NULL;
}

struct quic_accept sim_accept(const struct quic_packet *packet, const struct quic_cid *own)
{
    struct quic_accept a = {
        .tls = sim_tls,
        .wall_s = sim_wall_s,
        .path = sim_path(true),
        .version = packet->version,
        .client_cid = packet->source,
        .server_cid = *own,
        .original_cid = packet->destination,
        .token = STR(""),
        .settings = STR(""),
    };
    quic_reset_token(sim_secret, own, a.reset_token);
    return a;
}
