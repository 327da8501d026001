// A socket that is bound and does not listen keeps its port from every other program, also from one that sets SO_REUSEADDR and
// SO_REUSEPORT; IPv4 and IPv6 are apart with IPV6_V6ONLY.
#include "netlink.h"

static int bound(int family, int type, int reuse) {
  int s = socket(family, type, 0), on = 1;
  CHECK(s >= 0);
  if (family == AF_INET6) setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (reuse) {
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  }
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(8080)};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(8080)};
  return family == AF_INET ? bind(s, (void *)&four, sizeof four) : bind(s, (void *)&six, sizeof six);
}

int main(void) {
  CHECK(unshare(CLONE_NEWNET) == 0);
  int types[] = {SOCK_STREAM, SOCK_DGRAM}, families[] = {AF_INET, AF_INET6};
  for (int t = 0; t < 2; t++)
    for (int f = 0; f < 2; f++) {
      CHECK(bound(families[f], types[t], 0) == 0);
      for (int reuse = 0; reuse < 2; reuse++) {
        errno = 0;
        CHECK(bound(families[f], types[t], reuse) < 0 && errno == EADDRINUSE);
      }
    }
}
