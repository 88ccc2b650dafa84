/* What opens, what must not, and that no fault quotes a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"

#define KEY_A   "a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B   "b-2://///////////////////////////////////////w8="
#define CONTEXT "calendar_credentials.sealed"
#define CEILING 200000

static struct secret_ring *ring_of(const char *keys)
{
    struct buf faults = BUF_INIT(4096);
    struct secret_ring *ring = NULL;

    assert_int_equal(secret_ring_parse(keys, &faults, &ring), 0);
    assert_string_equal(buf_str(&faults), "");
    return ring;
}

static char *seal(const struct secret_ring *ring, const char *context, const char *plain)
{
    struct buf sealed = BUF_INIT(CEILING);

    assert_int_equal(secret_seal(ring, context, plain, strlen(plain), &sealed), 0);
    return buf_steal(&sealed);
}

static int open_err(const struct secret_ring *ring, const char *context, const char *sealed)
{
    struct secret *s = NULL;

    int err = secret_open(ring, context, sealed, &s);
    assert_true((err == 0) == (s != NULL));
    secret_free(s);
    return err;
}

static void test_rings(void **state)
{
    static const struct {
        const char *keys;
        size_t count;
    } rows[] = {
        {NULL, 0},
        {"", 0},
        {KEY_A, 1},
        {KEY_A "," KEY_B, 2},
        {"x:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", 1},
        {"x:_____________________________________________w8", 0},
        {"x:__________________________________________8", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf faults = BUF_INIT(4096);
        struct secret_ring *ring = NULL;
        int err = secret_ring_parse(rows[i].keys, &faults, &ring);
        bool refused = rows[i].count == 0 && rows[i].keys && *rows[i].keys;
        assert_int_equal(err, refused ? ERR_INVALID : 0);
        if (!refused)
            assert_int_equal(secret_ring_count(ring), rows[i].count);
        secret_ring_free(ring);
        buf_release(&faults);
    }
}

static void test_every_fault_of_a_ring(void **state)
{
    static const char body[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh";
    struct buf faults = BUF_INIT(4096);
    struct secret_ring *ring = NULL;
    char keys[600];

    (void)state;
    (void)snprintf(keys, sizeof(keys), "%s,a:%s8=,%s8=,b c:%s8=,:%s8=,d:%s,,e:,f:%s8=AAAA", KEY_A,
        body, body, body, body, body, body);
    assert_int_equal(secret_ring_parse(keys, &faults, &ring), ERR_INVALID);
    assert_null(ring);
    for (int position = 2; position <= 9; position++) {
        char expected[40];
        (void)snprintf(expected, sizeof(expected), "TOCSIN_SEAL_KEYS: key %d ", position);
        assert_non_null(strstr(buf_str(&faults), expected));
    }
    assert_null(strstr(buf_str(&faults), "key 1 "));
    assert_null(strstr(buf_str(&faults), "AAEC"));
    buf_release(&faults);
}

static void test_comma_at_the_end(void **state)
{
    struct buf faults = BUF_INIT(4096);
    struct secret_ring *ring = NULL;

    (void)state;
    assert_int_equal(secret_ring_parse(KEY_A ",", &faults, &ring), ERR_INVALID);
    assert_non_null(strstr(buf_str(&faults), "comma at the end"));
    buf_release(&faults);
}

static void test_round_trip(void **state)
{
    static const size_t lengths[] = {0, 1, 2, 3, 15, 16, 17, 4095, 4096, SECRET_PLAIN_MAX};
    struct secret_ring *ring = ring_of(KEY_A);

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct buf sealed = BUF_INIT(CEILING);
        struct secret *s = NULL;
        char *plain = malloc(lengths[i] + 1);
        assert_non_null(plain);
        memset(plain, 'p', lengths[i]);
        assert_int_equal(secret_seal(ring, CONTEXT, plain, lengths[i], &sealed), 0);
        assert_memory_equal(buf_str(&sealed), "v1.a.", 5);
        assert_int_equal(secret_open(ring, CONTEXT, buf_str(&sealed), &s), 0);
        assert_int_equal(secret_len(s), lengths[i]);
        assert_memory_equal(secret_text(s), plain, lengths[i]);
        assert_int_equal(secret_text(s)[lengths[i]], '\0');
        secret_free(s);
        buf_release(&sealed);
        free(plain);
    }
    secret_ring_free(ring);
}

static void test_limits(void **state)
{
    struct secret_ring *ring = ring_of(KEY_A);
    struct secret_ring *empty = ring_of("");
    struct buf sealed = BUF_INIT(CEILING);
    struct buf small = BUF_INIT(10);
    char *large = calloc(1, SECRET_PLAIN_MAX + 1);

    (void)state;
    assert_non_null(large);
    assert_int_equal(
        secret_seal(ring, CONTEXT, large, SECRET_PLAIN_MAX + 1, &sealed), ERR_TOO_LARGE);
    assert_int_equal(secret_seal(ring, CONTEXT, "x", 1, &small), ERR_TOO_LARGE);
    assert_int_equal(secret_seal(empty, CONTEXT, "x", 1, &sealed), ERR_CRYPTO);
    assert_int_equal(sealed.len, 0);
    free(large);
    buf_release(&small);
    buf_release(&sealed);
    secret_ring_free(empty);
    secret_ring_free(ring);
    secret_ring_free(NULL);
    secret_free(NULL);
}

static void test_context_and_key_bind(void **state)
{
    struct secret_ring *a = ring_of(KEY_A);
    struct secret_ring *b = ring_of(KEY_B);
    struct secret_ring *imposter = ring_of("a:"
                                           "/////////////////////////////////////////w8=");
    char *sealed = seal(a, CONTEXT, "hunter2");

    (void)state;
    assert_int_equal(open_err(a, CONTEXT, sealed), 0);
    assert_int_equal(open_err(a, "user.sealed", sealed), ERR_CRYPTO);
    assert_int_equal(open_err(a, "", sealed), ERR_CRYPTO);
    assert_int_equal(open_err(b, CONTEXT, sealed), ERR_CRYPTO);
    assert_int_equal(open_err(imposter, CONTEXT, sealed), ERR_CRYPTO);
    free(sealed);
    secret_ring_free(imposter);
    secret_ring_free(b);
    secret_ring_free(a);
}

static void test_rotation(void **state)
{
    struct secret_ring *old = ring_of(KEY_A);
    struct secret_ring *both = ring_of(KEY_B "," KEY_A);
    struct secret_ring *new = ring_of(KEY_B);
    char *before = seal(old, CONTEXT, "x");
    char *after = seal(both, CONTEXT, "x");

    (void)state;
    assert_int_equal(open_err(both, CONTEXT, before), 0);
    assert_memory_equal(after, "v1.b-2.", 7);
    assert_int_equal(open_err(new, CONTEXT, after), 0);
    assert_int_equal(open_err(old, CONTEXT, after), ERR_CRYPTO);
    free(before);
    free(after);
    secret_ring_free(new);
    secret_ring_free(both);
    secret_ring_free(old);
}

static void test_no_two_seals_are_alike(void **state)
{
    struct secret_ring *ring = ring_of(KEY_A);
    char *one = seal(ring, CONTEXT, "x");
    char *two = seal(ring, CONTEXT, "x");

    (void)state;
    assert_string_not_equal(one, two);
    free(one);
    free(two);
    secret_ring_free(ring);
}

/* One digit is '_', which libsodium's decoder also reads from a byte above 127. */
static char *seal_with_underscore(const struct secret_ring *ring)
{
    char *sealed = seal(ring, CONTEXT, "a secret of some length");

    while (!strchr(sealed, '_')) {
        free(sealed);
        sealed = seal(ring, CONTEXT, "a secret of some length");
    }
    return sealed;
}

