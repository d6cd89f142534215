/* Client in C, with a connected socket and a limit for each reply. */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char buffer[65536];
    struct sockaddr_in server;
    struct timeval limit = {3, 0};
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int sock = socket(AF_INET, SOCK_DGRAM, 0);

    if (argc != 3 || sock < 0)
        return 2;
    memset(&server, 0, sizeof server);
    server.sin_family = AF_INET;
    server.sin_port = htons((unsigned short)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1
        || connect(sock, (struct sockaddr *)&server, sizeof server) < 0
        || setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0) {
        perror("socket");
        return 1;
    }
    while ((n = getline(&line, &room, stdin)) >= 0) {
        if (n > 0 && line[n - 1] == '\n')
            n--;
        if (send(sock, line, (size_t)n, 0) < 0 || (n = recv(sock, buffer, sizeof buffer, 0)) < 0) {
            perror("no reply");
            return 1;
        }
        fwrite(buffer, 1, (size_t)n, stdout);
        putchar('\n');
    }
    free(line);
    close(sock);
    return 0;
}
