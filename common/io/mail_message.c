#include "io/mail_message.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#define ADDRESS_MAX   ((size_t)254) /* RFC 5321, 4.5.3.1.3 without the angle brackets */
#define LOCAL_MAX     ((size_t)64)
#define ID_MAX        ((size_t)250)
#define PLAIN_MAX     ((size_t)60) /* of a header's text that needs no encoding */
#define WORD_BYTES    ((size_t)39) /* 52 digits: with "Subject: " 73 of the 76 of RFC 2047, 2 */
#define QP_LINE_MAX   76           /* RFC 2045, 6.7 (5) */
#define DATE_TEXT_MAX 64

/* RFC 5322, 3.2.3 */
static bool is_dot_atom(const char *text, size_t len)
{
    static const char specials[] = "!#$%&'*+-/=?^_`{|}~.";

    if (len == 0 || text[0] == '.' || text[len - 1] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c > 126 || (!isalnum(c) && !strchr(specials, c)) || c == '\0')
            return false;
        if (c == '.' && text[i + 1] == '.')
            return false;
    }
    return true;
}

static bool is_domain(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && text[0] != '-' && text[0] != '.' && text[len - 1] != '-' &&
           text[len - 1] != '.' && !strstr(text, "..") &&
           text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-")] ==
               '\0';
}

bool mail_address_is_valid(const char *address)
{
    const char *at = strchr(address, '@');

    return at && strlen(address) <= ADDRESS_MAX && (size_t)(at - address) <= LOCAL_MAX &&
           is_dot_atom(address, (size_t)(at - address)) && is_domain(at + 1);
}

static bool id_is_valid(const char *id)
{
    const char *at = strchr(id, '@');

    return at && strlen(id) <= ID_MAX && is_dot_atom(id, (size_t)(at - id)) && is_domain(at + 1);
}

static bool is_plain(const char *text)
{
    for (const char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 32 || (unsigned char)*p > 126)
            return false;
    return strlen(text) <= PLAIN_MAX && !strstr(text, "=?");
}

/* How many bytes of the text, at most `max`, end between two characters. */
static size_t cut_at_character(const char *text, size_t max)
{
    size_t n = strlen(text);

    if (n <= max)
        return n;
    n = max;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    return n > 0 ? n : max;
}

/* RFC 2047: encoded words of UTF-8 in base64, a line each. */
static void add_encoded_words(struct buf *b, const char *text)
{
    char digits[sodium_base64_ENCODED_LEN(WORD_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    unsigned char bytes[WORD_BYTES];
    const char *before = "";

    while (*text != '\0') {
        size_t n = cut_at_character(text, WORD_BYTES);
        for (size_t i = 0; i < n; i++)
            bytes[i] = iscntrl((unsigned char)text[i]) ? ' ' : (unsigned char)text[i];
        sodium_bin2base64(digits, sizeof(digits), bytes, n, sodium_base64_VARIANT_ORIGINAL);
        buf_addf(b, "%s=?UTF-8?B?%s?=", before, digits);
        before = "\r\n ";
        text += n;
    }
}

static void add_from(struct buf *b, const struct mail_message *m)
{
    if (!m->from_name || m->from_name[0] == '\0') {
        buf_addf(b, "From: %s\r\n", m->from);
        return;
    }
    /* Always encoded, so that no character of a name means anything in the header. */
    buf_add_str(b, "From: ");
    add_encoded_words(b, m->from_name);
    buf_addf(b, "\r\n <%s>\r\n", m->from);
}

static void add_subject(struct buf *b, const char *subject)
{
    buf_add_str(b, "Subject: ");
    if (is_plain(subject))
        buf_add_str(b, subject);
    else
        add_encoded_words(b, subject);
    buf_add_str(b, "\r\n");
}

static int add_date(struct buf *b, int64_t date_s)
{
    char text[DATE_TEXT_MAX];
    time_t at = (time_t)date_s;
    struct tm tm;

    if (!gmtime_r(&at, &tm) ||
        strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S +0000\r\n", &tm) == 0)
        return ERR_INVALID;
    buf_add_str(b, text);
    return 0;
}

/* RFC 2045, 6.7. A line break of the text is a line break of the mail. */
static void add_quoted_printable(struct buf *b, const char *text)
{
    size_t column = 0;

    for (const char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '\r' && p[1] == '\n')
            continue;
        if (c == '\n') {
            buf_add_str(b, "\r\n");
            column = 0;
            continue;
        }
        bool ends_line = p[1] == '\0' || p[1] == '\n' || (p[1] == '\r' && p[2] == '\n');
        bool literal = (c > 32 && c < 127 && c != '=') || ((c == ' ' || c == '\t') && !ends_line);
        size_t width = literal ? 1 : 3;
        if (column + width > QP_LINE_MAX - 1) {
            buf_add_str(b, "=\r\n");
            column = 0;
        }
        if (literal)
            buf_add_char(b, (char)c);
        else
            buf_addf(b, "=%02X", c);
        column += width;
    }
    if (column > 0)
        buf_add_str(b, "\r\n");
}

int mail_message_write(const struct mail_message *m, struct buf *ret_text)
{
    if (!mail_address_is_valid(m->from) || !mail_address_is_valid(m->to) ||
        !id_is_valid(m->message_id) || (m->in_reply_to && !id_is_valid(m->in_reply_to)))
        return ERR_INVALID;
    int err = add_date(ret_text, m->date_s);
    if (err < 0)
        return err;
    add_from(ret_text, m);
    buf_addf(ret_text, "To: %s\r\nMessage-ID: <%s>\r\n", m->to, m->message_id);
    if (m->in_reply_to)
        buf_addf(
            ret_text, "In-Reply-To: <%s>\r\nReferences: <%s>\r\n", m->in_reply_to, m->in_reply_to);
    add_subject(ret_text, m->subject);
    /* RFC 3834, 5: keeps vacation answers away. */
    buf_add_str(ret_text, "Auto-Submitted: auto-generated\r\n"
                          "MIME-Version: 1.0\r\n"
                          "Content-Type: text/plain; charset=utf-8\r\n"
                          "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    add_quoted_printable(ret_text, m->text);
    return buf_err(ret_text);
}
