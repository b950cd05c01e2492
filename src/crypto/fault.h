/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with bytes that a person gave (a certificate, a key, a list of CAs), as one
 * sentence without a final stop. Filled only on failure; a NULL pointer means nobody asks.
 */
#pragma once

#include "base/err.h"

struct fault {
    char text[224];
};

/* Writes the sentence (cut at the end of `text`). Returns `e`, so that a caller can forward it. */
enum err fault_set(struct fault *f, enum err e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
