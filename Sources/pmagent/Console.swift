import Glibc

/// Where a command reads and writes: three descriptors, which the caller owns.
struct Console: Sendable {
  static let standard = Console(input: STDIN_FILENO, output: STDOUT_FILENO, errors: STDERR_FILENO)

  var input: Int32
  var output: Int32
  var errors: Int32

  /// Keeps what is opened later from becoming a standard stream that the caller has closed: /dev/null takes its place, opened
  /// the other way round, so that using it still fails with EBADF.
  static func occupyClosedStreams() {
    for stream in STDIN_FILENO...STDERR_FILENO where fcntl(stream, F_GETFD) < 0 {
      // The lowest number that is free is the stream's.
      guard open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) == stream else {
        standard.warn(SystemFailure("open", "/dev/null").description)
        exit(ExitStatus.failed.rawValue)
      }
    }
  }

  /// Columns of the terminal, 80 where the output is none.
  var width: Int {
    var size = winsize()
    guard ioctl(output, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }

  /// Writes `text` and a newline.
  func print(_ text: String) throws(SystemFailure) { try print(Array(text.utf8)) }

  func print(_ bytes: some Collection<UInt8>) throws(SystemFailure) {
    try Self.write(Array(bytes) + [UInt8(ascii: "\n")], to: output)
  }

  /// Says `pmagent: message` on standard error.
  func warn(_ message: String) { complain("pmagent: \(message)") }

  /// Writes `text` and a newline to standard error.
  func complain(_ text: String) {
    do {
      try Self.write(Array("\(text)\n".utf8), to: errors)
    } catch {
      // Where standard error is closed nobody listens; the exit status still tells.
    }
  }

  /// write(2) until everything is written.
  private static func write(_ bytes: [UInt8], to descriptor: Int32) throws(SystemFailure) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 {
        rest = rest.dropFirst(count)
      } else if errno != EINTR {
        throw SystemFailure("write", "standard output")
      }
    }
  }
}

/// A system call that failed.
struct SystemFailure: Error, CustomStringConvertible {
  let description: String

  /// Of the call that has just set `errno`.
  init(_ operation: String, _ object: String) {
    description = "\(operation) \(object): \(String(cString: strerror(errno)))"
  }
}
