/* SPDX-License-Identifier: Apache-2.0 */
#include "app/ledger_command.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <sws/proof.h>

#include "app/command.h"
#include "base/base64.h"
#include "base/mem.h"
#include "log/escape.h"
#include "os/file.h"

/* What was read, which everything that was parsed from it points into. */
struct inputs {
    struct buf receipt, key, policy_text, entry;
    struct sws_policy policy;
};

static int read_input(const char *path, size_t bytes_max, struct buf *into)
{
    enum err e = file_read_all(strcmp(path, "-") == 0 ? "/dev/stdin" : path, bytes_max, into);
    if (e) {
        fprintf(stderr, "sws: %s: %s.\n", path, err_text(e));
        return EXIT_CODE_USAGE;
    }
    return EXIT_CODE_OK;
}

/* A key has plus signs, so what has none is a file. */
static int read_key(const char *key, struct inputs *in, struct sws_key *ret_key)
{
    if (strchr(key, '+')) {
        buf_add_str(&in->key, str_of(key));
    } else if (read_input(key, SWS_CHECKPOINT_BYTES_MAX, &in->key)) {
        return EXIT_CODE_USAGE;
    }
    while (in->key.n && in->key.p[in->key.n - 1] == '\n') {
        in->key.n--;
    }
    enum sws_proof_error e = sws_key_parse(in->key.p, in->key.n, ret_key);
    if (!e && ret_key->type != SWS_KEY_LOG) {
        fprintf(stderr, "sws: --key is that of a witness; it must be that of the log.\n");
        return EXIT_CODE_USAGE;
    }
    if (e) {
        fprintf(stderr, "sws: %s: %s. A key looks like example.com/log+33d7b496+AeHTu4Q3hEIM...\n",
                key, sws_proof_error_text(e));
        return EXIT_CODE_USAGE;
    }
    return EXIT_CODE_OK;
}

static int read_policy(const struct ledger_verify_options *options, struct inputs *in)
{
    struct sws_key key;
    uint32_t line;
    if (options->key && read_key(options->key, in, &key)) {
        return EXIT_CODE_USAGE;
    }
    if (!options->policy) {
        return sws_policy_of_log(&key, &in->policy) ? EXIT_CODE_USAGE : EXIT_CODE_OK;
    }
    if (read_input(options->policy, SWS_POLICY_BYTES_MAX, &in->policy_text)) {
        return EXIT_CODE_USAGE;
    }
    enum sws_proof_error e =
        sws_policy_parse(in->policy_text.p, in->policy_text.n, &in->policy, &line);
    if (e && line) {
        fprintf(stderr, "sws: %s:%u: %s.\n", options->policy, (unsigned)line,
                sws_proof_error_text(e));
    } else if (e) {
        fprintf(stderr, "sws: %s: it has no quorum line; `quorum none` asks for no witness.\n",
                options->policy);
    } else if (options->key) {
        e = sws_policy_set_log(&in->policy, &key);
    } else if (!in->policy.log_count) {
        fprintf(stderr, "sws: %s names no log, so --key is needed.\n", options->policy);
        return EXIT_CODE_USAGE;
    }
    return e ? EXIT_CODE_USAGE : EXIT_CODE_OK;
}

static void add_base64(struct buf *out, const void *bytes, size_t n)
{
    if (buf_reserve(out, BASE64_TEXT_BYTES(n))) {
        base64_encode(str_make(bytes, n), out->p + out->n);
        out->n += BASE64_TEXT_BYTES(n);
    }
}

static void add_time(struct buf *out, uint64_t seconds)
{
    char text[32];
    struct tm parts;
    time_t at = (time_t)seconds;
    if (!gmtime_r(&at, &parts) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts)) {
        buf_add_u64(out, seconds);
        return;
    }
    buf_add_str(out, str_of(text));
}

