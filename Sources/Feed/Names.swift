import PortMaps

/// A container id or a source: 1 to 128 of `[A-Za-z0-9_.-]`, a letter or digit first.
struct Identifier: WireDecodable {
  static let defaultSource = Identifier(text: "default")

  let text: String

  private init(text: String) { self.text = text }

  init(wire value: JSON) throws(RequestError) {
    text = try String(wire: value)
    let bytes = text.utf8
    guard (1...128).contains(bytes.count), bytes.first?.isLetterOrDigit == true,
      bytes.allSatisfy({ $0.isLetterOrDigit || "_.-".utf8.contains($0) })
    else { throw .mismatch(value, expected: "1-128 of A-Z a-z 0-9 _ . - with a letter or digit first") }
  }
}

/// A network's id or anything's name: 1 to 128 bytes without control characters.
struct Label: WireDecodable {
  let text: String

  init(text: String) { self.text = text }

  init(wire value: JSON) throws(RequestError) {
    text = try String(wire: value)
    guard (1...128).contains(text.utf8.count),
      text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control })
    else { throw .mismatch(value, expected: "1-128 bytes without control characters") }
  }
}

/// See `Network.isInterfaceName`.
struct InterfaceName: WireDecodable {
  let text: String

  init(wire value: JSON) throws(RequestError) {
    text = try String(wire: value)
    guard Network.isInterfaceName(text) else {
      throw .mismatch(value, expected: "an interface name: 1-15 bytes without blanks, \"/\", \":\", \"*\" and quotes")
    }
  }
}

/// Counts the starts of a container, from 0.
struct Generation: WireDecodable {
  let number: Int

  init(wire value: JSON) throws(RequestError) {
    number = try Int(wire: value)
    guard number >= 0 else { throw .mismatch(value, expected: "a generation: 0 or more") }
  }
}

extension UInt8 {
  fileprivate var isLetterOrDigit: Bool {
    (0x30...0x39).contains(self) || (0x41...0x5a).contains(self) || (0x61...0x7a).contains(self)
  }
}
