// Places where a test ends the process, as a power cut or SIGKILL would: `crashPoint("round-committed")`.
//
// In a debug build PMAGENT_CRASH=NAME:N kills the process when it passes the point for the Nth time, and
// PMAGENT_CRASH_TRACE=FILE appends a line for each point that is passed. In a release build a point is nothing at all,
// its name included.

#if CRASH_POINTS
  import Glibc

  @usableFromInline
  package enum CrashPoints {
    // Start-up passes points on the event loop, and so does everything after it: one thread.
    nonisolated(unsafe) private static var passed: [String: Int] = [:]
    private static let plan: (name: String, occurrence: Int)? = {
      guard let text = getenv("PMAGENT_CRASH") else { return nil }
      let parts = String(cString: text).split(separator: ":")
      guard parts.count == 2, let occurrence = Int(parts[1]) else { return nil }
      return (String(parts[0]), occurrence)
    }()
    private static let trace: CInt? = getenv("PMAGENT_CRASH_TRACE").map {
      open($0, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    }

    @usableFromInline
    package static func pass(_ name: StaticString) {
      if let trace {
        let line = Array("\(name)\n".utf8)
        write(trace, line, line.count)
      }
      guard let plan, plan.name == "\(name)" else { return }
      passed[plan.name, default: 0] += 1
      if passed[plan.name] == plan.occurrence { kill(getpid(), SIGKILL) }
    }
  }
#endif

/// `name` is what PMAGENT_CRASH is given to end a debug build's process here; in a release build this is nothing.
@inlinable @inline(__always)
package func crashPoint(_ name: StaticString) {
  #if CRASH_POINTS
    CrashPoints.pass(name)
  #endif
}
