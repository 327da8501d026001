// A range of udp ports, published and removed, beside the raw netlink transaction of its elements.
#include "floor.h"
#include <sched.h>
#include <stdlib.h>

enum { index_of_range = 1 << 20, first_port = 10000 };

// SOCKET PORTS REPETITIONS
void range(char **a) {
  int agent = connect_agent(a[0]), count = atoi(a[1]);
  if (unshare(CLONE_NEWNET) != 0) die("unshare");
  struct netlink *kernel = netlink_open();
  netlink_create_table(kernel);
  struct mapping m = {index_of_range, 0};
  char line[512];
  uint32_t v4 = ipv4_of(m.index), v6 = (uint32_t)(m.index + 0x100);
  for (int i = 0; i < atoi(a[2]); i++) {
    int length = snprintf(
        line, sizeof line,
        "{\"event\":\"container.start\",\"container\":{\"id\":\"c%d\",\"networks\":[{\"network\":\"net\",\"ipv4\":"
        "\"%u.%u.%u.%u\",\"ipv6\":\"fd00::%x:%x\"}],\"publish\":[\"%d-%d:%d-%d/udp\"]}}\n",
        m.index, v4 >> 24, v4 >> 16 & 255, v4 >> 8 & 255, v4 & 255, v6 >> 16, v6 & 0xffff, first_port,
        first_port + count - 1, first_port, first_port + count - 1);
    int64_t start = now();
    request(agent, line, length);
    sample("agent.publish", now() - start);
    start = now();
    batch_begin(kernel);
    batch_add_range(kernel, m.index, first_port, count);
    batch_commit(kernel);
    sample("floor.publish", now() - start);
    start = now();
    request(agent, line, stop_line(line, sizeof line, m, "default"));
    sample("agent.remove", now() - start);
    start = now();
    batch_begin(kernel);
    batch_delete_range(kernel, m.index, first_port, count);
    batch_commit(kernel);
    sample("floor.remove", now() - start);
  }
}
