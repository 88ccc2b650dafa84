#include "tests/support/own_network.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <cmocka.h>

#define CANNOT_BE_HAD 77

static bool set_up_loopback(const char *ip)
{
    struct ifreq up = {.ifr_name = "lo"}, alias = {.ifr_name = "lo:1"};
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    up.ifr_flags = IFF_UP | IFF_RUNNING;
    bool done = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &up) == 0;
    if (done && ip) {
        inet_pton(AF_INET, ip, &address.sin_addr);
        memcpy(&alias.ifr_addr, &address, sizeof(address));
        done = ioctl(fd, SIOCSIFADDR, &alias) == 0;
    }
    if (fd >= 0)
        close(fd);
    return done;
}

static bool replace_resolv_conf(const char *text)
{
    char path[] = "/tmp/tocsin-resolv-XXXXXX";
    int fd = mkstemp(path);
    size_t len = strlen(text);
    bool done = fd >= 0 && write(fd, text, len) == (ssize_t)len &&
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0;

    if (fd >= 0) {
        close(fd);
        (void)unlink(path);
    }
    return done;
}

static bool enter(const char *ip, const char *resolv_conf)
{
    int flags = CLONE_NEWNET | CLONE_NEWNS;

    if (unshare(flags) != 0 && unshare(flags | CLONE_NEWUSER) != 0)
        return false;
    return set_up_loopback(ip) && (!resolv_conf || replace_resolv_conf(resolv_conf));
}

/* A failed assertion in the child goes on to the end of main() there, with its exit code. */
void own_network_run(const char *ip, const char *resolv_conf, void (*part)(void))
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        if (!enter(ip, resolv_conf))
            _exit(CANNOT_BE_HAD);
        part();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CANNOT_BE_HAD)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}
