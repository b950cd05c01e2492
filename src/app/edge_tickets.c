/* SPDX-License-Identifier: Apache-2.0 */
/* The seeds of session tickets go from one edge to the next through the supervisor, in a memory
 * file that holds the secret of QUIC tokens, the key the seeds are sealed with, then the seeds. */
#include "app/edge_int.h"

#include <string.h>

#include "base/assert.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "os/random.h"

#define TICKET_LIFETIME_S 86400u
#define TICKET_EPOCH_S 86400u
#define KEPT_BYTES_MAX 4096u

static enum err tickets_take_over(struct edge *e, int fd)
{
    char bytes[KEPT_BYTES_MAX];
    size_t n;
    enum err err = file_read_at(fd, 0, bytes, sizeof(bytes), &n);
    if (!err && n <= QUIC_SECRET_BYTES + TICKET_SEAL_KEY_BYTES) {
        err = ERR_SYNTAX;
    }
    if (!err) {
        uint8_t key[TICKET_SEAL_KEY_BYTES];
        const size_t at = QUIC_SECRET_BYTES + sizeof(key);
        memcpy(key, bytes + QUIC_SECRET_BYTES, sizeof(key));
        err = ticket_keys_import(str_make(bytes + at, n - at), key, &e->ticket_keys);
        if (!err) {
            memcpy(e->quic_secret, bytes, sizeof(e->quic_secret));
            e->is_successor = true;
        }
        explicit_bzero(key, sizeof(key));
    }
    explicit_bzero(bytes, sizeof(bytes));
    return err;
}

static enum err tickets_hand_over(struct edge *e)
{
    uint8_t key[TICKET_SEAL_KEY_BYTES];
    struct buf bytes;
    int fd;
    random_bytes(key, sizeof(key));
    buf_init(&bytes, KEPT_BYTES_MAX);
    buf_add(&bytes, e->quic_secret, sizeof(e->quic_secret));
    buf_add(&bytes, key, sizeof(key));
    enum err err = ticket_keys_export(e->ticket_keys, key, &bytes);
    if (!err) {
        err = file_in_memory(buf_str(&bytes), &fd);
    }
    if (!err) {
        const struct control_message m = {.kind = CONTROL_KEEP, .fd = -1};
        err = control_send(PROCESS_CHANNEL_FD, &m, fd);
        file_close(fd);
    }
    explicit_bzero(key, sizeof(key));
    buf_done_secret(&bytes);
    return err;
}

enum err edge_start_tickets(struct edge *e)
{
    struct control_message m;
    int fd = -1;
    enum err err = control_recv(PROCESS_CHANNEL_FD, true, &m, &fd);
    ASSERT(err || m.kind == CONTROL_HELLO);
    e->generation = err ? 0 : (uint8_t)m.count;
    if (!err && fd >= 0) {
        /* What an older program left may be of another form: then tickets begin anew. */
        err = tickets_take_over(e, fd);
        file_close(fd);
        if (!err) {
            return ERR_OK;
        }
    }
    random_bytes(e->quic_secret, sizeof(e->quic_secret));
    err = ticket_keys_create(TICKET_LIFETIME_S, TICKET_EPOCH_S, clock_wall_s(), &e->ticket_keys);
    return err ? err : tickets_hand_over(e);
}
