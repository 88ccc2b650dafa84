#include "tests/support/tls_smtp.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <cmocka.h>

/* openssl(1) listens on a port of its own and passes lines on; before it stands a relay that
 * greets, offers STARTTLS, and then passes bytes on. */
struct tls_smtp {
    pid_t pid;
    FILE *out, *in; /* what openssl prints; what it passes on to the client */
    int tls_port;
    int listener, port;
    char text[8192]; /* of the mail */
    pthread_t talker, relayer;
};

static void openssl_start(struct tls_smtp *t, const struct certificate *c)
{
    int out[2], in[2];
    char line[256];
    const char *const argv[] = {"openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1",
        "-crlf", "-cert", c->path, "-key", c->key_path, NULL};

    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    t->pid = fork();
    assert_true(t->pid >= 0);
    if (t->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    t->out = fdopen(out[0], "r");
    t->in = fdopen(in[1], "w");
    assert_non_null(t->out);
    assert_non_null(t->in);
    while (t->tls_port == 0 && fgets(line, sizeof(line), t->out))
        if (strncmp(line, "ACCEPT 127.0.0.1:", 17) == 0)
            t->tls_port = (int)strtol(line + 17, NULL, 10);
    assert_true(t->tls_port > 0);
}

/* The dialogue behind the handshake; ends when openssl does. */
static void *talk(void *arg)
{
    static const char *const replies[][2] = {{"EHLO", "250 fake"}, {"MAIL", "250 ok"},
        {"RCPT", "250 ok"}, {"DATA", "354 go on"}, {".\r\n", "250 taken"}};
    struct tls_smtp *t = arg;
    char line[1024];
    bool in_text = false;

    while (fgets(line, sizeof(line), t->out)) {
        const char *reply = NULL;
        for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]) && !reply; i++)
            if (strncmp(line, replies[i][0], strlen(replies[i][0])) == 0)
                reply = replies[i][1];
        if (in_text && !reply && strlen(t->text) + strlen(line) < sizeof(t->text))
            memcpy(t->text + strlen(t->text), line, strlen(line) + 1);
        if (reply)
            in_text = reply[0] == '3';
        if (reply && (fprintf(t->in, "%s\n", reply) < 0 || fflush(t->in) != 0))
            break;
    }
    return NULL;
}

static int loopback_socket(int port, bool listens, int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (listens && (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 1) != 0 ||
                       getsockname(fd, (struct sockaddr *)&address, &len) != 0))
        return -1;
    if (!listens && connect(fd, (struct sockaddr *)&address, len) != 0)
        return -1;
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* Passes bytes on in both directions until one side ends. */
static void pump(int a, int b)
{
    struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    char data[4096];

    while (poll(fds, 2, -1) > 0) {
        for (int i = 0; i < 2; i++) {
            ssize_t n = fds[i].revents ? read(fds[i].fd, data, sizeof(data)) : 1;
            if (n <= 0 || (fds[i].revents && write(fds[1 - i].fd, data, (size_t)n) != n))
                return;
        }
    }
}

static void *relay(void *arg)
{
    static const char *const replies[] = {
        "220 fake\r\n", "250-fake\r\n250 STARTTLS\r\n", "220 go\r\n"};
    struct tls_smtp *t = arg;
    char command[512];
    int port, client = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC);
    bool fine = client >= 0;

    for (int i = 0; i < 3 && fine; i++)
        fine = (i == 0 || read(client, command, sizeof(command)) > 0) &&
               write(client, replies[i], strlen(replies[i])) > 0;
    int tls = fine ? loopback_socket(t->tls_port, false, &port) : -1;
    if (tls >= 0)
        pump(client, tls);
    if (tls >= 0)
        close(tls);
    if (client >= 0)
        close(client);
    return NULL;
}

struct tls_smtp *tls_smtp_start(const struct certificate *c)
{
    struct tls_smtp *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    openssl_start(t, c);
    t->listener = loopback_socket(0, true, &t->port);
    assert_true(t->listener >= 0);
    assert_int_equal(pthread_create(&t->talker, NULL, talk, t), 0);
    assert_int_equal(pthread_create(&t->relayer, NULL, relay, t), 0);
    return t;
}

int tls_smtp_port(const struct tls_smtp *t)
{
    return t->port;
}

char *tls_smtp_stop(struct tls_smtp *t)
{
    int status;

    kill(t->pid, SIGKILL);
    assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
    assert_int_equal(pthread_join(t->talker, NULL), 0);
    assert_int_equal(pthread_join(t->relayer, NULL), 0);
    close(t->listener);
    fclose(t->out);
    fclose(t->in);
    char *text = strdup(t->text);
    assert_non_null(text);
    free(t);
    return text;
}
