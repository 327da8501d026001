import Foundation

/// Docs/performance.md: what was to be reached and what was, then every measurement.
struct Page {
  let report: Report
  let thresholds: [Threshold]
  let isShort: Bool

  var markdown: String {
    var lines = [
      "# Performance", "",
      "Written by `make bench`; do not edit. \(machine)", "",
      "Each figure was measured beside its floor: the least that the same work costs in C on the same machine in the same run,",
      "one after the other in many short rounds. Compare ratios, not times: times are those of this machine and hour.",
      "[Benchmarks](../Benchmarks/README.md) says how to repeat it.", "",
      "## What was to be reached", "",
    ]
    lines += table(.init(header: ["", "limit", "measured", ""], rows: thresholds.compactMap(row)))
    for section in report.sections {
      lines += ["", "## \(section.title)", "", section.text]
      for table in section.tables { lines += [""] + self.table(table) }
      for plot in section.plots { lines += ["", "![\(plot.title)](performance/\(plot.file))"] }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The limits that were missed, a line each; the short run looks at what is the same on any machine.
  var failures: [String] {
    thresholds.compactMap { threshold in
      guard let value = report.values[threshold.name], !value.isNaN, !(isShort && threshold.kind == .absolute),
        !threshold.holds(value, isShort: isShort)
      else { return nil }
      let (limit, sign) = (isShort ? threshold.shortLimit : threshold.limit, threshold.isUpperBound ? "<=" : ">=")
      return
        "\(threshold.name): \(number(value, threshold.unit)), to be \(sign) \(number(limit, threshold.unit)): \(threshold.title)"
    }
  }

  private func row(_ threshold: Threshold) -> [String]? {
    guard let value = report.values[threshold.name], !value.isNaN else { return nil }
    return [
      threshold.title, "\(threshold.isUpperBound ? "≤" : "≥") \(number(threshold.limit, threshold.unit))",
      number(value, threshold.unit), threshold.holds(value, isShort: false) ? "reached" : "**missed**",
    ]
  }

  private func number(_ value: Double, _ unit: String) -> String {
    switch unit {
    case "x": times(value)
    case "n": whole(value)
    default: String(format: value < 10 ? "%.1f %@" : "%.0f %@", value, unit)
    }
  }

  private func table(_ table: Report.Table) -> [String] {
    let line = { (cells: [String]) in "| " + cells.joined(separator: " | ") + " |" }
    return [line(table.header), line(table.header.map { _ in "---" })] + table.rows.map(line)
  }

  private var machine: String {
    var name = utsname()
    uname(&name)
    let release = withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return "Linux \(release), \(ProcessInfo.processInfo.processorCount) processors."
  }

  func write(to directory: String) throws {
    let plots = directory + "/performance"
    try FileManager.default.createDirectory(atPath: plots, withIntermediateDirectories: true)
    try markdown.write(toFile: directory + "/performance.md", atomically: true, encoding: .utf8)
    for plot in report.sections.flatMap(\.plots) {
      try plot.svg.write(toFile: "\(plots)/\(plot.file)", atomically: true, encoding: .utf8)
    }
  }
}
