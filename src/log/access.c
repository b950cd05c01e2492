/* SPDX-License-Identifier: Apache-2.0 */
#include "log/access.h"

#include "log/escape.h"

/* How much of a field is written. An escape is at most six bytes for one, so a line stays below
 * ACCESS_LINE_BYTES_MAX: 6 * (3072 + 2 * 1024 + 512 + 8 * 256 + 8 * (64 + 256)) + names. */
#define TARGET_BYTES_MAX 3072
#define LONG_BYTES_MAX 1024
#define ERROR_BYTES_MAX 512
#define SHORT_BYTES_MAX 256
#define NAME_BYTES_MAX 64

static const struct str redacted = {"redacted", 8};

/* Cuts at a character's border, so that valid UTF-8 stays valid. */
static struct str access_cut(struct str s, size_t n)
{
    if (s.n <= n) {
        return s;
    }
    while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80) {
        n--;
    }
    return str_make(s.p, n);
}

static bool access_is_secret_field(struct str name)
{
    return str_eq_ci(name, STR("authorization")) || str_eq_ci(name, STR("cookie")) ||
           str_eq_ci(name, STR("set-cookie")) || str_eq_ci(name, STR("proxy-authorization"));
}

/* True where the raw parameter name decodes to `name`, case folded. */
static bool access_is_name(struct str raw, struct str name)
{
    size_t at = 0;
    for (size_t i = 0; i < raw.n; at++) {
        char c = str_query_byte(raw, &i);
        if (at >= name.n || ascii_lower(c) != ascii_lower(name.p[at])) {
            return false;
        }
    }
    return at == name.n;
}

static bool access_is_secret_param(const struct access_policy *policy, struct str raw)
{
    for (size_t i = 0; i < policy->query_name_count; i++) {
        if (access_is_name(raw, policy->query_names[i])) {
            return true;
        }
    }
    return false;
}

typedef void (*access_escape_fn)(struct buf *out, struct str s);

/* Writes an URI whose secret parameters are replaced. Both `&` and `;` part parameters, because
 * some programs behind us take both. The cut comes before the split, so it cannot hide a name. */
static void access_add_uri(struct buf *out, const struct access_policy *policy, struct str uri,
                           size_t bytes_max, access_escape_fn escape)
{
    uri = access_cut(uri, bytes_max);
    ptrdiff_t mark = policy && policy->query_name_count > 0 ? str_index(uri, '?') : -1;
    if (mark < 0) {
        escape(out, uri);
        return;
    }
    size_t at = (size_t)mark + 1;
    escape(out, str_sub(uri, 0, at));
    while (at < uri.n) {
        size_t end = at;
        while (end < uri.n && uri.p[end] != '&' && uri.p[end] != ';' && uri.p[end] != '#') {
            end++;
        }
        struct str part = str_sub(uri, at, end - at);
        ptrdiff_t equals = str_index(part, '=');
        if (equals >= 0 && access_is_secret_param(policy, str_sub(part, 0, (size_t)equals))) {
            escape(out, str_sub(part, 0, (size_t)equals + 1));
            buf_add_str(out, redacted);
        } else {
            escape(out, part);
        }
        if (end < uri.n) {
            buf_add_char(out, uri.p[end]);
        }
        at = end + 1;
    }
}

static void access_json_text(struct buf *out, struct str name, struct str value, size_t bytes_max)
{
    if (value.n == 0) {
        return;
    }
    buf_add_str(out, name);
    escape_json(out, access_cut(value, bytes_max));
    buf_add_char(out, '"');
}

/* Extra fields as an object: {"user-agent":"..."}. */
static void access_json_fields(struct buf *out, const struct access_record *r, bool is_response)
{
    bool is_first = true;
    size_t count = r->field_count < ACCESS_FIELDS_MAX ? r->field_count : ACCESS_FIELDS_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct access_field *field = &r->fields[i];
        if (field->is_response != is_response) {
            continue;
        }
        if (!is_first) {
            buf_add_char(out, ',');
        } else if (is_response) {
            buf_add_str(out, STR(",\"response_fields\":{"));
        } else {
            buf_add_str(out, STR(",\"request_fields\":{"));
        }
        is_first = false;
        buf_add_char(out, '"');
        escape_json(out, access_cut(field->name, NAME_BYTES_MAX));
        buf_add_str(out, STR("\":\""));
        bool is_secret = access_is_secret_field(field->name);
        escape_json(out, is_secret ? redacted : access_cut(field->value, SHORT_BYTES_MAX));
        buf_add_char(out, '"');
    }
    if (!is_first) {
        buf_add_char(out, '}');
    }
}

