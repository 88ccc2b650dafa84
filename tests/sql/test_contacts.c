/*
 * Contact methods: what an address must look like, the code before the first use, what happens
 * when one is switched off.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/harness.h"

/* The code that notification $1 carries, from its body "Your code is 1 2 3 4 5 6". */
#define CODE "regexp_replace(substr(body, 13), ' ', '', 'g')"

static void add_owner(struct harness *h)
{
    harness_exec(h, "INSERT INTO users (id, name) VALUES (1, 'owner');"
                    "INSERT INTO contact_method (id, user_id, channel, address, position)"
                    " VALUES (1, 1, 'twilio_sms', '+15551001', 1), (2, 1, 'console', 'owner', 2)");
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {
        "'twilio_sms', '15551001'",
        "'twilio_sms', '+0555'",
        "'twilio_whatsapp', '+1 555 1001'",
        "'twilio_voice', '+1234567890123456'",
        "'vapi_voice', 'owner'",
        "'vapi_voice', '+1'",
        "'email', 'owner'",
        "'email', 'a b@example.org'",
        "'webhook', 'ftp://example.org'",
        "'slack', 'the channel'",
    };
    static const char *const good[] = {
        "'twilio_sms', '+15551001'",
        "'twilio_voice', '+123456789012345'",
        "'vapi_voice', '+4915112345678'",
        "'email', 'owner@example.org'",
        "'webhook', 'https://example.org/hook?key=k'",
        "'slack', 'C0123456789'",
        "'console', 'anything'",
    };
    struct harness *h = *state;
    char sql[256];

    add_owner(h);
    harness_exec(h, "DELETE FROM contact_method");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(snprintf(sql, sizeof sql,
                        "INSERT INTO contact_method (user_id, channel, address) VALUES (1, %s)",
                        bad[i]) < (int)sizeof sql);
        harness_refused(h, NULL, "23514", sql);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        harness_execf(
            h, "INSERT INTO contact_method (user_id, channel, address) VALUES (1, %s)", good[i]);
    harness_refused(
        h, NULL, "23514", "UPDATE contact_method SET address = 'x' WHERE channel = 'email'");
}

static void test_a_code_verifies(void **state)
{
    struct harness *h = *state;

    add_owner(h);
    assert_string_equal(harness_text(h, "SELECT contact_method_verify(1, '000000')"), "none begun");
    harness_exec(h, "SELECT contact_method_verify_begin(1)");
    assert_string_equal(harness_rows(h, "SELECT kind, channel, contact_method_id, body ~ "
                                        "'^Your code is (\\d ){5}\\d$' FROM notification"),
        "contact_verification|twilio_sms|1|t");
    assert_false(harness_bool(h, "SELECT EXISTS (SELECT FROM contact_verification AS v, "
                                 "notification AS n WHERE v::text LIKE '%' || " CODE " || '%')"));
    assert_string_equal(
        harness_text(h, "SELECT contact_method_verify(1, " CODE ") FROM notification"), "verified");
    assert_true(harness_bool(h, "SELECT verified_at IS NOT NULL FROM contact_method WHERE id = 1"));
    assert_string_equal(
        harness_text(h, "SELECT contact_method_verify(1, " CODE ") FROM notification"),
        "none begun");
    harness_exec(h, "UPDATE contact_method SET address = '+15551009' WHERE id = 1");
    assert_true(harness_bool(h, "SELECT verified_at IS NULL FROM contact_method WHERE id = 1"));
}

/* Meetings that were planned while nothing reached their owner are told through the new number. */
static void test_what_is_open_is_planned_when_a_number_can_be_used(void **state)
{
    static const char *const able[] = {
        "UPDATE contact_method SET verified_at = now()",
        "UPDATE contact_method SET disabled_at = NULL",
        "SELECT contact_heard('twilio_sms', '+15551001', 'start')",
    };
    static const char *const unable[] = {
        "verified_at = NULL", "disabled_at = now()", "stopped_at = now()"};
    struct harness *h = *state;

    add_owner(h);
    harness_exec(h, "DELETE FROM contact_method WHERE id = 2;"
                    "UPDATE contact_method SET verified_at = now()");
    for (size_t i = 0; i < sizeof able / sizeof able[0]; i++) {
        harness_execf(h,
            "UPDATE contact_method SET %s;"
            "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
            " VALUES ('meeting', 1, %zu, now() + interval '1 hour', 'Stand-up', 1);"
            "SELECT incident_plan(array_agg(id)) FROM incident",
            unable[i], i);
        assert_int_equal(harness_intf(h,
                             "SELECT count(*) FROM notification AS n JOIN incident AS i"
                             " ON i.id = n.incident_id WHERE i.event_id = %zu",
                             i),
            0);
        harness_exec(h, able[i]);
        assert_int_equal(harness_intf(h,
                             "SELECT count(*) FROM notification AS n JOIN incident AS i"
                             " ON i.id = n.incident_id WHERE i.event_id = %zu",
                             i),
            3);
    }
}

