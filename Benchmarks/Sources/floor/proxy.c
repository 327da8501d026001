// What a userland proxy is: a process for each port, which copies.
#include "floor.h"
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int copy(int from, int to) {
  char bytes[1 << 14];
  ssize_t count = read(from, bytes, sizeof bytes);
  return count > 0 && write(to, bytes, count) == count;
}

// Docker's own program, which writes "0" to descriptor 3 when it listens.
static void docker_proxy(const char *program, const char *port, const char *address, const char *container_port) {
  int ready[2];
  if (pipe(ready) != 0) die("pipe");
  if (fork() == 0) {
    if (ready[1] != 3) dup2(ready[1], 3);
    close_range(4, ~0u, 0);
    execl(program, "docker-proxy", "-proto", "tcp", "-host-ip", "0.0.0.0", "-host-port", port, "-container-ip", address,
          "-container-port", container_port, NULL);
    die(program);
  }
  close(ready[1]);
  char answer;
  if (read(ready[0], &answer, 1) != 1 || answer != '0') die(program);
}

// PORT ADDRESS CONTAINER-PORT [DOCKER-PROXY]: returns when it listens, and goes on in the background
void proxy(char **a) {
  signal(SIGCHLD, SIG_IGN);
  // Whoever waits for the end of what we inherited must not wait for the proxy.
  close_range(3, ~0u, 0);
  if (a[3] != NULL) return docker_proxy(a[3], a[0], a[1], a[2]);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(a[0]))};
  struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(atoi(a[2]))};
  if (inet_pton(AF_INET, a[1], &there.sin_addr) != 1) die(a[1]);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 128) != 0) die("listen");
  if (fork() != 0) return;
  close(STDOUT_FILENO);
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) die("accept");
    if (fork() != 0) {
      close(client);
      continue;
    }
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(server, (struct sockaddr *)&there, sizeof there) != 0) die("connect");
    struct pollfd polled[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    while (poll(polled, 2, -1) > 0) {
      if (polled[0].revents && !copy(client, server)) _exit(0);
      if (polled[1].revents && !copy(server, client)) _exit(0);
    }
  }
}
