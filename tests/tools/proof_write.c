/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proof_write DIRECTORY: writes a log of 600 entries as tiles, its key and those of three witnesses
 * as a policy, its checkpoint, some receipts, and consistency and state proofs as JSON lines, for
 * the readers that other languages have. The bytes are the same each time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/mem.h"
#include "proof/sign.h"
#include "proof/state.h"
#include "proof/tile.h"

#define SIZE 600
#define WITNESSES 3
#define KEYS 50
#define NODES_MAX 4096

static const char *folder;
static uint8_t leaves[SIZE][MERKLE_HASH_BYTES];

static void fail(const char *what)
{
    fprintf(stderr, "proof_write: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_file(const char *name, const void *bytes, size_t n)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    for (char *slash = strchr(path + strlen(folder) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0777) && errno != EEXIST) {
            fail(path);
        }
        *slash = '/';
    }
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file)) {
        fail(path);
    }
}

static void must(enum err e)
{
    if (e) {
        fprintf(stderr, "proof_write: %s\n", err_text(e));
        exit(1);
    }
}

static struct str entry_of(uint64_t index, char ret_text[32])
{
    return str_make(ret_text, (size_t)snprintf(ret_text, 32, "entry %u", (unsigned)index));
}

/* ---- the log ---- */

static void root_of(uint64_t start, uint64_t end, uint8_t ret_root[MERKLE_HASH_BYTES])
{
    struct merkle_tree t;
    merkle_init(&t);
    for (uint64_t i = start; i < end; i++) {
        must(merkle_append(&t, leaves[i], NULL, NULL));
    }
    merkle_root(&t, ret_root);
}

static enum err node(void *arg, unsigned level, uint64_t index, uint8_t ret_hash[MERKLE_HASH_BYTES])
{
    (void)arg;
    root_of(index << level, (index + 1) << level, ret_hash);
    return ERR_OK;
}

static const struct merkle_source source = {node, NULL};

static void write_tile(unsigned level, uint64_t index)
{
    static uint8_t hashes[TILE_BYTES];
    struct tile tile = {.level = level, .index = index, .width = tile_width(level, index, SIZE)};
    char path[TILE_PATH_BYTES_MAX];
    struct buf entries;
    buf_init(&entries, 0);
    for (unsigned i = 0; i < tile.width; i++) {
        char text[32];
        uint64_t at = index * TILE_WIDTH + i;
        must(node(NULL, level * TILE_HEIGHT, at, hashes + (size_t)i * MERKLE_HASH_BYTES));
        if (level == 0) {
            must(bundle_add(&entries, entry_of(at, text)));
        }
    }
    tile_path(&tile, path);
    write_file(path, hashes, (size_t)tile.width * MERKLE_HASH_BYTES);
    if (level == 0) {
        tile.is_entries = true;
        tile_path(&tile, path);
        write_file(path, entries.p, entries.n);
    }
    buf_done(&entries);
}

static void write_log(void)
{
    for (uint64_t i = 0; i < SIZE; i++) {
        char text[32];
        struct str entry = entry_of(i, text);
        sws_leaf_hash(entry.p, entry.n, leaves[i]);
    }
    for (unsigned level = 0; level < TILE_LEVELS; level++) {
        for (uint64_t index = 0; tile_width(level, index, SIZE); index++) {
            write_tile(level, index);
        }
    }
}

/* ---- keys, checkpoint, receipts ---- */

static struct sign_key make_key(unsigned i)
{
    static const char *const names[] = {"log.example", "w1.example", "w2.example", "w3.example"};
    uint8_t seed[32];
    memset(seed, (int)i + 1, sizeof(seed));
    struct sign_key key = {str_of(names[i]), i ? SWS_KEY_WITNESS : SWS_KEY_LOG,
                           secret_create(str_make((char *)seed, sizeof(seed)))};
    must(key.seed ? ERR_OK : ERR_NOMEM);
    return key;
}

static void write_signed(const uint8_t *state_root)
{
    static const uint64_t receipts[] = {0, 1, 255, 256, 300, 599};
    uint8_t root[MERKLE_HASH_BYTES];
    struct buf checkpoint, policy, receipt;
    struct sign_checkpoint c = {STR("log.example"), SIZE, root, state_root};
    buf_init(&checkpoint, 0);
    buf_init(&policy, 0);
    root_of(0, SIZE, root);
    must(sign_checkpoint_write(&c, &checkpoint));
    for (unsigned i = 0; i <= WITNESSES; i++) {
        struct sign_key key = make_key(i);
        buf_printf(&policy, i ? "witness w%u " : "log ", i);
        size_t before = policy.n;
        must(sign_key_write(&key, &policy));
        if (!i) {
            write_file("log.key", policy.p + before, policy.n - before);
        }
        buf_add_char(&policy, '\n');
        must(sign_note(&key, 1700000000 + i, &checkpoint));
        secret_destroy((struct secret *)(uintptr_t)key.seed);
    }
    buf_add_str(&policy, STR("group most 2 w1 w2 w3\nquorum most\n"));
    write_file("policy", policy.p, policy.n);
    write_file("checkpoint", checkpoint.p, checkpoint.n);
    for (unsigned i = 0; i < COUNT_OF(receipts); i++) {
        char text[32], name[64];
        struct merkle_path path;
        must(merkle_inclusion(&source, SIZE, receipts[i], &path));
        struct sign_receipt r = {entry_of(receipts[i], text), receipts[i], &path,
                                 buf_str(&checkpoint)};
        buf_init(&receipt, 0);
        must(sign_receipt_write(&r, &receipt));
        snprintf(name, sizeof(name), "%u.tlog-proof", (unsigned)receipts[i]);
        write_file(name, receipt.p, receipt.n);
        buf_done(&receipt);
    }
    buf_done(&checkpoint);
    buf_done(&policy);
}