static void access_format_json(const struct access_policy *policy, const struct access_record *r,
                               struct buf *out)
{
    buf_add_str(out, STR("{\"time\":\""));
    escape_time_rfc3339(out, r->time_ns);
    buf_add_str(out, STR("\",\"status\":"));
    buf_add_u64(out, r->status);
    buf_add_str(out, STR(",\"bytes\":"));
    buf_add_u64(out, r->body_bytes);
    buf_add_str(out, STR(",\"duration_us\":"));
    buf_add_u64(out, r->duration_ns / 1000);
    access_json_text(out, STR(",\"client\":\""), r->client_ip, SHORT_BYTES_MAX);
    access_json_text(out, STR(",\"user\":\""), r->user, SHORT_BYTES_MAX);
    access_json_text(out, STR(",\"method\":\""), r->method, SHORT_BYTES_MAX);
    access_json_text(out, STR(",\"host\":\""), r->host, SHORT_BYTES_MAX);
    if (r->target.n > 0) {
        buf_add_str(out, STR(",\"target\":\""));
        access_add_uri(out, policy, r->target, TARGET_BYTES_MAX, escape_json);
        buf_add_char(out, '"');
    }
    access_json_text(out, STR(",\"protocol\":\""), r->protocol, SHORT_BYTES_MAX);
    if (r->referer.n > 0) {
        buf_add_str(out, STR(",\"referer\":\""));
        access_add_uri(out, policy, r->referer, LONG_BYTES_MAX, escape_json);
        buf_add_char(out, '"');
    }
    access_json_text(out, STR(",\"user_agent\":\""), r->user_agent, LONG_BYTES_MAX);
    access_json_text(out, STR(",\"request_id\":\""), r->request_id, SHORT_BYTES_MAX);
    access_json_text(out, STR(",\"trace_id\":\""), r->trace_id, SHORT_BYTES_MAX);
    access_json_text(out, STR(",\"route\":\""), r->route, SHORT_BYTES_MAX);
    access_json_text(out, STR(",\"error\":\""), r->error, ERROR_BYTES_MAX);
    access_json_fields(out, r, false);
    access_json_fields(out, r, true);
    buf_add_str(out, STR("}\n"));
}

/* An unquoted item of a common log line: a space would shift the columns, so it is escaped. */
static void access_clf_word(struct buf *out, struct str s)
{
    if (s.n == 0) {
        buf_add_char(out, '-');
        return;
    }
    struct str part;
    bool is_first = true;
    for (struct str rest = access_cut(s, SHORT_BYTES_MAX);
         rest.p && str_split(&rest, ' ', &part);) {
        if (!is_first) {
            buf_add_str(out, STR("\\x20"));
        }
        is_first = false;
        escape_clf(out, part);
    }
}

static void access_format_clf(const struct access_policy *policy, const struct access_record *r,
                              bool is_combined, struct buf *out)
{
    access_clf_word(out, r->client_ip);
    buf_add_str(out, STR(" - "));
    access_clf_word(out, r->user);
    buf_add_str(out, STR(" ["));
    escape_time_clf(out, r->time_ns);
    buf_add_str(out, STR("] \""));
    escape_clf(out, access_cut(r->method, SHORT_BYTES_MAX));
    buf_add_char(out, ' ');
    access_add_uri(out, policy, r->target, TARGET_BYTES_MAX, escape_clf);
    buf_add_char(out, ' ');
    escape_clf(out, access_cut(r->protocol, SHORT_BYTES_MAX));
    buf_add_str(out, STR("\" "));
    buf_add_u64(out, r->status);
    buf_add_char(out, ' ');
    if (r->body_bytes > 0) {
        buf_add_u64(out, r->body_bytes);
    } else {
        buf_add_char(out, '-');
    }
    if (is_combined) {
        buf_add_str(out, STR(" \""));
        struct str referer = r->referer.n > 0 ? r->referer : STR("-");
        access_add_uri(out, policy, referer, LONG_BYTES_MAX, escape_clf);
        buf_add_str(out, STR("\" \""));
        struct str agent = r->user_agent.n > 0 ? r->user_agent : STR("-");
        escape_clf(out, access_cut(agent, LONG_BYTES_MAX));
        buf_add_char(out, '"');
    }
    buf_add_char(out, '\n');
}

