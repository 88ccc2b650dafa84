#include "io/http_guest.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "io/loop.h"

static void untime(struct http_guest *guest)
{
    struct http_guests *all = guest->all;

    if (!guest->timed)
        return;
    if (guest->prev)
        guest->prev->next = guest->next;
    else
        all->first = guest->next;
    if (guest->next)
        guest->next->prev = guest->prev;
    else
        all->last = guest->prev;
    guest->prev = guest->next = NULL;
    guest->timed = false;
}

static void on_patience_over(void *arg)
{
    struct http_guests *all = arg;
    int64_t now = clock_ms();

    while (all->first && all->first->until_ms <= now) {
        struct http_guest *guest = all->first;
        untime(guest);
        (void)shutdown(guest->fd, SHUT_RDWR);
    }
    if (all->first)
        loop_timer_start(all->timer, all->first->until_ms - now);
}

int http_guests_init(struct http_guests *all, uv_loop_t *loop, unsigned max, int64_t patience_ms)
{
    *all = (struct http_guests){.max = max, .patience_ms = patience_ms};
    all->timer = loop_timer_new(loop, on_patience_over, all);
    return all->timer ? 0 : ERR_NOMEM;
}

void http_guests_release(struct http_guests *all)
{
    loop_timer_free(all->timer);
    all->timer = NULL;
}

struct http_guest *http_guest_new(struct http_guests *all, int fd)
{
    struct http_guest *guest = calloc(1, sizeof(*guest));

    if (!guest)
        return NULL;
    guest->all = all;
    guest->fd = fd;
    guest->over = all->n++ >= all->max;
    http_guest_expect(guest);
    return guest;
}

void http_guest_expect(struct http_guest *guest)
{
    struct http_guests *all = guest->all;

    untime(guest);
    guest->until_ms = clock_ms() + all->patience_ms;
    guest->prev = all->last;
    if (all->last)
        all->last->next = guest;
    else
        all->first = guest;
    all->last = guest;
    guest->timed = true;
    if (!loop_timer_is_active(all->timer))
        loop_timer_start(all->timer, all->patience_ms);
}

void http_guest_heard(struct http_guest *guest)
{
    untime(guest);
}

void http_guest_free(struct http_guest *guest)
{
    if (!guest)
        return;
    untime(guest);
    guest->all->n--;
    free(guest);
}
