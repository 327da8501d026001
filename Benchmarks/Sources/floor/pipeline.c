// Many clients, each with many requests on their way; the floor commits as many events at a time as the agent did.
#include "floor.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { clients = 16, window = 64, first_probe = 1 << 21 };

struct client {
  int socket;
  int sent, answered, share;
};

typedef int (*line_writer)(char *, size_t, struct mapping, const char *);

// Client `c` has the mappings first + c, first + c + clients, ….
static void send_more(struct client *c, int number, struct mapping first, line_writer write_line, const char *source) {
  char lines[window * 320];
  size_t length = 0;
  while (c->sent < c->share && c->sent - c->answered < window) {
    int offset = number + c->sent++ * clients;
    length += write_line(lines + length, sizeof lines - length,
                         (struct mapping){first.index + offset, first.port + offset}, source);
  }
  if (length > 0 && write(c->socket, lines, length) != (ssize_t)length) die("write to the agent");
}

static void receive(struct client *c) {
  char replies[1 << 16];
  ssize_t count = read(c->socket, replies, sizeof replies - 1);
  if (count <= 0) die("read from the agent");
  replies[count] = 0;
  char *refusal = strstr(replies, "\"ok\":false");
  if (refusal != NULL) {
    fprintf(stderr, "floor: the agent refused: %.*s\n", (int)strcspn(refusal, "\n"), refusal);
    exit(1);
  }
  for (ssize_t i = 0; i < count; i++) c->answered += replies[i] == '\n';
}

// Returns how long it took.
static int64_t drive(const char *path, struct mapping first, int count, line_writer write_line, const char *source) {
  struct client all[clients];
  struct pollfd polled[clients];
  for (int i = 0; i < clients; i++) {
    all[i] = (struct client){connect_agent(path), 0, 0, (count - i + clients - 1) / clients};
    polled[i] = (struct pollfd){all[i].socket, POLLIN, 0};
  }
  int64_t start = now();
  int open = 0;
  for (int i = 0; i < clients; i++) {
    send_more(&all[i], i, first, write_line, source);
    open += all[i].share > 0;
  }
  while (open > 0) {
    if (poll(polled, clients, -1) < 0) die("poll");
    for (int i = 0; i < clients; i++) {
      if (!(polled[i].revents & POLLIN)) continue;
      receive(&all[i]);
      // Half a window at a time, as a client with a buffer does.
      if (all[i].sent - all[i].answered <= window / 2) send_more(&all[i], i, first, write_line, source);
      if (all[i].answered == all[i].share) open--;
    }
  }
  int64_t duration = now() - start;
  for (int i = 0; i < clients; i++) close(all[i].socket);
  return duration;
}

// SOCKET COUNT: starts containers, one dual-stack port each, as fast as they are taken
void fill(char **a) {
  char line[256];
  int agent = connect_agent(a[0]);
  request(agent, line, snprintf(line, sizeof line, "{\"event\":\"network.create\",\"network\":{\"id\":\"net\",\"bridge\":"
                                                   "\"br-bench\",\"subnets\":[\"10.0.0.0/8\",\"fd00::/64\"]}}\n"));
  close(agent);
  sample("fill", drive(a[0], (struct mapping){0, 10000}, atoi(a[1]), start_line, "bulk"));
}

static int64_t floor_pipeline(struct store *store, struct netlink *kernel, struct mapping first, int count, int round) {
  struct mapping *m = malloc(round * sizeof *m);
  int64_t start = now();
  for (int done = 0; done < count; done += round) {
    int size = count - done < round ? count - done : round;
    store_begin(store);
    for (int i = 0; i < size; i++) {
      m[i] = (struct mapping){first.index + done + i, first.port + done + i};
      store_start(store, m[i]);
    }
    store_commit(store);
    batch_begin(kernel);
    batch_add(kernel, m, size);
    batch_commit(kernel);
  }
  int64_t duration = now() - start;
  // Not measured.
  store_begin(store);
  batch_begin(kernel);
  for (int i = 0; i < count; i++) {
    struct mapping one = {first.index + i, first.port + i};
    store_stop(store, one);
    batch_delete(kernel, &one, 1);
  }
  store_commit(store);
  batch_commit(kernel);
  free(m);
  return duration;
}

// SOCKET FLOOR-DATABASE COUNT REPETITIONS
void pipeline(char **a) {
  int count = atoi(a[2]);
  struct mapping first = {first_probe, 40000};
  struct netlink *agents = netlink_open();
  if (unshare(CLONE_NEWNET) != 0) die("unshare");
  struct store *store = store_open(a[1]);
  struct netlink *kernel = netlink_open();
  netlink_create_table(kernel);
  for (int i = 0; i < atoi(a[3]); i++) {
    uint32_t before = generation(agents);
    sample("agent.pipeline", (double)drive(a[0], first, count, start_line, "bulk") / count);
    int rounds = (int)(generation(agents) - before);
    int size = (count + rounds - 1) / rounds;
    drive(a[0], first, count, stop_line, "bulk");
    sample("floor.pipeline", (double)floor_pipeline(store, kernel, first, count, size) / count);
    sample("round.size", size);
  }
}
