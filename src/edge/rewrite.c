/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/rewrite.h"

#include "base/mem.h"
#include "edge/rewrite_int.h"

/* Enough for every sane expression over 16 KB, spent in some milliseconds by an insane one. */
#define MATCH_LIMIT 200000
#define DEPTH_LIMIT 10000
#define HEAP_LIMIT_KIB 1024
#define JIT_STACK_MIN (32 * 1024)
#define JIT_STACK_MAX (256 * 1024)

struct rewrite_scratch {
    pcre2_general_context *memory;
    pcre2_match_context *match;
    pcre2_jit_stack *jit_stack;
    pcre2_match_data *captures; /* of `from` */
    pcre2_match_data *ignored;  /* of conditions, which capture nothing */
    struct buf path;
    struct buf query;
    struct buf next_path;
    struct buf next_query;
    struct buf value;
    bool is_too_long; /* a target hit its bound */
    bool has_break;   /* a capture held CR, LF or NUL */
};

/* How bytes of a capture are written. */
enum rewrite_coding {
    CODING_RAW,   /* into a path that goes on inside */
    CODING_PATH,  /* into the path of a Location */
    CODING_QUERY, /* into a query */
};

struct rewrite_state {
    const struct rewrite_set *set;
    struct rewrite_scratch *scratch;
    const struct rewrite_request *request;
    struct rewrite_result *result;
    enum err error; /* ERR_NOMEM, or ERR_OK */
};

enum rewrite_match {
    MATCH_NO,
    MATCH_YES,
    MATCH_STOP, /* the result or the error is set */
};

enum err rewrite_scratch_create(struct rewrite_scratch **ret_scratch)
{
    struct rewrite_scratch *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    struct buf *bufs[] = {&s->path, &s->query, &s->next_path, &s->next_query, &s->value};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) {
        buf_init(bufs[i], REWRITE_TARGET_BYTES_MAX);
    }
    s->memory = pcre2_general_context_create(rewrite_pcre_alloc, rewrite_pcre_free, NULL);
    if (!s->memory) {
        goto fail;
    }
    s->match = pcre2_match_context_create(s->memory);
    s->jit_stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, s->memory);
    s->captures = pcre2_match_data_create(REWRITE_CAPTURES_MAX, s->memory);
    s->ignored = pcre2_match_data_create(1, s->memory);
    if (!s->match || !s->jit_stack || !s->captures || !s->ignored) {
        goto fail;
    }
    pcre2_set_match_limit(s->match, MATCH_LIMIT);
    pcre2_set_depth_limit(s->match, DEPTH_LIMIT);
    pcre2_set_heap_limit(s->match, HEAP_LIMIT_KIB);
    pcre2_jit_stack_assign(s->match, NULL, s->jit_stack);
    *ret_scratch = s;
    return ERR_OK;
fail:
    rewrite_scratch_destroy(s);
    return ERR_NOMEM;
}

void rewrite_scratch_destroy(struct rewrite_scratch *s)
{
    if (!s) {
        return;
    }
    pcre2_match_data_free(s->ignored);
    pcre2_match_data_free(s->captures);
    pcre2_jit_stack_free(s->jit_stack);
    pcre2_match_context_free(s->match);
    pcre2_general_context_free(s->memory);
    buf_done(&s->path);
    buf_done(&s->query);
    buf_done(&s->next_path);
    buf_done(&s->next_query);
    buf_done(&s->value);
    mem_free(s);
}

static enum rewrite_match rewrite_fault(struct rewrite_state *s, uint16_t status,
                                        const char *reason)
{
    s->result->outcome = REWRITE_REFUSED;
    s->result->status = status;
    s->result->reason = reason;
    return MATCH_STOP;
}

/* A buf failed: either it hit its bound, which is the request's fault, or memory ran out. */
static enum rewrite_match rewrite_buf_fault(struct rewrite_state *s, const struct buf *b,
                                            size_t wanted)
{
    if (b->bytes_max && wanted > b->bytes_max - b->n) {
        return rewrite_fault(s, 414, "the rewritten target is too long");
    }
    s->error = ERR_NOMEM;
    return MATCH_STOP;
}

