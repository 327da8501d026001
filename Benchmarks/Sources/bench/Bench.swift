import Foundation

/// `bench short|full AGENT FLOOR LIBMALLOCS THRESHOLDS DISK DOCS PART…`: run by bench.sh in namespaces of its own.
@main
struct Bench {
  static func main() {
    do {
      try measure()
    } catch {
      progress("\(error)")
      exit(1)
    }
  }

  private static func measure() throws {
    let arguments = CommandLine.arguments
    guard arguments.count >= 8 else { throw Failure("usage: see bench.sh") }
    let isShort = arguments[1] == "short"
    let parts = Set(arguments.dropFirst(8))
    let includes = { (part: String) in parts.isEmpty || parts.contains(part) }
    let tools = Tools(agent: arguments[2], floor: arguments[3], mallocs: arguments[4], disk: arguments[6])
    try tools.prepare()
    let thresholds = try Threshold.read(arguments[5])
    var report = Report()
    let start = Date()
    if includes("events") { try Events(tools: tools, isShort: isShort).measure(&report) }
    if includes("packets") { try Packets(tools: tools, isShort: isShort).measure(&report) }
    if includes("churn") { try Churn(tools: tools, seconds: 120).measure(&report) }
    if parts.contains("churn-hour") { try Churn(tools: tools, seconds: 3600).measure(&report) }
    progress("took \(whole(Date().timeIntervalSince(start))) s")
    let page = Page(report: report, thresholds: thresholds, isShort: isShort)
    if isShort || !parts.isEmpty {
      print(page.markdown)
    } else {
      try page.write(to: arguments[7])
    }
    for failure in page.failures { print("bench: missed: \(failure)") }
    if isShort, !page.failures.isEmpty { exit(1) }
  }
}
