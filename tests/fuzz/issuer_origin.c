/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the Origin CA: what is said of one that is refused fits into a line of the log. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "issuer/origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct web_answer answer = {.status = size % 2 ? 200 : 403,
                                      .body = str_make((const char *)data, size)};
    char reason[ORIGIN_REASON_BYTES];
    struct buf out;
    buf_init(&out, 0);
    enum err e = origin_read(&answer, &out, reason);
    ASSERT(e == ERR_OK || e == ERR_SYNTAX);
    ASSERT(e == ERR_OK ? answer.status == 200 : out.n == 0);
    size_t n = strnlen(reason, sizeof(reason));
    ASSERT(n > 0 && n < sizeof(reason));
    for (size_t i = 0; i < n; i++) {
        ASSERT((unsigned char)reason[i] >= ' ');
    }
    buf_done(&out);
    return 0;
}
