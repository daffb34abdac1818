/* Answers every read on every connection with the same answer: a server that costs as little as one can, to find out
 * how many requests a client can send. Usage: trivial_server PORT */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[] =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver-timing: queue;dur=0.000, predict;dur=0.001\r\n"
    "content-length: 22\r\n\r\n{\"predictions\":[0.25]}";

int main(int count, char **arguments) {
    int yes = 1, listening = socket(AF_INET, SOCK_STREAM, 0), events = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(count > 1 ? atoi(arguments[1]) : 0)};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listening}, ready[64];
    char request[1 << 16];

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 1024)) {
        perror("trivial_server");
        return 1;
    }
    epoll_ctl(events, EPOLL_CTL_ADD, listening, &event);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int many = epoll_wait(events, ready, 64, -1);
        for (int nth = 0; nth < many; nth++) {
            int fd = ready[nth].data.fd;
            if (fd == listening) {
                event.data.fd = accept(listening, NULL, NULL);
                setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                epoll_ctl(events, EPOLL_CTL_ADD, event.data.fd, &event);
            } else if (recv(fd, request, sizeof request, 0) <= 0) {
                close(fd);
            } else {
                send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
            }
        }
    }
}
