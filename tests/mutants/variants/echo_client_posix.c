/* Echo client in C: echo_client HOST PORT, each line of stdin is a message */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static int sock;

static void fail(const char *what)
{
    fprintf(stderr, "echo_client: %s\n", what);
    exit(1);
}

static void put(const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t sent = send(sock, p, n, MSG_NOSIGNAL);
        if (sent < 0)
            fail("the server does not read any more");
        p += sent;
        n -= (size_t)sent;
    }
}

static void get(void *data, size_t n)
{
    char *p = data;
    while (n > 0) {
        ssize_t got = recv(sock, p, n, 0);
        if (got <= 0)
            fail("the server has closed the connection");
        p += got;
        n -= (size_t)got;
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;

    if (argc != 3)
        fail("usage: echo_client HOST PORT");
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    if (strcmp(argv[1], "localhost") == 0)
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
        fail("not an IPv4 address");
    sock = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(sock, (struct sockaddr *)&address, sizeof address) < 0)
        fail("cannot connect");
    while ((length = getline(&line, &capacity, stdin)) >= 0) {
        uint32_t header;
        char *reply;
        if (length > 0 && line[length - 1] == '\n')
            length--;
        header = htonl((uint32_t)length);
        put(&header, 4);
        put(line, (size_t)length);
        get(&header, 4);
        header = ntohl(header);
        reply = malloc((size_t)header + 1);
        if (reply == NULL)
            fail("no memory");
        get(reply, header);
        fwrite(reply, 1, header, stdout);
        putchar('\n');
        fflush(stdout);
        free(reply);
    }
    free(line);
    close(sock);
    return 0;
}
