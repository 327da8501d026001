// A table that is owned and persists (Linux 6.9): nobody else changes it; when its owner goes it stays, and the next owner
// adopts it. A table that was made without an owner cannot get one.
#include "netlink.h"

int main(void) {
  CHECK(unshare(CLONE_NEWNET) == 0);
  struct mnl_socket *first = open_socket(), *second = open_socket();
  int error;
  begin();
  table(NFT_MSG_NEWTABLE, NLM_F_CREATE, "t", NFT_TABLE_F_OWNER | PERSIST);
  commit(first, &error, 1);
  CHECK(error == 0);
  CHECK(deletion(second, "t") == EPERM);

  mnl_socket_close(first);
  begin();
  table(NFT_MSG_NEWTABLE, NLM_F_CREATE, "t", NFT_TABLE_F_OWNER | PERSIST);
  commit(second, &error, 1);
  CHECK(error == 0);
  struct mnl_socket *third = open_socket();
  CHECK(deletion(third, "t") == EPERM);
  CHECK(deletion(second, "t") == 0);

  begin();
  table(NFT_MSG_NEWTABLE, NLM_F_CREATE, "plain", 0);
  commit(second, &error, 1);
  CHECK(error == 0);
  begin();
  table(NFT_MSG_NEWTABLE, NLM_F_CREATE, "plain", NFT_TABLE_F_OWNER | PERSIST);
  commit(second, &error, 1);
  CHECK(error == EOPNOTSUPP);
}
