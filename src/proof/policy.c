/* SPDX-License-Identifier: Apache-2.0 */
/* Policies (C2SP tlog-policy). */
#include "proof/policy_int.h"

#include "base/assert.h"

#define NONE (-1)

/* Words stand between spaces and tabs; false at the end of the line. */
static bool next_word(struct str *rest, struct str *ret_word)
{
    size_t n = 0;
    *rest = str_trim(*rest);
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t') {
        n++;
    }
    *ret_word = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->n);
    return n > 0;
}

/* A key, then perhaps an address, then the end of the line. */
static enum sws_proof_error add_key(struct str rest, enum sws_key_type type,
                                    struct sws_key *ret_key)
{
    struct str text, more;
    if (!next_word(&rest, &text)) {
        return SWS_PROOF_POLICY;
    }
    enum sws_proof_error e = sws_key_parse(text.p, text.n, ret_key);
    if (!e && ret_key->type != type) {
        e = SWS_PROOF_KEY;
    }
    if (!e && next_word(&rest, &more) && next_word(&rest, &more)) {
        e = SWS_PROOF_POLICY;
    }
    return e;
}

static bool is_same_key(const struct sws_key *a, const struct sws_key *b)
{
    return memcmp(a->public_key, b->public_key, sizeof(a->public_key)) == 0;
}

static enum sws_proof_error add_log(struct sws_policy *p, struct str rest)
{
    if (p->log_count == SWS_POLICY_LOGS_MAX) {
        return SWS_PROOF_LIMIT;
    }
    struct sws_key *key = &p->logs[p->log_count];
    enum sws_proof_error e = add_key(rest, SWS_KEY_LOG, key);
    for (uint32_t i = 0; i < p->log_count && !e; i++) {
        e = is_same_key(&p->logs[i], key) ? SWS_PROOF_POLICY : SWS_PROOF_OK;
    }
    p->log_count += !e;
    return e;
}

static int32_t find(const struct sws_policy *p, struct str name)
{
    for (uint32_t i = 0; i < p->member_count; i++) {
        if (str_eq(text_str(p->members[i].name), name)) {
            return (int32_t)i;
        }
    }
    return NONE;
}

/* The next free member, under a name that is new. */
static enum sws_proof_error name_member(struct sws_policy *p, struct str *rest,
                                        struct sws_policy_member **ret_member)
{
    struct str name;
    if (p->member_count == SWS_POLICY_MEMBERS_MAX) {
        return SWS_PROOF_LIMIT;
    }
    if (!next_word(rest, &name) || str_eq(name, STR("none")) || find(p, name) != NONE) {
        return SWS_PROOF_POLICY;
    }
    struct sws_policy_member *m = &p->members[p->member_count];
    *m = (struct sws_policy_member){.name = text_of(name), .group = NONE};
    *ret_member = m;
    return SWS_PROOF_OK;
}

static enum sws_proof_error add_witness(struct sws_policy *p, struct str rest)
{
    struct sws_policy_member *m;
    enum sws_proof_error e = name_member(p, &rest, &m);
    if (!e) {
        e = add_key(rest, SWS_KEY_WITNESS, &m->key);
    }
    for (uint32_t i = 0; i < p->member_count && !e; i++) {
        const struct sws_policy_member *other = &p->members[i];
        bool is_twice = !other->threshold && is_same_key(&other->key, &m->key);
        e = is_twice ? SWS_PROOF_POLICY : SWS_PROOF_OK;
    }
    p->member_count += !e;
    return e;
}

static enum sws_proof_error add_group(struct sws_policy *p, struct str rest)
{
    struct sws_policy_member *m;
    struct str threshold, name;
    uint64_t k = 0;
    enum sws_proof_error e = name_member(p, &rest, &m);
    if (e) {
        return e;
    }
    if (!next_word(&rest, &threshold)) {
        return SWS_PROOF_POLICY;
    }
    while (next_word(&rest, &name)) {
        int32_t at = find(p, name);
        if (at == NONE || p->members[at].group != NONE) {
            return SWS_PROOF_POLICY;
        }
        p->members[at].group = (int32_t)p->member_count;
        m->member_count++;
    }
    if (str_eq(threshold, STR("all"))) {
        k = m->member_count;
    } else if (str_eq(threshold, STR("any"))) {
        k = 1;
    } else if (!note_number(threshold, &k)) {
        return SWS_PROOF_POLICY;
    }
    if (k < 1 || k > m->member_count) {
        return SWS_PROOF_POLICY;
    }
    m->threshold = (uint16_t)k;
    p->member_count++;
    return SWS_PROOF_OK;
}