static enum rewrite_match rewrite_regex(struct rewrite_state *s, const pcre2_code *code,
                                        struct str text, pcre2_match_data *captures)
{
    int found = pcre2_match(code, (PCRE2_SPTR)(text.p ? text.p : ""), text.n, 0, 0, captures,
                            s->scratch->match);
    if (found >= 0) {
        return MATCH_YES;
    }
    switch (found) {
    case PCRE2_ERROR_NOMATCH:
        return MATCH_NO;
    case PCRE2_ERROR_NOMEMORY:
        s->error = ERR_NOMEM;
        return MATCH_STOP;
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_JIT_STACKLIMIT:
        return rewrite_fault(s, 500, "a rewrite expression took too many steps");
    default:
        return rewrite_fault(s, 500, "a rewrite expression failed");
    }
}

static bool rewrite_has_word(struct str words, struct str word)
{
    struct str part;
    while (words.p && str_split(&words, ' ', &part)) {
        if (part.n > 0 && str_eq(part, word)) {
            return true;
        }
    }
    return false;
}

/* Decodes %HH and + into the scratch value; false where it failed (memory or bound). */
static bool rewrite_decode(struct rewrite_state *s, struct str raw)
{
    struct buf *out = &s->scratch->value;
    buf_clear(out);
    if (!buf_reserve(out, raw.n)) {
        return false;
    }
    for (size_t i = 0; i < raw.n;) {
        char c = str_query_byte(raw, &i);
        out->p[out->n++] = c;
    }
    return true;
}

/* The decoded value of the first parameter called `name`, into the scratch value. */
static enum rewrite_match rewrite_query_value(struct rewrite_state *s, struct str name)
{
    struct str rest = buf_str(&s->scratch->query);
    struct str part;
    while (rest.n > 0 && str_split(&rest, '&', &part)) {
        ptrdiff_t equals = str_index(part, '=');
        struct str key = equals < 0 ? part : str_sub(part, 0, (size_t)equals);
        if (!rewrite_decode(s, key)) {
            return rewrite_buf_fault(s, &s->scratch->value, key.n);
        }
        if (!str_eq(buf_str(&s->scratch->value), name)) {
            continue;
        }
        struct str value = equals < 0 ? STR("") : str_sub(part, (size_t)equals + 1, part.n);
        return rewrite_decode(s, value) ? MATCH_YES
                                        : rewrite_buf_fault(s, &s->scratch->value, value.n);
    }
    return MATCH_NO;
}

static enum rewrite_match rewrite_condition_holds(struct rewrite_state *s,
                                                  const struct rewrite_condition *condition)
{
    const struct rewrite_request *r = s->request;
    struct str value = {NULL, 0};
    bool is_true = false;
    enum rewrite_match match = MATCH_NO;
    switch (condition->kind) {
    case REWRITE_IF_FILE:
        is_true =
            r->has_file && r->has_file(r->user, condition->file_kind, buf_str(&s->scratch->path));
        break;
    case REWRITE_IF_METHOD:
        is_true = rewrite_has_word(condition->words, r->method);
        break;
    case REWRITE_IF_HOST:
        value = r->host;
        is_true = true;
        break;
    case REWRITE_IF_HEADER:
        is_true = r->field && r->field(r->user, condition->words, &value);
        break;
    case REWRITE_IF_QUERY:
        match = rewrite_query_value(s, condition->words);
        if (match == MATCH_STOP) {
            return match;
        }
        is_true = match == MATCH_YES;
        value = buf_str(&s->scratch->value);
        break;
    }
    if (is_true && condition->regex) {
        match = rewrite_regex(s, condition->regex, value, s->scratch->ignored);
        if (match == MATCH_STOP) {
            return match;
        }
        is_true = match == MATCH_YES;
    }
    return is_true != condition->is_negated ? MATCH_YES : MATCH_NO;
}

/* What stands for itself in a path (RFC 3986, 3.3); a query value loses its delimiters too. */
static bool rewrite_is_plain(char c, enum rewrite_coding coding)
{
    if (ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("-._~/", c))) {
        return true;
    }
    return coding == CODING_PATH && c && strchr("!$&'()*+,;=:@", c);
}

static bool rewrite_has_break(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\r' || text.p[i] == '\n' || text.p[i] == '\0') {
            return true;
        }
    }
    return false;
}

/* One writer that grows as it goes: nothing is measured before. */
static void rewrite_put(struct rewrite_scratch *s, struct buf *out, struct str text)
{
    if (text.n > REWRITE_TARGET_BYTES_MAX - out->n) {
        s->is_too_long = true;
    } else {
        buf_add_str(out, text);
    }
}

