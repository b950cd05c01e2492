/* SPDX-License-Identifier: Apache-2.0 */
#include "app/status_text.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

#define COLUMNS_MAX 12
#define COLUMN_BYTES_MAX 60 /* of what the others wait for; a longer value pushes its line */

void status_text_member(struct str json, const char *name, struct buf *out)
{
    char key[64];
    int key_bytes = snprintf(key, sizeof(key), "\"%s\":", name);
    const char *at = json.n ? memmem(json.p, json.n, key, (size_t)key_bytes) : NULL;
    if (!at) {
        return;
    }
    const char *end = json.p + json.n;
    at += key_bytes;
    bool is_text = *at == '"';
    at += is_text;
    while (at < end && *at != '"' && (is_text || (*at != ',' && *at != '}'))) {
        if (*at == '\\' && at + 1 < end) {
            at++;
            buf_add_char(out, *at == 'n' ? '\n' : *at);
        } else {
            buf_add_char(out, *at);
        }
        at++;
    }
}

/* A list in the answer: behind which text it begins, before which it ends, and its columns. */
struct status_list {
    const char *begin, *end;
    const char *const (*columns)[2]; /* heading, member; NULL-terminated */
};

/* The next object of a list, which `rest` is moved past; objects of lists hold no others. */
static bool status_next(struct str *rest, struct str *ret_item)
{
    const char *open = rest->n ? memchr(rest->p, '{', rest->n) : NULL;
    const char *end = rest->p + rest->n;
    bool is_text = false;
    for (const char *p = open; p && p < end; p++) {
        if (is_text && *p == '\\') {
            p++;
        } else if (*p == '"') {
            is_text = !is_text;
        } else if (*p == '}' && !is_text) {
            *ret_item = str_make(open, (size_t)(p + 1 - open));
            *rest = str_make(p + 1, (size_t)(end - p - 1));
            return true;
        }
    }
    return false;
}

static struct str status_items(const struct buf *json, const struct status_list *list)
{
    const char *at = json->n ? memmem(json->p, json->n, list->begin, strlen(list->begin)) : NULL;
    at = at ? at + strlen(list->begin) : NULL;
    const char *end =
        at ? memmem(at, json->n - (size_t)(at - json->p), list->end, strlen(list->end)) : NULL;
    return end ? str_make(at, (size_t)(end - at)) : STR("");
}

static void status_cell(struct str item, const char *member, struct buf *cell)
{
    buf_clear(cell);
    status_text_member(item, member, cell);
}

static void status_line(struct buf *cells, unsigned count, const size_t *widths, struct buf *out)
{
    for (unsigned i = 0; i < count; i++) {
        bool is_last = i + 1 == count;
        buf_add_str(out, buf_str(&cells[i]));
        for (size_t n = cells[i].n; !is_last && n < widths[i] + 2; n++) {
            buf_add_char(out, ' ');
        }
    }
    while (out->n && out->p[out->n - 1] == ' ') {
        out->n--;
    }
    buf_add_char(out, '\n');
}

/* Columns are as wide as what stands in them. */
static void status_table(const struct buf *json, const struct status_list *list, struct buf *out)
{
    struct buf cells[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX];
    unsigned count = 0;
    struct str rest = status_items(json, list), item;
    for (; list->columns[count][0]; count++) {
        ASSERT(count < COLUMNS_MAX);
        buf_init(&cells[count], 0);
        buf_add_str(&cells[count], str_of(list->columns[count][0]));
        widths[count] = cells[count].n;
    }
    bool is_empty = true;
    while (status_next(&rest, &item)) {
        struct buf cell;
        is_empty = false;
        buf_init(&cell, 0);
        for (unsigned i = 0; i < count; i++) {
            status_cell(item, list->columns[i][1], &cell);
            if (cell.n > widths[i]) {
                widths[i] = cell.n < COLUMN_BYTES_MAX ? cell.n : COLUMN_BYTES_MAX;
            }
        }
        buf_done(&cell);
    }
    if (!is_empty) {
        buf_add_char(out, '\n');
        status_line(cells, count, widths, out);
    }
    rest = status_items(json, list);
    while (status_next(&rest, &item)) {
        for (unsigned i = 0; i < count; i++) {
            status_cell(item, list->columns[i][1], &cells[i]);
        }
        status_line(cells, count, widths, out);
    }
    for (unsigned i = 0; i < count; i++) {
        out->is_failed |= cells[i].is_failed;
        buf_done(&cells[i]);
    }
}

void status_text(const struct buf *json, struct buf *out)
{
    static const char *const members[][2] = {
        {"State", "state"},           {"Version", "version"},
        {"Process", "pid"},           {"Up, seconds", "uptime_s"},
        {"Workers", "workers"},       {"Event loop", "poller"},
        {"Hosts", "hosts"},           {"Connections", "connections"},
        {"Accepted", "accepted"},     {"Received bytes", "received_bytes"},
        {"Sent bytes", "sent_bytes"}, {"Memory bytes", "memory_bytes"},
        {"Log level", "log_level"},
    };
    static const char *const certificate[][2] = {{"CERTIFICATE", "name"}, {"ISSUER", "issuer"},
                                                 {"STATE", "state"},      {"EXPIRES", "expires"},
                                                 {"ERROR", "error"},      {NULL, NULL}};
    static const char *const endpoint[][2] = {
        {"BACKEND", "backend"},   {"ENDPOINT", "endpoint"},   {"STATE", "state"},
        {"HEALTH", "health"},     {"IN FLIGHT", "in_flight"}, {"LATENCY US", "latency_us"},
        {"REQUESTS", "requests"}, {"FAILURES", "failures"},   {"EJECTIONS", "ejections"},
        {"WEIGHT", "weight"},     {"ZONE", "zone"},           {NULL, NULL}};
    const struct status_list certificates = {"\"certificates\":[", "],\"endpoints\":", certificate};
    static const char *const process[][2] = {
        {"PROCESS", "process"},           {"INSTANCE", "instance"}, {"STATE", "state"},
        {"SECONDS", "state_s"},           {"PID", "pid"},           {"RESTARTS", "restarts"},
        {"MEMORY BYTES", "memory_bytes"}, {"ERROR", "error"},       {NULL, NULL}};
    const struct status_list endpoints = {"\"endpoints\":[", "],\"processes\":", endpoint};
    const struct status_list processes = {"\"processes\":[", "],\"reload\":", process};
    for (unsigned i = 0; i < COUNT_OF(members); i++) {
        buf_printf(out, "%-16s", members[i][0]);
        status_text_member(buf_str(json), members[i][1], out);
        buf_add_char(out, '\n');
    }
    const char *list = json->n ? memmem(json->p, json->n, "\"listen\":[", 10) : NULL;
    const char *end = list ? memchr(list, ']', json->n - (size_t)(list - json->p)) : NULL;
    if (end) {
        buf_printf(out, "%-16s%.*s\n", "Listening", (int)(end - list - 10), list + 10);
    }
    status_table(json, &certificates, out);
    status_table(json, &endpoints, out);
    status_table(json, &processes, out);
}
