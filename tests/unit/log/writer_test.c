/* SPDX-License-Identifier: Apache-2.0 */
/* Real files in a folder of their own; waits are for events (writer_sync), never for time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "log/writer.h"

#define SECOND UINT64_C(1000000000)

static char folder[64];
static char path[96];
static sem_t rotated;

static void on_rotated(void *user, struct str name)
{
    (void)user;
    assert_true(str_starts_with(name, str_of(path)));
    sem_post(&rotated);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/sws_writer_XXXXXX");
    sem_init(&rotated, 0, 0);
    if (!mkdtemp(folder)) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/access.log", folder);
    return 0;
}

static int tear_down(void **state)
{
    DIR *dir = opendir(folder);
    (void)state;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char name[400];
        snprintf(name, sizeof(name), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.') {
            unlink(name);
        }
    }
    closedir(dir);
    sem_destroy(&rotated);
    return rmdir(folder);
}

static struct writer_settings usual(void)
{
    struct writer_settings s;
    writer_settings_default(&s);
    s.path = str_of(path);
    s.on_rotated = on_rotated;
    return s;
}

/* The text of path + `ending`, decompressed where that says so; the caller frees. NULL: none. */
static char *read_file(const char *ending)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%s", path, ending);
    FILE *f = fopen(name, "r");
    if (!f) {
        return NULL;
    }
    size_t room = 4u << 20;
    char *text = malloc(room + 1), *plain = malloc(room + 1);
    size_t n = fread(text, 1, room, f);
    fclose(f);
    if (strstr(ending, ".zst")) {
        ZSTD_DCtx *d = ZSTD_createDCtx();
        ZSTD_inBuffer in = {text, n, 0};
        ZSTD_outBuffer out = {plain, room, 0};
        size_t left = ZSTD_decompressStream(d, &out, &in);
        assert_int_equal(left, 0);
        ZSTD_freeDCtx(d);
        n = out.pos;
        free(text);
        text = plain;
    } else {
        free(plain);
    }
    text[n] = '\0';
    return text;
}

static void holds(const char *ending, const char *expected)
{
    char *text = read_file(ending);
    if (!text || strcmp(text, expected) != 0) {
        fail_msg("%s: %s", ending, text ? text : "(none)");
    }
    free(text);
}

static void test_tick_and_destroy(void **state)
{
    struct writer_settings s = usual();
    struct writer *w;
    struct writer_stats stats;
    (void)state;
    assert_int_equal(writer_create(&s, &w), ERR_OK);
    struct writer_producer *p = writer_producer(w, 0);
    assert_true(writer_add(p, STR("one\n"), 5 * SECOND));
    writer_tick(p, 5 * SECOND + 999999999u);
    writer_sync(w);
    holds("", "");
    writer_tick(p, 6 * SECOND);
    writer_sync(w);
    holds("", "one\n");
    assert_true(writer_add(p, STR("two\n"), 7 * SECOND));
    writer_stats(w, &stats);
    assert_int_equal(stats.bytes_written, 4);
    writer_destroy(w);
    holds("", "one\ntwo\n");
    writer_destroy(NULL);
}

static void test_rotate_and_keep(void **state)
{
    struct writer_settings s = usual();
    struct writer *w;
    struct writer_stats stats;
    (void)state;
    s.rotate_bytes = 10;
    s.keep_count = 2;
    assert_int_equal(writer_create(&s, &w), ERR_OK);
    struct writer_producer *p = writer_producer(w, 0);
    static const struct str lines[] = {
        {"first line\n", 11}, {"second line\n", 12}, {"third line\n", 11}, {"last\n", 5}};
    for (size_t i = 0; i < 4; i++) {
        assert_true(writer_add(p, lines[i], 0));
        writer_flush(p);
        writer_sync(w);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sem_trywait(&rotated), 0);
    }
    holds("", "last\n");
    holds(".1.zst", "third line\n");
    holds(".2.zst", "second line\n");
    assert_null(read_file(".3.zst"));
    assert_null(read_file(".1"));
    assert_null(read_file(".1.zst.tmp"));
    writer_stats(w, &stats);
    assert_int_equal(stats.rotations, 3);
    assert_int_equal(stats.bytes_lost, 0);
    writer_destroy(w);
    /* A smaller number removes what is over it; without compression the name is plain. */
    s.keep_count = 1;
    s.is_compressed = false;
    s.rotate_bytes = 0;
    assert_int_equal(writer_create(&s, &w), ERR_OK);
    writer_rotate(w);
    writer_sync(w);
    holds(".1", "last\n");
    holds("", "");
    assert_null(read_file(".1.zst"));
    assert_null(read_file(".2.zst"));
    writer_destroy(w);
}

static void test_age(void **state)
{
    struct writer_settings s = usual();
    struct writer *w;
    struct timespec until;
    (void)state;
    s.rotate_age_ms = 1;
    assert_int_equal(writer_create(&s, &w), ERR_OK);
    assert_true(writer_add(writer_producer(w, 0), STR("old\n"), 0));
    writer_flush(writer_producer(w, 0));
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    assert_int_equal(sem_timedwait(&rotated, &until), 0);
    writer_destroy(w);
    holds(".1.zst", "old\n");
    holds("", "");
}

