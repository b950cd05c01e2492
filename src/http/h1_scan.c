/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_scan_int.h"

#include "base/assert.h"
#include "http/h1_parse.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* The unit test of the scanners checks every byte of these against the grammar. */
const struct h1_class h1_class_token = {
    {0x3a, 0x3f, 0x3e, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3e, 0x3e, 0x3d, 0x15, 0x34, 0x15, 0x3d,
     0x1c},
    {0x00, 0x00, 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00},
};

const struct h1_class h1_class_value = {
    {0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x07, 0x06, 0x06, 0x06, 0x06, 0x06,
     0x02},
    {0x01, 0x00, 0x02, 0x02, 0x02, 0x02, 0x02, 0x04, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02, 0x02,
     0x02},
};

const struct h1_class h1_class_target = {
    {0x06, 0x07, 0x07, 0x06, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07, 0x07,
     0x03},
    {0x00, 0x00, 0x01, 0x02, 0x02, 0x02, 0x02, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00},
};

const struct h1_class h1_class_host = {
    {0x1a, 0x1e, 0x1e, 0x1e, 0x1e, 0x1e, 0x1e, 0x1e, 0x1e, 0x1e, 0x1c, 0x04, 0x04, 0x05, 0x15,
     0x0c},
    {0x00, 0x00, 0x01, 0x02, 0x04, 0x08, 0x04, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00},
};

static const char *scan_scalar(const char *p, const char *end, const struct h1_class *class)
{
    while (p < end && h1_class_has(class, *p)) {
        p++;
    }
    return p;
}

#if defined(__x86_64__)

/* Bit i is set where byte i of `bytes` is outside the class. */
__attribute__((target("sse4.2"), always_inline)) static inline unsigned
outside_16(__m128i bytes, __m128i low, __m128i high)
{
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i of_low = _mm_shuffle_epi8(low, _mm_and_si128(bytes, nibble));
    __m128i of_high = _mm_shuffle_epi8(high, _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble));
    __m128i hit = _mm_and_si128(of_low, of_high);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(hit, _mm_setzero_si128()));
}

__attribute__((target("sse4.2"))) static const char *scan_sse42(const char *p, const char *end,
                                                                const struct h1_class *class)
{
    const __m128i low = _mm_loadu_si128((const __m128i *)(const void *)class->low);
    const __m128i high = _mm_loadu_si128((const __m128i *)(const void *)class->high);
    while (end - p >= 16) {
        unsigned mask = outside_16(_mm_loadu_si128((const __m128i *)(const void *)p), low, high);
        if (mask) {
            return p + __builtin_ctz(mask);
        }
        p += 16;
    }
    return scan_scalar(p, end, class);
}

__attribute__((target("avx2"))) static const char *scan_avx2(const char *p, const char *end,
                                                             const struct h1_class *class)
{
    const __m128i low = _mm_loadu_si128((const __m128i *)(const void *)class->low);
    const __m128i high = _mm_loadu_si128((const __m128i *)(const void *)class->high);
    const __m256i low_2 = _mm256_broadcastsi128_si256(low);
    const __m256i high_2 = _mm256_broadcastsi128_si256(high);
    const __m256i nibble = _mm256_set1_epi8(15);
    while (end - p >= 32) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i of_low = _mm256_shuffle_epi8(low_2, _mm256_and_si256(bytes, nibble));
        __m256i of_high =
            _mm256_shuffle_epi8(high_2, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble));
        __m256i hit = _mm256_and_si256(of_low, of_high);
        unsigned mask =
            (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(hit, _mm256_setzero_si256()));
        if (mask) {
            return p + __builtin_ctz(mask);
        }
        p += 32;
    }
    if (end - p >= 16) {
        unsigned mask = outside_16(_mm_loadu_si128((const __m128i *)(const void *)p), low, high);
        if (mask) {
            return p + __builtin_ctz(mask);
        }
        p += 16;
    }
    return scan_scalar(p, end, class);
}

#elif defined(__aarch64__)

static const char *scan_neon(const char *p, const char *end, const struct h1_class *class)
{
    const uint8x16_t low = vld1q_u8(class->low);
    const uint8x16_t high = vld1q_u8(class->high);
    while (end - p >= 16) {
        uint8x16_t bytes = vld1q_u8((const uint8_t *)p);
        uint8x16_t of_low = vqtbl1q_u8(low, vandq_u8(bytes, vdupq_n_u8(15)));
        uint8x16_t of_high = vqtbl1q_u8(high, vshrq_n_u8(bytes, 4));
        uint8x16_t outside = vceqzq_u8(vandq_u8(of_low, of_high));
        /* Narrowing each 16-bit pair by four bits leaves four mask bits per byte. */
        uint8x8_t narrow = vshrn_n_u16(vreinterpretq_u16_u8(outside), 4);
        uint64_t mask = vget_lane_u64(vreinterpret_u64_u8(narrow), 0);
        if (mask) {
            return p + (__builtin_ctzll(mask) >> 2);
        }
        p += 16;
    }
    return scan_scalar(p, end, class);
}

#endif

static h1_scan_fn *scanner_of(enum h1_simd simd)
{
    switch (simd) {
    case H1_SIMD_SCALAR:
        return scan_scalar;
#if defined(__x86_64__)
    case H1_SIMD_SSE42:
        return __builtin_cpu_supports("sse4.2") ? scan_sse42 : NULL;
    case H1_SIMD_AVX2:
        return __builtin_cpu_supports("avx2") ? scan_avx2 : NULL;
    case H1_SIMD_NEON:
        return NULL;
#elif defined(__aarch64__)
    case H1_SIMD_SSE42:
    case H1_SIMD_AVX2:
        return NULL;
    case H1_SIMD_NEON:
        return scan_neon;
#else
    case H1_SIMD_SSE42:
    case H1_SIMD_AVX2:
    case H1_SIMD_NEON:
        return NULL;
#endif
    case H1_SIMD_COUNT:
        break;
    }
    return NULL;
}

h1_scan_fn *h1_scan = scan_scalar;

enum h1_simd h1_simd_best(void)
{
    static const enum h1_simd order[] = {H1_SIMD_AVX2, H1_SIMD_NEON, H1_SIMD_SSE42};
    for (unsigned i = 0; i < COUNT_OF(order); i++) {
        if (scanner_of(order[i])) {
            return order[i];
        }
    }
    return H1_SIMD_SCALAR;
}

bool h1_simd_select(enum h1_simd simd)
{
    h1_scan_fn *scanner = scanner_of(simd);
    if (!scanner) {
        return false;
    }
    h1_scan = scanner;
    return true;
}

const char *h1_simd_name(enum h1_simd simd)
{
    static const char *const names[H1_SIMD_COUNT] = {"scalar", "sse4.2", "avx2", "neon"};
    ASSERT(simd < H1_SIMD_COUNT);
    return names[simd];
}

/* Before main(), so that no thread can see the pointer change. */
__attribute__((constructor)) static void select_best(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    h1_scan = scanner_of(h1_simd_best());
}
