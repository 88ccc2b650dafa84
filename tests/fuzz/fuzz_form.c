/* Forms and acknowledge links, as anybody may send them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ack_link.h"
#include "base/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each field lies within the form's own text and ends there; a name is found. */
static void look(const struct form *form, size_t size)
{
    size_t total = 0;

    for (size_t i = 0; i < form->n; i++) {
        total += strlen(form->fields[i].name) + strlen(form->fields[i].value);
        if (!form_get(form, form->fields[i].name))
            abort();
    }
    if (total > size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct form form;
    int64_t id;

    if (form_read((const char *)data, size, &form) == 0) {
        look(&form, size);
        form_release(&form);
    }
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    /* 128 bits are not found by trying */
    if (ack_link_read(text, "a secret that is long enough for this", &id) == 0)
        abort();
    free(text);
    return 0;
}
