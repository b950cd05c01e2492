/* SPDX-License-Identifier: Apache-2.0 */
/* Pages for keys, whole pages at a time. They do not pass a fork. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* At least `bytes` zeroed bytes, or NULL: the limit on locked memory is used up. `*ret_is_hidden`
 * says whether even the kernel cannot read them (memfd_secret), else they are locked and left out
 * of core files. */
void *secret_memory_map(size_t bytes, bool *ret_is_hidden) __attribute__((warn_unused_result));

/* Gives back what secret_memory_map(bytes) returned. The caller has wiped it. */
void secret_memory_unmap(void *pages, size_t bytes);
