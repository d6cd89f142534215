/* Guess server in C: guess_server PORT */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TRIES 5

static int say(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = send(fd, text, left, MSG_NOSIGNAL);
        if (n < 0)
            return 0;
        text += n;
        left -= (size_t)n;
    }
    return 1;
}

/* Reads a line into a buffer of 1025 bytes. Returns 0 if there is none. */
static int listen_for_line(int fd, char *line)
{
    size_t at = 0;
    while (at < 1024) {
        if (recv(fd, line + at, 1, 0) != 1)
            return 0;
        if (line[at] == '\n') {
            while (at > 0 && isspace((unsigned char)line[at - 1]))
                at--;
            line[at] = '\0';
            return 1;
        }
        at++;
    }
    return 0;
}

/* Returns the number, or -1. A number of more than eight digits is too high anyway. */
static int number_of(const char *text)
{
    size_t i, length = strlen(text);
    if (length == 0)
        return -1;
    for (i = 0; i < length; i++)
        if (!isdigit((unsigned char)text[i]))
            return -1;
    return length > 8 ? 99999999 : atoi(text);
}

static void play(int fd)
{
    int secret = rand() % 100 + 1, left;
    char line[1025];
    for (left = TRIES; left > 0; left--) {
        int guess;
        const char *result;
        if (!say(fd, "GUESS\n") || !listen_for_line(fd, line))
            return;
        guess = number_of(line);
        if (guess == secret) {
            say(fd, "WIN\n");
            return;
        }
        result = guess > secret ? "HIGH\n" : "LOW\n";
        if (guess < 0)
            result = "Please enter number 1 to 100\n";
        if (!say(fd, result))
            return;
    }
    say(fd, "GAMEOVER\n");
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {0};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    if (argc < 2)
        return 2;
    srand((unsigned)time(NULL) ^ (unsigned)getpid());
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4) < 0) {
        perror("guess_server");
        return 1;
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) {
            play(fd);
            close(fd);
        }
    }
}
