/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/rewrite_int.h"

#include <stdio.h>

#include "base/mem.h"

#define PATTERN_BYTES_MAX 4096

struct rewrite_compiler {
    struct rewrite_set *set;
    struct rewrite_fault *fault; /* may be NULL */
};

void *rewrite_pcre_alloc(PCRE2_SIZE size, void *user)
{
    (void)user;
    return mem_alloc(size);
}

void rewrite_pcre_free(void *p, void *user)
{
    (void)user;
    mem_free(p);
}

static enum err rewrite_refuse(const struct rewrite_compiler *c, const char *key, size_t column,
                               const char *reason)
{
    if (c->fault) {
        c->fault->key = key;
        c->fault->column = column;
        snprintf(c->fault->reason, sizeof(c->fault->reason), "%s", reason);
    }
    return ERR_CONFIG;
}

static enum err rewrite_compile_regex(const struct rewrite_compiler *c, const char *key,
                                      struct str text, size_t column, uint32_t options,
                                      pcre2_code **ret_code)
{
    int code;
    PCRE2_SIZE offset = 0;
    /* Bytes, not characters: a canonical path need not be UTF-8. No \C; `$` is the end, not
     * the place before a final newline. */
    options |= PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY | PCRE2_DOTALL;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)(text.p ? text.p : ""), text.n, options, &code,
                                         &offset, c->set->compile);
    if (!compiled) {
        char reason[120];
        if (code == PCRE2_ERROR_HEAP_FAILED) {
            return ERR_NOMEM;
        }
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof(reason));
        return rewrite_refuse(c, key, column + offset, reason);
    }
    uint32_t captures = 0;
    pcre2_pattern_info(compiled, PCRE2_INFO_CAPTURECOUNT, &captures);
    if (captures >= REWRITE_CAPTURES_MAX) {
        pcre2_code_free(compiled);
        return rewrite_refuse(c, key, column, "there are too many groups");
    }
    /* Without JIT (an architecture without it, a kernel that forbids executable memory, which
     * PCRE2 calls lack of memory) the interpreter runs under the same limits. */
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
    *ret_code = compiled;
    return ERR_OK;
}

/* What follows a dollar at text[*at]: a digit, or a number or name in braces. */
static enum err rewrite_parse_capture(const struct rewrite_compiler *c,
                                      const struct rewrite_compiled *rule, struct str text,
                                      size_t *at, uint32_t *ret_capture)
{
    uint32_t groups = 0;
    uint64_t number = 0;
    size_t start = *at;
    pcre2_pattern_info(rule->from, PCRE2_INFO_CAPTURECOUNT, &groups);
    if (start < text.n && ascii_is_digit(text.p[start])) {
        number = (uint64_t)(text.p[start] - '0');
        *at = start + 1;
    } else if (start < text.n && text.p[start] == '{') {
        struct str rest = str_sub(text, start + 1, text.n);
        ptrdiff_t end = str_index(rest, '}');
        char name[33];
        if (end < 1 || (size_t)end >= sizeof(name)) {
            return rewrite_refuse(c, "to", start, "`${` needs a name and `}`");
        }
        memcpy(name, rest.p, (size_t)end);
        name[end] = '\0';
        *at = start + 2 + (size_t)end;
        if (str_to_u64(str_sub(rest, 0, (size_t)end), &number)) {
            int found = pcre2_substring_number_from_name(rule->from, (PCRE2_SPTR)name);
            if (found < 0) {
                return rewrite_refuse(c, "to", start, "`from` has no group of this name");
            }
            number = (uint64_t)found;
        }
    } else {
        return rewrite_refuse(c, "to", start, "`$` is followed by a digit, `{name}` or `$`");
    }
    if (number > groups) {
        return rewrite_refuse(c, "to", start, "`from` has no group of this number");
    }
    *ret_capture = (uint32_t)number;
    return ERR_OK;
}

/* `column`: where `text` stands in `to`, for faults. */
static enum err rewrite_compile_template(const struct rewrite_compiler *c,
                                         const struct rewrite_compiled *rule, struct str text,
                                         struct rewrite_template *ret_template)
{
    size_t piece_max = 1;
    for (size_t i = 0; i < text.n; i++) {
        piece_max += text.p[i] == '$' ? 2 : 0;
        if ((unsigned char)text.p[i] <= 0x20 || text.p[i] == 0x7f) {
            return rewrite_refuse(c, "to", i, "spaces and control characters are refused");
        }
    }
    struct rewrite_piece *pieces = arena_zalloc(&c->set->arena, piece_max * sizeof(*pieces));
    text = arena_str(&c->set->arena, text);
    if (!pieces || !text.p) {
        return ERR_NOMEM;
    }
    size_t count = 0, start = 0, i = 0;
    while (i < text.n) {
        if (text.p[i] != '$') {
            i++;
            continue;
        }
        if (i > start) {
            pieces[count++].text = str_sub(text, start, i - start);
        }
        i++;
        if (i < text.n && text.p[i] == '$') {
            start = i++; /* the second dollar begins the next literal */
            continue;
        }
        enum err e = rewrite_parse_capture(c, rule, text, &i, &pieces[count].capture);
        if (e) {
            return e;
        }
        pieces[count++].is_capture = true;
        start = i;
    }
    if (text.n > start) {
        pieces[count++].text = str_sub(text, start, text.n);
    }
    *ret_template = (struct rewrite_template){pieces, count};
    return ERR_OK;
}

