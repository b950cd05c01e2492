/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical path is stable, never longer, and free of dot segments and double slashes; what is
 * sent upstream reads back as the same path. */
#include <stdlib.h>

#include "base/assert.h"
#include "http/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str raw = str_make((const char *)data, n);
    struct http_path path, again;
    struct str file;
    char *out = malloc(n + 1), *second = malloc(n + 1);
    if (out && second && http_path_canonical(raw, out, &path) == ERR_OK) {
        struct str p = path.path;
        ASSERT(p.n <= n && p.p[0] == '/');
        ASSERT(!memmem(p.p, p.n, "//", 2) && !memmem(p.p, p.n, "/../", 4));
        ASSERT(!memmem(p.p, p.n, "/./", 3) && !memchr(p.p, 0, p.n) && !memchr(p.p, '\\', p.n));
        ASSERT(!str_ends_with(p, STR("/..")) && !str_ends_with(p, STR("/.")));
        ASSERT(http_path_canonical(p, second, &again) == ERR_OK);
        ASSERT(again.path.p == p.p && again.path.n == p.n);
        ASSERT(again.has_encoded_slash == path.has_encoded_slash);
        ASSERT((http_path_to_file(p, second, &file) == ERR_OK) == !path.has_encoded_slash);
        struct buf b;
        buf_init(&b, 0);
        http_path_encode(p, &b);
        char *third = malloc(b.n + 1);
        if (third && !b.is_failed) {
            ASSERT(http_path_canonical(buf_str(&b), third, &again) == ERR_OK);
            ASSERT(str_eq(again.path, p));
        }
        free(third);
        buf_done(&b);
    }
    free(out);
    free(second);
    return 0;
}
