#include "io/curl_engine.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "io/http_client.h"

/* CURLOPT_OPENSOCKETFUNCTION: the address here is the one that connect() gets, after
 * resolution, of the first host and of each redirect's. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct curl_transfer *t = arg;

    if (purpose != CURLSOCKTYPE_IPCXN)
        return CURL_SOCKET_BAD;
    if (!t->allow_private && !http_address_is_public(&address->addr)) {
        t->denied = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool ip_text_is_public(const char *ip)
{
    struct sockaddr_in in4 = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, ip, &in4.sin_addr) == 1)
        return http_address_is_public((const struct sockaddr *)&in4);
    if (inet_pton(AF_INET6, ip, &in6.sin6_addr) == 1)
        return http_address_is_public((const struct sockaddr *)&in6);
    return false;
}

/* CURLOPT_PREREQFUNCTION: asks the address again, because a connection that is used
 * again may have been opened for a transfer that allowed more. */
static int before_request(void *arg, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    struct curl_transfer *t = arg;

    (void)local_ip;
    (void)peer_port;
    (void)local_port;
    if (!t->allow_private && !ip_text_is_public(peer_ip)) {
        t->denied = true;
        return CURL_PREREQFUNC_ABORT;
    }
    return t->ready(t) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

int curl_transfer_init(struct curl_transfer *t, struct curl_engine *e, int64_t connect_timeout_ms,
    int64_t total_timeout_ms)
{
    CURL *easy = t->easy = curl_easy_init();

    if (!easy)
        return ERR_NOMEM;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_SHARE, curl_engine_share(e));
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* Without it a time-out waits for the resolver's thread, and the loop with it. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)total_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    /* An empty proxy also switches off those of the environment. */
    if (curl_easy_setopt(easy, CURLOPT_PROXY, "") != CURLE_OK) {
        curl_transfer_release(t);
        return ERR_NOMEM;
    }
    return 0;
}

void curl_transfer_release(struct curl_transfer *t)
{
    curl_easy_cleanup(t->easy);
    t->easy = NULL;
}

/* curl's own words name the host and the reason for these, and nothing else. */
static bool error_text_is_fit(CURLcode code)
{
    return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
           code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR;
}

static int code_to_err(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_OUT_OF_MEMORY:
        return ERR_NOMEM;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_USE_SSL_FAILED:
    case CURLE_LOGIN_DENIED:
        return ERR_PROTOCOL;
    default: /* about a hundred codes of an enum that is curl's: the network refused */
        return ERR_IO;
    }
}

int curl_transfer_err(const struct curl_transfer *t, CURLcode code, struct buf *detail)
{
    if (code == CURLE_OK)
        return 0;
    if (t->denied && (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK)) {
        buf_add_str(detail, "the address is not a public one");
        if (t->private_setting)
            buf_addf(detail, "; %s=true allows it", t->private_setting);
        return ERR_DENIED;
    }
    if (t->err != 0) {
        buf_add_str(detail,
            t->err == ERR_TOO_LARGE ? "the answer is larger than allowed" : err_name(t->err));
        return t->err;
    }
    bool own_words = error_text_is_fit(code) && t->error[0] != '\0';
    buf_add_str(detail, own_words ? t->error : curl_easy_strerror(code));
    return code_to_err(code);
}
