/* SPDX-License-Identifier: Apache-2.0 */
#include "app/control.h"

#include <string.h>

#include "os/file.h"
#include "os/process.h"

enum err control_send(int channel, const struct control_message *m, int fd)
{
    return process_send(channel, m, sizeof(*m), fd);
}

enum err control_recv(int channel, bool may_wait, struct control_message *ret_m, int *ret_fd)
{
    size_t n = 0;
    enum err e = process_recv(channel, ret_m, sizeof(*ret_m), may_wait, &n, ret_fd);
    if (!e && n != sizeof(*ret_m)) {
        file_close(*ret_fd);
        return ERR_SYNTAX;
    }
    return e;
}

bool control_address_eq(const struct control_address *a, const struct control_address *b)
{
    return a->at.n == b->at.n && a->variant == b->variant &&
           memcmp(&a->at.raw, &b->at.raw, a->at.n) == 0;
}