static enum sws_proof_error set_quorum(struct sws_policy *p, struct str rest)
{
    struct str name, more;
    if (!next_word(&rest, &name) || next_word(&rest, &more)) {
        return SWS_PROOF_POLICY;
    }
    p->quorum = find(p, name);
    return p->quorum == NONE && !str_eq(name, STR("none")) ? SWS_PROOF_POLICY : SWS_PROOF_OK;
}

static enum sws_proof_error add_line(struct sws_policy *p, struct str line, bool *has_quorum)
{
    struct str word;
    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return SWS_PROOF_POLICY;
        }
    }
    if (!next_word(&line, &word) || word.p[0] == '#') {
        return SWS_PROOF_OK;
    }
    if (str_eq(word, STR("log"))) {
        return add_log(p, line);
    }
    if (str_eq(word, STR("witness"))) {
        return add_witness(p, line);
    }
    if (str_eq(word, STR("group"))) {
        return add_group(p, line);
    }
    if (!str_eq(word, STR("quorum")) || *has_quorum) {
        return SWS_PROOF_POLICY;
    }
    *has_quorum = true;
    return set_quorum(p, line);
}

enum sws_proof_error sws_policy_parse(const char *text, size_t text_bytes,
                                      struct sws_policy *ret_policy, uint32_t *reterr_line)
{
    struct str rest = str_make(text, text_bytes), line;
    uint32_t number = 0;
    bool has_quorum = false;
    enum sws_proof_error e = text_bytes > SWS_POLICY_BYTES_MAX ? SWS_PROOF_LIMIT : SWS_PROOF_OK;
    ret_policy->log_count = ret_policy->member_count = 0;
    ret_policy->quorum = NONE;
    while (!e && rest.n) {
        number++;
        /* The standard wants a line end behind the last line too, people forget it. */
        if (!note_line(&rest, &line)) {
            line = rest;
            rest.n = 0;
        }
        e = add_line(ret_policy, line, &has_quorum);
    }
    if (!e && !has_quorum) {
        e = SWS_PROOF_POLICY;
        number = 0;
    }
    if (e && reterr_line) {
        *reterr_line = number;
    }
    return e;
}

enum sws_proof_error sws_policy_set_log(struct sws_policy *policy, const struct sws_key *key)
{
    if (key->type != SWS_KEY_LOG) {
        return SWS_PROOF_KEY;
    }
    policy->logs[0] = *key;
    policy->log_count = 1;
    return SWS_PROOF_OK;
}

enum sws_proof_error sws_policy_of_log(const struct sws_key *key, struct sws_policy *ret_policy)
{
    ret_policy->member_count = 0;
    ret_policy->quorum = NONE;
    return sws_policy_set_log(ret_policy, key);
}

enum sws_proof_error policy_verify(const struct sws_policy *p, const struct note *note,
                                   struct str origin, uint32_t *ret_count, uint64_t *ret_time)
{
    uint16_t satisfied[SWS_POLICY_MEMBERS_MAX] = {0};
    uint64_t time = 0, latest = 0;
    enum sws_proof_error e = SWS_PROOF_LOG;
    uint32_t count = 0;
    bool is_quorum = p->quorum == NONE;
    for (uint32_t i = 0; i < p->log_count; i++) {
        if (str_eq(text_str(p->logs[i].name), origin)) {
            enum sws_proof_error one = note_verify(note, &p->logs[i], &time);
            if (one == SWS_PROOF_SIGNATURE) {
                return one;
            }
            e = one ? e : SWS_PROOF_OK;
        }
    }
    if (e) {
        return e;
    }
    for (uint32_t i = 0; i < p->member_count; i++) {
        const struct sws_policy_member *m = &p->members[i];
        bool has_signed = m->threshold && satisfied[i] >= m->threshold;
        if (!m->threshold) {
            e = note_verify(note, &m->key, &time);
            if (e == SWS_PROOF_SIGNATURE) {
                return e;
            }
            has_signed = !e;
            count += has_signed;
            latest = has_signed && time > latest ? time : latest;
        }
        if (has_signed && m->group != NONE) {
            ASSERT(m->group > (int32_t)i);
            satisfied[m->group]++;
        }
        is_quorum |= has_signed && p->quorum == (int32_t)i;
    }
    *ret_count = count;
    *ret_time = latest;
    return is_quorum ? SWS_PROOF_OK : SWS_PROOF_QUORUM;
}
