/*
 * The console: prints one readable line. It needs no account and plays messages and calls.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "worker-escalation/channel.h"

static int play(const struct message *m)
{
    struct buf line = BUF_INIT(4 * MESSAGE_TEXT_MAX);
    int err;

    buf_addf(&line, "%-8s %-8s ", strcmp(m->mode, "call") == 0 ? "CALL" : "MESSAGE", m->person);
    message_text(m, MESSAGE_WRITTEN, &line);
    buf_add_char(&line, '\n');
    err = buf_err(&line);
    if (!err && (fwrite(buf_str(&line), 1, line.len, stdout) != line.len || fflush(stdout) != 0))
        err = ERR_IO;
    buf_release(&line);
    return err;
}

const struct channel channel_console = {.name = "console", .play = play};
