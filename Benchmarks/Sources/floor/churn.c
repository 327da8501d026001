// Starts and stops at a steady rate, the number of running containers staying the same.
#include "floor.h"
#include <stdlib.h>

// SOCKET STARTS-PER-SECOND SECONDS RUNNING
void churn(char **a) {
  int agent = connect_agent(a[0]), rate = atoi(a[1]), running = atoi(a[3]);
  long total = (long)rate * atoi(a[2]);
  char line[512];
  int64_t start = now();
  for (long i = 0; i < total; i++) {
    // Late starts catch up: the rate is that of the whole run.
    int64_t due = start + i * (1000000000L / rate), wait = due - now();
    if (wait > 0) pause_ns(wait);
    struct mapping m = {(int)(i % 4000000), 10000 + (int)(i % 40000)};
    int64_t sent = now();
    request(agent, line, start_line(line, sizeof line, m, "churn"));
    sample("churn.start", now() - sent);

    if (i < running) continue;
    struct mapping old = {(int)((i - running) % 4000000), 0};
    request(agent, line, stop_line(line, sizeof line, old, "churn"));
  }
  sample("churn.seconds", (double)(now() - start) / 1e9);
  for (long i = total - running < 0 ? 0 : total - running; i < total; i++) {
    struct mapping old = {(int)(i % 4000000), 0};
    request(agent, line, stop_line(line, sizeof line, old, "churn"));
  }
}
