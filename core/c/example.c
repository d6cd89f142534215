/*
 * Solves the math quiz of a server and prints the secret:
 *
 *     example HOST PORT [BYTES]
 *
 * Reads and writes at most BYTES bytes at a time. core/c/README.md says how to build it.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>

#include "socket.h"

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Prints why there is no secret. */
static void explain(const socklab_math_event *event) {
    static const char *const ends[] = {"closed the connection", "reset the connection", "sent nothing in time"};
    switch (event->kind) {
    case SOCKLAB_MATH_REJECTED:
        fprintf(stderr, "answer %u rejected\n", (unsigned)event->answered);
        break;
    case SOCKLAB_MATH_TAG:
        fprintf(stderr, "a message starts with 0x%02x, expected 'Q' or 'S'\n", event->byte);
        break;
    default:
        fprintf(stderr, "the server %s after %u of 9 bytes, with %u answered\n", ends[event->end % 3], event->got,
                (unsigned)event->answered);
    }
}

/* Performs what the session wants until it ends. Returns the exit code: 0 for a secret. */
static int solve(socklab_math_client *session, int fd, size_t limit) {
    socklab_math_event event;
    int code = 1;
    for (;;) {
        size_t size;
        ssize_t n;
        switch (socklab_math_client_poll(session, &event)) {
        case SOCKLAB_EVENT:
            if (event.kind == SOCKLAB_MATH_QUESTION) {
                fprintf(stderr, "%lu + %lu = %lu\n", (unsigned long)event.a, (unsigned long)event.b,
                        (unsigned long)event.sum);
            } else if (event.kind == SOCKLAB_MATH_SECRET) {
                printf("%.8s\n", (const char *)event.secret);
                code = 0;
            }
            break;
        case SOCKLAB_READ: {
            uint8_t *space = socklab_math_client_recv_space(session, &size);
            n = recv(fd, space, smaller(size, limit), 0);
            if (n > 0) {
                socklab_math_client_received(session, (size_t)n);
            } else if (n == 0) {
                socklab_math_client_ended(session, SOCKLAB_CLOSED);
            } else if (errno != EINTR) {
                socklab_math_client_ended(session, how_it_ended());
            }
            break;
        }
        case SOCKLAB_WRITE: {
            const uint8_t *bytes = socklab_math_client_transmit(session, &size);
            n = send(fd, bytes, smaller(size, limit), MSG_NOSIGNAL);
            if (n >= 0) {
                socklab_math_client_transmitted(session, (size_t)n);
            } else if (errno != EINTR) {
                socklab_math_client_write_ended(session, how_it_ended());
            }
            break;
        }
        case SOCKLAB_FLUSH: /* A socket sends by itself. */
            socklab_math_client_flushed(session);
            break;
        case SOCKLAB_BOUNDARY:
            break;
        case SOCKLAB_CLOSE:
            return code;
        case SOCKLAB_FAILED:
            explain(&event);
            return 1;
        default: /* A math client never asks for a command. */
            return 1;
        }
    }
}

int main(int argc, char **argv) {
    /* Caller-owned: it might as well be on the stack. */
    static socklab_math_client session;
    int fd, code;
    if (argc < 3 || socklab_math_client_size() != sizeof session) {
        fprintf(stderr, "usage: example HOST PORT [BYTES]\n");
        return 2;
    }
    fd = dial(argv[1], argv[2]);
    if (fd < 0) {
        fprintf(stderr, "cannot connect to %s %s\n", argv[1], argv[2]);
        return 3;
    }
    socklab_math_client_init(&session);
    code = solve(&session, fd, argc > 3 ? strtoul(argv[3], NULL, 10) : (size_t)-1);
    close(fd);
    return code;
}
