/* Standard Webhooks signatures. The first vector is that of the specification's libraries;
 * the others come from another implementation of HMAC-SHA256. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/standard_webhooks.h"

#define SECRET    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID        "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define AT        ((int64_t)1614265330)
#define AT_TEXT   "1614265330"
#define BODY      "{\"test\": 2432232314}"
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define OTHER     "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void test_vectors(void **state)
{
    static const struct {
        const char *secret, *id;
        int64_t at;
        const char *body;
        size_t body_len;
        const char *signature;
    } rows[] = {
        {SECRET, ID, AT, BODY, sizeof(BODY) - 1, SIGNATURE},
        {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "a", 0, "", 0,
            "v1,nyI8u9KtZmFaY8k/GcBnoJXYP7WgQ2vPynpd+JPwAqQ="},
        {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "a", 0, "", 0,
            "v1,nyI8u9KtZmFaY8k/GcBnoJXYP7WgQ2vPynpd+JPwAqQ="},
        {"whsec_"
         "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==",
            "attempt-7", 1700000000,
            "\0\xff"
            "bin",
            5, "v1,u++n91+ohGu8ZHMk76H4hheviuQC6hk1vJlxPt7XEhE="},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf b = BUF_INIT(1024);
        assert_int_equal(standard_webhooks_sign(rows[i].secret, rows[i].id, rows[i].at,
                             rows[i].body, rows[i].body_len, &b),
            0);
        assert_string_equal(buf_str(&b), rows[i].signature);
        buf_release(&b);
    }
}

static void test_two_secrets_sign_one_message(void **state)
{
    struct buf b = BUF_INIT(1024);

    (void)state;
    assert_int_equal(standard_webhooks_sign("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                         ID, AT, BODY, sizeof(BODY) - 1, &b),
        0);
    assert_int_equal(standard_webhooks_sign(SECRET, ID, AT, BODY, sizeof(BODY) - 1, &b), 0);
    assert_non_null(strstr(buf_str(&b), " " SIGNATURE));
    assert_int_equal(
        standard_webhooks_verify(SECRET, ID, AT_TEXT, buf_str(&b), BODY, sizeof(BODY) - 1, AT), 0);
    buf_release(&b);
}

static void test_verify(void **state)
{
    static const struct {
        const char *secret, *id, *timestamp, *signatures, *body;
        int64_t late_s;
        int err;
    } rows[] = {
        {SECRET, ID, AT_TEXT, SIGNATURE, BODY, 0, 0},
        {SECRET, ID, AT_TEXT, SIGNATURE, BODY, 300, 0},
        {SECRET, ID, AT_TEXT, SIGNATURE, BODY, -300, 0},
        {SECRET, ID, AT_TEXT, SIGNATURE, BODY, 301, ERR_TIMEOUT},
        {SECRET, ID, AT_TEXT, SIGNATURE, BODY, -301, ERR_TIMEOUT},
        {SECRET, ID, AT_TEXT, OTHER " " SIGNATURE, BODY, 0, 0},
        {SECRET, ID, AT_TEXT, "v1a,abc  " SIGNATURE " ", BODY, 0, 0},
        {SECRET, ID, AT_TEXT, OTHER, BODY, 0, ERR_DENIED},
        {SECRET, ID, AT_TEXT, "", BODY, 0, ERR_DENIED},
        {SECRET, ID, AT_TEXT, "v1,", BODY, 0, ERR_DENIED},
        {SECRET, ID, AT_TEXT, "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", BODY, 0,
            ERR_DENIED},
        {SECRET, ID, AT_TEXT, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", BODY, 0, ERR_DENIED},
        {SECRET, ID, AT_TEXT, SIGNATURE "x", BODY, 0, ERR_DENIED},
        {SECRET, ID, AT_TEXT, SIGNATURE, "{\"test\": 2432232315}", 0, ERR_DENIED},
        {SECRET, "msg_other", AT_TEXT, SIGNATURE, BODY, 0, ERR_DENIED},
        {SECRET, ID, "1614265331", SIGNATURE, BODY, 0, ERR_DENIED},
        {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ID, AT_TEXT, SIGNATURE, BODY, 0,
            ERR_DENIED},
        {SECRET, ID, "", SIGNATURE, BODY, 0, ERR_INVALID},
        {SECRET, ID, "+1614265330", SIGNATURE, BODY, 0, ERR_INVALID},
        {SECRET, ID, "1614265330 ", SIGNATURE, BODY, 0, ERR_INVALID},
        {SECRET, ID, "99999999999999999999", SIGNATURE, BODY, 0, ERR_INVALID},
        {SECRET, "", AT_TEXT, SIGNATURE, BODY, 0, ERR_INVALID},
        {SECRET, "a.1", AT_TEXT, SIGNATURE, BODY, 0, ERR_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int err = standard_webhooks_verify(rows[i].secret, rows[i].id, rows[i].timestamp,
            rows[i].signatures, rows[i].body, strlen(rows[i].body), AT + rows[i].late_s);
        if (err != rows[i].err)
            fail_msg("row %zu: %s", i, err_name(err));
    }
}

static void test_secrets(void **state)
{
    static const struct {
        const char *secret;
        int err;
    } rows[] = {
        {SECRET, 0},
        {"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ERR_INVALID},
        {"whsec_", ERR_INVALID},
        {"", ERR_INVALID},
        {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY=", ERR_INVALID}, /* 23 bytes */
        {"whsec_"
         "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==",
            0}, /* 64 */
        {"whsec_"
         "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+"
         "P0A=",
            ERR_INVALID}, /* 65 */
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", ERR_INVALID},
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", ERR_INVALID},
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa\xc3\xa9", ERR_INVALID},
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw====", ERR_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (standard_webhooks_check_secret(rows[i].secret) != rows[i].err)
            fail_msg("%s", rows[i].secret);
        struct buf b = BUF_INIT(1024);
        assert_int_equal(standard_webhooks_sign(rows[i].secret, ID, AT, BODY, sizeof(BODY) - 1, &b),
            rows[i].err);
        assert_int_equal(b.len > 0, rows[i].err == 0);
        buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_two_secrets_sign_one_message),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
