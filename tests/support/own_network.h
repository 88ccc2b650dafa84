/*
 * Part of a test in a network of its own, where the loopback interface may have any address
 * and nobody else can be reached.
 */
#ifndef TOCSIN_TESTS_OWN_NETWORK_H
#define TOCSIN_TESTS_OWN_NETWORK_H

/* Runs `part` in a child process whose loopback interface also has the IPv4 address `ip` (NULL:
 * none more), and whose /etc/resolv.conf is the text given (NULL: as it was). Fails when the
 * child does, skips the test where the kernel allows no namespaces. No thread may run. */
void own_network_run(const char *ip, const char *resolv_conf, void (*part)(void));

#endif
