#include "floor.h"
#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name;
  void (*run)(char **arguments);
} all[] = {
    {"churn", churn}, {"commands", commands}, {"elements", elements}, {"events", events}, {"fill", fill},
    {"packets", packets}, {"pipeline", pipeline}, {"proxy", proxy}, {"range", range}, {"repair", repair},
    {"restart", restart},
};

// TABLE: the number of elements of all its sets
void elements(char **a) { sample("elements", dump_all(netlink_open(), a[0])); }

int main(int argc, char **argv) {
  for (size_t i = 0; argc > 1 && i < sizeof all / sizeof *all; i++) {
    if (strcmp(argv[1], all[i].name) != 0) continue;
    all[i].run(argv + 2);
    return 0;
  }
  fprintf(stderr, "usage: floor COMMAND ARGUMENTS: each command's are named above it in its source\n");
  return 2;
}
