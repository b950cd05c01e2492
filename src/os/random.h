/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* Fills `bytes` from the kernel's generator; ends the program where the kernel has none. */
void random_bytes(void *bytes, size_t n);
