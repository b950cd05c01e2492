/* SPDX-License-Identifier: Apache-2.0 */
/* Any text: a refusal has a reason, and addresses that stand on lines are the same as in YAML. */
#include <stdint.h>
#include <stdlib.h>

#include "conf/endpoint_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err parse(struct arena *arena, struct str text, struct endpoint_list *ret_list)
{
    struct diag_list diags;
    diag_list_init(&diags);
    enum err e = endpoint_file_parse(arena, "fuzz.list", text, ret_list, &diags);
    if (e == ERR_CONFIG && diags.count == 0) {
        abort();
    }
    diag_list_done(&diags);
    return e;
}

/* What a line can hold. */
static bool is_plain(struct str url)
{
    for (size_t i = 0; i < url.n; i++) {
        if (url.p[i] <= 0x20 || url.p[i] == 0x7f || url.p[i] == '#') {
            return false;
        }
    }
    return url.p[0] != '-' && url.p[0] != '[';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct endpoint_list list, again;
    arena_init(&arena, 4096, 0);
    if (parse(&arena, str_make((const char *)data, size), &list) == ERR_OK) {
        struct buf text;
        bool are_plain = true;
        buf_init(&text, 0);
        for (size_t i = 0; i < list.count; i++) {
            if (!list.items[i].url.n || list.items[i].weight < 1) {
                abort();
            }
            are_plain &= is_plain(list.items[i].url);
            buf_add_str(&text, list.items[i].url);
            buf_add_str(&text, STR(" # one\n"));
        }
        if (are_plain) {
            if (parse(&arena, buf_str(&text), &again) != ERR_OK || again.count != list.count) {
                abort();
            }
            for (size_t i = 0; i < list.count; i++) {
                if (!str_eq(again.items[i].url, list.items[i].url)) {
                    abort();
                }
            }
        }
        buf_done(&text);
    }
    arena_done(&arena);
    return 0;
}
