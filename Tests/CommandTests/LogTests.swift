import Glibc
import Logging
import TestSupport
import Testing

@testable import pmagent

struct LogCase: CustomTestStringConvertible, Sendable {
  let level: Logger.Level
  let metadata: Logger.Metadata
  let form: LineLogHandler.Form
  let line: String

  init(_ level: Logger.Level, _ metadata: Logger.Metadata, _ form: LineLogHandler.Form, _ line: String) {
    (self.level, self.metadata, self.form, self.line) = (level, metadata, form, line)
  }
  var testDescription: String { line }
}

@Suite struct LogTests {
  @Test(arguments: [
    LogCase(
      .info, ["mappings": "2", "container": "web"], .timestamped,
      "2026-01-02T03:04:05.678Z INFO container started container=web mappings=2"),
    LogCase(.notice, [:], .timestamped, "2026-01-02T03:04:05.678Z NOTICE container started"),
    LogCase(
      .info, ["a": "two words", "b": "", "c": "x=y", "d": "say \"no\"", "e": "two\nlines", "f": "[::]:80/tcp"],
      .timestamped,
      #"2026-01-02T03:04:05.678Z INFO container started a="two words" b="" c="x=y" d="say \"no\"" e="two\nlines" "#
        + "f=[::]:80/tcp"),
    LogCase(.trace, [:], .journal, "<7>container started"),
    LogCase(.debug, [:], .journal, "<7>container started"),
    LogCase(.info, ["container": "web"], .journal, "<6>container started container=web"),
    LogCase(.notice, [:], .journal, "<5>container started"),
    LogCase(.warning, [:], .journal, "<4>container started"),
    LogCase(.error, [:], .journal, "<3>container started"),
    LogCase(.critical, [:], .journal, "<2>container started"),
  ])
  func line(_ row: LogCase) {
    let handler = LineLogHandler(descriptor: -1, form: row.form, logLevel: .trace)
    let event = LogEvent(
      level: row.level, message: "container started", metadata: row.metadata, source: "", file: "", function: "",
      line: 0)
    // date -u -d 2026-01-02T03:04:05 +%s
    #expect(handler.line(event, at: timespec(tv_sec: 1_767_323_045, tv_nsec: 678_999_999)) == row.line)
  }

  @Test func eachLineHasItsOwnTime() {
    let handler = LineLogHandler(descriptor: -1, form: .timestamped, logLevel: .trace)
    let event = LogEvent(level: .info, message: "m", metadata: nil, source: "", file: "", function: "", line: 0)
    let times = [(1_767_323_045, 0), (1_767_323_045, 999_000_000), (1_767_323_046, 0), (1_767_323_045, 1_000_000)]
    #expect(
      times.map { handler.line(event, at: timespec(tv_sec: $0, tv_nsec: $1)) } == [
        "2026-01-02T03:04:05.000Z INFO m", "2026-01-02T03:04:05.999Z INFO m", "2026-01-02T03:04:06.000Z INFO m",
        "2026-01-02T03:04:05.001Z INFO m",
      ])
  }

  @Test func levelAndMetadataOfTheLogger() throws {
    let directory = try TemporaryDirectory()
    try write("", to: directory.path + "/log")
    let file = try Descriptor(open(directory.path + "/log", O_WRONLY), "open log")
    var log = Logger(label: "pmagent") { _ in
      LineLogHandler(descriptor: file.number, form: .journal, logLevel: .notice)
    }
    log[metadataKey: "agent"] = "a"
    log.info("not this")
    log.error("this", metadata: ["agent": "b"])
    log.notice("and this")
    #expect(try read(directory.path + "/log") == "<3>this agent=b\n<5>and this agent=a\n")
  }
}
