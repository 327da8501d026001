import FoundationEssentials
import Testing

/// Compares `text` with the file `Tests/Goldens/<name>`. With `UPDATE_GOLDENS=1` the file is written instead:
/// look at the difference before you commit it.
package func expectGolden(
  _ text: String, _ name: String, file: String = #filePath, location: SourceLocation = #_sourceLocation
) throws {
  let path = "/" + file.split(separator: "/").dropLast(2).joined(separator: "/") + "/Goldens/\(name)"
  if ProcessInfo.processInfo.environment["UPDATE_GOLDENS"] == "1" {
    try Data(text.utf8).write(to: URL(filePath: path))
    return
  }
  let golden = String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
  expectSameLines(text, golden, "\(name), the golden file", location: location)
}

/// Records the lines that only one of the two texts has, which says more than two pages of text side by side.
package func expectSameLines(
  _ text: String, _ expected: String, _ what: String = "the expected text", location: SourceLocation = #_sourceLocation
) {
  guard text != expected else { return }
  let lines = { (text: String) in text.split(separator: "\n", omittingEmptySubsequences: false) }
  let changes = lines(text).difference(from: lines(expected)).map {
    switch $0 {
    case .insert(_, let line, _): "+\(line)"
    case .remove(_, let line, _): "-\(line)"
    }
  }
  Issue.record("differs from \(what):\n\(changes.joined(separator: "\n"))", sourceLocation: location)
}
