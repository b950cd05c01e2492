/* SPDX-License-Identifier: Apache-2.0 */
/* A record cut from the input at lengths the input chooses: JSON parses, every line is
 * one line of bounded length without control characters. */
#include <stdint.h>
#include <stdlib.h>

#include "../unit/log/json_check.h"
#include "log/access.h"

#define PARTS 14

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* The first bytes say where the parts end, so that parts can hold every byte. */
    struct str parts[PARTS] = {{NULL, 0}};
    size_t at = PARTS;
    struct buf out;
    if (size < PARTS) {
        return 0;
    }
    for (size_t i = 0; i < PARTS; i++) {
        size_t n = (size_t)data[i] * (i == 3 ? 16 : 1);
        n = n < size - at ? n : size - at;
        parts[i] = str_make((const char *)data + at, n);
        at += n;
    }
    const struct access_field fields[] = {{parts[11], parts[12], false},
                                          {parts[12], parts[11], true}};
    const struct access_policy policy = {&parts[13], 1};
    const struct access_record record = {.time_ns = (uint64_t)data[0] << 56 | data[1],
                                         .status = data[2],
                                         .client_ip = parts[0],
                                         .user = parts[1],
                                         .method = parts[2],
                                         .target = parts[3],
                                         .protocol = parts[4],
                                         .host = parts[5],
                                         .referer = parts[6],
                                         .user_agent = parts[7],
                                         .request_id = parts[8],
                                         .trace_id = parts[9],
                                         .route = parts[10],
                                         .error = parts[11],
                                         .fields = fields,
                                         .field_count = 2};
    buf_init(&out, 0);
    for (int format = ACCESS_JSON; format <= ACCESS_LOGFMT; format++) {
        buf_clear(&out);
        access_format((enum access_format)format, &policy, &record, &out);
        if (out.n == 0 || out.n > ACCESS_LINE_BYTES_MAX || out.p[out.n - 1] != '\n') {
            abort();
        }
        for (size_t i = 0; i + 1 < out.n; i++) {
            if ((unsigned char)out.p[i] < 0x20 || out.p[i] == 0x7f) {
                abort();
            }
        }
        if (format == ACCESS_JSON && !json_check_line(out.p, out.n)) {
            abort();
        }
    }
    buf_done(&out);
    return 0;
}
