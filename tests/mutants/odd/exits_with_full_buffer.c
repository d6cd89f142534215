/* Client in C that adds two numbers: add_client HOST PORT
   It ends with _exit(), which does not write what is in the buffer of stdout. On a terminal, each line is shown at once. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char name[2000], text[2000], other[2000];
    struct sockaddr_in server;
    int number = 0;
    FILE *stream;
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    if (argc != 3 || sock < 0)
        return 2;
    if (!fgets(name, sizeof name, stdin))
        return 2;
    name[strcspn(name, "\n")] = '\0';
    do {
        if (!fgets(text, sizeof text, stdin))
            return 2;
        number = atoi(text);
    } while (number < 1 || number > 100);
    memset(&server, 0, sizeof server);
    server.sin_family = AF_INET;
    server.sin_port = htons((unsigned short)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1
        || connect(sock, (struct sockaddr *)&server, sizeof server) < 0) {
        perror("connect");
        return 1;
    }
    dprintf(sock, "%s\n%d\n", name, number);
    stream = fdopen(sock, "r");
    if (!stream || !fgets(other, sizeof other, stream) || !fgets(text, sizeof text, stream)) {
        fprintf(stderr, "no reply\n");
        _exit(1);
    }
    other[strcspn(other, "\r\n")] = '\0';
    printf("Client: %s, server: %s\n", name, other);
    printf("%d + %d = %d\n", number, atoi(text), number + atoi(text));
    _exit(0);
}