static void rewrite_put_capture(struct rewrite_scratch *s, struct buf *out, struct str text,
                                enum rewrite_coding coding)
{
    static const char hex[] = "0123456789ABCDEF";
    s->has_break |= rewrite_has_break(text);
    if (coding == CODING_RAW) {
        rewrite_put(s, out, text);
        return;
    }
    for (size_t i = 0; i < text.n && !s->is_too_long; i++) {
        unsigned char byte = (unsigned char)text.p[i];
        const char triple[3] = {'%', hex[byte >> 4], hex[byte & 15]};
        bool is_plain = rewrite_is_plain(text.p[i], coding);
        rewrite_put(s, out, is_plain ? str_sub(text, i, 1) : str_make(triple, sizeof(triple)));
    }
}

/* The captures point into the scratch path, so `out` is another buffer. */
static void rewrite_expand(struct rewrite_scratch *scratch, const struct rewrite_template *template,
                           enum rewrite_coding coding, struct buf *out)
{
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(scratch->captures);
    for (size_t i = 0; i < template->count; i++) {
        const struct rewrite_piece *piece = &template->pieces[i];
        if (!piece->is_capture) {
            rewrite_put(scratch, out, piece->text);
            continue;
        }
        PCRE2_SIZE start = ends[2 * piece->capture];
        PCRE2_SIZE end = ends[2 * piece->capture + 1];
        /* \K can set a start behind the end; such a capture is empty. */
        if (start != PCRE2_UNSET && end != PCRE2_UNSET && start < end) {
            rewrite_put_capture(scratch, out, str_sub(buf_str(&scratch->path), start, end - start),
                                coding);
        }
    }
}

/* NULL where the path may go on to routing, else what is wrong with it. */
static const char *rewrite_path_fault(struct str path)
{
    if (path.n == 0 || path.p[0] != '/') {
        return "the rewritten path does not start with a slash";
    }
    for (size_t i = 0; i < path.n; i++) {
        struct str rest = str_sub(path, i, path.n);
        if (rest.p[0] == '/' && rest.n > 1 && rest.p[1] == '.') {
            rest = str_sub(rest, rest.n > 2 && rest.p[2] == '.' ? 3 : 2, rest.n);
            if (rest.n == 0 || rest.p[0] == '/') {
                return "the rewritten path holds a dot segment";
            }
        }
    }
    return NULL;
}

/* Makes runs of slashes one: a canonical path has none, and "//host" in a Location would name
 * another host. */
static void rewrite_merge_slashes(struct buf *path, size_t start)
{
    size_t to = start;
    for (size_t from = start; from < path->n; from++) {
        if (path->p[from] != '/' || to == start || path->p[to - 1] != '/') {
            path->p[to++] = path->p[from];
        }
    }
    path->n = to;
}

/* Writes the target of the rule to next_path and next_query. */
static enum rewrite_match rewrite_make_target(struct rewrite_state *s,
                                              const struct rewrite_compiled *rule)
{
    struct rewrite_scratch *scratch = s->scratch;
    struct buf *path = &scratch->next_path;
    struct buf *query = &scratch->next_query;
    enum rewrite_coding coding = rule->status ? CODING_PATH : CODING_RAW;
    buf_clear(path);
    buf_clear(query);
    rewrite_expand(scratch, &rule->path, coding, path);
    rewrite_expand(scratch, &rule->query, CODING_QUERY, query);
    if (!rule->drops_query && scratch->query.n > 0) {
        if (query->n > 0) {
            rewrite_put(scratch, query, STR("&"));
        }
        rewrite_put(scratch, query, buf_str(&scratch->query));
    }
    if (path->is_failed || query->is_failed) {
        s->error = ERR_NOMEM;
        return MATCH_STOP;
    }
    if (scratch->is_too_long) {
        return rewrite_fault(s, 414, "the rewritten target is too long");
    }
    if (scratch->has_break || rewrite_has_break(buf_str(path)) ||
        rewrite_has_break(buf_str(query))) {
        return rewrite_fault(s, 400, "the rewritten target holds a control character");
    }
    if (!rule->is_absolute) {
        rewrite_merge_slashes(path, 0);
        const char *reason = rewrite_path_fault(buf_str(path));
        if (reason) {
            return rewrite_fault(s, 400, reason);
        }
    }
    return MATCH_YES;
}

static void rewrite_swap(struct buf *a, struct buf *b)
{
    struct buf spare = *a;
    *a = *b;
    *b = spare;
}

