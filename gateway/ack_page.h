/*
 * The page behind the link of a message: what it is about, and one button that acknowledges.
 */
#ifndef TOCSIN_GATEWAY_ACK_PAGE_H
#define TOCSIN_GATEWAY_ACK_PAGE_H

#include "gateway/gateway.h"

/* GET /a/…: shows. Mail scanners and previews fetch links, so this changes nothing. */
void ack_page_show(struct gateway *g, struct http_exchange *x);
/* POST /a/…: the button. */
void ack_page_press(struct gateway *g, struct http_exchange *x);

#endif
