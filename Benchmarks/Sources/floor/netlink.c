#include "floor.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const char table[] = "floor";
// Of an element list, which is one attribute and so at most 64 KiB long.
enum { elements_per_message = 400 };

struct netlink {
  struct mnl_socket *socket;
  uint32_t port, sequence;
  uint32_t first; // sequence of this batch's BATCH_BEGIN
  char *bytes;
  size_t length, capacity;
  size_t last; // offset of the last message
};

enum set { any4, published4, any6, published6 };
static const char *const names[] = {"any4", "published4", "any6", "published6"};
static const uint32_t key_sizes[] = {8, 12, 8, 24}, data_sizes[] = {8, 0, 20, 0};

struct netlink *netlink_open(void) {
  struct netlink *n = calloc(1, sizeof *n);
  n->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (n->socket == NULL || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0) die("open a netlink socket");
  n->port = mnl_socket_get_portid(n->socket);
  n->sequence = 1;
  int size = 128 << 20;
  int descriptor = mnl_socket_get_fd(n->socket);
  if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) die("SO_SNDBUFFORCE");
  return n;
}

static struct nlmsghdr *message(struct netlink *n, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource) {
  // Room for the largest message, so that the pointers of one stay valid.
  if (n->capacity < n->length + (1 << 17)) {
    n->capacity = 2 * n->capacity + (1 << 18);
    n->bytes = realloc(n->bytes, n->capacity);
  }
  struct nlmsghdr *header = mnl_nlmsg_put_header(n->bytes + n->length);
  header->nlmsg_type = type;
  header->nlmsg_flags = NLM_F_REQUEST | flags;
  header->nlmsg_seq = n->sequence++;
  struct nfgenmsg *generic = mnl_nlmsg_put_extra_header(header, sizeof *generic);
  generic->nfgen_family = family;
  generic->version = NFNETLINK_V0;
  generic->res_id = htons(resource);
  return header;
}

static void finish(struct netlink *n, struct nlmsghdr *header) {
  n->last = n->length;
  n->length += header->nlmsg_len;
}

static struct nlmsghdr *table_message(struct netlink *n, int type, uint16_t flags) {
  return message(n, NFNL_SUBSYS_NFTABLES << 8 | type, flags, NFPROTO_INET, 0);
}

