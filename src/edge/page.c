/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/page.h"

void page_escape(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '&':
            buf_add_str(out, STR("&amp;"));
            break;
        case '<':
            buf_add_str(out, STR("&lt;"));
            break;
        case '>':
            buf_add_str(out, STR("&gt;"));
            break;
        case '"':
            buf_add_str(out, STR("&quot;"));
            break;
        case '\'':
            buf_add_str(out, STR("&#39;"));
            break;
        default:
            buf_add_char(out, s.p[i]);
        }
    }
}

static const char page_style[] =
    ":root{color-scheme:light dark;--ink:#1c1f26;--dim:#667085;--line:#e4e7ec;--paper:#fff;"
    "--link:#3554d1}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e7eaf0;--dim:#98a2b3;--line:#2b303b;"
    "--paper:#14161b;--link:#8ea6ff}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "main{max-width:52rem;margin:0 auto;padding:3rem 1.25rem}"
    "h1{font-size:1.5rem;font-weight:650;margin:0 0 .75rem;overflow-wrap:anywhere}"
    "p{color:var(--dim);margin:.25rem 0}a{color:var(--link);text-decoration:none}"
    "a:hover{text-decoration:underline}"
    ".id{margin-top:2.5rem;font:.8rem ui-monospace,monospace;overflow-wrap:anywhere}"
    ".code{font-size:5rem;line-height:1;font-weight:700;letter-spacing:-.03em;margin:0 0 .5rem}"
    "table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th{text-align:left;font-weight:500;color:var(--dim);font-size:.85rem}"
    "th,td{padding:.45rem .5rem;border-bottom:1px solid var(--line)}"
    "td:first-child{overflow-wrap:anywhere;width:100%}"
    "td+td,th+th{white-space:nowrap;color:var(--dim);text-align:right}";

void page_begin(struct str title, struct buf *out)
{
    buf_add_str(out, STR("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                         "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                         "<title>"));
    page_escape(title, out);
    buf_add_str(out, STR("</title>\n<style>"));
    buf_add(out, page_style, sizeof(page_style) - 1);
    buf_add_str(out, STR("</style>\n</head>\n<body>\n<main>\n"));
}

void page_end(struct buf *out)
{
    buf_add_str(out, STR("</main>\n</body>\n</html>\n"));
}

/* What it means for the person in front of the page; NULL where only a program meets it. */
static const char *page_advice(unsigned status)
{
    switch (status) {
    case 400:
        return "Your browser sent something that this server does not understand.";
    case 401:
        return "You need to sign in to see this.";
    case 403:
        return "You may not see this.";
    case 404:
        return "There is nothing at this address. The link may be old or mistyped.";
    case 408:
        return "The request took too long to arrive. Please try again.";
    case 410:
        return "What was here has been removed for good.";
    case 413:
        return "What you sent is larger than this server accepts.";
    case 414:
        return "The address is longer than this server accepts.";
    case 429:
        return "That was more than is allowed at once. Please wait a moment.";
    case 500:
        return "Something went wrong on our side.";
    case 502:
    case 503:
    case 504:
        return "The service does not answer at the moment. Please try again soon.";
    default:
        return NULL;
    }
}

void page_error(unsigned status, struct str phrase, struct str id, struct buf *out)
{
    page_begin(phrase, out);
    buf_printf(out, "<p class=\"code\">%u</p>\n<h1>" STR_FMT "</h1>\n", status, STR_ARG(phrase));
    const char *advice = page_advice(status);
    if (advice) {
        buf_printf(out, "<p>%s</p>\n", advice);
    }
    if (status == 403 || status == 404 || status == 410) {
        buf_add_str(out, STR("<p><a href=\"/\">Go to the start page</a></p>\n"));
    }
    if (id.n) {
        buf_add_str(out, STR("<p class=\"id\">Request "));
        page_escape(id, out);
        buf_add_str(out, STR("</p>\n"));
    }
    page_end(out);
}
