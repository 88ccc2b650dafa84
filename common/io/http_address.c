#include "io/http_client.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct prefix4 {
    uint32_t net;
    int bits;
};

struct prefix6 {
    uint8_t net[16];
    int bits;
};

#define V4(a, b, c, d) (((uint32_t)(a) << 24) | ((uint32_t)(b) << 16) | ((uint32_t)(c) << 8) | (d))

/* IANA's IPv4 special-purpose registry (RFC 6890), without the blocks that it
 * marks as globally reachable, and multicast (RFC 5771). */
static const struct prefix4 not_public4[] = {
    {V4(0, 0, 0, 0), 8},       /* this network */
    {V4(10, 0, 0, 0), 8},      /* private use, RFC 1918 */
    {V4(100, 64, 0, 0), 10},   /* shared address space, RFC 6598 */
    {V4(127, 0, 0, 0), 8},     /* loopback */
    {V4(169, 254, 0, 0), 16},  /* link-local, RFC 3927 */
    {V4(172, 16, 0, 0), 12},   /* private use */
    {V4(192, 0, 0, 0), 24},    /* protocol assignments */
    {V4(192, 0, 2, 0), 24},    /* documentation, RFC 5737 */
    {V4(192, 88, 99, 0), 24},  /* 6to4 relay, withdrawn by RFC 7526 */
    {V4(192, 168, 0, 0), 16},  /* private use */
    {V4(198, 18, 0, 0), 15},   /* benchmarking, RFC 2544 */
    {V4(198, 51, 100, 0), 24}, /* documentation */
    {V4(203, 0, 113, 0), 24},  /* documentation */
    {V4(224, 0, 0, 0), 4},     /* multicast */
    {V4(240, 0, 0, 0), 4},     /* reserved, and limited broadcast */
};

/* Inside 2000::/3; what stands outside is refused as a whole. */
static const struct prefix6 not_public6[] = {
    {{0x20, 0x01, 0x00}, 23},       /* protocol assignments, Teredo, ORCHID */
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation, RFC 3849 */
    {{0x3f, 0xff, 0x00}, 20},       /* documentation, RFC 9637 */
};

static const struct prefix6 mapped4 = {{[10] = 0xff, [11] = 0xff}, 96}; /* RFC 4291, 2.5.5.2 */
static const struct prefix6 nat64 = {{0x00, 0x64, 0xff, 0x9b}, 96};     /* RFC 6052, 2.1 */
static const struct prefix6 sixtofour = {{0x20, 0x02}, 16};             /* RFC 3056 */
static const struct prefix6 global_unicast = {{0x20}, 3};               /* RFC 4291, 2.4 */

static bool public4(uint32_t address)
{
    for (size_t i = 0; i < sizeof(not_public4) / sizeof(not_public4[0]); i++) {
        const struct prefix4 *p = &not_public4[i];
        if (((address ^ p->net) >> (32 - p->bits)) == 0)
            return false;
    }
    return true;
}

static bool within6(const uint8_t *address, const struct prefix6 *p)
{
    int whole = p->bits / 8, rest = p->bits % 8;

    if (memcmp(address, p->net, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((address[whole] ^ p->net[whole]) >> (8 - rest)) == 0;
}

static bool public6(const uint8_t *a)
{
    if (within6(a, &mapped4) || within6(a, &nat64))
        return public4(V4(a[12], a[13], a[14], a[15]));
    if (within6(a, &sixtofour))
        return public4(V4(a[2], a[3], a[4], a[5]));
    if (!within6(a, &global_unicast))
        return false;
    for (size_t i = 0; i < sizeof(not_public6) / sizeof(not_public6[0]); i++)
        if (within6(a, &not_public6[i]))
            return false;
    return true;
}

bool http_address_is_public(const struct sockaddr *address)
{
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;

    if (address->sa_family == AF_INET) {
        memcpy(&in4, address, sizeof(in4));
        return public4(ntohl(in4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        memcpy(&in6, address, sizeof(in6));
        return public6(in6.sin6_addr.s6_addr);
    }
    return false;
}