/* ---- proofs as JSON ---- */

static void add_base64(struct buf *out, const void *bytes, size_t n)
{
    must(buf_reserve(out, BASE64_TEXT_BYTES(n) + 2) ? ERR_OK : ERR_NOMEM);
    buf_add_char(out, '"');
    base64_encode(str_make(bytes, n), out->p + out->n);
    out->n += BASE64_TEXT_BYTES(n);
    buf_add_char(out, '"');
}

static void add_consistency(struct buf *out, uint64_t old_size, uint64_t new_size)
{
    struct merkle_path path;
    uint8_t old_root[MERKLE_HASH_BYTES], new_root[MERKLE_HASH_BYTES];
    root_of(0, old_size, old_root);
    root_of(0, new_size, new_root);
    must(merkle_consistency(&source, old_size, new_size, &path));
    buf_printf(out, "{\"kind\":\"consistency\",\"old_size\":%u,\"new_size\":%u,\"old_root\":",
               (unsigned)old_size, (unsigned)new_size);
    add_base64(out, old_root, sizeof(old_root));
    buf_add_str(out, STR(",\"new_root\":"));
    add_base64(out, new_root, sizeof(new_root));
    buf_add_str(out, STR(",\"path\":["));
    for (size_t i = 0; i < path.count; i++) {
        buf_add_str(out, i ? STR(",") : STR(""));
        add_base64(out, path.hashes[i], MERKLE_HASH_BYTES);
    }
    buf_add_str(out, STR("]}\n"));
}

static struct state_node nodes[NODES_MAX];

static enum err load(void *arg, uint64_t id, struct state_node *ret_node)
{
    (void)arg;
    *ret_node = nodes[id];
    return ERR_OK;
}

static enum err save(void *arg, uint64_t id, const struct state_node *n)
{
    (void)arg;
    must(id < NODES_MAX ? ERR_OK : ERR_LIMIT);
    nodes[id] = *n;
    return ERR_OK;
}

static enum err drop(void *arg, uint64_t id)
{
    (void)arg;
    (void)id;
    return ERR_OK;
}

static const struct state_store store = {load, save, drop, NULL};

/* Keys "key 0" to "key 49" are there, with values of as many bytes as their numbers say. */
static struct str key_of(unsigned i, char ret_text[32])
{
    return str_make(ret_text, (size_t)snprintf(ret_text, 32, "key %u", i));
}

static struct str value_of(unsigned i)
{
    return str_sub(STR("vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"), 0,
                   i);
}

static void add_state(struct buf *out, const struct state_tree *t, unsigned first, unsigned step,
                      unsigned count)
{
    uint8_t paths[128][STATE_HASH_BYTES];
    char text[32];
    struct buf proof;
    buf_init(&proof, 0);
    buf_add_str(out, STR("{\"kind\":\"state\",\"claims\":["));
    for (unsigned i = 0; i < count; i++) {
        unsigned at = first + i * step;
        struct str key = key_of(at, text);
        state_hash(STATE_PREFIX_KEY, key.p, key.n, paths[i]);
        buf_printf(out, "%s[\"" STR_FMT "\",", i ? "," : "", STR_ARG(key));
        if (t->key_count > at) {
            buf_printf(out, "\"" STR_FMT "\"]", STR_ARG(value_of(at)));
        } else {
            buf_add_str(out, STR("null]"));
        }
    }
    must(state_prove(t, &store, paths, count, &proof));
    buf_add_str(out, STR("],\"root\":"));
    add_base64(out, t->root.hash, STATE_HASH_BYTES);
    buf_add_str(out, STR(",\"proof\":"));
    add_base64(out, proof.p, proof.n);
    buf_add_str(out, STR("}\n"));
    buf_done(&proof);
}

static void write_proofs(struct state_tree *t)
{
    struct buf out;
    buf_init(&out, 0);
    add_consistency(&out, 1, 600);
    add_consistency(&out, 256, 600);
    add_consistency(&out, 255, 599);
    add_consistency(&out, 300, 300);
    add_state(&out, t, 0, 1, 3);
    for (unsigned i = 0; i < KEYS; i++) {
        char text[32];
        struct state_change change;
        state_change_set(&change, key_of(i, text), value_of(i));
        must(state_update(t, &store, &change, 1));
        if (i == 0 || i == 1 || i == 6) {
            add_state(&out, t, 0, 1, 1);
            add_state(&out, t, 0, 1, 9);
        }
    }
    add_state(&out, t, 17, 1, 1);
    add_state(&out, t, 99, 1, 1);
    add_state(&out, t, 0, 5, 20);
    add_state(&out, t, 0, 1, 100);
    must(out.is_failed ? ERR_NOMEM : ERR_OK);
    write_file("proofs.jsonl", out.p, out.n);
    buf_done(&out);
}

int main(int argc, char **argv)
{
    struct state_tree t;
    if (argc != 2) {
        fprintf(stderr, "usage: proof_write DIRECTORY\n");
        return 64;
    }
    folder = argv[1];
    state_init(&t);
    write_log();
    write_proofs(&t);
    write_signed(t.root.hash);
    return 0;
}
