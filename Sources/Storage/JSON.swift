import FoundationEssentials

/// Lists and maps in a column. Empty ones, nearly all of them, skip the coder.
enum JSON {
  static func text(_ values: [some CustomStringConvertible]) throws -> String {
    values.isEmpty ? "[]" : try encode(values.map(\.description))
  }

  static func text(_ map: [String: String]) throws -> String { map.isEmpty ? "{}" : try encode(map) }

  static func list(_ text: String) throws -> [String] {
    text == "[]" ? [] : try JSONDecoder().decode([String].self, from: Data(text.utf8))
  }

  static func map(_ text: String) throws -> [String: String] {
    text == "{}" ? [:] : try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
  }

  private static func encode(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
