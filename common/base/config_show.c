#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/config_entries.h"
#include "base/config_words.h"

#define TEXT_MAX (1 << 20)

/* In quotes that config_file_parse() reads back. */
static void add_quoted(struct buf *out, const char *s)
{
    buf_add_char(out, '"');
    for (; *s; s++) {
        switch (*s) {
        case '\n':
            buf_add_str(out, "\\n");
            break;
        case '\t':
            buf_add_str(out, "\\t");
            break;
        case '"':
        case '\\':
            buf_add_char(out, '\\');
            buf_add_char(out, *s);
            break;
        default:
            buf_add_char(out, *s);
            break;
        }
    }
    buf_add_char(out, '"');
}

static void add_text(struct buf *out, const struct config_key *k, const char *text)
{
    if (k->secret)
        buf_add_str(out, text ? "(set)" : "(not set)");
    else if (text)
        add_quoted(out, text);
}

static void add_value(struct buf *out, const struct config_key *k, const void *place)
{
    const char *choice;
    size_t len;
    int index;

    switch (k->type) {
    case CONFIG_STRING:
    case CONFIG_URL:
        add_text(out, k, *(char *const *)place);
        break;
    case CONFIG_BOOL:
        buf_add_str(out, *(const bool *)place ? "true" : "false");
        break;
    case CONFIG_INT:
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        config_add_number(out, k->type, *(const int64_t *)place);
        break;
    case CONFIG_CHOICE:
        index = *(const int *)place;
        choice = config_choice(k->choices, (size_t)index, &len);
        if (choice)
            buf_add(out, choice, len);
        break;
    }
}

/* "needed", "default 10s" or "" */
static void add_default(struct buf *out, const struct config_key *k)
{
    if (k->fallback && *k->fallback && !k->secret)
        buf_addf(out, "default %s", k->fallback);
    else
        buf_add_str(out, k->required ? "needed" : "no default");
}

static void print(struct buf *text, FILE *out)
{
    (void)fputs(buf_str(text), out);
    if (buf_err(text))
        (void)fputs("\n(out of memory: the rest is missing)\n", out);
    buf_release_secret(text);
}

static void show_key(struct buf *out, const struct config_section *s, const struct config_key *k)
{
    if (k->help)
        buf_addf(out, "# %s\n", k->help);
    buf_add_str(out, "# ");
    config_add_grammar(out, k);
    buf_add_str(out, "; ");
    add_default(out, k);
    buf_addf(out, "\n%s%s=", k->secret ? "# " : "", k->key);
    add_value(out, k, config_place(s, k));
    buf_add_str(out, "\n\n");
}

void config_show(const struct config_section *sections, size_t n_sections, FILE *out)
{
    struct buf text = BUF_INIT(TEXT_MAX);

    for (size_t i = 0; i < n_sections; i++) {
        buf_addf(&text, "# --- %s ---\n\n", sections[i].title);
        for (size_t j = 0; j < sections[i].n_keys; j++)
            show_key(&text, &sections[i], &sections[i].keys[j]);
    }
    print(&text, out);
}

void config_help(const struct config_section *sections, size_t n_sections, FILE *out)
{
    struct buf text = BUF_INIT(TEXT_MAX);

    for (size_t i = 0; i < n_sections; i++) {
        buf_addf(&text, "%s%s:\n", i ? "\n" : "", sections[i].title);
        for (size_t j = 0; j < sections[i].n_keys; j++) {
            const struct config_key *k = &sections[i].keys[j];
            buf_addf(&text, "  %s\n      %s\n      ", k->key, k->help ? k->help : "");
            config_add_grammar(&text, k);
            buf_add_str(&text, "; ");
            add_default(&text, k);
            buf_add_str(&text, "\n");
        }
    }
    print(&text, out);
}

/* man(7): a backslash is written \e, a minus \-, and a line must not start with
 * a dot or an apostrophe. */
static void add_roff(struct buf *out, const char *s)
{
    if (*s == '.' || *s == '\'')
        buf_add_str(out, "\\&");
    for (; *s; s++) {
        if (*s == '\\')
            buf_add_str(out, "\\e");
        else if (*s == '-')
            buf_add_str(out, "\\-");
        else
            buf_add_char(out, *s);
    }
}

static void manual_key(struct buf *out, const struct config_key *k)
{
    struct buf note = BUF_INIT(TEXT_MAX);

    buf_add_str(out, ".TP\n.B ");
    add_roff(out, k->key);
    buf_add_char(out, '\n');
    if (k->help) {
        add_roff(out, k->help);
        buf_add_char(out, '\n');
    }
    config_add_grammar(&note, k);
    buf_add_str(&note, "; ");
    add_default(&note, k);
    buf_add_str(out, "Takes ");
    add_roff(out, buf_str(&note));
    buf_add_str(out, ".\n");
    if (buf_err(&note))
        out->err = buf_err(&note);
    buf_release(&note);
}

void config_manual(const struct config_section *sections, size_t n_sections, FILE *out)
{
    struct buf text = BUF_INIT(TEXT_MAX);

    for (size_t i = 0; i < n_sections; i++) {
        buf_add_str(&text, ".SS ");
        add_roff(&text, sections[i].title);
        buf_add_char(&text, '\n');
        for (size_t j = 0; j < sections[i].n_keys; j++)
            manual_key(&text, &sections[i].keys[j]);
    }
    print(&text, out);
}
