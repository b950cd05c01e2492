/* SPDX-License-Identifier: Apache-2.0 */
/* One file as a response: variant, conditions, ranges, and the quickest way to send it. */
#pragma once

#include "edge/file_cache.h"
#include "edge/request.h"

/* Answers a GET or HEAD with the regular file `e`. */
void file_send(struct request *r, struct file_entry *e);

/* Answers with the whole file and `status`, without conditions and ranges. */
void file_send_page(struct request *r, struct file_entry *e, uint16_t status);

/* Streams `e` through a coding; in file_compress.c. */
void file_send_compressed(struct request *r, struct file_entry *e, enum coding_choice coding,
                          const struct response_head *head);

/* Compresses `e` whole into `e->coded[coding]`, once. False: not worth it, or out of memory. */
bool file_compress_small(struct request *r, struct file_entry *e, enum coding_choice coding);
