import Glibc
import Logging
import Synchronization

/// One line an event, written with one write(2): `2026-01-02T03:04:05.678Z INFO container started container=web`.
struct LineLogHandler: LogHandler {
  enum Form {
    /// With time (UTC) and level.
    case timestamped
    /// With the priority prefix of sd-daemon(3), `<6>`; the journal has its own clock.
    case journal

    /// `journal` when `descriptor` is what systemd has connected to it, which `JOURNAL_STREAM` names (systemd.exec(5)).
    static func suited(to descriptor: Int32) -> Form {
      var status = stat()
      guard let stream = getenv("JOURNAL_STREAM"), fstat(descriptor, &status) == 0,
        String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
      else { return .timestamped }
      return .journal
    }
  }

  let descriptor: Int32
  let form: Form
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  init(descriptor: Int32, form: Form, logLevel: Logger.Level) {
    (self.descriptor, self.form, self.logLevel) = (descriptor, form, logLevel)
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let line = Array((line(event, at: now) + "\n").utf8)
    // A log that cannot be written has nowhere to say so.
    _ = write(descriptor, line, line.count)
  }

  func line(_ event: LogEvent, at time: timespec) -> String {
    var metadata = metadata
    if let error = event.error { metadata["error"] = "\(error)" }
    if let own = event.metadata { metadata = metadata.isEmpty ? own : metadata.merging(own) { $1 } }
    let prefix =
      switch form {
      case .timestamped: "\(Self.timestamp(time)) \(event.level.rawValue.uppercased()) "
      case .journal: "<\(event.level.priority)>"
      }
    return metadata.sorted { $0.key < $1.key }
      .reduce(into: "\(prefix)\(event.message)") { $0 += " \($1.key)=\(Self.quoted("\($1.value)"))" }
  }

  /// Plain where nobody can mistake its end, else in quotes with backslash escapes.
  private static func quoted(_ value: String) -> String {
    let isPlain = value.utf8.allSatisfy {
      $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") && $0 != 0x7f
    }
    return isPlain && !value.isEmpty ? value : value.debugDescription
  }

  /// The second last written of: a busy agent writes thousands of lines in one.
  private static let last = Mutex((second: Int.min, text: ""))

  /// RFC 3339 in UTC with milliseconds.
  private static func timestamp(_ time: timespec) -> String {
    let second = last.withLock { last in
      if last.second != time.tv_sec { last = (time.tv_sec, text(ofSecond: time.tv_sec)) }
      return last.text
    }
    // Four digits, of which the first is not wanted.
    return "\(second).\(String(1000 + time.tv_nsec / 1_000_000).dropFirst())Z"
  }

  private static func text(ofSecond second: Int) -> String {
    var (second, date) = (second, tm())
    gmtime_r(&second, &date)
    return String(unsafeUninitializedCapacity: 32) { text in
      text.withMemoryRebound(to: CChar.self) { strftime($0.baseAddress, $0.count, "%Y-%m-%dT%H:%M:%S", &date) }
    }
  }
}

extension Logger.Level {
  /// The numbers of syslog(3).
  fileprivate var priority: Int32 {
    switch self {
    case .trace, .debug: LOG_DEBUG
    case .info: LOG_INFO
    case .notice: LOG_NOTICE
    case .warning: LOG_WARNING
    case .error: LOG_ERR
    case .critical: LOG_CRIT
    }
  }
}
