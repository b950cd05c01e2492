/* SPDX-License-Identifier: Apache-2.0 */
#include "http/negotiate.h"

#include <stdbool.h>

#define WEIGHT_NONE (-1)

enum err http_qvalue_parse(struct str s, unsigned *ret_thousandths)
{
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.')) {
        return ERR_SYNTAX;
    }
    unsigned value = s.p[0] == '1' ? 1000 : 0, place = 100;
    for (size_t i = 2; i < s.n; i++, place /= 10) {
        if (!ascii_is_digit(s.p[i])) {
            return ERR_SYNTAX;
        }
        value += (unsigned)(s.p[i] - '0') * place;
    }
    if (value > HTTP_QVALUE_MAX) {
        return ERR_SYNTAX;
    }
    *ret_thousandths = value;
    return ERR_OK;
}

/* Takes the part of `*rest` before the next `;` outside quotes. */
static bool next_parameter(struct str *rest, struct str *ret_part)
{
    bool is_quoted = false;
    size_t at = 0;
    if (!rest->p) {
        return false;
    }
    for (; at < rest->n && (is_quoted || rest->p[at] != ';'); at++) {
        if (rest->p[at] == '"') {
            is_quoted = !is_quoted;
        } else if (rest->p[at] == '\\' && is_quoted && at + 1 < rest->n) {
            at++;
        }
    }
    *ret_part = str_trim(str_sub(*rest, 0, at));
    *rest = at < rest->n ? str_sub(*rest, at + 1, rest->n) : (struct str){NULL, 0};
    return true;
}

/* Splits `name;a=b;q=0.5`. False when the weight does not parse. */
static bool split_weight(struct str element, struct str *ret_name, unsigned *ret_weight)
{
    struct str rest = element, part;
    unsigned weight = HTTP_QVALUE_MAX;
    if (!next_parameter(&rest, ret_name) || ret_name->n == 0) {
        return false;
    }
    while (next_parameter(&rest, &part)) {
        if (part.n >= 2 && ascii_lower(part.p[0]) == 'q' && part.p[1] == '=') {
            if (http_qvalue_parse(str_sub(part, 2, part.n), &weight) != ERR_OK) {
                return false;
            }
        }
    }
    *ret_weight = weight;
    return true;
}

/* The weight that Accept-Encoding gives `coding` by its name (`*` for the wildcard), or
 * WEIGHT_NONE. The first element counts. */
static int coding_weight(const struct http_fields *fields, struct str coding)
{
    for (const struct http_field *f = http_fields_get(fields, HTTP_FIELD_ACCEPT_ENCODING); f;
         f = http_fields_next(fields, f)) {
        struct str rest = f->value, element, name;
        unsigned weight;
        while (http_list_next(&rest, &element)) {
            if (!split_weight(element, &name, &weight)) {
                continue;
            }
            if (str_eq_ci(name, STR("x-gzip"))) {
                name = STR("gzip");
            }
            if (str_eq_ci(name, coding)) {
                return (int)weight;
            }
        }
    }
    return WEIGHT_NONE;
}

int http_accept_encoding(const struct http_fields *fields, const struct str *offered, unsigned n)
{
    int best = HTTP_CODING_REFUSED, best_weight = 0;
    if (!http_fields_get(fields, HTTP_FIELD_ACCEPT_ENCODING)) {
        return HTTP_CODING_IDENTITY;
    }
    int any = coding_weight(fields, STR("*"));
    for (unsigned i = 0; i < n; i++) {
        int weight = coding_weight(fields, offered[i]);
        if (weight == WEIGHT_NONE) {
            weight = any;
        }
        if (weight > best_weight) {
            best = (int)i;
            best_weight = weight;
        }
    }
    int identity = coding_weight(fields, STR("identity"));
    if (identity == WEIGHT_NONE) {
        identity = any;
    }
    /* RFC 9110 12.5.3: identity is acceptable unless it is refused, yet when nobody names it any
     * coding the client asks for comes first. */
    bool is_refused = identity == 0;
    if (!is_refused && (best == HTTP_CODING_REFUSED || identity > best_weight)) {
        return HTTP_CODING_IDENTITY;
    }
    return best;
}

/* How closely `range` names `type`: 3 as a whole, 2 by `type/` and a star, 1 by stars, 0 not. */
static unsigned range_precision(struct str range, struct str type)
{
    if (str_eq_ci(range, type)) {
        return 3;
    }
    if (str_eq(range, STR("*/*"))) {
        return 1;
    }
    bool has_star = range.n >= 2 && str_ends_with(range, STR("/*"));
    return has_star && type.n >= range.n &&
                   str_eq_ci(str_sub(range, 0, range.n - 1), str_sub(type, 0, range.n - 1))
               ? 2
               : 0;
}

unsigned http_accept_weight(const struct http_fields *fields, struct str media_type)
{
    unsigned best_precision = 0, best_weight = 0;
    const struct http_field *f = http_fields_get(fields, HTTP_FIELD_ACCEPT);
    if (!f) {
        return HTTP_QVALUE_MAX;
    }
    for (; f; f = http_fields_next(fields, f)) {
        struct str rest = f->value, element, range;
        unsigned weight;
        while (http_list_next(&rest, &element)) {
            if (!split_weight(element, &range, &weight)) {
                continue;
            }
            unsigned precision = range_precision(range, media_type);
            if (precision > best_precision ||
                (precision == best_precision && precision > 0 && weight > best_weight)) {
                best_precision = precision;
                best_weight = weight;
            }
        }
    }
    return best_weight;
}

int http_accept_media_type(const struct http_fields *fields, const struct str *offered, unsigned n)
{
    int best = -1;
    unsigned best_weight = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned weight = http_accept_weight(fields, offered[i]);
        if (weight > best_weight) {
            best = (int)i;
            best_weight = weight;
        }
    }
    return best;
}
