/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of files that change: taken as a whole, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/local_ca.h"
#include "crypto/start.h"
#include "edge/site_files.h"

#define FILES_MAX 8

/* The files of the test; text NULL: none is there. */
struct disk {
    struct {
        const char *path;
        const struct buf *text;
    } files[FILES_MAX];
};

struct pem {
    struct buf cert, key;
};

static struct local_ca *ca;
static struct pem a1, a2, ab, other; /* of a.test twice, of a.test and b.test, of other.test */
static char said[512];
static unsigned said_count;

static enum err disk_read(void *context, const char *path, struct buf *out)
{
    const struct disk *d = context;
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (d->files[i].path && d->files[i].text && strcmp(d->files[i].path, path) == 0) {
            buf_add_str(out, buf_str(d->files[i].text));
            return out->is_failed ? ERR_NOMEM : ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

static enum err disk_glob(void *context, const char *pattern,
                          enum err (*on_path)(void *arg, const char *path), void *arg)
{
    return ERR_OK;
}

static const char *disk_get_env(void *context, const char *name)
{
    return NULL;
}

static void put(struct disk *d, size_t i, const char *path, const struct buf *text)
{
    d->files[i].path = path;
    d->files[i].text = text;
}

static void issue(struct pem *pem, const struct str *names, size_t count)
{
    const struct local_ca_order order = {names, count, 30};
    buf_init(&pem->cert, 0);
    buf_init(&pem->key, 0);
    assert_int_equal(local_ca_issue(ca, &order, time(NULL), &pem->cert, &pem->key), ERR_OK);
}

static int set_up(void **state)
{
    static const struct str both[] = {{"a.test", 6}, {"b.test", 6}}, third = {"other.test", 10};
    assert_int_equal(crypto_start(NULL), ERR_OK);
    assert_int_equal(local_ca_create(STR("here"), time(NULL), &ca), ERR_OK);
    issue(&a1, both, 1);
    issue(&a2, both, 1);
    issue(&ab, both, 2);
    issue(&other, &third, 1);
    return 0;
}

static int tear_down(void **state)
{
    struct pem *const all[] = {&a1, &a2, &ab, &other};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buf_done(&all[i]->cert);
        buf_done(&all[i]->key);
    }
    local_ca_destroy(ca);
    return 0;
}

static enum err load(const struct conf_io *io, struct site **ret_site)
{
    static const char text[] = "server:\n  tls: {cert: /s.pem, key: /s.key}\n"
                               "hosts:\n"
                               "  - {domains: a.test, respond: {body: x}}\n"
                               "  - {domains: [default, b.test], respond: {body: x}}\n"
                               "  - {domains: [own.a.test], respond: {body: x}, ssl: off}\n";
    struct diag_list diags;
    struct settings *settings = NULL;
    diag_list_init(&diags);
    enum err e = settings_load_text("test", str_of(text), io, &settings, &diags);
    if (!e) {
        e = site_create(settings, NULL, ret_site, &diags);
        if (e) {
            settings_destroy(settings);
        }
    }
    diag_list_done(&diags);
    return e;
}

static void on_fault(void *context, struct str cert, const char *text)
{
    snprintf(said, sizeof(said), STR_FMT ": %s", STR_ARG(cert), text);
    said_count++;
}

static void expect(struct site_files *f, const struct disk *d, size_t changed, const char *words)
{
    const struct conf_io io = {(void *)(uintptr_t)d, disk_read, disk_glob, disk_get_env};
    said[0] = '\0';
    said_count = 0;
    assert_int_equal(site_files_take(f, &io, on_fault, NULL), changed);
    assert_int_equal(said_count, words[0] ? 1 : 0);
    if (!strstr(said, words)) {
        fail_msg("%s instead of %s", said, words);
    }
}

static void test_taking(void **state)
{
    struct disk d = {0};
    const struct conf_io io = {&d, disk_read, disk_glob, disk_get_env};
    struct site *site, *again;
    struct site_files *f;
    put(&d, 0, "/s.pem", &ab.cert);
    put(&d, 1, "/s.key", &ab.key);
    assert_int_equal(load(&io, &site), ERR_OK);
    assert_int_equal(load(&io, &again), ERR_OK);
    assert_int_equal(site_files_create(site, &f), ERR_OK);
    assert_int_equal(site_files_count(f), 1); /* two hosts and the server have the same files */
    const struct site_tls *tls = &site->host_list[0].tls;
    struct certificate *first = site_files_get(f, site, tls, 0);
    assert_ptr_equal(first, tls->certificates[0]);
    expect(f, &d, 0, "");
    put(&d, 0, "/s.pem", &a2.cert);
    expect(f, &d, 0, "/s.pem: the private key does not belong");
    expect(f, &d, 0, ""); /* said once */
    put(&d, 1, "/s.key", NULL);
    expect(f, &d, 0, "/s.key cannot be read: not found");
    put(&d, 1, "/s.key", &a2.key);
    expect(f, &d, 0, "does not carry the name b.test any more");
    put(&d, 0, "/s.pem", &other.key);
    expect(f, &d, 0, "no certificate could be read");
    put(&d, 0, "/s.pem", &ab.cert);
    put(&d, 1, "/s.key", &ab.key);
    expect(f, &d, 0, ""); /* as it was */
    assert_ptr_equal(site_files_get(f, site, tls, 0), first);
    struct pem fresh;
    static const struct str both[] = {{"a.test", 6}, {"b.test", 6}};
    issue(&fresh, both, 2);
    put(&d, 0, "/s.pem", &fresh.cert);
    put(&d, 1, "/s.key", &fresh.key);
    expect(f, &d, 1, "");
    expect(f, &d, 0, "");
    struct certificate *now = site_files_get(f, site, tls, 0);
    assert_false(certificate_has_same_chain(now, tls->certificates[0]));
    assert_ptr_equal(site_files_get(f, site, &site->tls, 0), now);
    /* Another site has its own. */
    tls = &again->host_list[0].tls;
    assert_ptr_equal(site_files_get(f, again, tls, 0), tls->certificates[0]);
    assert_ptr_equal(site_files_get(NULL, again, tls, 0), tls->certificates[0]);
    site_files_destroy(f);
    site_files_destroy(NULL);
    site_unref(site);
    site_unref(again);
    buf_done(&fresh.cert);
    buf_done(&fresh.key);
}

static void test_no_memory(void **state)
{
    struct disk d = {0};
    const struct conf_io io = {&d, disk_read, disk_glob, disk_get_env};
    struct site *site;
    put(&d, 0, "/s.pem", &ab.cert);
    put(&d, 1, "/s.key", &ab.key);
    assert_int_equal(load(&io, &site), ERR_OK);
    struct pem fresh;
    static const struct str both[] = {{"b.test", 6}, {"a.test", 6}};
    issue(&fresh, both, 2);
    put(&d, 0, "/s.pem", &fresh.cert);
    put(&d, 1, "/s.key", &fresh.key);
    for (unsigned long n = 1;; n++) {
        struct site_files *f = NULL;
        size_t changed = 0;
        mem_test_fail_at(n);
        enum err e = site_files_create(site, &f);
        if (!e) {
            changed = site_files_take(f, &io, on_fault, NULL);
        }
        bool is_over = mem_test_fail_at(0) < n;
        if (!e && changed == 0) {
            /* It is taken the next time. */
            assert_int_equal(site_files_take(f, &io, on_fault, NULL), 1);
        }
        site_files_destroy(f);
        if (is_over) {
            assert_int_equal(changed, 1);
            break;
        }
    }
    site_unref(site);
    buf_done(&fresh.cert);
    buf_done(&fresh.key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taking),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
