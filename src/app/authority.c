/* SPDX-License-Identifier: Apache-2.0 */
#include "app/authority.h"

#include <string.h>
#include <unistd.h>

#include "app/state_dir.h"
#include "os/file.h"

#define PEM_BYTES_MAX 65536u
#define HOST_NAME_BYTES 256

static enum err authority_keep(const struct local_ca *ca, const char *root, const char *key)
{
    struct buf pem, secret;
    buf_init(&pem, 0);
    buf_init(&secret, 0);
    enum err e = local_ca_export_certificate(ca, &pem);
    if (!e) {
        e = local_ca_export_key(ca, &secret);
    }
    /* The key first: a root without its key could never sign. */
    if (!e) {
        e = file_replace(key, buf_str(&secret), 0600);
    }
    if (!e) {
        e = file_replace(root, buf_str(&pem), 0644);
    }
    buf_done_secret(&secret);
    buf_done(&pem);
    return e;
}

static enum err authority_create(const char *root, const char *key, int64_t now_s,
                                 struct local_ca **ret_ca, struct fault *fault)
{
    char host[HOST_NAME_BYTES] = "";
    if (gethostname(host, sizeof(host) - 1) != 0) {
        host[0] = '\0';
    }
    enum err e = local_ca_create(str_of(host), now_s, ret_ca);
    if (e) {
        return fault_set(fault, e, "the local authority cannot be made: %s", err_text(e));
    }
    e = authority_keep(*ret_ca, root, key);
    if (e) {
        local_ca_destroy(*ret_ca);
        return fault_set(fault, e, "the local authority cannot be kept in %s: %s", root,
                         err_text(e));
    }
    return ERR_OK;
}

enum err authority_root_path(struct str state_dir, char ret_path[PATH_MAX])
{
    return state_dir_path(state_dir, "local/root.pem", ret_path);
}

enum err authority_open(struct str state_dir, int64_t now_s, struct local_ca **ret_ca,
                        struct fault *reterr_fault)
{
    char root[PATH_MAX], key[PATH_MAX], folder[PATH_MAX];
    struct buf pem, secret;
    enum err e = authority_root_path(state_dir, root);
    if (!e) {
        e = state_dir_path(state_dir, "local/root.key", key);
    }
    if (!e) {
        e = state_dir_path(state_dir, "local", folder);
    }
    if (!e) {
        e = file_make_directories(folder);
    }
    if (e) {
        return fault_set(reterr_fault, e,
                         "there is no place for the local authority (server.state): %s",
                         err_text(e));
    }
    buf_init(&pem, 0);
    buf_init(&secret, 0);
    e = file_read_all(root, PEM_BYTES_MAX, &pem);
    if (!e) {
        e = file_read_all(key, PEM_BYTES_MAX, &secret);
    }
    if (e == ERR_NOT_FOUND) {
        e = authority_create(root, key, now_s, ret_ca, reterr_fault);
    } else if (e) {
        e = fault_set(reterr_fault, e, "the local authority %s cannot be read: %s", root,
                      err_text(e));
    } else {
        e = local_ca_import(buf_str(&pem), buf_str(&secret), ret_ca, reterr_fault);
    }
    buf_done_secret(&secret);
    buf_done(&pem);
    return e;
}
