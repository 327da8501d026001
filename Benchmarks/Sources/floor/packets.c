// Connections and packets through hosts that translate differently. Client and server are one thread: a veth delivers in the
// system call that sends, so that what is measured is the path of the packets and no scheduling.
#include "floor.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct path {
  const char *name, *client; // namespace of the client
  struct sockaddr_in to;
  int listener;
  int sockets[2]; // the established connection
};

static struct sockaddr_in address(const char *text, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, text, &a.sin_addr) != 1) die(text);
  return a;
}

// Of an argument CLIENT,SERVER,ADDRESS,PORT,SERVER-PORT,NAME
static struct path open_path(char *argument) {
  char *field[6];
  for (int i = 0; i < 6; i++) {
    field[i] = strsep(&argument, ",");
    if (field[i] == NULL) die("path");
  }
  struct path p = {.name = field[5], .client = field[0], .to = address(field[2], atoi(field[3]))};
  enter_namespace(field[1]);
  p.listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in any = address("0.0.0.0", atoi(field[4]));
  int yes = 1;
  setsockopt(p.listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(p.listener, (struct sockaddr *)&any, sizeof any) != 0 || listen(p.listener, 1024) != 0) die(field[1]);
  return p;
}

static void open_connection(struct path *p, int sockets[2]) {
  sockets[0] = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(sockets[0], (struct sockaddr *)&p->to, sizeof p->to) != 0) die(p->name);
  sockets[1] = accept(p->listener, NULL, NULL);
  if (sockets[1] < 0) die("accept");
}

static void connections(struct path *p, int count) {
  enter_namespace(p->client);
  int64_t start = now();
  for (int i = 0; i < count; i++) {
    int sockets[2];
    open_connection(p, sockets);
    // A reset: no TIME-WAIT, so ports do not run out.
    struct linger reset = {1, 0};
    setsockopt(sockets[0], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(sockets[0]);
    close(sockets[1]);
  }
  char name[64];
  snprintf(name, sizeof name, "connect.%s", p->name);
  sample(name, (double)(now() - start) / count);
}

static void round_trips(struct path *p, int count) {
  char bytes[64] = {0}, name[64];
  int64_t start = now();
  for (int i = 0; i < count; i++) {
    for (int side = 0; side < 2; side++) {
      if (send(p->sockets[side], bytes, sizeof bytes, 0) != sizeof bytes) die("send");
      if (recv(p->sockets[!side], bytes, sizeof bytes, MSG_WAITALL) != sizeof bytes) die("recv");
    }
  }
  snprintf(name, sizeof name, "established.%s", p->name);
  sample(name, (double)(now() - start) / count);
}

// ROUNDS CONNECTIONS ROUND-TRIPS PATH…
void packets(char **a) {
  int rounds = atoi(a[0]), new = atoi(a[1]), old = atoi(a[2]), count = 0;
  struct path paths[32];
  for (char **p = a + 3; *p != NULL && count < 32; p++) paths[count++] = open_path(*p);
  for (int i = 0; i < count; i++) {
    enter_namespace(paths[i].client);
    open_connection(&paths[i], paths[i].sockets);
    int yes = 1;
    for (int side = 0; side < 2; side++) {
      setsockopt(paths[i].sockets[side], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
  }
  for (int round = -1; round < rounds; round++) {
    // In the other direction each time, so that no path always follows the same one.
    for (int i = 0; i < count; i++) {
      struct path *p = &paths[round % 2 == 0 ? i : count - 1 - i];
      if (new > 0) connections(p, new);
      if (old > 0) round_trips(p, old);
    }
    // The first is to warm up.
    if (round == -1) printf("reset\n");
  }
}
