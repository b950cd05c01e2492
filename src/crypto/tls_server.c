/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/tls_server.h"

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/tls_int.h"

#define SERVER_MAGIC 0x746c7373u
/* GnuTLS puts the start of its own window, which differs from server to server, before the id. */
#define REPLAY_PREFIX_BYTES 12

static int on_early_data(void *context, time_t until_s, const gnutls_datum_t *key,
                         const gnutls_datum_t *entry)
{
    struct tls_server *s = context;
    (void)entry;
    ASSERT_MAGIC(s, SERVER_MAGIC);
    if (key->size <= REPLAY_PREFIX_BYTES) {
        return GNUTLS_E_DB_ERROR;
    }
    struct str id =
        str_make((const char *)key->data + REPLAY_PREFIX_BYTES, key->size - REPLAY_PREFIX_BYTES);
    int64_t now_s = until_s - replay_window_ms(s->replay_window) / 1000;
    return replay_window_add(s->replay_window, id, now_s) ? GNUTLS_E_DB_ENTRY_EXISTS : 0;
}

enum err tls_server_create(const struct tls_server_config *config, struct tls_server **ret_server)
{
    struct tls_server *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->magic = SERVER_MAGIC;
    s->hooks = config->hooks;
    s->early_data_bytes_max = config->early_data_bytes_max;
    s->ticket_keys = config->ticket_keys ? ticket_keys_ref(config->ticket_keys) : NULL;
    enum err e = tls_priorities_create(&s->priorities, TLS_VERSION_12, NULL, 0, NULL);
    if (!e && config->replay_window && config->ticket_keys && config->early_data_bytes_max) {
        s->replay_window = replay_window_ref(config->replay_window);
        if (gnutls_anti_replay_init(&s->anti_replay) < 0) {
            s->anti_replay = NULL;
            e = ERR_NOMEM;
        }
    }
    if (e) {
        tls_server_destroy(s);
        return e;
    }
    if (s->anti_replay) {
        gnutls_anti_replay_set_window(s->anti_replay, replay_window_ms(s->replay_window));
        gnutls_anti_replay_set_add_function(s->anti_replay, on_early_data);
        gnutls_anti_replay_set_ptr(s->anti_replay, s);
    }
    *ret_server = s;
    return ERR_OK;
}

void tls_server_destroy(struct tls_server *s)
{
    if (!s) {
        return;
    }
    ASSERT_MAGIC(s, SERVER_MAGIC);
    ASSERT(s->conn_count == 0);
    s->magic = 0;
    if (s->anti_replay) {
        gnutls_anti_replay_deinit(s->anti_replay);
    }
    tls_priorities_done(&s->priorities);
    replay_window_unref(s->replay_window);
    ticket_keys_unref(s->ticket_keys);
    mem_free(s);
}
