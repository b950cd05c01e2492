/* SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "edge/regex.h"

#include <pcre2.h>

#include "base/mem.h"
#include "edge/rewrite_int.h"

#define REGEX_STEPS_MAX 100000
#define REGEX_HEAP_KIB_MAX 4096

struct regex {
    pcre2_general_context *memory;
    pcre2_code *code;
    pcre2_match_context *limits; /* read only after creation, so it may be shared */
};

enum err regex_create(struct str pattern, struct regex **ret_regex, char reterr_text[160],
                      size_t *reterr_at)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    enum err e = ERR_NOMEM;
    struct regex *r = mem_zalloc(1, sizeof(*r));
    if (!r) {
        return ERR_NOMEM;
    }
    pcre2_compile_context *compile = NULL;
    r->memory = pcre2_general_context_create(rewrite_pcre_alloc, rewrite_pcre_free, NULL);
    if (!r->memory) {
        goto fail;
    }
    compile = pcre2_compile_context_create(r->memory);
    r->limits = pcre2_match_context_create(r->memory);
    if (!compile || !r->limits) {
        goto fail;
    }
    r->code = pcre2_compile((PCRE2_SPTR)(pattern.n ? pattern.p : ""), pattern.n,
                            PCRE2_NEVER_BACKSLASH_C | PCRE2_DOTALL, &code, &at, compile);
    if (!r->code && code == PCRE2_ERROR_HEAP_FAILED) {
        goto fail;
    }
    if (!r->code) {
        PCRE2_UCHAR text[160];
        pcre2_get_error_message(code, text, sizeof(text));
        memcpy(reterr_text, text, sizeof(text));
        *reterr_at = at;
        e = ERR_SYNTAX;
        goto fail;
    }
    pcre2_compile_context_free(compile);
    /* Without JIT (not on every machine) matching is slower and just as bounded. */
    pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
    pcre2_set_match_limit(r->limits, REGEX_STEPS_MAX);
    pcre2_set_heap_limit(r->limits, REGEX_HEAP_KIB_MAX);
    *ret_regex = r;
    return ERR_OK;
fail:
    pcre2_compile_context_free(compile);
    regex_destroy(r);
    return e;
}

void regex_destroy(struct regex *r)
{
    if (r) {
        pcre2_match_context_free(r->limits);
        pcre2_code_free(r->code);
        pcre2_general_context_free(r->memory);
        mem_free(r);
    }
}

enum err regex_find(const struct regex *r, struct str subject)
{
    pcre2_match_data *data = pcre2_match_data_create(1, r->memory);
    if (!data) {
        return ERR_NOMEM;
    }
    int rc = pcre2_match(r->code, (PCRE2_SPTR)(subject.n ? subject.p : ""), subject.n, 0, 0, data,
                         r->limits);
    pcre2_match_data_free(data);
    if (rc == PCRE2_ERROR_NOMATCH) {
        return ERR_NOT_FOUND;
    }
    if (rc == PCRE2_ERROR_NOMEMORY) {
        return ERR_NOMEM;
    }
    return rc >= 0 ? ERR_OK : ERR_LIMIT;
}
