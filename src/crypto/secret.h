/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that must not leak: keys and seeds. They lie in memory that the owner of the process
 * supplies (`os/secret_memory.h`: invisible to the kernel where it can do that, else locked and
 * left out of core files) and are wiped when they die. A secret is immutable and has one owner.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum secret_kind {
    SECRET_HIDDEN, /* unmapped from the kernel itself (memfd_secret) */
    SECRET_LOCKED, /* locked, never in a core file */
    SECRET_HEAP,   /* no memory was supplied or none was left */
    SECRET_KIND_COUNT
};

/* Where secrets live. `map` returns zeroed pages and their kind, or NULL; `unmap` ends them. */
struct secret_memory_ops {
    void *(*map)(size_t bytes, enum secret_kind *ret_kind);
    void (*unmap)(void *pages, size_t bytes);
};

struct secret;

/* Says where secrets live from now on. Once, before the first secret and the first thread; without
 * it they live on the heap. `ops` must outlive every secret. */
void secret_set_memory(const struct secret_memory_ops *ops);

/* A copy of `bytes`, or NULL: out of memory. The caller wipes its own copy (secret_wipe). */
struct secret *secret_create(struct str bytes) __attribute__((warn_unused_result));

/* `n` bytes of the generator for long-lived keys, or NULL. */
struct secret *secret_create_random(size_t n) __attribute__((warn_unused_result));

/* Wipes and frees; NULL is a no-op. */
void secret_destroy(struct secret *s);

/* The bytes; valid as long as the secret. */
struct str secret_str(const struct secret *s);

/* How many secrets of a kind live now. Thread-safe. */
size_t secret_count(enum secret_kind kind);

/* Overwrites `n` bytes in a way that the compiler keeps. */
void secret_wipe(void *bytes, size_t n);

/* Whether `n` bytes are equal, in a time that does not depend on where they differ. */
bool secret_eq(const void *a, const void *b, size_t n);
