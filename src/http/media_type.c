/* SPDX-License-Identifier: Apache-2.0 */
#include "http/media_type.h"

#include <stdlib.h>

#include "http/field.h"

static const char builtin[] =
    "text/html html htm\n"
    "text/css css\n"
    "text/javascript js mjs\n"
    "application/json json map\n"
    "application/ld+json jsonld\n"
    "application/manifest+json webmanifest\n"
    "application/wasm wasm\n"
    "text/plain txt text log conf\n"
    "text/markdown md markdown\n"
    "text/csv csv\n"
    "text/calendar ics\n"
    "text/vtt vtt\n"
    "text/xml xml\n"
    "application/xhtml+xml xhtml\n"
    "application/atom+xml atom\n"
    "application/rss+xml rss\n"
    "application/yaml yaml yml\n"
    "application/toml toml\n"
    "image/svg+xml svg\n"
    "image/png png\n"
    "image/apng apng\n"
    "image/jpeg jpg jpeg\n"
    "image/gif gif\n"
    "image/webp webp\n"
    "image/avif avif\n"
    "image/jxl jxl\n"
    "image/tiff tif tiff\n"
    "image/bmp bmp\n"
    "image/x-icon ico\n"
    "font/woff woff\n"
    "font/woff2 woff2\n"
    "font/ttf ttf\n"
    "font/otf otf\n"
    "audio/mpeg mp3\n"
    "audio/ogg oga ogg opus\n"
    "audio/wav wav\n"
    "audio/flac flac\n"
    "audio/aac aac\n"
    "audio/mp4 m4a\n"
    "audio/midi mid midi\n"
    "video/mp4 mp4 m4v\n"
    "video/webm webm\n"
    "video/ogg ogv\n"
    "video/quicktime mov\n"
    "video/mp2t ts\n"
    "application/vnd.apple.mpegurl m3u8\n"
    "application/dash+xml mpd\n"
    "model/gltf-binary glb\n"
    "model/gltf+json gltf\n"
    "application/pdf pdf\n"
    "application/epub+zip epub\n"
    "application/rtf rtf\n"
    "application/zip zip\n"
    "application/gzip gz tgz\n"
    "application/zstd zst\n"
    "application/x-bzip2 bz2\n"
    "application/x-xz xz\n"
    "application/x-tar tar\n"
    "application/x-7z-compressed 7z\n"
    "application/java-archive jar\n"
    "application/octet-stream bin exe dll iso img dmg deb rpm msi\n"
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document docx\n"
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx\n"
    "application/vnd.openxmlformats-officedocument.presentationml.presentation pptx\n"
    "application/vnd.oasis.opendocument.text odt\n"
    "application/vnd.oasis.opendocument.spreadsheet ods\n"
    "application/vnd.oasis.opendocument.presentation odp\n";

struct str media_types_builtin(void)
{
    return str_make(builtin, sizeof(builtin) - 1);
}

/* Takes the next word of a line off `*rest`. */
static bool next_word(struct str *rest, struct str *ret_word)
{
    struct str s = str_trim(*rest);
    size_t n = 0;
    while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t') {
        n++;
    }
    *ret_word = str_sub(s, 0, n);
    *rest = str_sub(s, n, s.n);
    return n > 0;
}

/* Takes the next line off `*rest`, without its comment and line end. */
static bool next_line(struct str *rest, struct str *ret_line)
{
    if (!str_split(rest, '\n', ret_line)) {
        return false;
    }
    ptrdiff_t comment = str_index(*ret_line, '#');
    if (comment >= 0) {
        ret_line->n = (size_t)comment;
    }
    while (ret_line->n > 0 && ret_line->p[ret_line->n - 1] == '\r') {
        ret_line->n--;
    }
    return true;
}

static bool is_media_type(struct str s)
{
    ptrdiff_t slash = str_index(s, '/');
    return slash > 0 && http_token_is_valid(str_sub(s, 0, (size_t)slash)) &&
           http_token_is_valid(str_sub(s, (size_t)slash + 1, s.n));
}

static int compare_entries(const void *a, const void *b)
{
    const struct media_type_entry *left = a, *right = b;
    int order = str_cmp(left->extension, right->extension);
    /* Both point into one text: the earlier line first. */
    return order ? order : (left->extension.p > right->extension.p) * 2 - 1;
}

