#include "floor.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum statement {
  begin, commit, container, endpoint, publish, binding, revision,
  find, no_binding, no_publish, no_endpoint, no_container, statement_count
};
static const char *const sql[statement_count] = {
    "BEGIN IMMEDIATE",
    "COMMIT",
    "INSERT INTO container (source, id, name, generation, publish_all) VALUES ('floor', ?1, ?1, NULL, 0)",
    "INSERT INTO endpoint (container, position, network, ipv4, ipv6, gateway_priority) VALUES (?1, 0, 'net', ?2, ?3, 0)",
    "INSERT INTO publish (container, position, host_address, host_first, host_last, container_first, container_last,"
    " protocol, allow_from) VALUES (?1, 0, NULL, ?2, ?2, 80, 80, 6, '[]')",
    "INSERT INTO binding (container, position, network, mode, family, protocol, host_address, host_first, host_last,"
    " container_address, container_first, container_last, request, allow_from)"
    " VALUES (?1, ?2, 'net', 'nat', ?3, 6, ?4, ?5, ?5, ?6, 80, 80, 0, '[]')",
    "UPDATE revision SET value = value + 1 WHERE one = 1",
    "SELECT row FROM container WHERE source = 'floor' AND id = ?1",
    "DELETE FROM binding WHERE container = ?1 AND position = ?2",
    "DELETE FROM publish WHERE container = ?1 AND position = ?2",
    "DELETE FROM endpoint WHERE container = ?1 AND position = ?2",
    "DELETE FROM container WHERE row = ?1",
};

struct store {
  sqlite3 *database;
  sqlite3_stmt *statements[statement_count];
};

static _Noreturn void fail(struct store *s) {
  fprintf(stderr, "floor: SQLite: %s\n", sqlite3_errmsg(s->database));
  exit(1);
}

struct store *store_open(const char *path) {
  struct store *s = calloc(1, sizeof *s);
  const char *settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                         "PRAGMA secure_delete = OFF; PRAGMA journal_size_limit = 16777216; PRAGMA wal_autocheckpoint = 2000";
  if (sqlite3_open(path, &s->database) != SQLITE_OK) fail(s);
  if (sqlite3_exec(s->database, settings, NULL, NULL, NULL) != SQLITE_OK) fail(s);
  for (int i = 0; i < statement_count; i++) {
    if (sqlite3_prepare_v3(s->database, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL) != SQLITE_OK)
      fail(s);
  }
  return s;
}

sqlite3 *store_database(struct store *s) { return s->database; }

static void run(struct store *s, enum statement which) {
  if (sqlite3_step(s->statements[which]) != SQLITE_DONE) fail(s);
  sqlite3_reset(s->statements[which]);
}

static void text(struct store *s, enum statement which, int position, const char *value) {
  sqlite3_bind_text(s->statements[which], position, value, -1, SQLITE_TRANSIENT);
}

void store_begin(struct store *s) { run(s, begin); }
void store_commit(struct store *s) { run(s, commit); }

void store_start(struct store *s, struct mapping m) {
  char name[16], v4[INET_ADDRSTRLEN], v6[INET6_ADDRSTRLEN];
  uint8_t bytes[16];
  uint32_t address = htonl(ipv4_of(m.index));
  snprintf(name, sizeof name, "c%d", m.index);
  inet_ntop(AF_INET, &address, v4, sizeof v4);
  ipv6_of(m.index, bytes);
  inet_ntop(AF_INET6, bytes, v6, sizeof v6);

  text(s, container, 1, name);
  run(s, container);
  sqlite3_int64 row = sqlite3_last_insert_rowid(s->database);
  sqlite3_bind_int64(s->statements[endpoint], 1, row);
  text(s, endpoint, 2, v4);
  text(s, endpoint, 3, v6);
  run(s, endpoint);
  sqlite3_bind_int64(s->statements[publish], 1, row);
  sqlite3_bind_int(s->statements[publish], 2, m.port);
  run(s, publish);
  for (int family = 0; family < 2; family++) {
    sqlite3_bind_int64(s->statements[binding], 1, row);
    sqlite3_bind_int(s->statements[binding], 2, family);
    sqlite3_bind_int(s->statements[binding], 3, family == 0 ? 4 : 6);
    text(s, binding, 4, family == 0 ? "0.0.0.0" : "::");
    sqlite3_bind_int(s->statements[binding], 5, m.port);
    text(s, binding, 6, family == 0 ? v4 : v6);
    run(s, binding);
  }
  run(s, revision);
}

static void delete_row(struct store *s, enum statement which, sqlite3_int64 container, int position) {
  sqlite3_bind_int64(s->statements[which], 1, container);
  sqlite3_bind_int(s->statements[which], 2, position);
  run(s, which);
}

void store_stop(struct store *s, struct mapping m) {
  char name[16];
  snprintf(name, sizeof name, "c%d", m.index);
  text(s, find, 1, name);
  if (sqlite3_step(s->statements[find]) != SQLITE_ROW) fail(s);
  sqlite3_int64 row = sqlite3_column_int64(s->statements[find], 0);
  sqlite3_reset(s->statements[find]);
  delete_row(s, no_binding, row, 0);
  delete_row(s, no_binding, row, 1);
  delete_row(s, no_publish, row, 0);
  delete_row(s, no_endpoint, row, 0);
  sqlite3_bind_int64(s->statements[no_container], 1, row);
  run(s, no_container);
  run(s, revision);
}

static const char *const tables[] = {
    "SELECT row, source, id, name, generation, publish_all FROM container ORDER BY row",
    "SELECT container, network, ipv4, ipv6, gateway_priority FROM endpoint ORDER BY container, position",
    "SELECT container, host_address, host_first, host_last, container_first, container_last, protocol, allow_from"
    " FROM publish ORDER BY container, position",
    "SELECT container, first, last, protocol FROM expose ORDER BY container, position",
    "SELECT container, network, mode, protocol, host_address, host_first, host_last, container_address,"
    " container_first, container_last, request, allow_from FROM binding ORDER BY container, position",
    "SELECT container, code, message FROM warning ORDER BY container, position",
};

long store_read_all(struct store *s) {
  long rows = 0, bytes = 0;
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(s->database, tables[i], -1, &statement, NULL) != SQLITE_OK) fail(s);
    while (sqlite3_step(statement) == SQLITE_ROW) {
      rows++;
      for (int column = 0; column < sqlite3_column_count(statement); column++) {
        if (sqlite3_column_type(statement, column) == SQLITE_TEXT) {
          sqlite3_column_text(statement, column);
          bytes += sqlite3_column_bytes(statement, column);
        } else {
          bytes += sqlite3_column_int64(statement, column);
        }
      }
    }
    sqlite3_finalize(statement);
  }
  return bytes == 0 ? 0 : rows;
}

int store_mappings(struct store *s, struct mapping **mappings, int *capacity) {
  const char *query = "SELECT id, host_first FROM container JOIN publish ON container = row WHERE source <> 'default'";
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(s->database, query, -1, &statement, NULL) != SQLITE_OK) fail(s);
  int count = 0;
  while (sqlite3_step(statement) == SQLITE_ROW) {
    if (count == *capacity) *mappings = realloc(*mappings, (*capacity = 2 * *capacity + 1024) * sizeof **mappings);
    int index = atoi((const char *)sqlite3_column_text(statement, 0) + 1);
    (*mappings)[count++] = (struct mapping){index, sqlite3_column_int(statement, 1)};
  }
  sqlite3_finalize(statement);
  return count;
}
