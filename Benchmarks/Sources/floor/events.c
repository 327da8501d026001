// One start and one stop at a time, in turn by agents and by their floors: the same rows in one durable commit of SQLite's
// C API, then the same elements in one nf_tables transaction.
#include "floor.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { first_probe = 1 << 22, probe_ports = 4000, most_worlds = 8 };

// An agent and its floor, which has what the agent has: a copy of its database and the elements of its mappings.
struct world {
  const char *name;
  int agent;
  struct store *store;
  struct netlink *kernel;
};

static void record(const char *what, const struct world *w, int64_t start) {
  int64_t duration = now() - start;
  char name[64];
  snprintf(name, sizeof name, "%s.%s", what, w->name);
  sample(name, duration);
}

static void agent_event(const struct world *w, struct mapping m) {
  char line[512];
  int length = start_line(line, sizeof line, m, "default");
  int64_t start = now();
  request(w->agent, line, length);
  record("agent.start", w, start);
  length = stop_line(line, sizeof line, m, "default");
  start = now();
  request(w->agent, line, length);
  record("agent.stop", w, start);
}

static void floor_event(const struct world *w, struct mapping m) {
  int64_t start = now();
  store_begin(w->store);
  store_start(w->store, m);
  store_commit(w->store);
  int64_t stored = now();
  batch_begin(w->kernel);
  batch_add(w->kernel, &m, 1);
  batch_commit(w->kernel);
  record("floor.start", w, start);
  record("floor.kernel", w, stored);
  start = now();
  store_begin(w->store);
  store_stop(w->store, m);
  store_commit(w->store);
  batch_begin(w->kernel);
  batch_delete(w->kernel, &m, 1);
  batch_commit(w->kernel);
  record("floor.stop", w, start);
}

static void fill_kernel(const struct world *w) {
  struct mapping *mappings = NULL;
  int capacity = 0, count = store_mappings(w->store, &mappings, &capacity);
  netlink_create_table(w->kernel);
  batch_begin(w->kernel);
  batch_add(w->kernel, mappings, count);
  batch_commit(w->kernel);
  free(mappings);
}

// Of an argument NAME,SOCKET,FLOOR-DATABASE
static struct world open_world(char *argument) {
  struct world w = {.name = strsep(&argument, ",")};
  const char *path = strsep(&argument, ",");
  w.agent = connect_agent(path);
  if (unshare(CLONE_NEWNET) != 0) die("unshare");
  w.store = store_open(argument);
  w.kernel = netlink_open();
  fill_kernel(&w);
  return w;
}

// ROUNDS PAUSE-IN-MICROSECONDS WORLD…
void events(char **a) {
  int rounds = atoi(a[0]), count = 0;
  int64_t pause = atol(a[1]) * 1000;
  struct world worlds[most_worlds];
  for (char **argument = a + 2; *argument != NULL && count < most_worlds; argument++) worlds[count++] = open_world(*argument);
  for (int i = 0; i < rounds; i++) {
    struct mapping m = {first_probe + i, 1001 + i % probe_ports};
    for (int which = 0; which < count; which++) {
      if (pause > 0) pause_ns(pause);
      agent_event(&worlds[which], m);
      if (pause > 0) pause_ns(pause);
      floor_event(&worlds[which], m);
    }
  }
}