static enum err rewrite_compile_to(const struct rewrite_compiler *c, struct str to,
                                   struct rewrite_compiled *rule)
{
    if (rule->is_refusal || str_eq(to, STR("-"))) {
        if (rule->status && !rule->is_refusal) {
            return rewrite_refuse(c, "to", 0, "a redirect needs a target");
        }
        rule->keeps_target = true;
        return ERR_OK;
    }
    rule->is_absolute = str_starts_with(to, STR("http://")) || str_starts_with(to, STR("https://"));
    bool has_root = to.n > 0 && (to.p[0] == '/' || to.p[0] == '$');
    if (!has_root && !rule->is_absolute) {
        return rewrite_refuse(c, "to", 0, "a target starts with `/`, a capture or http(s)://");
    }
    if (rule->is_absolute && !rule->status) {
        return rewrite_refuse(c, "to", 0, "another host needs the flag R");
    }
    ptrdiff_t mark = str_index(to, '?');
    struct str path = mark < 0 ? to : str_sub(to, 0, (size_t)mark);
    struct str query = mark < 0 ? STR("") : str_sub(to, (size_t)mark + 1, to.n);
    rule->sets_query = mark >= 0;
    if (rule->sets_query && (query.n == 0 || query.p[query.n - 1] == '?')) {
        rule->drops_query = true;
        query.n -= query.n > 0;
    }
    enum err e = rewrite_compile_template(c, rule, path, &rule->path);
    return e ? e : rewrite_compile_template(c, rule, query, &rule->query);
}

static enum err rewrite_compile_flag(const struct rewrite_compiler *c, struct str flag,
                                     struct rewrite_compiled *rule)
{
    uint64_t status = 302;
    if (str_eq(flag, STR("L"))) {
        rule->is_last = true;
        return ERR_OK;
    }
    if (str_eq(flag, STR("P"))) {
        (void)rewrite_refuse(c, "flags", 0, "P is not served yet; use `backend` in a route");
        return ERR_UNSUPPORTED;
    }
    bool is_redirect = str_eq(flag, STR("R"));
    if (str_starts_with(flag, STR("R="))) {
        is_redirect =
            str_to_u64(str_sub(flag, 2, flag.n), &status) == ERR_OK &&
            (status == 301 || status == 302 || status == 303 || status == 307 || status == 308);
        if (!is_redirect) {
            return rewrite_refuse(c, "flags", 0, "R takes 301, 302, 303, 307 or 308");
        }
    }
    bool is_refusal = str_eq(flag, STR("F")) || str_eq(flag, STR("G"));
    if (!is_redirect && !is_refusal) {
        return rewrite_refuse(c, "flags", 0, "the flags are L, R, R=301 to R=308, F and G");
    }
    if (rule->status) {
        return rewrite_refuse(c, "flags", 0, "only one of R, F and G can be given");
    }
    rule->status = is_redirect ? (uint16_t)status : flag.p[0] == 'F' ? 403 : 410;
    rule->is_refusal = is_refusal;
    return ERR_OK;
}

/* Takes the next word off `*rest`; empty where there is none. */
static struct str rewrite_word(struct str *rest)
{
    *rest = str_trim(*rest);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t') {
        n++;
    }
    struct str word = str_sub(*rest, 0, n);
    *rest = str_trim(str_sub(*rest, n, rest->n));
    return word;
}

static enum err rewrite_compile_flags(const struct rewrite_compiler *c, struct str flags,
                                      struct rewrite_compiled *rule)
{
    struct str part;
    while (flags.p && str_split(&flags, ',', &part)) {
        for (struct str flag = rewrite_word(&part); flag.n > 0; flag = rewrite_word(&part)) {
            enum err e = rewrite_compile_flag(c, flag, rule);
            if (e) {
                return e;
            }
        }
    }
    return ERR_OK;
}

