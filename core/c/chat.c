/*
 * Has a conversation with a chat server, and prints what the server says:
 *
 *     chat HOST PORT [LINE...]
 *
 * Says the lines in its turns, then BYE.
 */
#define _POSIX_C_SOURCE 200809L

#include "socket.h"

/* Prints why the conversation ended. */
static void explain(const socklab_chat_event *event) {
    if (event->kind == SOCKLAB_CHAT_NOT_A_LINE) {
        fprintf(stderr, "a line is too long\n");
    } else {
        fprintf(stderr, "the server left after %lu bytes of a line\n", (unsigned long)event->size);
    }
}

/* Performs what the session wants until it ends. Returns the exit code. */
static int talk(socklab_chat *session, int fd, char **lines) {
    socklab_chat_event event;
    for (;;) {
        size_t size;
        ssize_t n;
        switch (socklab_chat_poll(session, &event)) {
        case SOCKLAB_EVENT: /* SOCKLAB_CHAT_LINE or SOCKLAB_CHAT_BYE */
            fwrite(event.text, 1, event.size, stdout);
            putchar('\n');
            break;
        case SOCKLAB_COMMAND: {
            const char *line = *lines != NULL ? *lines++ : "BYE";
            socklab_result result = socklab_chat_say(session, (const uint8_t *)line, strlen(line));
            if (result != SOCKLAB_OK) {
                fprintf(stderr, "not a line: error %u\n", result);
                return 2;
            }
            break;
        }
        case SOCKLAB_READ: {
            uint8_t *space = socklab_chat_recv_space(session, &size);
            n = recv(fd, space, size, 0);
            if (n > 0) {
                socklab_chat_received(session, (size_t)n);
            } else if (n == 0) {
                socklab_chat_ended(session, SOCKLAB_CLOSED);
            } else if (errno != EINTR) {
                socklab_chat_ended(session, how_it_ended());
            }
            break;
        }
        case SOCKLAB_WRITE: {
            const uint8_t *bytes = socklab_chat_transmit(session, &size);
            n = send(fd, bytes, size, MSG_NOSIGNAL);
            if (n >= 0) {
                socklab_chat_transmitted(session, (size_t)n);
            } else if (errno != EINTR) {
                socklab_chat_write_ended(session, how_it_ended());
            }
            break;
        }
        case SOCKLAB_FLUSH:
            socklab_chat_flushed(session);
            break;
        case SOCKLAB_BOUNDARY:
            break;
        case SOCKLAB_CLOSE:
            return 0;
        case SOCKLAB_FAILED:
            explain(&event);
            return 1;
        default:
            return 1;
        }
    }
}

int main(int argc, char **argv) {
    static socklab_chat session;
    int fd, code;
    if (argc < 3 || socklab_chat_size() != sizeof session) {
        fprintf(stderr, "usage: chat HOST PORT [LINE...]\n");
        return 2;
    }
    fd = dial(argv[1], argv[2]);
    if (fd < 0) {
        fprintf(stderr, "cannot connect to %s %s\n", argv[1], argv[2]);
        return 3;
    }
    socklab_chat_init(&session, SOCKLAB_CHAT_CLIENT);
    code = talk(&session, fd, argv + 3);
    close(fd);
    return code;
}
