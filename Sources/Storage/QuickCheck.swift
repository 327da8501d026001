import Glibc
import Synchronization

/// `PRAGMA quick_check` of a database, by a thread and a connection of its own: it reads every page, which takes as long as
/// loading all that is stored, and both can happen at once.
final class QuickCheck {
  private final class Work: Sendable {
    let path: String
    /// "ok", or what is wrong.
    let finding = Mutex<Result<String, any Error>>(.success("the check did not end"))

    init(_ path: String) { self.path = path }

    func run() {
      let result = Result { try Database(path, .readOnly).value("PRAGMA quick_check(1)") ?? "" }
      finding.withLock { $0 = result }
    }
  }

  private let work: Work
  private var thread: pthread_t?

  init(_ path: String) {
    work = Work(path)
    var thread = pthread_t()
    let argument = Unmanaged.passRetained(work)
    let code = pthread_create(
      &thread, nil,
      { argument in
        if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, argument.toOpaque())
    if code == 0 {
      self.thread = thread
    } else {
      // No more threads: then one after the other.
      argument.release()
      work.run()
    }
  }

  deinit { join() }

  /// Waits for the end. Returns "ok" or what is wrong.
  func finding() throws -> String {
    join()
    return try work.finding.withLock { $0 }.get()
  }

  private func join() {
    if let thread { pthread_join(thread, nil) }
    thread = nil
  }
}
