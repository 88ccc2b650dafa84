#include "base/json_read.h"

#include <stdarg.h>
#include <string.h>

/* The whole numbers that a double holds exactly. */
#define DOUBLE_WHOLE_MAX 9007199254740992.0

/* Whether brackets outside of strings ever nest deeper than the limit. Text that
 * is no JSON may pass; the parser refuses it. */
static bool too_deep(const char *text, size_t len)
{
    int depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_READ_DEPTH_MAX)
                return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

/* In words of ours: the parser's text quotes the document, which may hold secrets. */
static const char *fault_text(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);

    if (code == json_error_premature_end_of_input)
        return "the document ends too early";
    if (code == json_error_end_of_input_expected)
        return "something follows the end of the document";
    if (code == json_error_invalid_utf8)
        return "not UTF-8";
    if (code == json_error_null_character || code == json_error_null_byte_in_key)
        return "a NUL character in a string";
    if (code == json_error_duplicate_key)
        return "a key appears twice in one object";
    if (code == json_error_numeric_overflow)
        return "a number is too large";
    return "not valid JSON";
}

static void add_fault(struct buf *fault, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add_fault(struct buf *fault, const char *fmt, ...)
{
    va_list args;

    if (!fault)
        return;
    va_start(args, fmt);
    buf_vaddf(fault, fmt, args);
    va_end(args);
}

int json_read(const char *text, size_t len, size_t max_len, struct buf *fault, json_t **ret_json)
{
    json_error_t error;

    if (len > max_len) {
        add_fault(fault, "%zu bytes, of which at most %zu are allowed", len, max_len);
        return ERR_TOO_LARGE;
    }
    if (too_deep(text, len)) {
        add_fault(fault, "nested deeper than %d levels", JSON_READ_DEPTH_MAX);
        return ERR_TOO_LARGE;
    }
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return ERR_NOMEM;
        add_fault(fault, "line %d, column %d: %s", error.line, error.column, fault_text(&error));
        return ERR_INVALID;
    }
    *ret_json = json;
    return 0;
}

const json_t *json_read_get(const json_t *j, const char *key, ...)
{
    va_list args;

    va_start(args, key);
    for (; j && key; key = va_arg(args, const char *))
        j = json_object_get(j, key);
    va_end(args);
    return j;
}

const char *json_read_str(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

int64_t json_read_int(const json_t *j, const char *key, int64_t fallback)
{
    const json_t *v = json_object_get(j, key);

    if (json_is_integer(v))
        return json_integer_value(v);
    if (json_is_real(v)) {
        double d = json_real_value(v);
        if (d >= -DOUBLE_WHOLE_MAX && d <= DOUBLE_WHOLE_MAX && d == (double)(int64_t)d)
            return (int64_t)d;
    }
    return fallback;
}

bool json_read_bool(const json_t *j, const char *key, bool fallback)
{
    const json_t *v = json_object_get(j, key);

    return json_is_boolean(v) ? json_is_true(v) : fallback;
}
