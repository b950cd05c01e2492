/* SPDX-License-Identifier: Apache-2.0 */
#include "http/priority.h"

static struct str priority_trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = str_sub(s, 1, s.n);
    }
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

void http_priority_parse(struct str value, struct http_priority *p)
{
    struct str member;
    while (str_split(&value, ',', &member)) {
        member = priority_trim(member);
        /* Parameters mean nothing here. */
        ptrdiff_t end = str_index(member, ';');
        member = end < 0 ? member : str_sub(member, 0, (size_t)end);
        bool is_urgency = member.n == 3 && member.p[0] == 'u' && member.p[1] == '=';
        if (is_urgency && member.p[2] >= '0' && member.p[2] < '0' + HTTP_URGENCY_COUNT) {
            p->urgency = (uint8_t)(member.p[2] - '0');
        } else if (str_eq(member, STR("i")) || str_eq(member, STR("i=?1"))) {
            p->is_incremental = true;
        } else if (str_eq(member, STR("i=?0"))) {
            p->is_incremental = false;
        }
    }
}
