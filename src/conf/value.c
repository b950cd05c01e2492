/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/value.h"

enum {
    MS_PER_DAY = 24 * 60 * 60 * 1000,
    DURATION_DAYS_MAX = 36500,
};

static const int64_t SIZE_MAX_BYTES = INT64_C(1) << 53;

const char value_no_memory[] = "out of memory";

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit DURATION_UNITS[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", MS_PER_DAY}, {NULL, 0},
};

static const struct unit SIZE_UNITS[] = {
    {"B", 1},
    {"KB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", 1000000000000},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
    {NULL, 0},
};

const char *value_parse_int(struct str text, int64_t *ret_value, size_t *ret_at)
{
    *ret_at = 0;
    bool is_negative = text.n > 0 && text.p[0] == '-';
    struct str digits = is_negative ? str_sub(text, 1, text.n - 1) : text;
    uint64_t value = 0;
    if (digits.n > 1 && digits.p[0] == '0') {
        return "a number has no leading zero";
    }
    if (digits.n > 18 || str_to_u64(digits, &value) != ERR_OK) {
        return "this is not a whole number";
    }
    *ret_value = is_negative ? -(int64_t)value : (int64_t)value;
    return NULL;
}

/* A whole number and one of `units`, at most `max` after multiplication. */
static const char *parse_with_unit(struct str text, const struct unit *units, int64_t max,
                                   const char *no_unit, const char *unknown_unit,
                                   int64_t *ret_value, size_t *ret_at)
{
    size_t n = 0;
    while (n < text.n && ascii_is_digit(text.p[n])) {
        n++;
    }
    int64_t number = 0;
    const char *fault = value_parse_int(str_sub(text, 0, n), &number, ret_at);
    if (fault != NULL) {
        return n == 0 ? "this does not begin with a number" : fault;
    }
    *ret_at = n;
    if (n == text.n) {
        return no_unit;
    }
    struct str unit = str_sub(text, n, text.n - n);
    for (const struct unit *u = units; u->name != NULL; u++) {
        if (str_eq(unit, str_of(u->name))) {
            if (number > max / u->factor) {
                *ret_at = 0;
                return "this is too large";
            }
            *ret_value = number * u->factor;
            return NULL;
        }
    }
    return unknown_unit;
}

const char *value_parse_duration(struct str text, int64_t *ret_ms, size_t *ret_at)
{
    return parse_with_unit(text, DURATION_UNITS, (int64_t)MS_PER_DAY * DURATION_DAYS_MAX,
                           "a duration needs a unit", "the units of a duration are ms, s, m, h, d",
                           ret_ms, ret_at);
}

const char *value_parse_size(struct str text, int64_t *ret_bytes, size_t *ret_at)
{
    return parse_with_unit(
        text, SIZE_UNITS, SIZE_MAX_BYTES, "a size needs a unit",
        "the units of a size are B, KB, MB, GB (thousands), KiB, MiB, GiB (1024)", ret_bytes,
        ret_at);
}

const char *value_parse_rate(struct str text, int64_t *ret_bytes_per_s, size_t *ret_at)
{
    if (!str_ends_with(text, STR("/s"))) {
        *ret_at = text.n;
        return "a rate ends in /s, such as 240B/s";
    }
    return value_parse_size(str_sub(text, 0, text.n - 2), ret_bytes_per_s, ret_at);
}

const char *value_parse_share(struct str text, int64_t *ret_ppm, size_t *ret_at)
{
    *ret_at = 0;
    if (!str_ends_with(text, STR("%"))) {
        *ret_at = text.n;
        return "a share needs a percent sign, such as 10%";
    }
    struct str number = str_sub(text, 0, text.n - 1);
    struct str whole = number;
    struct str fraction = str_make(NULL, 0);
    ptrdiff_t dot = str_index(number, '.');
    if (dot >= 0) {
        whole = str_sub(number, 0, (size_t)dot);
        fraction = str_sub(number, (size_t)dot + 1, number.n);
    }
    uint64_t ppm = 0;
    if (whole.n > 3 || fraction.n > 4 || str_to_u64(whole, &ppm) != ERR_OK ||
        (dot >= 0 && fraction.n == 0)) {
        return "a share is 0% to 100% with at most four decimals";
    }
    uint64_t scale = 1000;
    ppm *= 10000;
    for (size_t i = 0; i < fraction.n; i++) {
        if (!ascii_is_digit(fraction.p[i])) {
            return "a share is 0% to 100% with at most four decimals";
        }
        ppm += (uint64_t)(fraction.p[i] - '0') * scale;
        scale /= 10;
    }
    if (ppm > 1000000) {
        return "a share is 0% to 100% with at most four decimals";
    }
    *ret_ppm = (int64_t)ppm;
    return NULL;
}

const char *value_parse_status_class(struct str text, uint16_t *ret_low, uint16_t *ret_high)
{
    static const char *fault = "an error page stands at a status from 400 to 599, or 4xx, or 5xx";
    if (text.n != 3 || (text.p[0] != '4' && text.p[0] != '5')) {
        return fault;
    }
    uint16_t base = (uint16_t)((text.p[0] - '0') * 100);
    if (text.p[1] == 'x' && text.p[2] == 'x') {
        *ret_low = base;
        *ret_high = (uint16_t)(base + 99);
        return NULL;
    }
    uint64_t status = 0;
    if (str_to_u64(text, &status) != ERR_OK) {
        return fault;
    }
    *ret_low = (uint16_t)status;
    *ret_high = (uint16_t)status;
    return NULL;
}

const char *value_parse_cpu(struct str text, int64_t *ret_permille)
{
    uint64_t percent = 0;
    if (!str_ends_with(text, STR("%")) ||
        str_to_u64(str_sub(text, 0, text.n - 1), &percent) != ERR_OK || percent == 0 ||
        percent > 100000) {
        return "a part of a CPU is due here, such as 50%, or 200% for two";
    }
    *ret_permille = (int64_t)percent * 10;
    return NULL;
}

const char *value_split_words(struct arena *arena, struct str text, struct str_list *ret,
                              size_t *ret_at)
{
    /* No word is longer than the text, and no two words share a byte of it. */
    char *bytes = arena_alloc(arena, 2 * text.n + 1);
    struct str *words = arena_alloc(arena, (text.n / 2 + 1) * sizeof(*words));
    size_t count = 0, quote_at = 0;
    char quote = '\0';
    bool is_in_word = false;
    if (bytes == NULL || words == NULL) {
        return value_no_memory;
    }
    for (size_t i = 0; i <= text.n; i++) {
        char c = i < text.n ? text.p[i] : ' ';
        bool is_space = (c == ' ' || c == '\t' || c == '\n') && (quote == '\0' || i == text.n);
        if (!is_space && !is_in_word) {
            words[count++] = str_make(bytes, 0);
            is_in_word = true;
        }
        if (is_space && is_in_word) {
            words[count - 1].n = (size_t)(bytes - words[count - 1].p);
            *bytes++ = '\0';
            is_in_word = false;
        } else if (!is_space && quote == '\0' && (c == '"' || c == '\'')) {
            quote = c;
            quote_at = i;
        } else if (quote != '\0' && c == quote) {
            quote = '\0';
        } else if (!is_space) {
            *bytes++ = c;
        }
    }
    if (quote != '\0') {
        *ret_at = quote_at;
        return "this quote is never closed";
    }
    *ret_at = 0;
    *ret = (struct str_list){words, count};
    return count > 0 ? NULL : "a program is due here";
}
