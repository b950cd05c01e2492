/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of requests that are shared out among backends. */
#include "conf/tables_int.h"

static const struct conf_key SHARE_KEYS[] = {
    {.name = "weight",
     .type = CONF_INT,
     AT(split_share, weight),
     .flags = CONF_REQUIRED,
     .min = 0,
     .max = 1000000,
     .example = "95",
     .doc = "Its share of the requests beside the weights of the others; 0: none."},
};
const struct conf_table conf_table_share = {.name = "a share",
                                            KEYS(SHARE_KEYS),
                                            .struct_bytes = sizeof(struct split_share),
                                            .short_key = "weight",
                                            .name_offset = offsetof(struct split_share, name)};

static const struct conf_key MIRROR_KEYS[] = {
    {.name = "to",
     .type = CONF_STRING,
     AT(mirror_settings, to),
     .check = value_check_backend_name,
     .flags = CONF_REQUIRED,
     .example = "canary",
     .doc = "The backend that gets copies, by its name in backends."},
    {.name = "share",
     .type = CONF_SHARE,
     AT(mirror_settings, share_ppm),
     .default_text = "100%",
     .example = "10%",
     .doc = "The share of the requests that is copied."},
};
const struct conf_table conf_table_mirror = {.name = "mirror",
                                             KEYS(MIRROR_KEYS),
                                             .struct_bytes = sizeof(struct mirror_settings),
                                             .short_key = "to",
                                             .has_switch = true,
                                             .on_offset = offsetof(struct mirror_settings, is_on)};

const char *conf_check_split_by(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    return str_eq(text, STR("request")) ? NULL : conf_check_hash(text, ret_at);
}
