/* SPDX-License-Identifier: Apache-2.0 */
#include "app/trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "app/authority.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"

#define SYSTEM_FOLDER "/usr/local/share/ca-certificates"
#define SYSTEM_FILE SYSTEM_FOLDER "/selenia-local-root.crt"
#define BROWSER_FOLDER ".pki/nssdb"
#define PEM_BYTES_MAX 65536u

/* What curl, git, Python and most programs of the system look at. */
static enum err trust_system(const char *root)
{
    struct buf pem;
    const char *const update[] = {"update-ca-certificates", NULL};
    buf_init(&pem, 0);
    enum err e = file_read_all(root, PEM_BYTES_MAX, &pem);
    if (!e) {
        e = file_make_directories(SYSTEM_FOLDER);
    }
    if (!e) {
        e = file_replace(SYSTEM_FILE, buf_str(&pem), 0644);
    }
    if (!e) {
        e = process_run(update);
    }
    buf_done(&pem);
    return e;
}

/* What Chromium looks at, per user. */
static enum err trust_browser(const char *root)
{
    char folder[PATH_MAX], database[PATH_MAX + 4];
    const char *home = getenv("HOME");
    if (!home || snprintf(folder, sizeof(folder), "%s/%s", home, BROWSER_FOLDER) >= PATH_MAX) {
        return ERR_NOT_FOUND;
    }
    snprintf(database, sizeof(database), "sql:%s", folder);
    const char *const make[] = {"certutil", "-d", database, "-N", "--empty-password", NULL};
    const char *const add[] = {"certutil",           "-d", database, "-A", "-t", "C,,", "-n",
                               "Selenia local root", "-i", root,     NULL};
    if (access(folder, F_OK) != 0) {
        enum err e = file_make_directories(folder);
        if (!e) {
            e = process_run(make);
        }
        if (e) {
            return e;
        }
    }
    return process_run(add);
}

static void trust_say(const char *whom, enum err e, const char *remedy)
{
    if (e) {
        fprintf(stderr, "%s: not done, %s. %s\n", whom, err_text(e), remedy);
    } else {
        printf("%s: trusts it now.\n", whom);
    }
}

int trust_install(struct str state_dir)
{
    char root[PATH_MAX];
    struct local_ca *ca;
    struct fault fault;
    /* Where there is none yet, the server will use what is made here. */
    enum err e = authority_open(state_dir, clock_wall_s(), &ca, &fault);
    if (e) {
        fprintf(stderr, "sws: %s\n", fault.text);
        return 1;
    }
    local_ca_destroy(ca);
    e = authority_root_path(state_dir, root);
    if (e) {
        fprintf(stderr, "sws: %s\n", err_text(e));
        return 1;
    }
    printf("The root of the local authority: %s\n", root);
    enum err system = trust_system(root);
    enum err browser = trust_browser(root);
    trust_say("This system", system,
              "Run it as root, with the same --config; the package ca-certificates is needed.");
    trust_say("Chromium of this user", browser, "Install certutil (package libnss3-tools).");
    return system && browser ? 1 : 0;
}
