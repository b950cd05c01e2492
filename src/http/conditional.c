/* SPDX-License-Identifier: Apache-2.0 */
#include "http/conditional.h"

#include "http/date.h"
#include "http/etag.h"

enum match { MATCH_NO, MATCH_YES, MATCH_MALFORMED };

typedef bool compare_fn(const struct http_etag *a, const struct http_etag *b);

/* Whether any tag of the fields of `id`, or `*`, matches the current representation. */
static enum match match_tags(const struct http_fields *fields, enum http_field_id id,
                             const struct http_validators *validators, compare_fn *compare)
{
    struct http_etag current;
    bool has_current = validators->exists && http_etag_parse(validators->etag, &current) == ERR_OK;
    enum match result = MATCH_NO;
    for (const struct http_field *f = http_fields_get(fields, id); f;
         f = http_fields_next(fields, f)) {
        if (str_eq(f->value, STR("*"))) {
            return validators->exists ? MATCH_YES : MATCH_NO;
        }
        struct str rest = f->value;
        struct http_etag tag;
        enum err e;
        while ((e = http_etag_next(&rest, &tag)) == ERR_OK) {
            if (has_current && compare(&tag, &current)) {
                result = MATCH_YES;
            }
        }
        if (e != ERR_NOT_FOUND) {
            return MATCH_MALFORMED;
        }
    }
    return result;
}

/* The date of a field, when there is exactly one valid one and a date to compare it with. */
static bool has_date(const struct http_fields *fields, enum http_field_id id,
                     const struct http_validators *validators, int64_t now_unix_s,
                     int64_t *ret_date)
{
    const struct http_field *f = http_fields_get(fields, id);
    return f && validators->exists && validators->has_last_modified &&
           !http_fields_next(fields, f) &&
           http_date_parse(f->value, now_unix_s, ret_date) == ERR_OK;
}

enum http_condition http_condition_check(const struct request_head *head,
                                         const struct http_validators *validators,
                                         int64_t now_unix_s)
{
    const struct http_fields *fields = &head->fields;
    bool is_read = head->method == HTTP_GET || head->method == HTTP_HEAD;
    int64_t date;
    if (http_fields_get(fields, HTTP_FIELD_IF_MATCH)) {
        if (match_tags(fields, HTTP_FIELD_IF_MATCH, validators, http_etag_matches_strongly) !=
            MATCH_YES) {
            return HTTP_CONDITION_FAILED;
        }
    } else if (has_date(fields, HTTP_FIELD_IF_UNMODIFIED_SINCE, validators, now_unix_s, &date)) {
        if (validators->last_modified_s > date) {
            return HTTP_CONDITION_FAILED;
        }
    }
    if (http_fields_get(fields, HTTP_FIELD_IF_NONE_MATCH)) {
        if (match_tags(fields, HTTP_FIELD_IF_NONE_MATCH, validators, http_etag_matches_weakly) ==
            MATCH_YES) {
            return is_read ? HTTP_CONDITION_NOT_MODIFIED : HTTP_CONDITION_FAILED;
        }
    } else if (is_read &&
               has_date(fields, HTTP_FIELD_IF_MODIFIED_SINCE, validators, now_unix_s, &date)) {
        if (validators->last_modified_s <= date) {
            return HTTP_CONDITION_NOT_MODIFIED;
        }
    }
    return HTTP_CONDITION_PROCEED;
}

bool http_if_range_matches(const struct request_head *head,
                           const struct http_validators *validators, int64_t now_unix_s)
{
    const struct http_field *f = http_fields_get(&head->fields, HTTP_FIELD_IF_RANGE);
    struct http_etag wanted, current;
    int64_t date;
    if (!f) {
        return true;
    }
    if (http_fields_next(&head->fields, f)) {
        return false;
    }
    if (http_etag_parse(f->value, &wanted) == ERR_OK) {
        return validators->exists && http_etag_parse(validators->etag, &current) == ERR_OK &&
               http_etag_matches_strongly(&wanted, &current);
    }
    /* RFC 9110 8.8.2.2: a date is a strong validator once the second it names is over. */
    return has_date(&head->fields, HTTP_FIELD_IF_RANGE, validators, now_unix_s, &date) &&
           date == validators->last_modified_s && now_unix_s > date;
}
