#include "service/sd_notify.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/config.h"

/* Sends the state, with a descriptor unless it is negative. */
static void send_with(const char *state, int passed)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    struct iovec text = {.iov_base = (void *)state, .iov_len = strlen(state)};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr message = {.msg_name = &to, .msg_iov = &text, .msg_iovlen = 1};

    if (!len || len >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, len);
    if (path[0] == '@')
        to.sun_path[0] = '\0'; /* the abstract namespace */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    message.msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (passed >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof passed);
        memcpy(CMSG_DATA(header), &passed, sizeof passed);
    }
    /* Nobody to tell when telling fails: systemd's own time-out is the answer to that. */
    (void)!sendmsg(fd, &message, MSG_NOSIGNAL);
    (void)close(fd);
}

void sd_notify_send(const char *state)
{
    send_with(state, -1);
}

void sd_notify_wait(int timeout_ms)
{
    int ends[2];

    if (!getenv("NOTIFY_SOCKET") || pipe2(ends, O_CLOEXEC) != 0)
        return;
    send_with("BARRIER=1", ends[1]);
    (void)close(ends[1]);
    struct pollfd closed = {.fd = ends[0]};
    (void)poll(&closed, 1, timeout_ms);
    (void)close(ends[0]);
}

int64_t sd_notify_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    int64_t value;

    if (pid && (config_parse_int(pid, &value) != 0 || value != getpid()))
        return 0;
    if (!usec || config_parse_int(usec, &value) != 0 || value <= 0)
        return 0;
    return value / 2000 > 0 ? value / 2000 : 1;
}
