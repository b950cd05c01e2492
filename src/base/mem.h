/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain heap memory. Every allocation of the program goes through here, so that tests can make
 * the n-th one fail. Memory is not zeroed unless the name says so. Thread-safe.
 */
#pragma once

#include <stddef.h>

/* `size` bytes, or NULL. `size` 0 is allowed and returns a unique pointer. */
void *mem_alloc(size_t size) __attribute__((malloc, warn_unused_result));

/* `count * size` zeroed bytes, or NULL (also on overflow). */
void *mem_zalloc(size_t count, size_t size) __attribute__((malloc, warn_unused_result));

/* Grows or shrinks `p` (NULL allowed). On NULL the old block is untouched. */
void *mem_realloc(void *p, size_t size) __attribute__((warn_unused_result));

/* A NUL-terminated copy of `size` bytes. */
char *mem_dup(const void *bytes, size_t size) __attribute__((malloc, warn_unused_result));

/* Ends a block; NULL is a no-op. */
void mem_free(void *p);

/* For tests: the n-th allocation from now (1 = next) of this thread fails once; 0 turns the
 * fault off. Returns how many allocations this thread made since the last call. */
unsigned long mem_test_fail_at(unsigned long n);
