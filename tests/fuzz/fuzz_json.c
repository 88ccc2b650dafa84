/*
 * JSON from outside: whatever is accepted is shallow, prints, and reads back as the
 * same document. What is refused says why, in words that quote nothing of it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_read.h"

#define MAX_LEN 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
    if (!truth)
        abort();
}

static int depth_of(const json_t *j)
{
    const char *key;
    json_t *value;
    size_t i;
    int deepest = 0;

    if (json_is_object(j)) {
        json_object_foreach((json_t *)j, key, value)
        {
            int d = depth_of(value);
            deepest = d > deepest ? d : deepest;
        }
        return deepest + 1;
    }
    if (json_is_array(j)) {
        json_array_foreach(j, i, value)
        {
            int d = depth_of(value);
            deepest = d > deepest ? d : deepest;
        }
        return deepest + 1;
    }
    return 0;
}

static void look_up(const json_t *j)
{
    const char *s = json_read_str(j, "id");

    must(!s || strlen(s) <= MAX_LEN);
    (void)json_read_int(j, "n", -1);
    (void)json_read_bool(j, "ok", false);
    (void)json_read_get(j, "error", "status", NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf fault = BUF_INIT(4096);
    _cleanup_(json_decrefp) json_t *first = NULL;
    _cleanup_(json_decrefp) json_t *second = NULL;

    int err = json_read((const char *)data, size, MAX_LEN, &fault, &first);
    if (err) {
        must(!first && fault.len > 0 && fault.len < 200);
    } else {
        must(depth_of(first) <= JSON_READ_DEPTH_MAX);
        look_up(first);
        _cleanup_(freep) char *text = json_dumps(first, JSON_COMPACT | JSON_ENCODE_ANY);
        must(text != NULL);
        err = json_read(text, strlen(text), SIZE_MAX, &fault, &second);
        must(err == 0 && json_equal(first, second));
    }
    buf_release(&fault);
    return 0;
}
