// Makes system calls on chosen files fail, and notes which directories were synced. Compiled and preloaded by tests.
//
// PMAGENT_FAULTS names a file that may come and go while the program runs; each line of it is CALL SUFFIX ERRNO: "fsync
// state.db-wal 5" fails with EIO where the file's name ends like that. PMAGENT_SYNCED names a file that gets a line for
// each path that was synced.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int path_of(int fd, char *path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, size - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return 1;
}

static int fault(const char *call, int fd) {
  const char *faults = getenv("PMAGENT_FAULTS");
  char path[4096], name[64], suffix[256];
  int number, found = 0;
  FILE *file = faults ? fopen(faults, "re") : NULL;
  if (!file) return 0;
  if (path_of(fd, path, sizeof path))
    while (!found && fscanf(file, "%63s %255s %d", name, suffix, &number) == 3) {
      size_t length = strlen(path), end = strlen(suffix);
      if (!strcmp(name, call) && end <= length && !strcmp(path + length - end, suffix)) found = number;
    }
  fclose(file);
  errno = found;
  return found;
}

static void note(int fd) {
  const char *synced = getenv("PMAGENT_SYNCED");
  char path[4096];
  FILE *file = synced && path_of(fd, path, sizeof path) ? fopen(synced, "ae") : NULL;
  if (!file) return;
  fprintf(file, "%s\n", path);
  fclose(file);
}

int fsync(int fd) {
  if (fault("fsync", fd)) return -1;
  note(fd);
  return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  if (fault("fsync", fd)) return -1;
  note(fd);
  return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
  if (fault("write", fd)) return -1;
  return syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite64(fd, bytes, count, offset); }
