/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One error type for the whole program. 0 is success, every failure is negative; values at or
 * below ERR_FATAL end the process that meets them. A function that can fail returns `enum err`
 * and is marked MUST_CHECK. Errors are returned, never logged, below the driver layer.
 */
#pragma once

#define MUST_CHECK __attribute__((warn_unused_result))

/* name, value, sentence for people */
#define ERR_TABLE(X)                                                                               \
    X(ERR_NOMEM, -1, "out of memory")                                                              \
    X(ERR_AGAIN, -2, "not ready yet")                                                              \
    X(ERR_EOF, -3, "the other side closed")                                                        \
    X(ERR_IO, -4, "input or output failed")                                                        \
    X(ERR_LIMIT, -5, "a limit was reached")                                                        \
    X(ERR_SYNTAX, -6, "malformed input")                                                           \
    X(ERR_RANGE, -7, "value out of range")                                                         \
    X(ERR_NOT_FOUND, -8, "not found")                                                              \
    X(ERR_EXISTS, -9, "already exists")                                                            \
    X(ERR_ACCESS, -10, "permission denied")                                                        \
    X(ERR_UNSUPPORTED, -11, "not supported here")                                                  \
    X(ERR_TIMEOUT, -12, "timed out")                                                               \
    X(ERR_CANCELLED, -13, "cancelled")                                                             \
    X(ERR_CLOSED, -14, "already closed")                                                           \
    X(ERR_RESET, -15, "the connection was reset")                                                  \
    X(ERR_IN_USE, -16, "address already in use")                                                   \
    X(ERR_CONFIG, -17, "the configuration is wrong")                                               \
    X(ERR_INTERNAL, -100, "internal error")

enum err {
    ERR_OK = 0,
#define X(name, value, text) name = value,
    ERR_TABLE(X)
#undef X
};

#define ERR_FATAL (-100)

/* The sentence for `e`; never NULL, static. */
const char *err_text(enum err e);

/* The symbolic name of `e`, for logs and tests; never NULL, static. */
const char *err_name(enum err e);

/* Maps a system `errno` value to the nearest error. */
enum err err_from_errno(int system_errno);
