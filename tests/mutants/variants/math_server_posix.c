/* Math server in C: math_server PORT */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int send_all(int fd, const unsigned char *data, size_t count)
{
    while (count > 0) {
        ssize_t n = write(fd, data, count);
        if (n < 0)
            return -1;
        data += n;
        count -= (size_t)n;
    }
    return 0;
}

/* Plays one quiz. Returns the number of right answers. */
static int quiz(int fd)
{
    int i;
    for (i = 0; i < 6; i++) {
        unsigned char question[9] = {'Q'};
        unsigned char answer[4];
        size_t got = 0;
        uint32_t a = (uint32_t)rand() % 1000000, b = (uint32_t)rand() % 1000000;
        uint32_t na = htonl(a), nb = htonl(b), sum;
        memcpy(question + 1, &na, 4);
        memcpy(question + 5, &nb, 4);
        if (send_all(fd, question, sizeof question) < 0)
            return i;
        while (got < sizeof answer) {
            ssize_t n = read(fd, answer + got, sizeof answer - got);
            if (n <= 0)
                return i;
            got += (size_t)n;
        }
        memcpy(&sum, answer, 4);
        if (ntohl(sum) != a + b)
            return i;
    }
    send_all(fd, (const unsigned char *)"Sc-secret", 9);
    return i;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (argc < 2 || listener < 0)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    srand((unsigned)time(NULL));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 5) < 0) {
        perror("bind");
        return 1;
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        printf("%d right answers\n", quiz(fd));
        fflush(stdout);
        close(fd);
    }
}