static void access_logfmt_text(struct buf *out, struct str name, struct str value, size_t bytes_max)
{
    if (value.n > 0) {
        buf_add_str(out, name);
        escape_logfmt(out, access_cut(value, bytes_max));
    }
}

/* URIs are always quoted here: the redaction writes them in parts. */
static void access_logfmt_uri(struct buf *out, const struct access_policy *policy, struct str name,
                              struct str value, size_t bytes_max)
{
    if (value.n > 0) {
        buf_add_str(out, name);
        buf_add_char(out, '"');
        access_add_uri(out, policy, value, bytes_max, escape_json);
        buf_add_char(out, '"');
    }
}

/* A key has no spaces, equals signs or quotes: whatever is no token character becomes `_`. */
static void access_logfmt_field(struct buf *out, const struct access_field *field)
{
    struct str name = access_cut(field->name, NAME_BYTES_MAX);
    buf_add_str(out, field->is_response ? STR(" response.") : STR(" request."));
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool is_plain = ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
        buf_add_char(out, is_plain ? ascii_lower(c) : '_');
    }
    buf_add_char(out, '=');
    bool is_secret = access_is_secret_field(field->name);
    escape_logfmt(out, is_secret ? redacted : access_cut(field->value, SHORT_BYTES_MAX));
}

static void access_format_logfmt(const struct access_policy *policy, const struct access_record *r,
                                 struct buf *out)
{
    buf_add_str(out, STR("time="));
    escape_time_rfc3339(out, r->time_ns);
    buf_add_str(out, STR(" status="));
    buf_add_u64(out, r->status);
    buf_add_str(out, STR(" bytes="));
    buf_add_u64(out, r->body_bytes);
    buf_add_str(out, STR(" duration_us="));
    buf_add_u64(out, r->duration_ns / 1000);
    access_logfmt_text(out, STR(" client="), r->client_ip, SHORT_BYTES_MAX);
    access_logfmt_text(out, STR(" user="), r->user, SHORT_BYTES_MAX);
    access_logfmt_text(out, STR(" method="), r->method, SHORT_BYTES_MAX);
    access_logfmt_text(out, STR(" host="), r->host, SHORT_BYTES_MAX);
    access_logfmt_uri(out, policy, STR(" target="), r->target, TARGET_BYTES_MAX);
    access_logfmt_text(out, STR(" protocol="), r->protocol, SHORT_BYTES_MAX);
    access_logfmt_uri(out, policy, STR(" referer="), r->referer, LONG_BYTES_MAX);
    access_logfmt_text(out, STR(" user_agent="), r->user_agent, LONG_BYTES_MAX);
    access_logfmt_text(out, STR(" request_id="), r->request_id, SHORT_BYTES_MAX);
    access_logfmt_text(out, STR(" trace_id="), r->trace_id, SHORT_BYTES_MAX);
    access_logfmt_text(out, STR(" route="), r->route, SHORT_BYTES_MAX);
    access_logfmt_text(out, STR(" error="), r->error, ERROR_BYTES_MAX);
    for (size_t i = 0; i < r->field_count && i < ACCESS_FIELDS_MAX; i++) {
        access_logfmt_field(out, &r->fields[i]);
    }
    buf_add_char(out, '\n');
}

void access_format(enum access_format format, const struct access_policy *policy,
                   const struct access_record *record, struct buf *out)
{
    switch (format) {
    case ACCESS_JSON:
        access_format_json(policy, record, out);
        break;
    case ACCESS_COMMON:
        access_format_clf(policy, record, false, out);
        break;
    case ACCESS_COMBINED:
        access_format_clf(policy, record, true, out);
        break;
    case ACCESS_LOGFMT:
        access_format_logfmt(policy, record, out);
        break;
    }
}

enum err access_format_parse(struct str name, enum access_format *ret_format)
{
    static const char *const names[] = {"json", "common", "combined", "logfmt"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_eq(name, str_of(names[i]))) {
            *ret_format = (enum access_format)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}
