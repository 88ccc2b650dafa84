/* `scheduler --next`: what it prints, and what it exits with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "scheduler/next_command.h"

#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))
#define ARGS_MAX   16
#define OUTPUT_MAX 65536

/* Leads a descriptor into a file of its own; returns where it led before. */
static int divert(int fd, FILE *to)
{
    int saved = dup(fd);

    assert_true(saved >= 0);
    assert_true(dup2(fileno(to), fd) >= 0);
    return saved;
}

static void restore(int fd, int saved, FILE *from, struct buf *ret)
{
    char bytes[512];
    size_t n;

    assert_true(dup2(saved, fd) >= 0);
    assert_int_equal(close(saved), 0);
    rewind(from);
    while ((n = fread(bytes, 1, sizeof(bytes), from)) > 0)
        buf_add(ret, bytes, n);
    assert_int_equal(fclose(from), 0);
    assert_int_equal(buf_err(ret), 0);
}

static int run(const char *const *args, struct buf *ret_out, struct buf *ret_err)
{
    FILE *out = tmpfile(), *err = tmpfile();
    char *argv[ARGS_MAX + 1] = {NULL};
    int argc = 0, code, saved_out, saved_err;

    assert_true(out && err);
    for (; args[argc] && argc < ARGS_MAX; argc++)
        argv[argc] = (char *)(uintptr_t)args[argc];
    (void)fflush(stdout);
    saved_out = divert(STDOUT_FILENO, out);
    saved_err = divert(STDERR_FILENO, err);
    code = next_command(argc, argv);
    (void)fflush(stdout);
    (void)fflush(stderr);
    restore(STDERR_FILENO, saved_err, err, ret_err);
    restore(STDOUT_FILENO, saved_out, out, ret_out);
    return code;
}

struct row {
    const char *args[ARGS_MAX];
    int code;
    const char *out;
    const char *err; /* NULL: any */
};

static void check(const struct row *row)
{
    struct buf out = BUF_INIT(OUTPUT_MAX), err = BUF_INIT(OUTPUT_MAX);

    assert_int_equal(run(row->args, &out, &err), row->code);
    assert_string_equal(buf_str(&out), row->out);
    if (row->err)
        assert_string_equal(buf_str(&err), row->err);
    buf_release(&out);
    buf_release(&err);
}

static void test_prints_one_run_a_line(void **state)
{
    static const struct row rows[] = {
        {{"scheduler", "--next", "0 9 * * 1-5", "--zone", "America/New_York", "--from",
             "2026-03-05T14:00:00Z", "-n", "3"},
            0,
            "2026-03-06T14:00:00Z 2026-03-06T09:00:00-05:00\n"
            "2026-03-09T13:00:00Z 2026-03-09T09:00:00-04:00\n"
            "2026-03-10T13:00:00Z 2026-03-10T09:00:00-04:00\n",
            ""},
        {{"scheduler", "--zone=America/New_York", "-n2", "--next=30 2 * * *",
             "--from=2026-03-08T00:00:00Z"},
            0,
            "2026-03-08T07:00:00Z 2026-03-08T03:00:00-04:00 gap\n"
            "2026-03-09T06:30:00Z 2026-03-09T02:30:00-04:00\n",
            ""},
        {{"scheduler", "--next", "30 1 * * *", "--zone", "America/New_York", "--from",
             "2026-11-01T00:00:00Z", "-n", "2", "--dst-overlap", "both"},
            0,
            "2026-11-01T05:30:00Z 2026-11-01T01:30:00-04:00 overlap\n"
            "2026-11-01T06:30:00Z 2026-11-01T01:30:00-05:00 overlap\n",
            ""},
        {{"scheduler", "--next", "30 2 * * *", "--zone", "America/New_York", "--from",
             "2026-03-08T00:00:00Z", "-n", "1", "--dst-gap", "skip"},
            0, "2026-03-09T06:30:00Z 2026-03-09T02:30:00-04:00\n", ""},
        {{"scheduler", "--next", "every 90s", "--from", "2026-03-08", "-n", "2", "--window",
             "00:03-00:05"},
            0,
            "2026-03-08T00:03:00Z 2026-03-08T00:03:00+00:00\n"
            "2026-03-08T00:04:30Z 2026-03-08T00:04:30+00:00\n",
            ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        check(&rows[i]);
}

static void test_ten_runs_from_now(void **state)
{
    static const char *const args[] = {"scheduler", "--next", "* * * * *", NULL};
    struct buf out = BUF_INIT(OUTPUT_MAX), err = BUF_INIT(OUTPUT_MAX);
    int lines = 0;

    (void)state;
    assert_int_equal(run(args, &out, &err), 0);
    for (const char *at = buf_str(&out); (at = strchr(at, '\n')); at++)
        lines++;
    assert_int_equal(lines, 10);
    buf_release(&out);
    buf_release(&err);
}

static void test_faults_exit_78(void **state)
{
    static const struct row rows[] = {
        {{"scheduler", "--next", "0,61 * * * *"}, 78, "", "minute: 61 is above 59, at column 3\n"},
        {{"scheduler", "--next", "0 0 30 2 *"}, 78, "",
            "day of month: no month of the expression has such a day, at column 5\n"},
        {{"scheduler", "--next", "0 0 * * *", "--zone", "Europe/Atlantis"}, 78, "",
            "timezone: 'Europe/Atlantis' is no zone of the system's tzdata\n"},
        {{"scheduler", "--next", "0 9 * * *", "--window", "10:00-11:00"}, 78, "",
            "window: no slot of the next 50 years is left by it\n"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        check(&rows[i]);
}

static void test_usage_exits_64(void **state)
{
    static const struct row rows[] = {
        {{"scheduler", "--next"}, 64, "", NULL},
        {{"scheduler", "--next", "* * * * *", "-n", "0"}, 64, "", NULL},
        {{"scheduler", "--next", "* * * * *", "-n", "x"}, 64, "", NULL},
        {{"scheduler", "--next", "* * * * *", "--from", "noon"}, 64, "", NULL},
        {{"scheduler", "--next", "* * * * *", "--colour"}, 64, "", NULL},
        {{"scheduler", "--next", "*", "*", "*", "*", "*"}, 64, "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        check(&rows[i]);
}

static void test_help(void **state)
{
    static const char *const args[] = {"scheduler", "--next", "--help", NULL};
    struct buf out = BUF_INIT(OUTPUT_MAX), err = BUF_INIT(OUTPUT_MAX);

    (void)state;
    assert_int_equal(run(args, &out, &err), 0);
    assert_non_null(strstr(buf_str(&out), "usage: scheduler --next EXPR"));
    assert_string_equal(buf_str(&err), "");
    buf_release(&out);
    buf_release(&err);
}

static void test_other_commands_are_not_ours(void **state)
{
    static const struct row rows[] = {
        {{"scheduler"}, -1, "", ""},
        {{"scheduler", "--once"}, -1, "", ""},
        {{"scheduler", "--nextish", "x"}, -1, "", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        check(&rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prints_one_run_a_line),
        cmocka_unit_test(test_ten_runs_from_now),
        cmocka_unit_test(test_faults_exit_78),
        cmocka_unit_test(test_usage_exits_64),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_other_commands_are_not_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
