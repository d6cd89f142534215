/* What the two example programs share: a connection to HOST:PORT. POSIX. */
#ifndef SOCKET_H
#define SOCKET_H

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socklab.h"

/* Returns a connected socket, or -1. */
static int dial(const char *host, const char *port) {
    struct addrinfo hints, *found, *next;
    int fd = -1;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return -1;
    }
    for (next = found; next != NULL && fd < 0; next = next->ai_next) {
        fd = socket(next->ai_family, next->ai_socktype, next->ai_protocol);
        if (fd >= 0 && connect(fd, next->ai_addr, next->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

/* Returns how the stream ended, after a call that failed with errno. */
static socklab_end how_it_ended(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT ? SOCKLAB_TIMED_OUT : SOCKLAB_RESET;
}

#endif
