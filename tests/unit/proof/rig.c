/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdlib.h>

struct rig_log *rig_log_create(uint64_t size)
{
    struct rig_log *log = calloc(1, sizeof(*log));
    assert_non_null(log);
    assert_true(size <= RIG_LOG_MAX);
    merkle_init(&log->tree);
    for (; log->size < size; log->size++) {
        char text[32];
        struct str entry = rig_entry(log->size, text);
        sws_leaf_hash(entry.p, entry.n, log->leaves[log->size]);
        assert_int_equal(merkle_append(&log->tree, log->leaves[log->size], NULL, NULL), ERR_OK);
    }
    return log;
}

struct str rig_entry(uint64_t index, char ret_text[32])
{
    return str_make(ret_text, (size_t)snprintf(ret_text, 32, "entry %u", (unsigned)index));
}

void rig_naive_root(const struct rig_log *log, uint64_t start, uint64_t end,
                    uint8_t ret_root[MERKLE_HASH_BYTES])
{
    uint8_t left[MERKLE_HASH_BYTES], right[MERKLE_HASH_BYTES];
    uint64_t cut = 1;
    if (start == end) {
        merkle_hash_empty(ret_root);
        return;
    }
    if (end - start == 1) {
        memcpy(ret_root, log->leaves[start], MERKLE_HASH_BYTES);
        return;
    }
    while (cut * 2 < end - start) {
        cut *= 2;
    }
    rig_naive_root(log, start, start + cut, left);
    rig_naive_root(log, start + cut, end, right);
    merkle_hash_node(left, right, ret_root);
}

static enum err log_node(void *arg, unsigned level, uint64_t index,
                         uint8_t ret_hash[MERKLE_HASH_BYTES])
{
    struct rig_log *log = arg;
    log->asked++;
    assert_true((index + 1) << level <= log->size);
    rig_naive_root(log, index << level, (index + 1) << level, ret_hash);
    return ERR_OK;
}

struct merkle_source rig_log_source(struct rig_log *log)
{
    return (struct merkle_source){log_node, log};
}

struct secret *rig_seed(uint8_t byte)
{
    char bytes[32];
    memset(bytes, byte, sizeof(bytes));
    struct secret *seed = secret_create(str_make(bytes, sizeof(bytes)));
    assert_non_null(seed);
    return seed;
}

uint64_t rig_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

char *rig_file(const char *path, size_t *ret_n)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        fail_msg("%s cannot be read", path);
    }
    size_t n = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(1, n + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, n, file), n);
    fclose(file);
    *ret_n = n;
    return text;
}
