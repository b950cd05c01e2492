/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "base/assert.h"
#include "conf/value.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* The largest unit that divides the value; `units` ends with one of factor 1. */
static void print_with_unit(int64_t value, const struct unit *units, size_t count, struct buf *out)
{
    size_t best = count - 1;
    for (size_t i = 0; i < count; i++) {
        if (value % units[i].factor == 0 && units[i].factor > units[best].factor) {
            best = i;
        }
    }
    buf_printf(out, "%" PRId64 "%s", value / units[best].factor, units[best].name);
}

void value_print_duration(int64_t ms, struct buf *out)
{
    static const struct unit units[] = {
        {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
    };
    if (ms == 0) {
        buf_add_str(out, STR("0s"));
        return;
    }
    print_with_unit(ms, units, COUNT_OF(units), out);
}

void value_print_size(int64_t bytes, struct buf *out)
{
    static const struct unit units[] = {
        {"TiB", INT64_C(1) << 40}, {"TB", 1000000000000}, {"GiB", INT64_C(1) << 30},
        {"GB", 1000000000},        {"MiB", 1 << 20},      {"MB", 1000000},
        {"KiB", 1 << 10},          {"KB", 1000},          {"B", 1},
    };
    if (bytes == 0) {
        buf_add_str(out, STR("0B"));
        return;
    }
    print_with_unit(bytes, units, COUNT_OF(units), out);
}

void value_print_share(int64_t ppm, struct buf *out)
{
    buf_printf(out, "%" PRId64, ppm / 10000);
    int64_t fraction = ppm % 10000;
    if (fraction != 0) {
        int width = 4;
        while (fraction % 10 == 0) {
            fraction /= 10;
            width--;
        }
        buf_printf(out, ".%0*" PRId64, width, fraction);
    }
    buf_add_char(out, '%');
}

/* Text that YAML reads back unchanged without quotes, inside [] and {} too. */
static bool is_plain_safe(struct str s)
{
    if (s.n == 0 || str_eq(s, STR("~")) || str_eq_ci(s, STR("null"))) {
        return false;
    }
    if (!ascii_is_alpha(s.p[0]) && !ascii_is_digit(s.p[0]) && s.p[0] != '/') {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool is_inner_colon = c == ':' && i + 1 < s.n && s.p[i + 1] == '/';
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && memchr("/._-+;%", c, 7) == NULL &&
            !is_inner_colon) {
            return false;
        }
    }
    return true;
}

/* Characters that YAML 1.1 readers fold, drop or refuse. */
static bool must_escape(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           code == 0xfeff || code == 0xfffe || code == 0xffff;
}

static size_t decode(struct str s, size_t i, uint32_t *ret_code)
{
    unsigned char c = (unsigned char)s.p[i];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    uint32_t code = n == 1 ? c : c & (0x7fU >> n);
    if (n > s.n - i) {
        n = s.n - i;
    }
    for (size_t k = 1; k < n; k++) {
        code = code << 6 | ((unsigned char)s.p[i + k] & 0x3fU);
    }
    *ret_code = code;
    return n;
}

void value_print_scalar(struct str s, struct buf *out)
{
    if (is_plain_safe(s)) {
        buf_add_str(out, s);
        return;
    }
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.n;) {
        struct str rest = str_sub(s, i, s.n - i);
        uint32_t code = 0;
        size_t n = decode(s, i, &code);
        if (code == '"' || code == '\\') {
            buf_add_char(out, '\\');
            buf_add_char(out, (char)code);
        } else if (code == '\n') {
            buf_add_str(out, STR("\\n"));
        } else if (must_escape(code)) {
            buf_printf(out, "\\u%04x", code);
        } else {
            if (str_starts_with(rest, STR("${env:")) || str_starts_with(rest, STR("${file:"))) {
                buf_add_char(out, '$');
            }
            buf_add_str(out, str_sub(s, i, n));
        }
        i += n;
    }
    buf_add_char(out, '"');
}
