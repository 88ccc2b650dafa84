#include "worker-escalation/twiml.h"

#define DIGIT_WAIT_S 10

void twiml_say(const char *text, const char *action, struct buf *out)
{
    buf_add_str(out, "<Response>");
    if (action) {
        buf_addf(
            out, "<Gather numDigits=\"1\" timeout=\"%d\" method=\"POST\" action=\"", DIGIT_WAIT_S);
        buf_add_xml(out, action);
        buf_add_str(out, "\">");
    }
    buf_add_str(out, "<Say loop=\"2\">");
    buf_add_xml(out, text);
    buf_add_str(out, action ? ". Press 1 to acknowledge, 2 to escalate now.</Say></Gather><Say>No "
                              "key was pressed.</Say>"
                            : ".</Say>");
    buf_add_str(out, "</Response>");
}
