/* SPDX-License-Identifier: Apache-2.0 */
/* replay_<target> DIRECTORY: gives each file to a fuzz target, without libFuzzer. The name that was
 * printed last is the file that failed. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a block of exactly its size, so that the sanitizers see a read past it. */
static int replay(const char *directory, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        return -1;
    }
    size_t n = (size_t)ftell(file);
    uint8_t *data = malloc(n ? n : 1);
    rewind(file);
    if (!data || fread(data, 1, n, file) != n) {
        perror(path);
        return -1;
    }
    fclose(file);
    puts(name);
    fflush(stdout);
    LLVMFuzzerTestOneInput(data, n);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;
    if (!directory) {
        fprintf(stderr, "%s: no directory with inputs\n", argv[0]);
        return EXIT_FAILURE;
    }
    int count = 0;
    for (const struct dirent *d = readdir(directory); d; d = readdir(directory)) {
        if (d->d_name[0] != '.') {
            if (replay(argv[1], d->d_name) != 0) {
                return EXIT_FAILURE;
            }
            count++;
        }
    }
    closedir(directory);
    printf("%d inputs\n", count);
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
