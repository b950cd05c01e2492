/* SPDX-License-Identifier: Apache-2.0 */
#include "http/websocket_mask_int.h"

#include <string.h>

#include "base/assert.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

uint32_t websocket_mask_rotate(uint32_t key, size_t n)
{
    uint8_t bytes[4], turned[4];
    memcpy(bytes, &key, 4);
    for (size_t i = 0; i < 4; i++) {
        turned[i] = bytes[(i + n) & 3];
    }
    memcpy(&key, turned, 4);
    return key;
}

static void mask_scalar(char *to, const char *from, size_t n, uint32_t key)
{
    uint64_t twice = (uint64_t)key << 32 | key;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, from + i, 8);
        word ^= twice;
        memcpy(to + i, &word, 8);
    }
    uint8_t bytes[4];
    memcpy(bytes, &key, 4);
    for (; i < n; i++) {
        to[i] = (char)((uint8_t)from[i] ^ bytes[i & 3]);
    }
}

#if defined(__x86_64__)

/* SSE2 is part of every x86-64. */
static void mask_sse2(char *to, const char *from, size_t n, uint32_t key)
{
    const __m128i keys = _mm_set1_epi32((int)key);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(from + i));
        _mm_storeu_si128((__m128i *)(void *)(to + i), _mm_xor_si128(bytes, keys));
    }
    mask_scalar(to + i, from + i, n - i, key);
}

__attribute__((target("avx2"))) static void mask_avx2(char *to, const char *from, size_t n,
                                                      uint32_t key)
{
    const __m256i keys = _mm256_set1_epi32((int)key);
    size_t i = 0;
    for (; n - i >= 64; i += 64) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(from + i));
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(from + i + 32));
        _mm256_storeu_si256((__m256i *)(void *)(to + i), _mm256_xor_si256(a, keys));
        _mm256_storeu_si256((__m256i *)(void *)(to + i + 32), _mm256_xor_si256(b, keys));
    }
    if (n - i >= 32) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(from + i));
        _mm256_storeu_si256((__m256i *)(void *)(to + i), _mm256_xor_si256(a, keys));
        i += 32;
    }
    mask_scalar(to + i, from + i, n - i, key);
}

#elif defined(__aarch64__)

static void mask_neon(char *to, const char *from, size_t n, uint32_t key)
{
    const uint8x16_t keys = vreinterpretq_u8_u32(vdupq_n_u32(key));
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        uint8x16_t bytes = vld1q_u8((const uint8_t *)from + i);
        vst1q_u8((uint8_t *)to + i, veorq_u8(bytes, keys));
    }
    mask_scalar(to + i, from + i, n - i, key);
}

#endif

websocket_mask_fn *websocket_mask_of(enum h1_simd simd)
{
    switch (simd) {
    case H1_SIMD_SCALAR:
        return mask_scalar;
#if defined(__x86_64__)
    case H1_SIMD_SSE42:
        return mask_sse2;
    case H1_SIMD_AVX2:
        return __builtin_cpu_supports("avx2") ? mask_avx2 : NULL;
    case H1_SIMD_NEON:
        return NULL;
#elif defined(__aarch64__)
    case H1_SIMD_SSE42:
    case H1_SIMD_AVX2:
        return NULL;
    case H1_SIMD_NEON:
        return mask_neon;
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

websocket_mask_fn *websocket_mask = mask_scalar;

/* Before main(), so that no thread can see the pointer change. */
__attribute__((constructor)) static void select_best(void)
{
    static const enum h1_simd order[] = {H1_SIMD_AVX2, H1_SIMD_NEON, H1_SIMD_SSE42};
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    for (unsigned i = 0; i < COUNT_OF(order); i++) {
        websocket_mask_fn *best = websocket_mask_of(order[i]);
        if (best) {
            websocket_mask = best;
            return;
        }
    }
}
