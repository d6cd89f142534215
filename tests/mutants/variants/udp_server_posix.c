/* Server in C: the rest of each datagram is sent from the same buffer. */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#define BUFFER 65536

int main(int argc, char **argv)
{
    static char buffer[BUFFER];
    struct sockaddr_in address;
    int sock = socket(AF_INET, SOCK_DGRAM, 0);

    if (argc != 2 || sock < 0)
        return 2;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(sock, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("bind");
        return 1;
    }
    for (;;) {
        struct sockaddr_in client;
        socklen_t size = sizeof client;
        ssize_t n = recvfrom(sock, buffer, sizeof buffer, 0, (struct sockaddr *)&client, &size);
        ssize_t at = 0;
        int count = 0;

        if (n < 0)
            continue;
        /* A byte that continues a character starts with the bits 10. */
        while (at < n) {
            if ((buffer[at] & 0xc0) != 0x80 && count++ == 10)
                break;
            at++;
        }
        sendto(sock, buffer + at, (size_t)(n - at), 0, (struct sockaddr *)&client, size);
    }
}
