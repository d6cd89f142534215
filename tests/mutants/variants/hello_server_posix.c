/* Hello server in C: hello_server PORT */
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

int main(int argc, char **argv)
{
    const char greeting[] = "Hello from server\n";
    struct sockaddr_in me = {0}, peer;
    socklen_t size = sizeof peer;
    int on = 1, client, server = socket(AF_INET, SOCK_STREAM, 0);

    signal(SIGPIPE, SIG_IGN);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    me.sin_family = AF_INET;
    me.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 12345));
    me.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(server, (struct sockaddr *)&me, sizeof me) != 0) {
        perror("bind");
        exit(EXIT_FAILURE);
    }
    listen(server, SOMAXCONN);
    while ((client = accept(server, (struct sockaddr *)&peer, &size)) >= 0) {
        size_t sent = 0, length = strlen(greeting);
        printf("Connected to port %d\n", ntohs(peer.sin_port));
        while (sent < length) {
            ssize_t n = send(client, greeting + sent, length - sent, 0);
            if (n < 0) {
                perror("send");
                break;
            }
            sent += (size_t)n;
        }
        close(client);
        size = sizeof peer;
    }
    perror("accept");
    return 1;
}
