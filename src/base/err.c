/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>

const char *err_text(enum err e)
{
    switch (e) {
    case ERR_OK:
        return "success";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        ERR_TABLE(X)
#undef X
    }
    return "unknown error";
}

const char *err_name(enum err e)
{
    switch (e) {
    case ERR_OK:
        return "ERR_OK";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return #name;
        ERR_TABLE(X)
#undef X
    }
    return "ERR_UNKNOWN";
}

enum err err_from_errno(int system_errno)
{
    switch (system_errno) {
    case 0:
        return ERR_OK;
    case ENOMEM:
    case ENOBUFS:
        return ERR_NOMEM;
    case EAGAIN:
    case EINTR:
        return ERR_AGAIN;
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO:
    case ECONNREFUSED: /* nobody listens there */
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case ELOOP:
    case EXDEV:
        return ERR_ACCESS;
    case ENAMETOOLONG:
    case EINVAL:
        return ERR_SYNTAX;
    case EMFILE:
    case ENFILE:
    case ENOSPC:
    case EDQUOT:
        return ERR_LIMIT;
    case ENOSYS:
    case EOPNOTSUPP:
        return ERR_UNSUPPORTED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
        return ERR_RESET;
    case EADDRINUSE:
        return ERR_IN_USE;
    case EBADF:
        return ERR_CLOSED;
    default:
        return ERR_IO;
    }
}
