/* SPDX-License-Identifier: Apache-2.0 */
/* Any text: the loader does not crash, and what it takes it prints so that it loads the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err no_file(void *context, const char *path, struct buf *out)
{
    (void)context;
    (void)path;
    (void)out;
    return ERR_NOT_FOUND;
}

static enum err no_glob(void *context, const char *pattern,
                        enum err (*on_path)(void *arg, const char *path), void *arg)
{
    (void)context;
    (void)pattern;
    (void)on_path;
    (void)arg;
    return ERR_OK;
}

static const char *get_env(void *context, const char *name)
{
    (void)context;
    return name[0] == 'X' ? "a: [\"b\", ${env:X}]\n\t# \x7f" : NULL;
}

static struct settings *load(struct str text)
{
    static const struct conf_io io = {NULL, no_file, no_glob, get_env};
    struct diag_list diags;
    struct settings *s = NULL;
    diag_list_init(&diags);
    enum err e = settings_load_text("dir/fuzz.yaml", text, &io, &s, &diags);
    struct buf b;
    buf_init(&b, 0);
    diag_list_print(&diags, &b);
    if (e == ERR_CONFIG && diags.count == 0) {
        abort(); /* a refusal always has a reason */
    }
    buf_done(&b);
    diag_list_done(&diags);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings *s = load(str_make((const char *)data, size));
    if (s == NULL) {
        return 0;
    }
    struct buf first;
    struct buf second;
    buf_init(&first, 0);
    buf_init(&second, 0);
    conf_print_effective(s, false, &first);
    conf_print_effective(s, true, &second);
    /* Relative paths were joined to `dir/`; the print is loaded from nowhere. */
    struct diag_list diags;
    struct settings *again = NULL;
    for (int i = 0; i < 2; i++) {
        diag_list_init(&diags);
        if (settings_load_text("print", buf_str(i == 0 ? &first : &second), NULL, &again, &diags) !=
            ERR_OK) {
            fprintf(stderr, "%.*s\n%s\n", (int)first.n, first.p,
                    diags.count > 0 ? diags.items[0].sentence.p : "");
            abort();
        }
        struct buf third;
        buf_init(&third, 0);
        conf_print_effective(again, false, &third);
        if (!str_eq(buf_str(&first), buf_str(&third))) {
            fprintf(stderr, "%.*s\n---\n%.*s\n", (int)first.n, first.p, (int)third.n, third.p);
            abort();
        }
        buf_done(&third);
        settings_destroy(again);
        diag_list_done(&diags);
    }
    settings_destroy(s);
    buf_done(&first);
    buf_done(&second);
    return 0;
}