/* No prefix opens, no byte may be missing in the middle, and none may differ. */
static void test_altered(void **state)
{
    struct secret_ring *ring = ring_of(KEY_A);
    char *sealed = seal_with_underscore(ring);
    size_t len = strlen(sealed);
    char *copy = malloc(len + 1);

    (void)state;
    assert_non_null(copy);
    for (size_t i = 0; i < len; i++) {
        memcpy(copy, sealed, len + 1);
        copy[i] = '\0';
        assert_int_not_equal(open_err(ring, CONTEXT, copy), 0);
        memcpy(copy + i, sealed + i + 1, len - i);
        assert_int_not_equal(open_err(ring, CONTEXT, copy), 0);
        for (const char *with = "A_z.=\x80\xBF\xFF"; *with; with++) {
            memcpy(copy, sealed, len + 1);
            if (copy[i] == *with)
                continue;
            copy[i] = *with;
            assert_int_not_equal(open_err(ring, CONTEXT, copy), 0);
        }
    }
    assert_int_equal(open_err(ring, CONTEXT, sealed), 0);
    free(copy);
    free(sealed);
    secret_ring_free(ring);
}

static void test_not_in_the_form(void **state)
{
    static const char *const rows[] = {"", "v1", "v1.", "v1.a", "v1.a.", "v1..AAAA", "v2.a.AAAA",
        "hunter2", "v1.a.!!!!", "v1.a b.AAAA", " v1.a.AAAA", "v1.a.AAAA",
        "v1.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.AAAA"};
    struct secret_ring *ring = ring_of(KEY_A);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(open_err(ring, CONTEXT, rows[i]), ERR_INVALID);

    char *huge = malloc(CEILING + 1);
    assert_non_null(huge);
    memset(huge, 'A', CEILING);
    memcpy(huge, "v1.a.", 5);
    huge[CEILING] = '\0';
    assert_int_equal(open_err(ring, CONTEXT, huge), ERR_INVALID);
    free(huge);
    secret_ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rings),
        cmocka_unit_test(test_every_fault_of_a_ring),
        cmocka_unit_test(test_comma_at_the_end),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_context_and_key_bind),
        cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_no_two_seals_are_alike),
        cmocka_unit_test(test_altered),
        cmocka_unit_test(test_not_in_the_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
