// The floors: the least that the same work costs in C, and the clients that drive the agent, so that neither is a bottleneck.
#pragma once
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>

// util.c
_Noreturn void die(const char *what);
int64_t now(void); // monotonic, in ns
void pause_ns(int64_t ns);
void enter_namespace(const char *name); // of ip-netns(8)
// One measured value for the report, in ns unless the name says otherwise.
void sample(const char *name, double value);

// A mapping of the test world: container `index` publishes one tcp port on both families.
struct mapping {
  int index;
  int port;
};
// The request that starts or stops it, LF included; returns its length.
int start_line(char *line, size_t size, struct mapping m, const char *source);
int stop_line(char *line, size_t size, struct mapping m, const char *source);
uint32_t ipv4_of(int index);               // host byte order
void ipv6_of(int index, uint8_t bytes[16]);

// client.c: the agent's socket
int connect_agent(const char *path);
void request(int socket, const char *line, int length); // waits for the reply, which must be "ok"

// netlink.c: one nf_tables transaction at a time, in the namespace of the call of `netlink_open`
struct netlink;
struct netlink *netlink_open(void);
void netlink_create_table(struct netlink *);
void netlink_delete_table(struct netlink *, const char *name);
void batch_begin(struct netlink *);
// An element of each of the sets any4, published4, any6, published6, for `count` mappings or ports of one container.
void batch_add(struct netlink *, const struct mapping *, int count);
void batch_delete(struct netlink *, const struct mapping *, int count);
void batch_add_range(struct netlink *, int index, int first, int count);
void batch_delete_range(struct netlink *, int index, int first, int count);
void batch_commit(struct netlink *);
uint32_t generation(struct netlink *); // counts the transactions of the namespace
long dump_elements(struct netlink *, const char *table, const char *set); // their number
long dump_all(struct netlink *, const char *table);                       // of all sets of the table

// store.c: the agent's schema
struct store;
struct store *store_open(const char *path); // WAL, synchronous = FULL
sqlite3 *store_database(struct store *);
void store_begin(struct store *);
void store_start(struct store *, struct mapping);
void store_stop(struct store *, struct mapping);
void store_commit(struct store *);
long store_read_all(struct store *);                                  // every row of every table, in order
int store_mappings(struct store *, struct mapping **, int *capacity); // what the database has

// commands, each with its arguments after its name
void events(char **arguments);
void fill(char **arguments);
void pipeline(char **arguments);
void range(char **arguments);
void restart(char **arguments);
void repair(char **arguments);
void churn(char **arguments);
void packets(char **arguments);
void elements(char **arguments);
void proxy(char **arguments);
void commands(char **arguments);
