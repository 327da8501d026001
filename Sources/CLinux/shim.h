// Linux and glibc calls that Swift's Glibc module lacks because they need _GNU_SOURCE. That macro must not be defined
// here: it would change libc declarations that Glibc has already imported. So each is declared under a name of our own.
#pragma once

int clinux_setns(int fd, int kind) __asm__("setns");
int clinux_unshare(int flags) __asm__("unshare");
const char *clinux_errno_name(int number) __asm__("strerrorname_np");

enum { CLINUX_NEWNET = 0x40000000 };  // CLONE_NEWNET, linux/sched.h
