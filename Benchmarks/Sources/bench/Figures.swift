import Foundation

/// A line of thresholds.txt: what a figure has to reach.
struct Threshold {
  enum Kind: String {
    /// Quotients of one run and counts: the same on any machine, so the short run fails on them.
    case ratio, count
    /// Times, rates and sizes: reported.
    case absolute
  }
  var name: String
  var isUpperBound: Bool
  var limit: Double
  var unit: String
  var kind: Kind
  /// Where the short run, on a machine that others use, allows more.
  var shortLimit: Double
  var title: String

  static func read(_ path: String) throws -> [Threshold] {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    return try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
      let fields = line.split(separator: " ", maxSplits: 6, omittingEmptySubsequences: true)
      guard fields.count == 7, let limit = Double(fields[2]), let kind = Kind(rawValue: String(fields[4])),
        let short = Double(fields[5]), fields[1] == "<=" || fields[1] == ">="
      else { throw Failure("\(path): \(line)") }
      return Threshold(
        name: String(fields[0]), isUpperBound: fields[1] == "<=", limit: limit, unit: String(fields[3]), kind: kind,
        shortLimit: short, title: fields[6].trimmingCharacters(in: .whitespaces))
    }
  }

  func holds(_ value: Double, isShort: Bool) -> Bool {
    let limit = isShort ? shortLimit : limit
    return isUpperBound ? value <= limit : value >= limit
  }
}

/// All that a run has found: values for the thresholds, tables for the page.
struct Report {
  var values: [String: Double] = [:]
  var sections: [Section] = []

  struct Section {
    var title: String
    var text: String
    var tables: [Table] = []
    var plots: [Plot] = []
  }
  struct Table {
    var header: [String]
    var rows: [[String]]
  }
}

/// `1.23 ms` of nanoseconds.
func time(_ nanoseconds: Double) -> String {
  switch nanoseconds {
  case ..<1e3: String(format: "%.0f ns", nanoseconds)
  case ..<1e6: String(format: "%.0f µs", nanoseconds / 1e3)
  case ..<1e9: String(format: nanoseconds < 1e7 ? "%.2f ms" : "%.0f ms", nanoseconds / 1e6)
  default: String(format: "%.2f s", nanoseconds / 1e9)
  }
}

func times(_ ratio: Double) -> String { String(format: ratio < 10 ? "%.2f ×" : "%.0f ×", ratio) }
func whole(_ value: Double) -> String { String(format: "%.0f", value) }