/* Fills `v` unless it is NULL; returns the number of entries. */
static unsigned collect(struct str text, struct media_type_entry *v)
{
    unsigned n = 0;
    struct str line, type, extension;
    while (next_line(&text, &line)) {
        if (!next_word(&line, &type) || !is_media_type(type)) {
            continue;
        }
        while (next_word(&line, &extension)) {
            if (v) {
                v[n] = (struct media_type_entry){extension, type};
            }
            n++;
        }
    }
    return n;
}

enum err media_types_load(struct arena *arena, struct str text, struct media_types *ret_types)
{
    unsigned n = collect(text, NULL), kept = 0;
    if (n == 0) {
        *ret_types = (struct media_types){NULL, 0};
        return ERR_OK;
    }
    char *copy = arena_alloc(arena, text.n);
    struct media_type_entry *v = arena_alloc(arena, n * sizeof(*v));
    if (!copy || !v) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < text.n; i++) {
        copy[i] = ascii_lower(text.p[i]);
    }
    (void)collect(str_make(copy, text.n), v);
    qsort(v, n, sizeof(*v), compare_entries);
    for (unsigned i = 0; i < n; i++) {
        if (kept == 0 || !str_eq(v[kept - 1].extension, v[i].extension)) {
            v[kept++] = v[i];
        }
    }
    *ret_types = (struct media_types){v, kept};
    return ERR_OK;
}

/* Order of `extension`, in any letter case, against a lower-case one. */
static int compare_extension(struct str extension, struct str lower)
{
    for (size_t i = 0; i < extension.n && i < lower.n; i++) {
        unsigned char a = (unsigned char)ascii_lower(extension.p[i]);
        unsigned char b = (unsigned char)lower.p[i];
        if (a != b) {
            return a < b ? -1 : 1;
        }
    }
    return (extension.n > lower.n) - (extension.n < lower.n);
}

struct str media_types_find(const struct media_types *types, struct str file_name)
{
    size_t start = file_name.n;
    while (start > 0 && file_name.p[start - 1] != '.' && file_name.p[start - 1] != '/') {
        start--;
    }
    if (start == 0 || file_name.p[start - 1] != '.') {
        return (struct str){NULL, 0};
    }
    struct str extension = str_sub(file_name, start, file_name.n);
    unsigned low = 0, high = types->n;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        int order = compare_extension(extension, types->v[middle].extension);
        if (order == 0) {
            return types->v[middle].type;
        }
        if (order > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (struct str){NULL, 0};
}

static struct str without_parameters(struct str type)
{
    ptrdiff_t at = str_index(type, ';');
    return str_trim(at < 0 ? type : str_sub(type, 0, (size_t)at));
}

static bool starts_with_ci(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq_ci(str_sub(s, 0, prefix.n), prefix);
}

static bool ends_with_ci(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq_ci(str_sub(s, s.n - suffix.n, suffix.n), suffix);
}

bool media_type_has_charset(struct str type)
{
    type = without_parameters(type);
    return starts_with_ci(type, STR("text/")) || str_eq_ci(type, STR("application/javascript")) ||
           str_eq_ci(type, STR("application/xml")) || ends_with_ci(type, STR("+xml"));
}

bool media_type_is_compressible(struct str type)
{
    static const char *const types[] = {
        "application/json",
        "application/javascript",
        "application/xml",
        "application/wasm",
        "application/yaml",
        "application/toml",
        "application/rtf",
        "image/bmp",
        "image/x-icon",
        "font/ttf",
        "font/otf",
        "application/x-ndjson",
        "application/graphql",
        "model/gltf-binary",
        "application/x-tar",
        "application/vnd.apple.mpegurl",
    };
    type = without_parameters(type);
    /* An event stream must reach the client at once, not when a coder's block is full. */
    if (str_eq_ci(type, STR("text/event-stream"))) {
        return false;
    }
    if (starts_with_ci(type, STR("text/")) || ends_with_ci(type, STR("+json")) ||
        ends_with_ci(type, STR("+xml"))) {
        return true;
    }
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (str_eq_ci(type, str_of(types[i]))) {
            return true;
        }
    }
    return false;
}
