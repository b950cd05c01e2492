/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local unsigned long alloc_count;
static _Thread_local unsigned long fail_at;

static bool mem_should_fail(void)
{
    alloc_count++;
    return __builtin_expect(fail_at != 0 && alloc_count == fail_at, 0);
}

void *mem_alloc(size_t size)
{
    if (mem_should_fail()) {
        return NULL;
    }
    return malloc(size ? size : 1);
}

void *mem_zalloc(size_t count, size_t size)
{
    if (mem_should_fail()) {
        return NULL;
    }
    return calloc(count ? count : 1, size ? size : 1);
}

void *mem_realloc(void *p, size_t size)
{
    if (mem_should_fail()) {
        return NULL;
    }
    return realloc(p, size ? size : 1);
}

char *mem_dup(const void *bytes, size_t size)
{
    char *copy = mem_alloc(size + 1);
    if (copy) {
        if (size) {
            memcpy(copy, bytes, size);
        }
        copy[size] = '\0';
    }
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

unsigned long mem_test_fail_at(unsigned long n)
{
    unsigned long made = alloc_count;
    alloc_count = 0;
    fail_at = n;
    return made;
}
