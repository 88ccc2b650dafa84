#include "io/http_listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LISTEN_QUEUE 512

/* "host:port" into its parts, with the brackets of an IPv6 address taken off. */
static int split_listen(const char *listen, char **ret_host, char **ret_port)
{
    const char *colon = strrchr(listen, ':');
    bool brackets = listen[0] == '[';
    char *host, *port;

    if (!colon || !colon[1] || (brackets && (colon == listen || colon[-1] != ']')))
        return ERR_INVALID;
    host = strndup(listen + brackets, (size_t)(colon - listen) - 2 * (size_t)brackets);
    port = strdup(colon + 1);
    if (!host || !port) {
        free(host);
        free(port);
        return ERR_NOMEM;
    }
    *ret_host = host;
    *ret_port = port;
    return 0;
}

static int listen_at(const struct addrinfo *at, struct buf *fault)
{
    int on = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, LISTEN_QUEUE) == 0)
        return fd;
    buf_add_str(fault, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return ERR_IO;
}

int http_listen(const char *listen, int *ret_family, int *ret_port, struct buf *fault)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                        .ai_socktype = SOCK_STREAM},
                    *found = NULL;
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    char *host = NULL, *port = NULL;
    int fd = split_listen(listen, &host, &port);

    if (fd == ERR_INVALID || (fd == 0 && getaddrinfo(host, port, &hints, &found) != 0)) {
        buf_add_str(fault, "an address and a port, such as 127.0.0.1:8080 or [::1]:8080");
        fd = ERR_INVALID;
    } else if (fd == 0) {
        fd = listen_at(found, fault);
    }
    if (fd >= 0 && getsockname(fd, (struct sockaddr *)&bound, &len) == 0) {
        *ret_family = bound.ss_family;
        *ret_port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                      : ((struct sockaddr_in *)&bound)->sin_port);
    }
    if (found)
        freeaddrinfo(found);
    free(host);
    free(port);
    return fd;
}
