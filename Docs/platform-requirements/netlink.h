// What the programs share: a socket of nf_tables, and a transaction on it whose answers are counted.
#define _GNU_SOURCE  // unshare(2)
#include <errno.h>
#include <netinet/in.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CHECK(condition) \
  if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); exit(1); }

enum { PERSIST = 4 };  // NFT_TABLE_F_PERSIST of Linux 6.9

static struct mnl_socket *open_socket(void) {
  struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_NONBLOCK | SOCK_CLOEXEC);
  CHECK(s && mnl_socket_bind(s, 0, 0) == 0);
  return s;
}

static char buffer[65536];
static struct mnl_nlmsg_batch *batch;
static unsigned sequence;

static void *place(void) { return mnl_nlmsg_batch_current(batch); }
static void begin(void) {
  batch = mnl_nlmsg_batch_start(buffer, sizeof buffer / 2);
  sequence = 1;
  nftnl_batch_begin(place(), sequence++);
  mnl_nlmsg_batch_next(batch);
}

// NFT_MSG_NEWTABLE or NFT_MSG_DELTABLE of `table inet name`, each with an acknowledgement.
static void table(int type, int flags, const char *name, int table_flags) {
  struct nftnl_table *t = nftnl_table_alloc();
  nftnl_table_set_str(t, NFTNL_TABLE_NAME, name);
  if (table_flags) nftnl_table_set_u32(t, NFTNL_TABLE_FLAGS, table_flags);
  struct nlmsghdr *h = nftnl_nlmsg_build_hdr(place(), type, NFPROTO_INET, flags | NLM_F_ACK, sequence++);
  nftnl_table_nlmsg_build_payload(h, t);
  nftnl_table_free(t);
  mnl_nlmsg_batch_next(batch);
}

// Sends the transaction; errors[i] becomes what message i was answered, -1 = nothing. They are all there when send returns.
static void commit(struct mnl_socket *s, int *errors, int count) {
  nftnl_batch_end(place(), sequence++);
  mnl_nlmsg_batch_next(batch);
  for (int i = 0; i < count; i++) errors[i] = -1;
  CHECK(mnl_socket_sendto(s, mnl_nlmsg_batch_head(batch), mnl_nlmsg_batch_size(batch)) > 0);
  char answer[8192];
  int n;
  while ((n = mnl_socket_recvfrom(s, answer, sizeof answer)) > 0)
    for (struct nlmsghdr *h = (void *)answer; mnl_nlmsg_ok(h, n); h = mnl_nlmsg_next(h, &n)) {
      struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
      int message = (int)h->nlmsg_seq - 2;
      if (h->nlmsg_type == NLMSG_ERROR && message >= 0 && message < count) errors[message] = -e->error;
    }
  CHECK(errno == EAGAIN);
  mnl_nlmsg_batch_stop(batch);
}

// What an attempt to delete the table is answered: 0, EPERM, ENOENT.
static int deletion(struct mnl_socket *s, const char *name) {
  int error;
  begin();
  table(NFT_MSG_DELTABLE, 0, name, 0);
  commit(s, &error, 1);
  return error;
}
