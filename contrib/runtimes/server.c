// The program of the test image: it answers on ports, TCP and UDP, IPv4 and IPv6, with "NAME saw PEER: REQUEST".
//
// usage: server NAME PORT[-PORT]...
//
// Linked statically, because it is the only file of the image.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { most = 4096 };
static struct pollfd sockets[most];
static int isListening[most];
static int count;

static void add(int socket, int listening) {
  if (socket < 0 || count == most) {
    if (socket >= 0) close(socket);
    return;
  }
  isListening[count] = listening;
  sockets[count++] = (struct pollfd){.fd = socket, .events = POLLIN};
}

static void serve(int type, unsigned port) {
  struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  int off = 0, on = 1, new = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
  setsockopt(new, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  setsockopt(new, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(new, (struct sockaddr *)&any, sizeof any) < 0 || (type == SOCK_STREAM && listen(new, 128) < 0)) {
    perror("server: bind");
    exit(1);
  }
  add(new, type == SOCK_STREAM);
}

// Returns whether a connection goes on. An HTTP request gets a page, anything else a line.
static int answer(int socket, const char *name) {
  char request[1500], from[INET6_ADDRSTRLEN] = "?", reply[2048];
  struct sockaddr_in6 peer = {0};
  socklen_t length = sizeof peer;
  ssize_t size = recvfrom(socket, request, sizeof request - 1, 0, (struct sockaddr *)&peer, &length);
  if (size <= 0) return 0;
  int connected = length == 0;
  if (connected) {
    length = sizeof peer;
    getpeername(socket, (struct sockaddr *)&peer, &length);
  }
  inet_ntop(AF_INET6, &peer.sin6_addr, from, sizeof from);
  const char *address = strncmp(from, "::ffff:", 7) == 0 ? from + 7 : from;
  request[size] = 0;
  int isHTTP = strncmp(request, "GET ", 4) == 0;
  int written = isHTTP
    ? snprintf(reply, sizeof reply, "HTTP/1.0 200 OK\r\n\r\n%s says hello to %s\n", name, address)
    : snprintf(reply, sizeof reply, "%s saw %s: %s", name, address, request);
  sendto(socket, reply, written, MSG_NOSIGNAL, connected ? 0 : (struct sockaddr *)&peer, connected ? 0 : length);
  return !isHTTP;
}

int main(int arguments, char **words) {
  // The first process of a container ignores what it has no handler for.
  signal(SIGTERM, _exit);
  for (int word = 2; word < arguments; word++) {
    unsigned first = 0, last = 0;
    if (sscanf(words[word], "%u-%u", &first, &last) < 2) last = first;
    for (unsigned port = first; port <= last; port++) {
      serve(SOCK_STREAM, port);
      serve(SOCK_DGRAM, port);
    }
  }
  int own = count;
  while (poll(sockets, count, -1) > 0) {
    for (int ready = count - 1; ready >= 0; ready--) {
      if (!sockets[ready].revents) continue;
      if (isListening[ready]) {
        add(accept4(sockets[ready].fd, NULL, NULL, SOCK_CLOEXEC), 0);
      } else if (!answer(sockets[ready].fd, words[1]) && ready >= own) {
        close(sockets[ready].fd);
        count--;
        sockets[ready] = sockets[count];
        isListening[ready] = isListening[count];
      }
    }
  }
}