static void add_text(struct buf *out, const struct sws_receipt *r)
{
    const struct sws_checkpoint *c = &r->checkpoint;
    buf_add_str(out, STR("The log "));
    buf_add(out, c->origin.p, c->origin.n);
    buf_add_str(out, STR(" has the entry.\n  index      "));
    buf_add_u64(out, r->index);
    buf_add_str(out, STR(", in a tree of "));
    buf_add_u64(out, c->size);
    buf_add_str(out, STR("\n  leaf       "));
    add_base64(out, r->leaf_hash, sizeof(r->leaf_hash));
    buf_add_str(out, STR("\n  root       "));
    add_base64(out, c->root, sizeof(c->root));
    if (c->has_state) {
        buf_add_str(out, STR("\n  state      "));
        add_base64(out, c->state_root, sizeof(c->state_root));
    }
    if (c->witness_count) {
        buf_printf(out, "\n  witnesses  %u, the latest at ", (unsigned)c->witness_count);
        add_time(out, c->witness_time);
    }
    buf_add_char(out, '\n');
}

static void add_member(struct buf *out, const char *name, const void *bytes, size_t n)
{
    buf_printf(out, ",\"%s\":\"", name);
    add_base64(out, bytes, n);
    buf_add_char(out, '"');
}

static void add_json(struct buf *out, const struct sws_receipt *r, struct str entry)
{
    const struct sws_checkpoint *c = &r->checkpoint;
    buf_add_str(out, STR("{\"origin\":\""));
    escape_json(out, str_make(c->origin.p, c->origin.n));
    buf_add_str(out, STR("\",\"index\":"));
    buf_add_u64(out, r->index);
    buf_add_str(out, STR(",\"size\":"));
    buf_add_u64(out, c->size);
    add_member(out, "entry", entry.p, entry.n);
    add_member(out, "leaf", r->leaf_hash, sizeof(r->leaf_hash));
    add_member(out, "root", c->root, sizeof(c->root));
    if (c->has_state) {
        add_member(out, "state", c->state_root, sizeof(c->state_root));
    }
    buf_printf(out, ",\"witnesses\":%u,\"witness_time\":", (unsigned)c->witness_count);
    buf_add_u64(out, c->witness_time);
    buf_add_str(out, STR("}\n"));
}

static int print(const struct ledger_verify_options *options, const struct inputs *in,
                 const struct sws_receipt *r)
{
    struct buf out, entry;
    buf_init(&out, 0);
    buf_init(&entry, 0);
    if (!options->is_json) {
        add_text(&out, r);
    } else if (!r->entry_text.p) {
        add_json(&out, r, buf_str(&in->entry));
    } else if (buf_reserve(&entry, r->entry_bytes + 1)) {
        sws_receipt_entry(r, (uint8_t *)entry.p);
        add_json(&out, r, str_make(entry.p, r->entry_bytes));
    }
    bool is_failed = out.is_failed || entry.is_failed;
    if (!is_failed) {
        fwrite(out.p, 1, out.n, stdout);
        fflush(stdout);
    }
    buf_done(&out);
    buf_done(&entry);
    return is_failed ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static int verify(const struct ledger_verify_options *options, struct inputs *in)
{
    struct sws_receipt r;
    if (read_policy(options, in) ||
        read_input(options->receipt, SWS_RECEIPT_BYTES_MAX, &in->receipt) ||
        (options->entry && read_input(options->entry, SWS_ENTRY_BYTES_MAX, &in->entry))) {
        return EXIT_CODE_USAGE;
    }
    const struct sws_text entry = {in->entry.p, in->entry.n};
    enum sws_proof_error e = sws_verify_receipt(in->receipt.p, in->receipt.n, &in->policy,
                                                options->entry ? &entry : NULL, &r);
    if (e) {
        fprintf(stderr, "sws: %s: NOT proved: %s%s.\n", options->receipt, sws_proof_error_text(e),
                e == SWS_PROOF_NO_ENTRY ? " (--entry FILE)" : "");
        return EXIT_CODE_FAILED;
    }
    return options->is_quiet ? EXIT_CODE_OK : print(options, in, &r);
}

int ledger_verify(const struct ledger_verify_options *options)
{
    struct inputs *in = mem_zalloc(1, sizeof(*in));
    if (!in) {
        fprintf(stderr, "sws: %s.\n", err_text(ERR_NOMEM));
        return EXIT_CODE_FAILED;
    }
    int code = verify(options, in);
    buf_done(&in->receipt);
    buf_done(&in->key);
    buf_done(&in->policy_text);
    buf_done(&in->entry);
    mem_free(in);
    return code;
}
