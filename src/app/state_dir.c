/* SPDX-License-Identifier: Apache-2.0 */
#include "app/state_dir.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/file.h"

#define SYSTEM_DIR "/var/lib/selenia"

static bool began_as_root;

void state_dir_start(void)
{
    began_as_root = geteuid() == 0;
}

enum err state_dir_path(struct str configured, const char *name, char ret_path[PATH_MAX])
{
    const char *state_home = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int n;
    if (configured.p) {
        n = snprintf(ret_path, PATH_MAX, STR_FMT "/%s", STR_ARG(configured), name);
    } else if (began_as_root) {
        n = snprintf(ret_path, PATH_MAX, "%s/%s", SYSTEM_DIR, name);
    } else if (state_home && *state_home == '/') {
        n = snprintf(ret_path, PATH_MAX, "%s/selenia/%s", state_home, name);
    } else if (home && *home == '/') {
        n = snprintf(ret_path, PATH_MAX, "%s/.local/state/selenia/%s", home, name);
    } else {
        return ERR_NOT_FOUND;
    }
    return n < 0 || n >= PATH_MAX ? ERR_LIMIT : ERR_OK;
}

enum err state_dir_create(struct str configured, struct str user)
{
    char path[PATH_MAX];
    enum err e = state_dir_path(configured, "", path);
    if (!e) {
        e = file_make_directories(path);
    }
    return e || user.n == 0 || geteuid() != 0 ? e : file_give_to(path, user.p);
}
