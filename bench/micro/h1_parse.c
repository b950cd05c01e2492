/* SPDX-License-Identifier: Apache-2.0 */
/* Nanoseconds per request head for every scanner of this machine: median and fastest of 15
 * rounds; on a busy machine the fastest says more. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "http/h1_parse.h"

#define ROUNDS 15
#define REPEATS 200000

static const char browser[] =
    "GET /assets/img/header-logo.4f2a91.png?v=3 HTTP/1.1\r\n"
    "Host: www.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://www.example.com/products/index.html\r\n"
    "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; lang=en\r\n"
    "Connection: keep-alive\r\n\r\n";

static const char tool[] = "GET /index.html HTTP/1.1\r\n"
                           "Host: localhost:8080\r\n"
                           "User-Agent: curl/8.5.0\r\n"
                           "Accept: */*\r\n\r\n";

static int compare(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(const char *name, const char *p, size_t n)
{
    static struct http_field array[100];
    struct h1_limits limits = h1_limits_default();
    struct h1_request r;
    for (unsigned simd = 0; simd < H1_SIMD_COUNT; simd++) {
        double rounds[ROUNDS];
        if (!h1_simd_select((enum h1_simd)simd)) {
            continue;
        }
        http_fields_init(&r.head.fields, array, COUNT_OF(array));
        for (unsigned i = 0; i < ROUNDS; i++) {
            double start = now_ns();
            for (unsigned j = 0; j < REPEATS; j++) {
                if (h1_parse_request(p, n, 0, &limits, &r) != (ptrdiff_t)n) {
                    abort();
                }
                __asm__ volatile("" ::: "memory");
            }
            rounds[i] = (now_ns() - start) / REPEATS;
        }
        qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
        printf("%-8s %4zu bytes %2u fields  %-7s %7.1f ns (fastest %.1f)\n", name, n,
               r.head.fields.n, h1_simd_name((enum h1_simd)simd), rounds[ROUNDS / 2], rounds[0]);
    }
}

int main(void)
{
    measure("browser", browser, sizeof(browser) - 1);
    measure("tool", tool, sizeof(tool) - 1);
    return 0;
}
