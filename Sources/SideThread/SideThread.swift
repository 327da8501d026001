import Glibc
import Synchronization

/// Work that a thread of its own does beside the caller's, in the same network namespace.
package final class SideThread<Value: Sendable> {
  private final class Outcome: Sendable {
    let value = Mutex<Value?>(nil)
  }

  private let outcome = Outcome()
  private var thread: pthread_t?

  /// Where there is no thread to be had, the work is done before this returns.
  package init(_ work: @escaping @Sendable () -> Value) {
    let job = Job { [outcome] in
      let value = work()
      outcome.value.withLock { $0 = value }
    }
    thread = job.start()
    if thread == nil { job.run() }
  }

  deinit { join() }

  /// Waits for it.
  package func value() -> Value {
    join()
    guard let value = outcome.value.withLock({ $0 }) else { preconditionFailure("the work ended without a value") }
    return value
  }

  private func join() {
    if let thread { pthread_join(thread, nil) }
    thread = nil
  }
}

/// What pthread_create(3) can be given: it knows no generic types.
private final class Job: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }

  func start() -> pthread_t? {
    var thread = pthread_t()
    let argument = Unmanaged.passRetained(self)
    let code = pthread_create(
      &thread, nil,
      { argument in
        if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, argument.toOpaque())
    if code == 0 { return thread }
    argument.release()
    return nil
  }
}
