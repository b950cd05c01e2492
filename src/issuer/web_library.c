/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/web_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/assert.h"

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
    {"curl_easy_init", offsetof(struct web_library, easy_init)},
    {"curl_easy_setopt", offsetof(struct web_library, easy_setopt)},
    {"curl_easy_perform", offsetof(struct web_library, easy_perform)},
    {"curl_easy_getinfo", offsetof(struct web_library, easy_getinfo)},
    {"curl_easy_cleanup", offsetof(struct web_library, easy_cleanup)},
    {"curl_easy_strerror", offsetof(struct web_library, easy_strerror)},
    {"curl_slist_append", offsetof(struct web_library, slist_append)},
    {"curl_slist_free_all", offsetof(struct web_library, slist_free_all)},
};

enum err web_library_load(const struct web_library **ret_library)
{
    static struct web_library library;
    static bool is_loaded;
    /* SWS_SONAME_LIBCURL is the name of the one whose headers we were built with. */
    void *handle = is_loaded ? NULL : dlopen(SWS_SONAME_LIBCURL, RTLD_NOW | RTLD_LOCAL);
    if (!is_loaded && !handle) {
        return ERR_UNSUPPORTED;
    }
    for (size_t i = 0; i < COUNT_OF(functions) && !is_loaded; i++) {
        void *function = dlsym(handle, functions[i].name);
        if (!function) {
            dlclose(handle);
            return ERR_UNSUPPORTED;
        }
        /* POSIX has a pointer to an object become one to a function by its bytes. */
        memcpy((char *)&library + functions[i].offset, &function, sizeof(function));
    }
    is_loaded = true;
    *ret_library = &library;
    return ERR_OK;
}
