/* SPDX-License-Identifier: Apache-2.0 */
#include "http/method.h"

#include "base/assert.h"

struct method {
    struct str text;
    bool is_safe;
    bool is_idempotent;
};

static const struct method methods[HTTP_METHOD_COUNT] = {
#define X(id, text, safe, idempotent) [HTTP_##id] = {{text, sizeof(text) - 1}, safe, idempotent},
    HTTP_METHOD_TABLE(X)
#undef X
        [HTTP_METHOD_OTHER] = {{"OTHER", 5}, false, false},
};

enum http_method http_method_of(struct str s)
{
    for (unsigned i = 0; i < HTTP_METHOD_OTHER; i++) {
        if (str_eq(s, methods[i].text)) {
            return (enum http_method)i;
        }
    }
    return HTTP_METHOD_OTHER;
}

struct str http_method_text(enum http_method m)
{
    ASSERT(m < HTTP_METHOD_COUNT);
    return methods[m].text;
}

bool http_method_is_safe(enum http_method m)
{
    ASSERT(m < HTTP_METHOD_COUNT);
    return methods[m].is_safe;
}

bool http_method_is_idempotent(enum http_method m)
{
    ASSERT(m < HTTP_METHOD_COUNT);
    return methods[m].is_idempotent;
}
