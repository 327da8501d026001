#include "floor.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Noreturn void die(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

void pause_ns(int64_t ns) {
  struct timespec t = {ns / 1000000000, ns % 1000000000};
  while (nanosleep(&t, &t) != 0 && errno == EINTR) {}
}

void enter_namespace(const char *name) {
  char path[256];
  snprintf(path, sizeof path, "/run/netns/%s", name);
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 || setns(descriptor, CLONE_NEWNET) != 0) die(path);
  close(descriptor);
}

void sample(const char *name, double value) { printf("%s %.0f\n", name, value); }

uint32_t ipv4_of(int index) { return 10u << 24 | (uint32_t)(index + 0x100); }

void ipv6_of(int index, uint8_t bytes[16]) {
  memset(bytes, 0, 16);
  bytes[0] = 0xfd;
  for (int i = 0; i < 4; i++) bytes[15 - i] = (uint8_t)((uint32_t)(index + 0x100) >> (8 * i));
}

int start_line(char *line, size_t size, struct mapping m, const char *source) {
  uint32_t v4 = ipv4_of(m.index), v6 = (uint32_t)(m.index + 0x100);
  return snprintf(
      line, size,
      "{\"event\":\"container.start\",\"source\":\"%s\",\"container\":{\"id\":\"c%d\",\"networks\":[{\"network\":\"net\","
      "\"ipv4\":\"%u.%u.%u.%u\",\"ipv6\":\"fd00::%x:%x\"}],\"publish\":[\"%d:80\"]}}\n",
      source, m.index, v4 >> 24, v4 >> 16 & 255, v4 >> 8 & 255, v4 & 255, v6 >> 16, v6 & 0xffff, m.port);
}

int stop_line(char *line, size_t size, struct mapping m, const char *source) {
  return snprintf(
      line, size, "{\"event\":\"container.stop\",\"source\":\"%s\",\"container\":\"c%d\"}\n", source, m.index);
}
