import CLinux
import Glibc
import Subprocess

/// A network namespace of a test's own, gone with the last socket and process in it.
///
/// A socket stays in the namespace it was opened in, so only the opening has to happen in `run`.
package final class NetworkNamespace: Sendable {
  private let descriptor: Int32

  package struct Failure: Error, CustomStringConvertible {
    package var description: String
    package init(description: String) { self.description = description }
  }

  package init() throws {
    descriptor = try onThread { () throws(Failure) in
      guard clinux_unshare(Int32(CLINUX_NEWNET)) == 0 else {
        throw Failure(
          description: "unshare(CLONE_NEWNET), which needs CAP_SYS_ADMIN: \(String(cString: strerror(errno)))")
      }
      let descriptor = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else {
        throw Failure(description: "open /proc/thread-self/ns/net: \(String(cString: strerror(errno)))")
      }
      return descriptor
    }
  }

  /// One that exists already.
  package init(path: String) throws(SystemError) {
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw SystemError("open \(path)") }
  }

  deinit { close(descriptor) }

  /// For programs, which open it, as `netns` of ip-link(8) takes it.
  package var path: String { "/proc/\(getpid())/fd/\(descriptor)" }

  /// Runs `body` inside the namespace, on a thread that ends with it: a thread of a pool must not change namespaces.
  package func run<Value, E: Error>(_ body: () throws(E) -> Value) throws(E) -> Value {
    try onThread { () throws(E) in
      precondition(clinux_setns(descriptor, Int32(CLINUX_NEWNET)) == 0, "setns: \(String(cString: strerror(errno)))")
      return try body()
    }
  }

  /// Runs a program inside the namespace and returns what it prints. Throws what it complains about when it fails.
  @discardableResult
  package func command(_ words: String..., input: String = "") async throws -> String {
    try await command(words, input: input)
  }

  @discardableResult
  package func command(_ words: [String], input: String = "") async throws -> String {
    let outcome = try await outcome(of: words, input: input)
    guard outcome.exitCode == 0 else {
      throw Failure(description: "\(words.joined(separator: " ")): exit code \(outcome.exitCode) \(outcome.errors)")
    }
    return outcome.output
  }

  package struct Outcome: Sendable {
    /// 128 + its number when a signal ended the program.
    package let exitCode: Int32
    package let output: String
    package let errors: String
  }

  /// Runs a program inside the namespace, whatever comes of it.
  package func outcome(of words: [String], input: String = "") async throws -> Outcome {
    try await Self.outcome(of: ["nsenter", "--net=\(path)"] + words, input: input)
  }

  /// Runs a program here, whatever comes of it.
  static func outcome(of words: [String], input: String = "") async throws -> Outcome {
    let result = try await Subprocess.run(
      .name(words[0]), arguments: Arguments(Array(words.dropFirst())), input: .string(input),
      output: .string(limit: 64 << 20), error: .string(limit: 1 << 20))
    let exitCode =
      switch result.terminationStatus {
      case .exited(let code): code
      case .signaled(let signal): 128 + signal
      }
    return Outcome(exitCode: exitCode, output: result.standardOutput, errors: result.standardError)
  }
}

/// Runs `body` on a new thread and waits for it.
private func onThread<Value, E: Error>(_ body: () throws(E) -> Value) throws(E) -> Value {
  try withoutActuallyEscaping(body) { body throws(E) in
    let work = Work(body)
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { argument in
        // Retained by the frame that waits in pthread_join.
        argument.map { Unmanaged<AnyWork>.fromOpaque($0).takeUnretainedValue().run() }
        return nil
      }, Unmanaged.passUnretained(work as AnyWork).toOpaque())
    precondition(status == 0, "pthread_create: \(String(cString: strerror(status)))")
    pthread_join(thread, nil)
    guard let result = work.result else { preconditionFailure("the thread ended without running its work") }
    return try result.get()
  }
}

private class AnyWork {
  func run() {}
}

private final class Work<Value, E: Error>: AnyWork {
  private let body: () throws(E) -> Value
  var result: Result<Value, E>?

  init(_ body: @escaping () throws(E) -> Value) { self.body = body }

  override func run() { result = Result { () throws(E) in try body() } }
}
