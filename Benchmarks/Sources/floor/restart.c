// From exec to "READY=1", or from the loss of the table to its return, beside what has to be read and written for it.
#include "floor.h"
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// sd_notify(3)'s receiver.
static int notify_socket(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  // An abstract name: nothing to clean up.
  int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "floor-%d", getpid());
  int notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (bind(notify, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + length) != 0) die("bind");
  char name[128];
  snprintf(name, sizeof name, "@floor-%d", getpid());
  setenv("NOTIFY_SOCKET", name, 1);
  return notify;
}

static int64_t start_to_ready(int notify, char **command, pid_t *child) {
  int64_t start = now();
  *child = fork();
  if (*child == 0) {
    execv(command[0], command);
    die(command[0]);
  }
  char message[256];
  ssize_t count;
  do {
    count = recv(notify, message, sizeof message - 1, 0);
    if (count < 0) die("recv");
    message[count] = 0;
  } while (strstr(message, "READY=1") == NULL);
  return now() - start;
}

static void floor_restart(struct store *store, int wiped) {
  // A namespace each, so that each begins with an empty table.
  if (unshare(CLONE_NEWNET) != 0) die("unshare");
  struct netlink *kernel = netlink_open();
  struct mapping *mappings = NULL;
  int capacity = 0, count = store_mappings(store, &mappings, &capacity);
  netlink_create_table(kernel);
  for (int pass = 0; pass < (wiped ? 1 : 2); pass++) {
    int64_t start = now();
    if (store_read_all(store) == 0) die("empty database");
    if (pass == 0) {
      batch_begin(kernel);
      batch_add(kernel, mappings, count);
      batch_commit(kernel);
      if (wiped) sample("floor.restart", now() - start);
    } else {
      dump_all(kernel, "floor");
      sample("floor.restart", now() - start);
    }
  }
  free(mappings);
}

// FLOOR-DATABASE REPETITIONS; in the namespace of an agent that does not own its table
void repair(char **a) {
  struct store *store = store_open(a[0]);
  struct netlink *kernel = netlink_open();
  for (int i = 0; i < atoi(a[1]); i++) {
    int64_t start = now();
    netlink_delete_table(kernel, "pmagent");
    // The agent's is the next transaction of the namespace, and it is one.
    uint32_t deleted = generation(kernel);
    while (generation(kernel) == deleted)
      ;
    sample("agent.repair", now() - start);
    pid_t child = fork();
    if (child == 0) {
      floor_restart(store, 1);
      fflush(stdout);
      _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) < 0 || status != 0) die("floor");
  }
}

// FLOOR-DATABASE intact|wiped REPETITIONS AGENT ARGUMENTS…; no agent may be running
void restart(char **a) {
  int wiped = strcmp(a[1], "wiped") == 0, notify = notify_socket();
  struct store *store = store_open(a[0]);
  for (int i = 0; i < atoi(a[2]); i++) {
    if (wiped && system("nft delete table inet pmagent") != 0) die("nft");
    pid_t agent;
    sample("agent.restart", start_to_ready(notify, a + 3, &agent));
    if (kill(agent, SIGTERM) != 0 || waitpid(agent, NULL, 0) < 0) die("stop the agent");
    pid_t child = fork();
    if (child == 0) {
      floor_restart(store, wiped);
      fflush(stdout);
      _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) < 0 || status != 0) die("floor");
  }
}
