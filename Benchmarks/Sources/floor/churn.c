// Starts and stops at a steady rate, the number of running containers staying the same.
#include "floor.h"
#include <stdlib.h>

enum { ports = 40000, first_port = 10000 };

static struct mapping container(long number) {
  return (struct mapping){(int)(number % 4000000), first_port + (int)(number % ports)};
}

// SOCKET STARTS-PER-SECOND SECONDS RUNNING
void churn(char **a) {
  int agent = connect_agent(a[0]), rate = atoi(a[1]), running = atoi(a[3]);
  char line[512];
  int64_t start = now(), end = start + atol(a[2]) * 1000000000L;
  long number = 0;
  for (; now() < end; number++) {
    // Late ones catch up: the rate is that of the whole run, as far as the disk lets it be.
    int64_t wait = start + number * (1000000000L / rate) - now();
    if (wait > 0) pause_ns(wait);
    int64_t sent = now();
    request(agent, line, start_line(line, sizeof line, container(number), "churn"));
    sample("churn.start", now() - sent);
    if (number >= running) request(agent, line, stop_line(line, sizeof line, container(number - running), "churn"));
  }
  for (long i = number < running ? 0 : number - running; i < number; i++) {
    request(agent, line, stop_line(line, sizeof line, container(i), "churn"));
  }
}