/* The term in `rest` whose first word is `verb`. `column`: where the term starts. */
static enum err rewrite_compile_verb(const struct rewrite_compiler *c, struct str verb,
                                     struct str rest, size_t column,
                                     struct rewrite_condition *condition)
{
    static const struct {
        const char *verb;
        enum rewrite_condition_kind kind;
        enum rewrite_file_kind file_kind;
    } verbs[] = {
        {"file", REWRITE_IF_FILE, REWRITE_FILE},     {"dir", REWRITE_IF_FILE, REWRITE_DIR},
        {"exists", REWRITE_IF_FILE, REWRITE_EXISTS}, {"method", REWRITE_IF_METHOD, REWRITE_FILE},
        {"host", REWRITE_IF_HOST, REWRITE_FILE},     {"header", REWRITE_IF_HEADER, REWRITE_FILE},
        {"query", REWRITE_IF_QUERY, REWRITE_FILE},
    };
    size_t i = 0;
    while (i < sizeof(verbs) / sizeof(verbs[0]) && !str_eq(verb, str_of(verbs[i].verb))) {
        i++;
    }
    if (i == sizeof(verbs) / sizeof(verbs[0])) {
        return rewrite_refuse(c, "if", column,
                              "a condition is file, dir, exists, method, host, header or query");
    }
    condition->kind = verbs[i].kind;
    condition->file_kind = verbs[i].file_kind;
    if (condition->kind == REWRITE_IF_FILE) {
        return rest.n ? rewrite_refuse(c, "if", column, "file, dir and exists stand alone")
                      : ERR_OK;
    }
    if (rest.n == 0) {
        return rewrite_refuse(c, "if", column, "something is missing behind this word");
    }
    struct str words = rest;
    if (condition->kind == REWRITE_IF_HEADER || condition->kind == REWRITE_IF_QUERY) {
        words = rewrite_word(&rest);
    }
    condition->words = arena_str(&c->set->arena, words);
    if (!condition->words.p) {
        return ERR_NOMEM;
    }
    if (condition->kind == REWRITE_IF_METHOD || rest.n == 0) {
        return ERR_OK;
    }
    uint32_t options = condition->kind == REWRITE_IF_HOST ? PCRE2_CASELESS : 0;
    return rewrite_compile_regex(c, "if", rest, column, options, &condition->regex);
}

static enum err rewrite_compile_conditions(const struct rewrite_compiler *c, struct str text,
                                           struct rewrite_compiled *rule)
{
    struct rewrite_condition **link = &rule->conditions;
    struct str rest = text;
    while (str_trim(rest).n > 0) {
        const char *joint = memmem(rest.p, rest.n, " && ", 4);
        size_t n = joint ? (size_t)(joint - rest.p) : rest.n;
        struct str term = str_trim(str_sub(rest, 0, n));
        size_t column = text.n - rest.n;
        rest = str_sub(rest, joint ? n + 4 : n, rest.n);
        struct rewrite_condition *condition = arena_zalloc(&c->set->arena, sizeof(*condition));
        if (!condition) {
            return ERR_NOMEM;
        }
        *link = condition;
        link = &condition->next;
        if (term.n > 0 && term.p[0] == '!') {
            condition->is_negated = true;
            term = str_trim(str_sub(term, 1, term.n));
        }
        struct str verb = rewrite_word(&term);
        enum err e = rewrite_compile_verb(c, verb, term, column, condition);
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

static enum err rewrite_compile_rule(const struct rewrite_compiler *c,
                                     const struct rewrite_rule *from, struct rewrite_compiled *to)
{
    enum err e = rewrite_compile_flags(c, from->flags, to);
    if (!e) {
        e = rewrite_compile_regex(c, "from", from->from, 0, 0, &to->from);
    }
    if (!e) {
        e = rewrite_compile_to(c, from->to, to);
    }
    return e ? e : rewrite_compile_conditions(c, from->condition, to);
}

enum err rewrite_create(const struct rewrite_rule *rules, size_t rule_count,
                        struct rewrite_set **ret_set, struct rewrite_fault *reterr_fault)
{
    struct rewrite_set *set = mem_zalloc(1, sizeof(*set));
    if (!set) {
        return ERR_NOMEM;
    }
    arena_init(&set->arena, 1024, 0);
    struct rewrite_compiler c = {set, reterr_fault};
    enum err e = ERR_NOMEM;
    set->memory = pcre2_general_context_create(rewrite_pcre_alloc, rewrite_pcre_free, NULL);
    if (!set->memory) {
        goto fail;
    }
    set->compile = pcre2_compile_context_create(set->memory);
    set->rules = arena_zalloc(&set->arena, (rule_count + 1) * sizeof(*set->rules));
    if (!set->compile || !set->rules) {
        goto fail;
    }
    pcre2_set_max_pattern_length(set->compile, PATTERN_BYTES_MAX);
    for (size_t i = 0; i < rule_count; i++) {
        set->rule_count = i + 1; /* so that a half-built rule is ended too */
        e = rewrite_compile_rule(&c, &rules[i], &set->rules[i]);
        if (e) {
            if (reterr_fault) {
                reterr_fault->rule_index = i;
            }
            goto fail;
        }
    }
    *ret_set = set;
    return ERR_OK;
fail:
    rewrite_destroy(set);
    return e;
}

void rewrite_destroy(struct rewrite_set *set)
{
    if (!set) {
        return;
    }
    for (size_t i = 0; i < set->rule_count; i++) {
        pcre2_code_free(set->rules[i].from);
        for (struct rewrite_condition *at = set->rules[i].conditions; at; at = at->next) {
            pcre2_code_free(at->regex);
        }
    }
    pcre2_compile_context_free(set->compile);
    pcre2_general_context_free(set->memory);
    arena_done(&set->arena);
    mem_free(set);
}
