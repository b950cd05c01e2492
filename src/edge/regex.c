/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "edge/regex.h"

#include <pcre2.h>

#include "base/mem.h"

#define REGEX_STEPS_MAX 100000
#define REGEX_HEAP_KIB_MAX 4096

struct regex {
    pcre2_code *code;
    pcre2_match_context *limits; /* read only after creation, so it may be shared */
};

enum err regex_create(struct str pattern, struct regex **ret_regex, char reterr_text[160],
                      size_t *reterr_at)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    struct regex *r = mem_zalloc(1, sizeof(*r));
    if (!r) {
        return ERR_NOMEM;
    }
    r->code = pcre2_compile((PCRE2_SPTR)(pattern.n ? pattern.p : ""), pattern.n,
                            PCRE2_NEVER_BACKSLASH_C | PCRE2_DOTALL, &code, &at, NULL);
    if (!r->code) {
        PCRE2_UCHAR text[160];
        pcre2_get_error_message(code, text, sizeof(text));
        memcpy(reterr_text, text, sizeof(text));
        *reterr_at = at;
        mem_free(r);
        return ERR_SYNTAX;
    }
    /* Without JIT (not on every machine) matching is slower and just as bounded. */
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
    r->limits = pcre2_match_context_create(NULL);
    if (!r->limits) {
        regex_destroy(r);
        return ERR_NOMEM;
    }
    pcre2_set_match_limit(r->limits, REGEX_STEPS_MAX);
    pcre2_set_heap_limit(r->limits, REGEX_HEAP_KIB_MAX);
    *ret_regex = r;
    return ERR_OK;
}

void regex_destroy(struct regex *r)
{
    if (r) {
        pcre2_match_context_free(r->limits);
        pcre2_code_free(r->code);
        mem_free(r);
    }
}

enum err regex_find(const struct regex *r, struct str subject)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (!data) {
        return ERR_LIMIT;
    }
    int rc = pcre2_match(r->code, (PCRE2_SPTR)(subject.n ? subject.p : ""), subject.n, 0, 0, data,
                         r->limits);
    pcre2_match_data_free(data);
    if (rc == PCRE2_ERROR_NOMATCH) {
        return ERR_NOT_FOUND;
    }
    return rc >= 0 ? ERR_OK : ERR_LIMIT;
}
