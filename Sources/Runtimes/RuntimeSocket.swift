/// A runtime to follow: the socket of its API, and what its feed is called.
///
/// Written `unix:///run/docker.sock`, or `NAME=unix:///run/docker.sock`. Without a name it is the socket's file name
/// without `.sock`, so that it stays the same whatever else is followed.
package struct RuntimeSocket: Sendable, Hashable, CustomStringConvertible {
  /// The `source` of the feed.
  package let name: String
  package let path: String

  /// Fails with what is wrong with `text`.
  package init(parsing text: String) throws(RuntimeSocketError) {
    let scheme = "unix://"
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    let isNamed = parts.count == 2 && !parts[0].contains("/")
    let url = isNamed ? String(parts[1]) : text
    guard url.hasPrefix(scheme) else {
      throw RuntimeSocketError(description: "\"\(text)\" is not unix:///PATH or NAME=unix:///PATH")
    }
    path = String(url.dropFirst(scheme.count))
    guard path.hasPrefix("/"), path.utf8.count <= 107 else {
      throw RuntimeSocketError(description: "\"\(path)\" is not an absolute path of at most 107 bytes")
    }
    let file = String(path.split(separator: "/").last ?? "")
    name = isNamed ? String(parts[0]) : file.hasSuffix(".sock") ? String(file.dropLast(5)) : file
    let isValid =
      (1...128).contains(name.utf8.count) && name.utf8.first.map(Self.isLetterOrDigit) == true
      && name.utf8.allSatisfy { Self.isLetterOrDigit($0) || "_.-".utf8.contains($0) }
    guard isValid else {
      throw RuntimeSocketError(
        description: "\"\(name)\" is not a name, 1-128 of A-Z a-z 0-9 _ . - with a letter or digit first: "
          + "write NAME=unix://\(path)")
    }
  }

  /// Fails when two of them would be one feed.
  package static func distinct(_ sockets: [RuntimeSocket]) throws(RuntimeSocketError) -> [RuntimeSocket] {
    for (index, socket) in sockets.enumerated() {
      guard let other = sockets[..<index].first(where: { $0.name == socket.name }) else { continue }
      throw RuntimeSocketError(
        description: "\(other.path) and \(socket.path) are both called \(socket.name): give one of them another name, "
          + "NAME=unix://PATH")
    }
    return sockets
  }

  package static func list(parsing texts: [String]) throws(RuntimeSocketError) -> [RuntimeSocket] {
    try distinct(texts.map { (text) throws(RuntimeSocketError) in try RuntimeSocket(parsing: text) })
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
  }

  package var description: String { "\(name)=unix://\(path)" }
}

/// Says what is wrong with the text.
package struct RuntimeSocketError: Error, Equatable, CustomStringConvertible {
  package let description: String
}
