/* Math client in C: math_client HOST PORT */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netdb.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Returns 1, or 0 if the stream ends before. */
static int read_all(int fd, unsigned char *buffer, size_t count)
{
    size_t got = 0;
    while (got < count) {
        ssize_t n = recv(fd, buffer + got, count - got, 0);
        if (n <= 0) {
            if (n < 0)
                perror("recv");
            return 0;
        }
        got += (size_t)n;
    }
    return 1;
}

static int write_all(int fd, const void *data, size_t count)
{
    const char *bytes = data;
    while (count > 0) {
        ssize_t n = send(fd, bytes, count, 0);
        if (n < 0) {
            perror("send");
            return 0;
        }
        bytes += n;
        count -= (size_t)n;
    }
    return 1;
}

static int dial(const char *host, const char *port)
{
    struct addrinfo hints, *list, *p;
    int fd = -1;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, port, &hints, &list) != 0)
        return -1;
    for (p = list; p != NULL; p = p->ai_next) {
        fd = socket(p->ai_family, p->ai_socktype, p->ai_protocol);
        if (fd >= 0 && connect(fd, p->ai_addr, p->ai_addrlen) == 0)
            break;
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    return fd;
}

int main(int argc, char **argv)
{
    unsigned char message[9];
    int fd;
    if (argc != 3) {
        fprintf(stderr, "usage: %s HOST PORT\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    fd = dial(argv[1], argv[2]);
    if (fd < 0) {
        fprintf(stderr, "cannot connect\n");
        return 1;
    }
    while (read_all(fd, message, 9)) {
        if (message[0] == 'S') {
            fwrite(message + 1, 1, 8, stdout);
            putchar('\n');
            close(fd);
            return 0;
        }
        if (message[0] != 'Q')
            break;
        uint32_t a, b, sum;
        memcpy(&a, message + 1, 4);
        memcpy(&b, message + 5, 4);
        sum = htonl(ntohl(a) + ntohl(b));
        if (!write_all(fd, &sum, 4))
            break;
    }
    fprintf(stderr, "no secret\n");
    close(fd);
    return 1;
}
