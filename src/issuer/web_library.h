/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of libcurl that are used. The library and the thirty more that it needs are loaded
 * when the first request is made, so only by the process that makes requests: the others start in
 * a third of the time, and hold none of that code.
 */
#pragma once

#include <curl/curl.h>

#include "base/err.h"

struct web_library {
    CURL *(*easy_init)(void);
    CURLcode (*easy_setopt)(CURL *, CURLoption, ...);
    CURLcode (*easy_perform)(CURL *);
    CURLcode (*easy_getinfo)(CURL *, CURLINFO, ...);
    void (*easy_cleanup)(CURL *);
    const char *(*easy_strerror)(CURLcode);
    struct curl_slist *(*slist_append)(struct curl_slist *, const char *);
    void (*slist_free_all)(struct curl_slist *);
};

/* Loads it, once and for good; of one thread. ERR_UNSUPPORTED: it is not installed, or lacks one
 * of these. */
enum err web_library_load(const struct web_library **ret_library) MUST_CHECK;
