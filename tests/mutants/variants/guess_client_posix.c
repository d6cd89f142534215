/* Guess client in C: guess_client HOST PORT */
#define _POSIX_C_SOURCE 200809L
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads a line byte by byte, without its newline. Returns 0 at the end of the stream. */
static int read_line(int fd, char *line, size_t size)
{
    size_t at = 0;
    char c;
    while (read(fd, &c, 1) == 1) {
        if (c == '\n') {
            line[at] = '\0';
            return 1;
        }
        if (at + 1 < size)
            line[at++] = c;
    }
    return 0;
}

/* Asks until the input is a number. Returns 0 at the end of the input. */
static int ask(int *number)
{
    char text[200];
    do {
        printf("Enter guess (1-100): ");
        fflush(stdout);
        if (fgets(text, sizeof text, stdin) == NULL)
            return 0;
    } while (sscanf(text, "%d", number) != 1);
    return 1;
}

int main(int argc, char **argv)
{
    struct addrinfo hints = {0}, *info;
    char line[1100], message[32];
    int fd, number;

    if (argc != 3)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(argv[1], argv[2], &hints, &info) != 0)
        return 1;
    fd = socket(info->ai_family, info->ai_socktype, info->ai_protocol);
    if (connect(fd, info->ai_addr, info->ai_addrlen) < 0) {
        perror("connect");
        return 1;
    }
    freeaddrinfo(info);
    while (read_line(fd, line, sizeof line)) {
        line[strcspn(line, "\r")] = '\0';
        if (strcmp(line, "GUESS") == 0) {
            if (!ask(&number))
                break;
            snprintf(message, sizeof message, "%d\n", number);
            if (write(fd, message, strlen(message)) < 0)
                break;
        } else if (strcmp(line, "LOW") == 0) {
            puts("Your guess is too low.");
        } else if (strcmp(line, "HIGH") == 0) {
            puts("Your guess is too high.");
        } else if (strcmp(line, "WIN") == 0) {
            puts("You win!");
            close(fd);
            return 0;
        } else if (strcmp(line, "GAMEOVER") == 0) {
            puts("You ran out of tries! Game over.");
            close(fd);
            return 0;
        } else {
            puts(line);
        }
    }
    close(fd);
    puts("The game has ended too early.");
    return 1;
}
