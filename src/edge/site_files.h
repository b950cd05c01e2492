/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of files as the files are now. A site brings them as they were when its
 * configuration was loaded and never changes; this list takes what is written afterwards, each
 * certificate with its key at once or not at all. Of one thread.
 */
#pragma once

#include "conf/io.h"
#include "edge/site.h"

struct site_files;

/* The list of `site`, of which it holds a reference. ERR_NOMEM. */
enum err site_files_create(struct site *site, struct site_files **ret_files) MUST_CHECK;
void site_files_destroy(struct site_files *f);

/* How many pairs of certificate and key there are. */
size_t site_files_count(const struct site_files *f);

/* Why the file `cert` is not taken: it cannot be read, does not fit its key (which may follow), or
 * lacks a name that the certificate in use carries. Called once for each new reason. */
typedef void (*site_files_fault_fn)(void *context, struct str cert, const char *text);

/* Reads all files from `io`. Returns how many certificates are others now; those that something is
 * wrong with stay as they were. */
size_t site_files_take(struct site_files *f, const struct conf_io *io, site_files_fault_fn on_fault,
                       void *context);

/* The certificate in use for the i-th file of `tls`, which is of `site`; it lives until others are
 * taken. The site's own where `f` is NULL or the list of another site. */
struct certificate *site_files_get(const struct site_files *f, const struct site *site,
                                   const struct site_tls *tls, size_t i);