static enum rewrite_match rewrite_redirect(struct rewrite_state *s,
                                           const struct rewrite_compiled *rule)
{
    struct buf *location = &s->scratch->next_path;
    struct str query = buf_str(&s->scratch->next_query);
    if (query.n > 0) {
        rewrite_put(s->scratch, location, STR("?"));
        rewrite_put(s->scratch, location, query);
        if (location->is_failed) {
            s->error = ERR_NOMEM;
            return MATCH_STOP;
        }
        if (s->scratch->is_too_long) {
            return rewrite_fault(s, 414, "the rewritten target is too long");
        }
    }
    s->result->outcome = REWRITE_REDIRECT;
    s->result->status = rule->status;
    s->result->location = buf_str(location);
    return MATCH_STOP;
}

/* Tries one rule. MATCH_YES: it edited the target (`*ret_is_changed` when to another one). */
static enum rewrite_match rewrite_apply(struct rewrite_state *s,
                                        const struct rewrite_compiled *rule, bool *ret_is_changed)
{
    struct rewrite_scratch *scratch = s->scratch;
    for (const struct rewrite_condition *at = rule->conditions; at; at = at->next) {
        enum rewrite_match match = rewrite_condition_holds(s, at);
        if (match != MATCH_YES) {
            return match;
        }
    }
    enum rewrite_match match =
        rewrite_regex(s, rule->from, buf_str(&scratch->path), scratch->captures);
    if (match != MATCH_YES) {
        return match;
    }
    s->result->rule = (uint32_t)(rule - s->set->rules);
    if (rule->is_refusal) {
        s->result->outcome = REWRITE_REFUSED;
        s->result->status = rule->status;
        return MATCH_STOP;
    }
    if (rule->keeps_target) {
        return MATCH_YES;
    }
    match = rewrite_make_target(s, rule);
    if (match != MATCH_YES) {
        return match;
    }
    if (rule->status) {
        return rewrite_redirect(s, rule);
    }
    if (!str_eq(buf_str(&scratch->path), buf_str(&scratch->next_path)) ||
        !str_eq(buf_str(&scratch->query), buf_str(&scratch->next_query))) {
        *ret_is_changed = true;
        rewrite_swap(&scratch->path, &scratch->next_path);
        rewrite_swap(&scratch->query, &scratch->next_query);
    }
    return MATCH_YES;
}

/* True where another round is due. */
static bool rewrite_round(struct rewrite_state *s)
{
    bool is_round_changed = false;
    for (size_t i = 0; i < s->set->rule_count; i++) {
        const struct rewrite_compiled *rule = &s->set->rules[i];
        bool is_changed = false;
        enum rewrite_match match = rewrite_apply(s, rule, &is_changed);
        if (match == MATCH_STOP) {
            return false;
        }
        if (is_changed) {
            is_round_changed = true;
            s->result->outcome = REWRITE_CHANGED;
        }
        if (match == MATCH_YES && rule->is_last) {
            return false;
        }
    }
    return is_round_changed;
}

enum err rewrite_run(const struct rewrite_set *set, struct rewrite_scratch *scratch,
                     const struct rewrite_request *request, struct rewrite_result *ret_result)
{
    struct rewrite_result result = {
        .outcome = REWRITE_UNCHANGED, .path = request->path, .query = request->query};
    struct rewrite_state s = {set, scratch, request, &result, ERR_OK};
    if (set->rule_count == 0) {
        *ret_result = result;
        return ERR_OK;
    }
    scratch->is_too_long = false;
    scratch->has_break = false;
    buf_clear(&scratch->path);
    buf_clear(&scratch->query);
    buf_add_str(&scratch->path, request->path);
    buf_add_str(&scratch->query, request->query);
    if (scratch->path.is_failed || scratch->query.is_failed) {
        const struct buf *failed = scratch->path.is_failed ? &scratch->path : &scratch->query;
        size_t wanted = scratch->path.is_failed ? request->path.n : request->query.n;
        rewrite_buf_fault(&s, failed, wanted);
    } else {
        bool is_due = true;
        while (is_due && result.rounds < REWRITE_ROUNDS_MAX) {
            result.rounds++;
            is_due = rewrite_round(&s);
        }
        if (is_due) {
            rewrite_fault(&s, 500, "the rewrites do not settle in ten rounds");
        }
    }
    if (s.error) {
        return s.error;
    }
    if (result.outcome == REWRITE_CHANGED) {
        result.path = buf_str(&scratch->path);
        result.query = buf_str(&scratch->query);
    }
    *ret_result = result;
    return ERR_OK;
}