void batch_begin(struct netlink *n) {
  n->length = 0;
  n->first = n->sequence;
  finish(n, message(n, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
}

// Sends, and reads what is queued by then.
static void exchange(struct netlink *n, int expect_acknowledgement) {
  if (mnl_socket_sendto(n->socket, n->bytes, n->length) != (ssize_t)n->length) die("send a batch");
  static char answers[1 << 16];
  int acknowledged = 0;
  ssize_t count;
  while ((count = mnl_socket_recvfrom(n->socket, answers, sizeof answers)) > 0) {
    int rest = count;
    for (struct nlmsghdr *h = (void *)answers; mnl_nlmsg_ok(h, rest); h = mnl_nlmsg_next(h, &rest)) {
      if (h->nlmsg_type != NLMSG_ERROR) continue;
      struct nlmsgerr *error = mnl_nlmsg_get_payload(h);
      errno = -error->error;
      if (error->error != 0) die("nf_tables transaction");
      acknowledged = 1;
    }
  }
  if (expect_acknowledgement && !acknowledged) die("no acknowledgement");
}

void batch_commit(struct netlink *n) {
  ((struct nlmsghdr *)(n->bytes + n->last))->nlmsg_flags |= NLM_F_ACK;
  finish(n, message(n, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
  exchange(n, 1);
}

void netlink_delete_table(struct netlink *n, const char *name) {
  batch_begin(n);
  struct nlmsghdr *header = table_message(n, NFT_MSG_DELTABLE, 0);
  mnl_attr_put_strz(header, NFTA_TABLE_NAME, name);
  finish(n, header);
  batch_commit(n);
}

void netlink_create_table(struct netlink *n) {
  batch_begin(n);
  struct nlmsghdr *header = table_message(n, NFT_MSG_NEWTABLE, NLM_F_CREATE);
  mnl_attr_put_strz(header, NFTA_TABLE_NAME, table);
  finish(n, header);
  for (int set = 0; set < 4; set++) {
    header = table_message(n, NFT_MSG_NEWSET, NLM_F_CREATE);
    mnl_attr_put_strz(header, NFTA_SET_TABLE, table);
    mnl_attr_put_strz(header, NFTA_SET_NAME, names[set]);
    mnl_attr_put_u32(header, NFTA_SET_ID, htonl(set + 1));
    mnl_attr_put_u32(header, NFTA_SET_KEY_LEN, htonl(key_sizes[set]));
    mnl_attr_put_u32(header, NFTA_SET_KEY_TYPE, 0);
    if (data_sizes[set] > 0) {
      mnl_attr_put_u32(header, NFTA_SET_FLAGS, htonl(NFT_SET_MAP));
      mnl_attr_put_u32(header, NFTA_SET_DATA_LEN, htonl(data_sizes[set]));
      mnl_attr_put_u32(header, NFTA_SET_DATA_TYPE, 0);
      // As in the agent's table: each element counts what looked it up.
      struct nlattr *expression = mnl_attr_nest_start(header, NFTA_SET_EXPR);
      mnl_attr_put_strz(header, NFTA_EXPR_NAME, "counter");
      mnl_attr_nest_end(header, expression);
    }
    finish(n, header);
  }
  batch_commit(n);
}

static size_t address(uint8_t *bytes, enum set set, int index) {
  if (set == any6 || set == published6) {
    ipv6_of(index, bytes);
    return 16;
  }
  uint32_t v4 = htonl(ipv4_of(index));
  memcpy(bytes, &v4, 4);
  return 4;
}

static void element(struct nlmsghdr *h, enum set set, int index, int outer, int inner, int protocol, int with_value) {
  uint8_t bytes[24] = {0};
  int is_map = set == any4 || set == any6;
  size_t size = is_map ? 0 : address(bytes, set, index);
  int port = is_map ? outer : inner;
  bytes[size] = protocol;
  bytes[size + 4] = port >> 8;
  bytes[size + 5] = port;
  struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
  struct nlattr *key = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
  mnl_attr_put(h, NFTA_DATA_VALUE, size + 8, bytes);
  mnl_attr_nest_end(h, key);
  if (with_value && is_map) {
    uint8_t data[20] = {0};
    size = address(data, set, index);
    data[size] = inner >> 8;
    data[size + 1] = inner;
    struct nlattr *value = mnl_attr_nest_start(h, NFTA_SET_ELEM_DATA);
    mnl_attr_put(h, NFTA_DATA_VALUE, size + 4, data);
    mnl_attr_nest_end(h, value);
  }
  if (with_value) {
    char comment[16];
    int length = snprintf(comment + 2, sizeof comment - 2, "c%d", index) + 1;
    comment[0] = 0;
    comment[1] = length;
    mnl_attr_put(h, NFTA_SET_ELEM_USERDATA, length + 2, comment);
  }
  mnl_attr_nest_end(h, element);
}

struct list {
  struct nlmsghdr *header;
  struct nlattr *elements;
};

static struct list list_begin(struct netlink *n, enum set set, int type) {
  struct nlmsghdr *h = table_message(n, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
  mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
  mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, names[set]);
  return (struct list){h, mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS)};
}

static void list_end(struct netlink *n, struct list list) {
  mnl_attr_nest_end(list.header, list.elements);
  finish(n, list.header);
}

static void change(struct netlink *n, const struct mapping *m, int count, int type) {
  for (enum set set = any4; set <= published6; set++) {
    for (int start = 0; start < count; start += elements_per_message) {
      struct list list = list_begin(n, set, type);
      for (int i = start; i < count && i < start + elements_per_message; i++) {
        element(list.header, set, m[i].index, m[i].port, 80, IPPROTO_TCP, type == NFT_MSG_NEWSETELEM);
      }
      list_end(n, list);
    }
  }
}

static void change_range(struct netlink *n, int index, int first, int count, int type) {
  for (enum set set = any4; set <= published6; set++) {
    for (int start = 0; start < count; start += elements_per_message) {
      struct list list = list_begin(n, set, type);
      for (int i = start; i < count && i < start + elements_per_message; i++) {
        element(list.header, set, index, first + i, first + i, IPPROTO_UDP, type == NFT_MSG_NEWSETELEM);
      }
      list_end(n, list);
    }
  }
}

void batch_add(struct netlink *n, const struct mapping *m, int count) { change(n, m, count, NFT_MSG_NEWSETELEM); }
void batch_delete(struct netlink *n, const struct mapping *m, int count) { change(n, m, count, NFT_MSG_DELSETELEM); }
void batch_add_range(struct netlink *n, int index, int first, int count) {
  change_range(n, index, first, count, NFT_MSG_NEWSETELEM);
}
void batch_delete_range(struct netlink *n, int index, int first, int count) {
  change_range(n, index, first, count, NFT_MSG_DELSETELEM);
}

static int count_element(const struct nlattr *attribute, void *data) {
  // Looks at all there is of each, as one has to who compares it.
  const struct nlattr *part;
  mnl_attr_for_each_nested(part, attribute) { *(long *)data += (mnl_attr_get_payload_len(part) == 0); }
  *(long *)data += 1;
  return MNL_CB_OK;
}

static int count_list(const struct nlattr *attribute, void *data) {
  return mnl_attr_get_type(attribute) == NFTA_SET_ELEM_LIST_ELEMENTS
             ? mnl_attr_parse_nested(attribute, count_element, data)
             : MNL_CB_OK;
}

static int count_message(const struct nlmsghdr *h, void *data) {
  return mnl_attr_parse(h, sizeof(struct nfgenmsg), count_list, data);
}

static int set_name(const struct nlattr *attribute, void *data) {
  if (mnl_attr_get_type(attribute) == NFTA_SET_NAME) *(const char **)data = mnl_attr_get_str(attribute);
  return MNL_CB_OK;
}

struct sets {
  char names[64][32];
  int count;
};

static int collect_set(const struct nlmsghdr *h, void *data) {
  struct sets *sets = data;
  const char *name = NULL;
  mnl_attr_parse(h, sizeof(struct nfgenmsg), set_name, &name);
  if (name != NULL && sets->count < 64) snprintf(sets->names[sets->count++], 32, "%s", name);
  return MNL_CB_OK;
}

static void dump(struct netlink *n, const char *what, mnl_cb_t callback, void *data) {
  static char answers[1 << 16];
  if (mnl_socket_sendto(n->socket, n->bytes, n->length) != (ssize_t)n->length) die(what);
  uint32_t sequence = n->sequence - 1;
  ssize_t count;
  while ((count = mnl_socket_recvfrom(n->socket, answers, sizeof answers)) > 0) {
    if (mnl_cb_run(answers, count, sequence, n->port, callback, data) <= 0) break;
  }
}

static int generation_number(const struct nlattr *attribute, void *data) {
  if (mnl_attr_get_type(attribute) == NFTA_GEN_ID) *(uint32_t *)data = ntohl(mnl_attr_get_u32(attribute));
  return MNL_CB_OK;
}

static int generation_message(const struct nlmsghdr *h, void *data) {
  return mnl_attr_parse(h, sizeof(struct nfgenmsg), generation_number, data);
}

uint32_t generation(struct netlink *n) {
  n->length = 0;
  finish(n, message(n, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0, AF_UNSPEC, 0));
  uint32_t number = 0;
  dump(n, "read the generation", generation_message, &number);
  return number;
}

long dump_elements(struct netlink *n, const char *table, const char *set) {
  n->length = 0;
  struct nlmsghdr *h = table_message(n, NFT_MSG_GETSETELEM, NLM_F_DUMP);
  mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
  mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set);
  finish(n, h);
  long count = 0;
  dump(n, "dump elements", count_message, &count);
  return count;
}

long dump_all(struct netlink *n, const char *table) {
  n->length = 0;
  struct nlmsghdr *h = table_message(n, NFT_MSG_GETSET, NLM_F_DUMP);
  mnl_attr_put_strz(h, NFTA_SET_TABLE, table);
  finish(n, h);
  struct sets sets = {.count = 0};
  dump(n, "dump sets", collect_set, &sets);
  long count = 0;
  for (int i = 0; i < sets.count; i++) count += dump_elements(n, table, sets.names[i]);
  return count;
}
