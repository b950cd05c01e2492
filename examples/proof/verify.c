/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify KEY RECEIPT: proves that a log has an entry, and prints it.
 *
 *     cc verify.c -o verify $(pkg-config --cflags --libs swsproof)
 */
#include <stdio.h>

#include <sws/proof.h>

static char receipt_text[SWS_RECEIPT_BYTES_MAX];
static char entry[SWS_ENTRY_BYTES_MAX];
static struct sws_policy policy;

static size_t length_of(const char *text)
{
    size_t n = 0;
    while (text[n]) {
        n++;
    }
    return n;
}

int main(int argc, char **argv)
{
    struct sws_key key;
    struct sws_receipt receipt;
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
    if (!file) {
        fprintf(stderr, "usage: verify KEY RECEIPT\n");
        return 64;
    }
    size_t n = fread(receipt_text, 1, sizeof(receipt_text), file);
    fclose(file);

    enum sws_proof_error error = sws_key_parse(argv[1], length_of(argv[1]), &key);
    if (!error) {
        error = sws_policy_of_log(&key, &policy);
    }
    if (!error) {
        error = sws_verify_receipt(receipt_text, n, &policy, NULL, &receipt);
    }
    if (error) {
        fprintf(stderr, "%s: %s\n", argv[2], sws_proof_error_text(error));
        return 1;
    }
    sws_receipt_entry(&receipt, (uint8_t *)entry);
    printf("entry %llu of %.*s: %.*s\n", (unsigned long long)receipt.index,
           (int)receipt.checkpoint.origin.n, receipt.checkpoint.origin.p, (int)receipt.entry_bytes,
           entry);
    return 0;
}
