/* Server in C that adds two numbers: add_server PORT
   Without fflush(): on a terminal, each line is shown at once. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MY_NAME "Server of a C programmer"

/* Returns 0 if the server must stop. */
static int serve(FILE *stream, int fd, int my_number)
{
    char name[2000], text[2000], *end;
    long number;
    if (!fgets(name, sizeof name, stream) || !fgets(text, sizeof text, stream))
        return 1;
    name[strcspn(name, "\r\n")] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    number = strtol(text, &end, 10);
    if (end == text || *end != '\0')
        return 1;
    if (number < 1 || number > 100)
        return 0;
    printf("Client: %s, server: %s\n", name, MY_NAME);
    printf("%ld + %d = %ld\n", number, my_number, number + my_number);
    dprintf(fd, "%s\n%d\n", MY_NAME, my_number);
    return 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    int on = 1, runs = 1, my_number;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (argc < 2 || listener < 0)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    srand((unsigned)time(NULL));
    my_number = rand() % 100 + 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 5) < 0) {
        perror("bind");
        return 1;
    }
    while (runs) {
        int fd = accept(listener, NULL, NULL);
        FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");
        if (stream == NULL)
            continue;
        runs = serve(stream, fd, my_number);
        fclose(stream);
    }
    return 0;
}
