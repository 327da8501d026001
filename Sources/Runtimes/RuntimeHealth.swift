import Synchronization

/// What a follower tells about itself, from its own thread; read by whoever shows it.
package final class RuntimeHealth: Sendable {
  /// Times are nanoseconds since 1970.
  package struct State: Sendable, Equatable {
    /// `docker 20.10.24`; `nil` until the daemon has said so.
    package var runtime: String?
    package var isConnected = false
    /// Since when `isConnected` is what it is.
    package var since: Int64
    /// Why it is not connected, or what the agent has refused since the last snapshot began.
    package var problem: String?
    package var events = 0
    /// How long the last event took from the runtime to us, in nanoseconds.
    package var lag: Int64?
    /// How long the last start took from the runtime's event to a live mapping, in nanoseconds.
    package var startToLive: Int64?
  }

  package let socket: RuntimeSocket
  private let state: Mutex<State>

  package init(of socket: RuntimeSocket) {
    self.socket = socket
    state = Mutex(State(since: WallClock.now()))
  }

  package var current: State { state.withLock { $0 } }

  func note(_ change: (inout State) -> Void) { state.withLock { change(&$0) } }
}
