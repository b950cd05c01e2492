/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a priority says, the urgency stays one of eight, and saying it twice changes nothing. */
#include "base/assert.h"
#include "http/priority.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct http_priority one = HTTP_PRIORITY_DEFAULT;
    struct str text = str_make((const char *)p, n);
    http_priority_parse(text, &one);
    ASSERT(one.urgency < HTTP_URGENCY_COUNT);
    struct http_priority two = one;
    http_priority_parse(text, &two);
    ASSERT(one.urgency == two.urgency && one.is_incremental == two.is_incremental);
    return 0;
}
