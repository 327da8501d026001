import Glibc
import Logging
import NIOCore

/// Follows a container runtime and feeds the agent with what it has, as any client of the agent's socket could.
///
/// It connects again whenever a connection ends; until then everything stays as it is. Belongs to its event loop, which
/// must not be the agent's: the runtime's events are to be drained whatever the agent does.
package final class RuntimeFollower {
  private let health: RuntimeHealth
  private let agentSocket: String
  private let http: HTTPClient
  private let log: Logger
  private var session: RuntimeSession?
  private var retry: Scheduled<Void>?
  /// connect(2) is cheap, and a daemon that is back should not wait for us.
  private var delay = BackOff(first: .milliseconds(50), last: .seconds(1))
  /// The last one logged: a daemon that is away for a week is one line.
  private var lastProblem: String?
  private var isStopped = false

  /// `agentSocket`: where the agent listens.
  package init(_ health: RuntimeHealth, agentSocket: String, on loop: any EventLoop, log: Logger) {
    (self.health, self.agentSocket, self.log) = (health, agentSocket, log)
    http = HTTPClient(path: health.socket.path, loop: loop)
  }

  package func start() {
    let session = RuntimeSession(source: health.socket.name, http: http, health: health, log: log) { [weak self] in
      self?.ended($0, $1)
    }
    self.session = session
    session.begin(agentSocket: agentSocket)
  }

  package func stop() {
    isStopped = true
    retry?.cancel()
    session?.end(CancellationError())
  }

  private func ended(_ ended: RuntimeSession, _ error: any Error) {
    session = nil
    let problem = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
    let wasConnected = health.current.isConnected
    health.note {
      if wasConnected { $0.since = WallClock.now() }
      $0.isConnected = false
      $0.problem = problem
    }
    if isStopped { return }
    if wasConnected { delay.reset() }
    if wasConnected || problem != lastProblem {
      log.warning(
        "not following a runtime; its mappings stay as they are",
        metadata: ["source": "\(health.socket.name)", "socket": "\(health.socket.path)", "reason": "\(problem)"])
    }
    lastProblem = problem
    retry = http.loop.assumeIsolated().scheduleTask(in: delay.next()) { [weak self] in self?.start() }
  }
}
