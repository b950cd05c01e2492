/* SPDX-License-Identifier: Apache-2.0 */
#include "http/field.h"

#include "base/assert.h"
#include "http/h1_scan_int.h"

/* The factors make the hash perfect over the table; 512 slots. A new name that collides needs new
 * ones, found by trying random values below 256. */
#define HASH(n, first, middle, last)                                                               \
    (((unsigned)(n)*147U + (unsigned)(first)*11U + (unsigned)(middle)*89U + (unsigned)(last)) &    \
     511U)

#define NAME_BYTES_MAX 32

struct name {
    char lower[NAME_BYTES_MAX]; /* padded with NUL, so that it can be compared by words */
    struct str title;
};

static const struct name names[HTTP_FIELD_COUNT] = {
#define X(id, lower, title, first, middle, last) [id] = {lower, {title, sizeof(title) - 1}},
    HTTP_FIELD_TABLE(X)
#undef X
};

static const uint8_t slots[512] = {
#define X(id, lower, title, first, middle, last)                                                   \
    [HASH(sizeof(lower) - 1, first, middle, last)] = (uint8_t)(id),
    HTTP_FIELD_TABLE(X)
#undef X
};

#define X(id, lower, title, first, middle, last)                                                   \
    _Static_assert(sizeof(lower) == sizeof(title) && sizeof(lower) <= NAME_BYTES_MAX, lower);
HTTP_FIELD_TABLE(X)
#undef X

