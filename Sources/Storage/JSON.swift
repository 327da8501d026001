import FoundationEssentials
import PortMaps

/// Lists and maps in a column.
enum JSON {
  static func text(_ prefixes: [IPPrefix]) -> String {
    prefixes.isEmpty ? "[]" : "[\(prefixes.map { "\"\($0)\"" }.joined(separator: ","))]"
  }

  /// `nil` for anything but a list of prefixes. Nothing in one is ever escaped, so it needs no decoder, which would take longer
  /// than the row.
  static func prefixes(_ text: String) -> [IPPrefix]? {
    var text = text.utf8.filter { $0 != UInt8(ascii: " ") }[...]
    guard text.popFirst() == UInt8(ascii: "["), text.popLast() == UInt8(ascii: "]") else { return nil }
    if text.isEmpty { return [] }
    var prefixes: [IPPrefix] = []
    for item in text.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      guard item.count > 2, item.first == UInt8(ascii: "\""), item.last == UInt8(ascii: "\""),
        let prefix = IPPrefix(parsing: String(decoding: item.dropFirst().dropLast(), as: UTF8.self))
      else { return nil }
      prefixes.append(prefix)
    }
    return prefixes
  }

  /// An empty map, as nearly all are, skips the coder.
  static func text(_ map: [String: String]) throws -> String {
    if map.isEmpty { return "{}" }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(map), as: UTF8.self)
  }

  static func map(_ text: String) throws -> [String: String] {
    text == "{}" ? [:] : try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
  }
}