static void test_five_tries_and_ten_minutes(void **state)
{
    struct harness *h = *state;

    add_owner(h);
    harness_exec(h, "SELECT contact_method_verify_begin(1)");
    for (int i = 0; i < 5; i++)
        assert_string_equal(harness_text(h, "SELECT contact_method_verify(1, 'none')"), "wrong");
    assert_string_equal(
        harness_text(h, "SELECT contact_method_verify(1, " CODE ") FROM notification"),
        "too many tries");
    harness_refused(h, NULL, "55000", "SELECT contact_method_verify_begin(1)");
    harness_clock_advance(h, "61 seconds");
    harness_exec(h, "SELECT contact_method_verify_begin(1)");
    assert_string_equal(
        harness_text(h, "SELECT contact_method_verify(1, " CODE ") FROM notification WHERE id = 1"),
        "wrong");
    harness_clock_advance(h, "10 minutes");
    assert_string_equal(
        harness_text(h, "SELECT contact_method_verify(1, " CODE ") FROM notification WHERE id = 2"),
        "expired");
    assert_true(harness_bool(h, "SELECT verified_at IS NULL FROM contact_method WHERE id = 1"));
}

static void test_what_needs_no_code(void **state)
{
    struct harness *h = *state;

    add_owner(h);
    harness_refused(h, NULL, "P0002", "SELECT contact_method_verify_begin(99)");
    harness_refused(h, NULL, "55000", "SELECT contact_method_verify_begin(2)");
    harness_exec(h, "UPDATE contact_method SET verified_at = now() WHERE id = 1");
    harness_refused(h, NULL, "55000", "SELECT contact_method_verify_begin(1)");
    harness_exec(h, "UPDATE contact_method SET verified_at = NULL, disabled_at = now()");
    harness_refused(h, NULL, "55000", "SELECT contact_method_verify_begin(1)");
}

static void test_a_code_is_forgotten_when_it_is_sent(void **state)
{
    struct harness *h = *state;

    add_owner(h);
    harness_exec(h, "SELECT contact_method_verify_begin(1);"
                    "UPDATE notification SET state = 'sending', attempts = 1");
    assert_true(harness_bool(h, "SELECT body ~ '\\d' FROM notification"));
    harness_exec(h, "UPDATE notification SET state = 'accepted', pending = false, sent_at = now()");
    assert_false(harness_bool(h, "SELECT body ~ '\\d' FROM notification"));
}

static void test_its_person_hears_of_a_dead_contact(void **state)
{
    struct harness *h = *state;

    add_owner(h);
    harness_exec(h, "UPDATE contact_method SET verified_at = now() WHERE id = 1;"
                    "UPDATE contact_method SET disabled_at = now(), disabled_reason = 'Twilio "
                    "21610: unsubscribed' WHERE id = 1;"
                    "UPDATE contact_method SET disabled_at = now() WHERE id = 1");
    assert_string_equal(harness_rows(h, "SELECT kind, channel, body FROM notification"),
        "contact_disabled|console|twilio_sms to +15551001 is switched off: Twilio 21610: "
        "unsubscribed. Messages go to your other contacts.");
}

/* That STOP was said may be known by a message that Twilio refused alone. */
static void test_start_after_a_message_that_was_refused(void **state)
{
    static const struct {
        const char *reason;
        const char *word;
        int64_t disabled;
    } cases[] = {{"Twilio 21610: the recipient sent STOP", "START", 0},
        {"Twilio 21610: the recipient sent STOP", "yes", 0},
        {"Twilio 21614: ''To'' is not a mobile number", "START", 1}};
    struct harness *h = *state;

    add_owner(h);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        harness_execf(h,
            "UPDATE contact_method SET disabled_at = now(), disabled_reason = '%s' WHERE id = 1;"
            "SELECT contact_heard('twilio_sms', '+15551001', '%s')",
            cases[i].reason, cases[i].word);
        assert_int_equal(
            harness_int(h, "SELECT count(*) FROM contact_method WHERE disabled_at IS NOT NULL"),
            cases[i].disabled);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_addresses),
        TEST(test_a_code_verifies),
        TEST(test_what_is_open_is_planned_when_a_number_can_be_used),
        TEST(test_five_tries_and_ten_minutes),
        TEST(test_what_needs_no_code),
        TEST(test_a_code_is_forgotten_when_it_is_sent),
        TEST(test_its_person_hears_of_a_dead_contact),
        TEST(test_start_after_a_message_that_was_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
