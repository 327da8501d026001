// Linux and glibc calls that Swift's Glibc module lacks because they need _GNU_SOURCE. That macro must not be defined
// here: it would change libc declarations that Glibc has already imported. So each is declared under a name of our own.
#pragma once

int clinux_setns(int fd, int kind) __asm__("setns");
int clinux_unshare(int flags) __asm__("unshare");
int clinux_pidfd_open(int pid, unsigned flags) __asm__("pidfd_open");  // which <sys/pidfd.h> has, and Glibc does not import
const char *clinux_errno_name(int number) __asm__("strerrorname_np");

enum { CLINUX_NEWNET = 0x40000000 };  // CLONE_NEWNET, linux/sched.h

#include <malloc.h>
#include <linux/filter.h>

// Not from <sys/socket.h>: this module would then own what Glibc declares too, and in an optimised build the files that
// import Glibc alone would find no SOCK_STREAM.
int clinux_setsockopt(int socket, int level, int option, const void *value, unsigned length) __asm__("setsockopt");
enum { CLINUX_SOL_SOCKET = 1, CLINUX_SO_ATTACH_FILTER = 26 };  // asm-generic/socket.h

// A classic BPF program of one instruction, "accept 0 bytes", for socket(7)'s SO_ATTACH_FILTER: whatever arrives is
// dropped. The macros that build it do not import into Swift.
static inline int clinux_drop_everything(int socket) {
  struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, 0);
  struct sock_fprog program = {.len = 1, .filter = &code};
  return clinux_setsockopt(socket, CLINUX_SOL_SOCKET, CLINUX_SO_ATTACH_FILTER, &program, sizeof program);
}

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
