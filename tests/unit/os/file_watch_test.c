/* SPDX-License-Identifier: Apache-2.0 */
/* What is noticed about files, and what is not. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "os/file.h"
#include "os/file_watch.h"

static char home[64];

static const char *at(const char *name)
{
    static char paths[4][256];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", home, name);
    return path;
}

static int set_up(void **state)
{
    strcpy(home, "/tmp/sws-watch-XXXXXX");
    return mkdtemp(home) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", home);
    return system(command);
}

static void write_file(const char *name)
{
    assert_int_equal(file_replace(at(name), STR("text"), 0600), ERR_OK);
}

/* inotify has told everything that was done before. */
static bool is_noticed(struct file_watch *w)
{
    return file_watch_take(w);
}

static struct file_watch *watch(const char *path)
{
    struct file_watch *w;
    assert_int_equal(file_watch_create(&w), ERR_OK);
    assert_int_equal(file_watch_add(w, path), ERR_OK);
    assert_false(is_noticed(w));
    return w;
}

static void test_files(void **state)
{
    write_file("a");
    struct file_watch *w = watch(at("a"));
    write_file("b");
    assert_false(is_noticed(w));
    write_file("a");
    assert_true(is_noticed(w));
    assert_false(is_noticed(w));
    int fd = open(at("a"), O_WRONLY);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_true(is_noticed(w));
    close(fd);
    assert_true(is_noticed(w));
    assert_int_equal(chmod(at("a"), 0640), 0);
    assert_true(is_noticed(w));
    assert_int_equal(unlink(at("a")), 0);
    assert_true(is_noticed(w));
    write_file("a");
    assert_true(is_noticed(w));
    file_watch_destroy(w);
}

static void test_missing_directories(void **state)
{
    struct file_watch *w = watch(at("x/y/z"));
    assert_int_equal(mkdir(at("other"), 0700), 0);
    assert_false(is_noticed(w));
    assert_int_equal(mkdir(at("x"), 0700), 0);
    assert_true(is_noticed(w));
    file_watch_destroy(w);
    w = watch(at("x/y/z"));
    assert_int_equal(mkdir(at("x/y"), 0700), 0);
    assert_true(is_noticed(w));
    file_watch_destroy(w);
    w = watch(at("x/y/z"));
    write_file("x/y/z");
    assert_true(is_noticed(w));
    assert_int_equal(rename(at("x/y"), at("x/q")), 0);
    assert_true(is_noticed(w));
    file_watch_destroy(w);
}

static void test_links(void **state)
{
    assert_int_equal(mkdir(at("archive"), 0700), 0);
    assert_int_equal(mkdir(at("live"), 0700), 0);
    write_file("archive/1");
    write_file("archive/2");
    assert_int_equal(symlink("../archive/1", at("live/now")), 0);
    assert_int_equal(symlink(at("live"), at("way")), 0);
    struct file_watch *w = watch(at("way/now"));
    write_file("archive/2");
    assert_false(is_noticed(w));
    write_file("archive/1");
    assert_true(is_noticed(w));
    assert_int_equal(symlink("../archive/2", at("live/new")), 0);
    assert_false(is_noticed(w));
    assert_int_equal(rename(at("live/new"), at("live/now")), 0);
    assert_true(is_noticed(w));
    assert_int_equal(unlink(at("way")), 0);
    assert_true(is_noticed(w));
    file_watch_destroy(w);
}

static void test_wrong_paths(void **state)
{
    struct file_watch *w;
    char path[5000];
    assert_int_equal(file_watch_create(&w), ERR_OK);
    assert_int_equal(symlink("loop", at("loop")), 0);
    assert_int_equal(file_watch_add(w, at("loop")), ERR_LIMIT);
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(file_watch_add(w, path), ERR_LIMIT);
    assert_int_equal(file_watch_add(w, ""), ERR_OK);
    assert_int_equal(file_watch_add(w, "/"), ERR_OK);
    assert_int_equal(file_watch_add(w, "relative"), ERR_OK);
    write_file("plain");
    assert_int_not_equal(file_watch_add(w, at("plain/below")), ERR_OK);
    file_watch_destroy(w);
    file_watch_destroy(NULL);
}

static void test_no_memory(void **state)
{
    for (unsigned long n = 1;; n++) {
        struct file_watch *w = NULL;
        char name[32];
        mem_test_fail_at(n);
        enum err e = file_watch_create(&w);
        for (unsigned i = 0; i < 20 && !e; i++) {
            snprintf(name, sizeof(name), "f%u", i);
            e = file_watch_add(w, at(name));
        }
        bool is_over = mem_test_fail_at(0) < n;
        file_watch_destroy(w);
        assert_int_equal(e, is_over ? ERR_OK : ERR_NOMEM);
        if (is_over) {
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_directories, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wrong_paths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
