/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Assertions that stay on in every build. They check only what our own code guarantees: never
 * peer bytes, files or settings.
 */
#pragma once

#include <stdint.h>

_Noreturn void assert_failed(const char *condition, const char *file, int line);

#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            assert_failed(#cond, __FILE__, __LINE__);                                              \
        }                                                                                          \
    } while (0)

/* A long-lived struct starts with `uint32_t magic`; the check runs where a pointer returns from
 * a callback, and the end function clears it. */
#define ASSERT_MAGIC(p, m) ASSERT((p) != NULL && (p)->magic == (m))

/* Number of elements of an array. */
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* The struct that embeds `member` at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