static void test_reopen(void **state)
{
    struct writer_settings s = usual();
    struct writer *w;
    char moved[128];
    (void)state;
    snprintf(moved, sizeof(moved), "%s.moved", path);
    assert_int_equal(writer_create(&s, &w), ERR_OK);
    struct writer_producer *p = writer_producer(w, 0);
    writer_add(p, STR("before\n"), 0);
    writer_flush(p);
    writer_sync(w);
    assert_int_equal(rename(path, moved), 0);
    writer_reopen(w);
    writer_sync(w);
    writer_add(p, STR("after\n"), 0);
    writer_destroy(w);
    holds(".moved", "before\n");
    holds("", "after\n");
}

/* The file is a pipe nobody reads, so the thread is stuck and the queue fills. */
static void test_full_queue_drops(void **state)
{
    static char line[60000];
    struct writer_settings s = usual();
    struct writer *w;
    struct writer_stats stats;
    unsigned added = 0;
    (void)state;
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    assert_int_equal(mkfifo(path, 0600), 0);
    FILE *reader = fopen(path, "r+");
    assert_non_null(reader);
    s.buffer_count = 3;
    assert_int_equal(writer_create(&s, &w), ERR_OK);
    struct writer_producer *p = writer_producer(w, 0);
    for (int i = 0; i < 10; i++) {
        added += writer_add(p, str_make(line, sizeof(line)), 0);
    }
    assert_true(added >= 3 && added < 10);
    writer_stats(w, &stats);
    assert_int_equal(stats.lines_dropped, 10 - added);
    /* Read all of it, so that the thread can end. */
    size_t left = added * sizeof(line);
    pthread_t ender;
    pthread_create(&ender, NULL, (void *(*)(void *))(void (*)(void))writer_destroy, w);
    while (left > 0) {
        static char got[65536];
        size_t n = fread(got, 1, left < sizeof(got) ? left : sizeof(got), reader);
        assert_true(n > 0);
        left -= n;
    }
    pthread_join(ender, NULL);
    fclose(reader);
}

#define LINES 50000

static void *produce(void *producer)
{
    size_t added = 0;
    for (int i = 0; i < LINES; i++) {
        added += writer_add(producer, STR("0123456789012345678901234567890123456789\n"), 0);
    }
    return (void *)(uintptr_t)added;
}

/* Every line that was taken arrives whole, whatever the threads do. */
static void test_producers(void **state)
{
    struct writer_settings s = usual();
    struct writer *w;
    struct writer_stats stats;
    pthread_t threads[3];
    size_t added = 0, found = 0;
    (void)state;
    s.producer_count = 3;
    assert_int_equal(writer_create(&s, &w), ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, produce, writer_producer(w, i));
    }
    for (unsigned i = 0; i < 3; i++) {
        void *count;
        pthread_join(threads[i], &count);
        added += (size_t)(uintptr_t)count;
    }
    writer_stats(w, &stats);
    assert_int_equal(stats.lines_dropped + added, 3 * LINES);
    writer_destroy(w);
    FILE *f = fopen(path, "r");
    char line[100];
    while (fgets(line, sizeof(line), f)) {
        assert_string_equal(line, "0123456789012345678901234567890123456789\n");
        found++;
    }
    fclose(f);
    assert_int_equal(found, added);
}

static void test_failures(void **state)
{
    static char line[WRITER_BUFFER_BYTES + 1];
    struct writer_settings s = usual();
    struct writer *w;
    struct writer_stats stats;
    (void)state;
    mem_test_fail_at(0);
    assert_int_equal(writer_create(&s, &w), ERR_OK);
    unsigned long count = mem_test_fail_at(0);
    assert_false(writer_add(writer_producer(w, 0), str_make(line, sizeof(line)), 0));
    writer_destroy(w);
    for (unsigned long i = 1; i <= count; i++) {
        mem_test_fail_at(i);
        assert_int_equal(writer_create(&s, &w), ERR_NOMEM);
        mem_test_fail_at(0);
    }
    s.path = STR("/nonexistent/x");
    assert_int_equal(writer_create(&s, &w), ERR_NOT_FOUND);
    s.path = STR("/dev/full");
    assert_int_equal(writer_create(&s, &w), ERR_OK);
    writer_add(writer_producer(w, 0), STR("lost\n"), 0);
    writer_flush(writer_producer(w, 0));
    writer_sync(w);
    writer_stats(w, &stats);
    assert_int_equal(stats.bytes_lost, 5);
    writer_destroy(w);
    s.buffer_count = 1;
    assert_int_equal(writer_create(&s, &w), ERR_RANGE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_tick_and_destroy), T(test_rotate_and_keep), T(test_age),      T(test_reopen),
        T(test_full_queue_drops), T(test_producers),       T(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
