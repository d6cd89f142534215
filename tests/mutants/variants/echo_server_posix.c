/* Echo server in C with a process for each client: echo_server PORT */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int full_read(int fd, void *data, size_t n)
{
    char *p = data;
    while (n > 0) {
        ssize_t got = read(fd, p, n);
        if (got <= 0)
            return 0;
        p += got;
        n -= (size_t)got;
    }
    return 1;
}

static int full_write(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t put = write(fd, p, n);
        if (put < 0)
            return 0;
        p += put;
        n -= (size_t)put;
    }
    return 1;
}

/* Number of bytes of the first ten characters. A byte 10xxxxxx is the inside of a character. */
static uint32_t ten_characters(const unsigned char *text, uint32_t length)
{
    uint32_t at, characters = 0;
    for (at = 0; at < length; at++) {
        if ((text[at] & 0xC0) != 0x80) {
            if (characters == 10)
                return at;
            characters++;
        }
    }
    return length;
}

static void serve(int fd)
{
    uint32_t header;
    while (full_read(fd, &header, 4)) {
        uint32_t length = ntohl(header), skip;
        unsigned char *payload = malloc((size_t)length + 1);
        if (payload == NULL || !full_read(fd, payload, length)) {
            free(payload);
            return;
        }
        skip = ten_characters(payload, length);
        header = htonl(length - skip);
        if (!full_write(fd, &header, 4) || !full_write(fd, payload + skip, length - skip)) {
            free(payload);
            return;
        }
        free(payload);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    int on = 1, listener;
    if (argc != 2) {
        fprintf(stderr, "usage: echo_server PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    /* Ended children are not kept. */
    signal(SIGCHLD, SIG_IGN);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("bind");
        return 1;
    }
    listen(listener, 10);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        if (fork() == 0) {
            close(listener);
            serve(fd);
            close(fd);
            _exit(0);
        }
        close(fd);
    }
}
