import Glibc
import Logging

/// Descriptors this process may have (getrlimit(2)); each held port is one. Beyond it ports are published, not held.
func descriptorLimit() -> Int {
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  return Int(clamping: limit.rlim_cur)
}

/// Clients at a time: a share of the descriptors there are, which held ports leave to them.
func connectionLimit() -> Int { min(1024, descriptorLimit() / 4) }

/// Descriptors that are never spent on held ports: clients, the database and netlink need some at any time.
func descriptorReserve() -> Int { connectionLimit() + 32 }

/// Raises the limit to what the process is allowed.
func raiseDescriptorLimit(_ log: Logger) {
  var limit = rlimit()
  let descriptors = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  getrlimit(descriptors, &limit)
  limit.rlim_cur = limit.rlim_max
  if setrlimit(descriptors, &limit) < 0 {
    log.warning("could not raise the descriptor limit to \(limit.rlim_max)", metadata: ["error": "\(Errno())"])
  }
}
