/* SPDX-License-Identifier: Apache-2.0 */
/* What a receipt of Selenia adds to a C2SP tlog-proof: its `extra` holds a magic, a version, the
 * seal and the entry. The seal is a hash of everything else. */
#pragma once

#include <sws/proof.h>

#include "base/str.h"

#define RECEIPT_FIRST_LINE "c2sp.org/tlog-proof@v1"
#define RECEIPT_EXTRA_MARK "extra "
#define RECEIPT_INDEX_MARK "index "
#define RECEIPT_MAGIC "SWSR"
#define RECEIPT_MAGIC_BYTES 4
#define RECEIPT_VERSION 1
#define RECEIPT_HEAD_BYTES (RECEIPT_MAGIC_BYTES + 1 + SWS_HASH_BYTES)

struct sha256;

/* Starts a seal; what is added then is the entry, of that many bytes, and all lines behind the
 * `extra` line. */
void receipt_seal_init(struct sha256 *h, uint64_t entry_bytes);
