/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled form of rewrite rules, shared by rewrite_compile.c and rewrite.c. */
#pragma once

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/arena.h"
#include "edge/rewrite.h"

#define REWRITE_CAPTURES_MAX 64

/* A literal, or (`is_capture`) a capture of `from`. */
struct rewrite_piece {
    struct str text;
    uint32_t capture;
    bool is_capture;
};

struct rewrite_template {
    const struct rewrite_piece *pieces;
    size_t count;
};

enum rewrite_condition_kind {
    REWRITE_IF_FILE,
    REWRITE_IF_METHOD,
    REWRITE_IF_HOST,
    REWRITE_IF_HEADER,
    REWRITE_IF_QUERY,
};

struct rewrite_condition {
    struct rewrite_condition *next;
    enum rewrite_condition_kind kind;
    enum rewrite_file_kind file_kind;
    bool is_negated;
    struct str words;  /* methods, or the name of a field or parameter */
    pcre2_code *regex; /* NULL: existence is enough */
};

struct rewrite_compiled {
    pcre2_code *from;
    struct rewrite_template path;
    struct rewrite_template query;
    struct rewrite_condition *conditions;
    uint16_t status; /* of a redirect, F or G; 0 where the rule only edits */
    bool is_last;
    bool is_refusal;   /* F, G */
    bool keeps_target; /* `to` is "-" */
    bool sets_query;   /* `to` has a question mark */
    bool drops_query;  /* `to` ends in one */
    bool is_absolute;  /* `to` starts with a scheme */
};

struct rewrite_set {
    struct arena arena;
    pcre2_general_context *memory;
    pcre2_compile_context *compile;
    struct rewrite_compiled *rules;
    size_t rule_count;
};

/* The memory callbacks that take PCRE2 through mem_alloc. */
void *rewrite_pcre_alloc(PCRE2_SIZE size, void *user);
void rewrite_pcre_free(void *p, void *user);
