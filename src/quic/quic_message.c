/* SPDX-License-Identifier: Apache-2.0 */
#include "quic/quic_message.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum err quic_messages_add(struct quic_messages *m, struct str bytes, uint64_t id, size_t count_max)
{
    if (m->count >= count_max) {
        return ERR_LIMIT;
    }
    struct quic_message *one = mem_alloc(sizeof(*one) + bytes.n);
    if (!one) {
        return ERR_NOMEM;
    }
    one->next = NULL;
    one->id = id;
    one->n = bytes.n;
    if (bytes.n) {
        memcpy(one->bytes, bytes.p, bytes.n);
    }
    if (m->first) {
        m->last->next = one;
    } else {
        m->first = one;
    }
    m->last = one;
    m->count++;
    return ERR_OK;
}

void quic_messages_drop(struct quic_messages *m)
{
    struct quic_message *one = m->first;
    ASSERT(one);
    m->first = one->next;
    m->count--;
    mem_free(one);
}

void quic_messages_done(struct quic_messages *m)
{
    while (m->first) {
        quic_messages_drop(m);
    }
}
