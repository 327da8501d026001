#include "floor.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int connect_agent(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof address) != 0) die(path);
  return client;
}

void request(int socket, const char *line, int length) {
  // The ports of a large range.
  static char reply[8 << 20];
  if (write(socket, line, length) != length) die("write to the agent");
  ssize_t count = 0;
  do {
    ssize_t more = read(socket, reply + count, sizeof reply - 1 - count);
    if (more <= 0) die("read from the agent");
    count += more;
  } while (reply[count - 1] != '\n');
  reply[count] = 0;
  if (strstr(reply, "\"ok\":true") == NULL) {
    fprintf(stderr, "floor: %s was answered %s", line, reply);
    exit(1);
  }
}