static uint64_t load_word(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/* Whether eight bytes of `name` are those of `lower`, whose letters may be capitals in `name`. The
 * names of the table consist of letters, digits and `-`; only letters have bit 6. */
static bool word_matches(uint64_t name, uint64_t lower)
{
    uint64_t case_bits = (lower & 0x4040404040404040U) >> 1;
    return ((name ^ lower) & ~case_bits) == 0;
}

/* `lower` has NUL padding, `name` may end at the end of its memory. */
static bool name_matches(struct str name, const char *lower)
{
    size_t at = 0;
    for (; at + 8 <= name.n; at += 8) {
        if (!word_matches(load_word(name.p + at), load_word(lower + at))) {
            return false;
        }
    }
    if (at == name.n) {
        return true;
    }
    if (name.n >= 8) {
        at = name.n - 8;
        return word_matches(load_word(name.p + at), load_word(lower + at));
    }
    for (; at < name.n; at++) {
        if (ascii_lower(name.p[at]) != lower[at]) {
            return false;
        }
    }
    return true;
}

enum http_field_id http_field_id(struct str name)
{
    if (name.n < 2 || name.n >= NAME_BYTES_MAX) {
        return HTTP_FIELD_OTHER;
    }
    unsigned slot =
        HASH(name.n, name.p[0] | 0x20, name.p[name.n / 2] | 0x20, name.p[name.n - 1] | 0x20);
    enum http_field_id id = slots[slot];
    if (id == HTTP_FIELD_OTHER || names[id].title.n != name.n ||
        !name_matches(name, names[id].lower)) {
        return HTTP_FIELD_OTHER;
    }
    return id;
}

struct str http_field_name(enum http_field_id id)
{
    ASSERT(id < HTTP_FIELD_COUNT);
    return str_make(names[id].lower, names[id].title.n);
}

struct str http_field_title(enum http_field_id id)
{
    ASSERT(id < HTTP_FIELD_COUNT);
    return names[id].title;
}

bool http_token_is_valid(struct str s)
{
    return s.n > 0 && h1_scan(s.p, s.p + s.n, &h1_class_token) == s.p + s.n;
}

static bool is_white(char c)
{
    return c == ' ' || c == '\t';
}

bool http_field_value_is_valid(struct str value)
{
    if (value.n == 0) {
        return true;
    }
    return !is_white(value.p[0]) && !is_white(value.p[value.n - 1]) &&
           h1_scan(value.p, value.p + value.n, &h1_class_value) == value.p + value.n;
}

static bool is_among(enum http_field_id id, const uint8_t *ids, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

bool http_field_is_forbidden_in_trailer(enum http_field_id id)
{
    static const uint8_t ids[] = {
        HTTP_FIELD_HOST,
        HTTP_FIELD_CONTENT_LENGTH,
        HTTP_FIELD_EXPECT,
        HTTP_FIELD_TRAILER,
        HTTP_FIELD_CONTENT_ENCODING,
        HTTP_FIELD_CONTENT_TYPE,
        HTTP_FIELD_CONTENT_RANGE,
        HTTP_FIELD_RANGE,
        HTTP_FIELD_MAX_FORWARDS,
        HTTP_FIELD_CACHE_CONTROL,
        HTTP_FIELD_AUTHORIZATION,
        HTTP_FIELD_WWW_AUTHENTICATE,
        HTTP_FIELD_COOKIE,
        HTTP_FIELD_SET_COOKIE,
        HTTP_FIELD_FORWARDED,
        HTTP_FIELD_X_FORWARDED_FOR,
        HTTP_FIELD_X_FORWARDED_HOST,
        HTTP_FIELD_X_FORWARDED_PROTO,
        HTTP_FIELD_X_REAL_IP,
    };
    return http_field_is_hop_by_hop(id) || is_among(id, ids, COUNT_OF(ids));
}

bool http_field_is_hop_by_hop(enum http_field_id id)
{
    static const uint8_t ids[] = {
        HTTP_FIELD_CONNECTION,
        HTTP_FIELD_TRANSFER_ENCODING,
        HTTP_FIELD_UPGRADE,
        HTTP_FIELD_TE,
        HTTP_FIELD_KEEP_ALIVE,
        HTTP_FIELD_PROXY_CONNECTION,
        HTTP_FIELD_PROXY_AUTHORIZATION,
        HTTP_FIELD_PROXY_AUTHENTICATE,
        HTTP_FIELD_HTTP2_SETTINGS,
    };
    return is_among(id, ids, COUNT_OF(ids));
}

void http_fields_init(struct http_fields *fields, struct http_field *v, unsigned capacity)
{
    fields->v = v;
    fields->n = 0;
    fields->capacity = capacity < HTTP_FIELDS_MAX ? capacity : HTTP_FIELDS_MAX;
    memset(fields->known, HTTP_FIELD_NONE, sizeof(fields->known));
}

static enum err append(struct http_fields *fields, struct str name, struct str value,
                       enum http_field_id id)
{
    if (fields->n >= fields->capacity) {
        return ERR_LIMIT;
    }
    fields->v[fields->n] = (struct http_field){name, value, (uint16_t)id};
    if (fields->known[id] == HTTP_FIELD_NONE) {
        fields->known[id] = (uint8_t)fields->n;
    }
    fields->n++;
    return ERR_OK;
}

enum err http_fields_add(struct http_fields *fields, struct str name, struct str value)
{
    return append(fields, name, value, http_field_id(name));
}

enum err http_fields_add_id(struct http_fields *fields, enum http_field_id id, struct str value)
{
    ASSERT(id > HTTP_FIELD_OTHER && id < HTTP_FIELD_COUNT);
    return append(fields, http_field_name(id), value, id);
}

enum err http_fields_set_id(struct http_fields *fields, enum http_field_id id, struct str value)
{
    if (fields->n >= fields->capacity && !http_fields_get(fields, id)) {
        return ERR_LIMIT;
    }
    (void)http_fields_remove_id(fields, id);
    return http_fields_add_id(fields, id, value);
}

/* Keeps the fields whose id is not `id` or, for HTTP_FIELD_OTHER, whose name is not `name`. */
static unsigned remove_matching(struct http_fields *fields, enum http_field_id id, struct str name)
{
    unsigned kept = 0, before = fields->n;
    memset(fields->known, HTTP_FIELD_NONE, sizeof(fields->known));
    for (unsigned i = 0; i < before; i++) {
        const struct http_field field = fields->v[i];
        if (field.id == id && (id != HTTP_FIELD_OTHER || str_eq_ci(field.name, name))) {
            continue;
        }
        fields->v[kept] = field;
        if (fields->known[field.id] == HTTP_FIELD_NONE) {
            fields->known[field.id] = (uint8_t)kept;
        }
        kept++;
    }
    fields->n = kept;
    return before - kept;
}

unsigned http_fields_remove_id(struct http_fields *fields, enum http_field_id id)
{
    ASSERT(id > HTTP_FIELD_OTHER && id < HTTP_FIELD_COUNT);
    return http_fields_get(fields, id) ? remove_matching(fields, id, STR("")) : 0;
}

unsigned http_fields_remove(struct http_fields *fields, struct str name)
{
    return remove_matching(fields, http_field_id(name), name);
}

const struct http_field *http_fields_next(const struct http_fields *fields,
                                          const struct http_field *field)
{
    const struct http_field *end = fields->v + fields->n;
    for (const struct http_field *at = field + 1; at < end; at++) {
        if (at->id == field->id &&
            (at->id != HTTP_FIELD_OTHER || str_eq_ci(at->name, field->name))) {
            return at;
        }
    }
    return NULL;
}

const struct http_field *http_fields_find(const struct http_fields *fields, struct str name)
{
    enum http_field_id id = http_field_id(name);
    const struct http_field *first = http_fields_get(fields, id);
    if (!first || id != HTTP_FIELD_OTHER || str_eq_ci(first->name, name)) {
        return first;
    }
    const struct http_field *end = fields->v + fields->n;
    for (const struct http_field *at = first; at < end; at++) {
        if (at->id == HTTP_FIELD_OTHER && str_eq_ci(at->name, name)) {
            return at;
        }
    }
    return NULL;
}

struct str http_fields_value(const struct http_fields *fields, enum http_field_id id)
{
    const struct http_field *field = http_fields_get(fields, id);
    return field ? field->value : (struct str){NULL, 0};
}

bool http_list_next(struct str *rest, struct str *ret_element)
{
    while (rest->n > 0) {
        size_t at = 0;
        bool is_quoted = false;
        for (; at < rest->n; at++) {
            char c = rest->p[at];
            if (c == '"') {
                is_quoted = !is_quoted;
            } else if (c == '\\' && is_quoted && at + 1 < rest->n) {
                at++;
            } else if (c == ',' && !is_quoted) {
                break;
            }
        }
        struct str element = str_trim(str_sub(*rest, 0, at));
        size_t used = at < rest->n ? at + 1 : at;
        *rest = str_sub(*rest, used, rest->n - used);
        if (element.n > 0) {
            *ret_element = element;
            return true;
        }
    }
    return false;
}

bool http_fields_has_token(const struct http_fields *fields, enum http_field_id id,
                           struct str token)
{
    for (const struct http_field *f = http_fields_get(fields, id); f;
         f = http_fields_next(fields, f)) {
        struct str rest = f->value, element;
        while (http_list_next(&rest, &element)) {
            if (str_eq_ci(element, token)) {
                return true;
            }
        }
    }
    return false;
}
