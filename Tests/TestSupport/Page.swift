import Glibc

/// The folder of Package.swift.
package let projectDirectory = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

/// A Markdown page of the project.
package struct Page: Sendable, CustomStringConvertible {
  /// A fenced block.
  package struct Block: Sendable {
    package let language: String
    /// Of the text between the fences, in `lines` of the page.
    package let range: Range<Int>
  }

  /// Relative to the project, `Docs/protocol.md`.
  package let name: String
  package let lines: [String]
  package let blocks: [Block]

  package var path: String { "\(projectDirectory)/\(name)" }
  package var description: String { name }

  package init(_ name: String) throws {
    self.init(name, text: try read("\(projectDirectory)/\(name)"))
  }

  package init(_ name: String, text: String) {
    self.name = name
    lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    var (blocks, start, language) = ([Block](), Int?.none, "")
    for (index, line) in lines.enumerated() where line.hasPrefix("```") {
      if let first = start {
        blocks.append(Block(language: language, range: first..<index))
        start = nil
      } else {
        (start, language) = (index + 1, String(line.dropFirst(3)))
      }
    }
    self.blocks = blocks
  }

  /// README.md, CHANGELOG.md and all pages below Docs and contrib.
  package static func all() throws -> [Page] {
    let below = ["Docs", "contrib"].flatMap { files(below: $0) }.filter { $0.hasSuffix(".md") }
    return try (["README.md", "CHANGELOG.md"] + below).map { try Page($0) }
  }

  /// The text of the lines, the fenced blocks left out.
  package var prose: String {
    lines.indices.filter { index in !blocks.contains { $0.range.contains(index) } }.map { lines[$0] }
      .joined(separator: "\n")
  }
}

/// Files below a folder of the project, relative to the project, sorted.
package func files(below directory: String) -> [String] {
  guard let stream = opendir("\(projectDirectory)/\(directory)") else { return [] }
  defer { closedir(stream) }
  var names: [String] = []
  while let entry = readdir(stream) {
    let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    if name.hasPrefix(".") { continue }
    let path = "\(directory)/\(name)"
    names += entry.pointee.d_type == UInt8(DT_DIR) ? files(below: path) : [path]
  }
  return names.sorted()
}

/// Whether `text` is `pattern`, in which `…` stands for any text.
package func matches(_ text: String, _ pattern: String) -> Bool {
  var (rest, parts) = (text[...], pattern.split(separator: "…", omittingEmptySubsequences: false)[...])
  let first = parts.removeFirst()
  guard rest.hasPrefix(first) else { return false }
  rest.removeFirst(first.count)
  guard let last = parts.popLast() else { return rest.isEmpty }
  for part in parts where !part.isEmpty {
    guard let found = rest.firstRange(of: part) else { return false }
    rest = rest[found.upperBound...]
  }
  return rest.hasSuffix(last)
}
