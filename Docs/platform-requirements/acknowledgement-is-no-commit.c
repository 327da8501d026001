// A message of a transaction is acknowledged when it has been understood. That is no commit: a later one may fail, and then
// nothing of it happens. All answers are there when sendmsg returns.
#include "netlink.h"

int main(void) {
  CHECK(unshare(CLONE_NEWNET) == 0);
  struct mnl_socket *s = open_socket();
  int errors[2];
  begin();
  table(NFT_MSG_NEWTABLE, NLM_F_CREATE, "t", 0);
  table(NFT_MSG_DELTABLE, 0, "absent", 0);
  commit(s, errors, 2);
  CHECK(errors[0] == 0);
  CHECK(errors[1] == ENOENT);
  CHECK(deletion(s, "t") == ENOENT);
}
