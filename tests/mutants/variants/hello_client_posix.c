/* Hello client in C with a stream: hello_client HOST PORT */
#define _POSIX_C_SOURCE 200809L
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct addrinfo hints = {0}, *info;
    char greeting[1100];
    FILE *stream;
    int fd;

    if (argc != 3)
        return 2;
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(argv[1], argv[2], &hints, &info) != 0) {
        fprintf(stderr, "unknown host\n");
        return 1;
    }
    fd = socket(info->ai_family, info->ai_socktype, info->ai_protocol);
    if (connect(fd, info->ai_addr, info->ai_addrlen) < 0) {
        perror("connect");
        return 1;
    }
    freeaddrinfo(info);
    stream = fdopen(fd, "r");
    if (fgets(greeting, sizeof greeting, stream) == NULL) {
        fprintf(stderr, "no greeting\n");
        return 1;
    }
    printf("The server says: %s", greeting);
    if (strchr(greeting, '\n') == NULL)
        putchar('\n');
    fclose(stream);
    return 0;
}
