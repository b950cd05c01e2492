/* SPDX-License-Identifier: Apache-2.0 */
#include "http/date.h"

#include <stdbool.h>

#define DAY_S 86400
#define UNIX_S_MIN (-62167219200LL) /* 0000-01-01 */
#define UNIX_S_MAX 253402300799LL   /* 9999-12-31 23:59:59 */

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const day_names[7] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                         "Thursday", "Friday", "Saturday"};

struct civil {
    unsigned year, month, day; /* month and day from 1 */
    unsigned hour, minute, second;
};

/* Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that
 * the leap day comes last; an era of 400 years has 146097 days. */
static int64_t days_of(const struct civil *c)
{
    int64_t year = (int64_t)c->year - (c->month <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t month = (c->month + 9) % 12;
    int64_t of_year = (153 * month + 2) / 5 + c->day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static struct civil civil_of(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    struct civil c = {0};
    c.day = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    c.month = (unsigned)(month < 10 ? month + 3 : month - 9);
    c.year = (unsigned)(year + era * 400 + (c.month <= 2));
    return c;
}

static void put_digits(char *at, unsigned value, unsigned n)
{
    while (n-- > 0) {
        at[n] = (char)('0' + value % 10);
        value /= 10;
    }
}

void http_date_format(int64_t unix_s, char out[HTTP_DATE_BYTES])
{
    unix_s = unix_s < UNIX_S_MIN ? UNIX_S_MIN : unix_s > UNIX_S_MAX ? UNIX_S_MAX : unix_s;
    int64_t days = unix_s / DAY_S - (unix_s % DAY_S < 0);
    unsigned second = (unsigned)(unix_s - days * DAY_S);
    struct civil c = civil_of(days);
    memcpy(out, "Day, 00 Mon 0000 00:00:00 GMT", HTTP_DATE_BYTES);
    memcpy(out, day_names[((days + 4) % 7 + 7) % 7], 3);
    put_digits(out + 5, c.day, 2);
    memcpy(out + 8, month_names[c.month - 1], 3);
    put_digits(out + 12, c.year, 4);
    put_digits(out + 17, second / 3600, 2);
    put_digits(out + 20, second / 60 % 60, 2);
    put_digits(out + 23, second % 60, 2);
}

/* The three below take something off the front of `*s`, or return false. */
static bool take(struct str *s, struct str what)
{
    bool is_there = str_starts_with(*s, what);
    if (is_there) {
        *s = str_sub(*s, what.n, s->n);
    }
    return is_there;
}

static bool take_digits(struct str *s, size_t n, unsigned *ret_value)
{
    uint64_t value;
    if (s->n < n || str_to_u64(str_sub(*s, 0, n), &value) != ERR_OK) {
        return false;
    }
    *ret_value = (unsigned)value;
    *s = str_sub(*s, n, s->n);
    return true;
}

static bool take_month(struct str *s, unsigned *ret_month)
{
    for (unsigned i = 0; i < 12; i++) {
        if (take(s, str_make(month_names[i], 3))) {
            *ret_month = i + 1;
            return true;
        }
    }
    return false;
}

static bool take_time(struct str *s, struct civil *c)
{
    return take_digits(s, 2, &c->hour) && take(s, STR(":")) && take_digits(s, 2, &c->minute) &&
           take(s, STR(":")) && take_digits(s, 2, &c->second);
}

/* `06 Nov 1994 08:49:37 GMT` */
static bool take_imf(struct str *s, struct civil *c)
{
    return take_digits(s, 2, &c->day) && take(s, STR(" ")) && take_month(s, &c->month) &&
           take(s, STR(" ")) && take_digits(s, 4, &c->year) && take(s, STR(" ")) &&
           take_time(s, c) && take(s, STR(" GMT"));
}

/* `06-Nov-94 08:49:37 GMT` */
static bool take_rfc850(struct str *s, struct civil *c, int64_t now_unix_s)
{
    if (!take_digits(s, 2, &c->day) || !take(s, STR("-")) || !take_month(s, &c->month) ||
        !take(s, STR("-")) || !take_digits(s, 2, &c->year) || !take(s, STR(" ")) ||
        !take_time(s, c) || !take(s, STR(" GMT"))) {
        return false;
    }
    unsigned now_year =
        now_unix_s > 0 && now_unix_s < UNIX_S_MAX ? civil_of(now_unix_s / DAY_S).year : 1970;
    c->year += now_year / 100 * 100;
    if (c->year > now_year + 50) {
        c->year -= 100;
    } else if (c->year + 50 <= now_year) {
        c->year += 100;
    }
    return true;
}

/* `Nov  6 08:49:37 1994` */
static bool take_asctime(struct str *s, struct civil *c)
{
    if (!take_month(s, &c->month) || !take(s, STR(" "))) {
        return false;
    }
    size_t digits = take(s, STR(" ")) ? 1 : 2;
    return take_digits(s, digits, &c->day) && take(s, STR(" ")) && take_time(s, c) &&
           take(s, STR(" ")) && take_digits(s, 4, &c->year);
}

static bool take_any(struct str *s, struct civil *c, int64_t now_unix_s)
{
    for (unsigned i = 0; i < 7; i++) {
        struct str day = str_of(day_names[i]);
        if (take(s, day)) {
            return take(s, STR(", ")) && take_rfc850(s, c, now_unix_s);
        }
        if (take(s, str_sub(day, 0, 3))) {
            return take(s, STR(", ")) ? take_imf(s, c) : take(s, STR(" ")) && take_asctime(s, c);
        }
    }
    return false;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}

enum err http_date_parse(struct str s, int64_t now_unix_s, int64_t *ret_unix_s)
{
    struct civil c = {0};
    if (!take_any(&s, &c, now_unix_s) || s.n > 0) {
        return ERR_SYNTAX;
    }
    /* Second 60 is a leap second (RFC 9110 5.6.7). */
    if (c.day == 0 || c.day > days_in_month(c.year, c.month) || c.hour > 23 || c.minute > 59 ||
        c.second > 60) {
        return ERR_RANGE;
    }
    *ret_unix_s = days_of(&c) * DAY_S + c.hour * 3600 + c.minute * 60 + c.second;
    return ERR_OK;
}
