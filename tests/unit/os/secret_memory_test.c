/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "os/secret_memory.h"

/* The sanitizers turn mlock into nothing. */
#ifdef __SANITIZE_ADDRESS__
static const bool has_idle_mlock = true;
#elif defined(__has_feature)
static const bool has_idle_mlock =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
static const bool has_idle_mlock = false;
#endif

/* Whether the mapping at `p` has this flag in /proc/self/smaps ("lo" locked, "dd" not dumped, "dc"
 * not copied by fork). */
static bool has_flag(const void *p, const char *flag)
{
    char line[512];
    bool is_inside = false, has = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        unsigned long from = 0, to = 0;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            is_inside = (uintptr_t)p >= from && (uintptr_t)p < to;
        } else if (is_inside && strncmp(line, "VmFlags:", 8) == 0) {
            has = strstr(line, flag) != NULL;
        }
    }
    fclose(f);
    return has;
}

static void test_pages(void **state)
{
    static const size_t sizes[] = {0, 1, 4096, 4097, 20000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        bool is_hidden = false;
        unsigned char *p = secret_memory_map(sizes[i], &is_hidden);
        assert_non_null(p);
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(p[k], 0);
            p[k] = (unsigned char)k;
        }
        assert_true(has_flag(p, " lo") || (!is_hidden && has_idle_mlock));
        assert_true(has_flag(p, " dc"));
        assert_true(is_hidden || has_flag(p, " dd"));
        /* The kernel cannot read hidden pages for others. */
        char copy;
        struct iovec to = {&copy, 1}, from = {p, 1};
        assert_true(!is_hidden || process_vm_readv(getpid(), &to, 1, &from, 1, 0) == -1);
        memset(p, 0, sizes[i]);
        secret_memory_unmap(p, sizes[i]);
    }
}

static void test_a_child_has_none(void **state)
{
    bool is_hidden;
    volatile char *p = secret_memory_map(1, &is_hidden);
    assert_non_null((void *)p);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        _exit(p[0]);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    secret_memory_unmap((void *)(uintptr_t)p, 1);
}

static void test_the_limit_says_no(void **state)
{
    if (has_idle_mlock) {
        skip();
    }
    pid_t child = fork();
    if (child == 0) {
        /* Without privilege, so that the limit counts. */
        struct rlimit little = {4096, 4096};
        bool is_hidden;
        if (setrlimit(RLIMIT_MEMLOCK, &little) != 0 ||
            (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))) {
            _exit(1);
        }
        _exit(secret_memory_map(1024 * 1024, &is_hidden) != NULL);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_a_child_has_none),
        cmocka_unit_test(test_the_limit_says_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
