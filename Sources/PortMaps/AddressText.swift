// Addresses as text, byte by byte: every event and every stored row has some.

extension IPAddress: CustomStringConvertible {
  /// RFC 5952 text.
  package var description: String {
    var text = ""
    withUTF8 { text = String(decoding: $0, as: UTF8.self) }
    return text
  }

  /// The bytes of `description`, while `body` runs.
  package func withUTF8(_ body: (UnsafeBufferPointer<UInt8>) -> Void) {
    // Eight groups of four digits, seven colons.
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 39) { text in
      var count = 0
      func append(_ byte: UInt8) {
        text[count] = byte
        count += 1
      }
      switch family {
      case .ipv4:
        for shift: UInt64 in [24, 16, 8, 0] {
          if shift < 24 { append(.dot) }
          let number = UInt8(truncatingIfNeeded: low >> shift)
          if number >= 100 { append(.zero + number / 100) }
          if number >= 10 { append(.zero + number / 10 % 10) }
          append(.zero + number % 10)
        }
      case .ipv6:
        let gap = longestRunOfZeros
        for index in 0..<8 {
          if gap.contains(index) {
            if index == gap.lowerBound || index == gap.lowerBound + 1 { append(.colon) }
            continue
          }
          if index > 0, index != gap.upperBound { append(.colon) }
          let group = group(index)
          for shift: UInt16 in [12, 8, 4, 0] where group >> shift != 0 || shift == 0 {
            let digit = UInt8(truncatingIfNeeded: group >> shift & 0xf)
            append(digit < 10 ? .zero + digit : .letterA + digit - 10)
          }
        }
      }
      body(UnsafeBufferPointer(rebasing: text[..<count]))
    }
  }

  /// As in a URL or in `docker port`: IPv6 in brackets.
  package var bracketed: String { family == .ipv4 ? description : "[\(description)]" }

  /// One of the eight groups of an IPv6 address.
  private func group(_ index: Int) -> UInt16 {
    UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(48 - 16 * (index % 4)))
  }

  /// RFC 5952 §4.2: the first longest run of two or more zero groups is written `::`.
  private var longestRunOfZeros: Range<Int> {
    var longest = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, group(end) == 0 { end += 1 }
      if end - start > max(longest.count, 1) { longest = start..<end }
      start = max(end, start + 1)
    }
    return longest
  }
}

extension IPAddress {
  package init?(parsing text: some StringProtocol) {
    var text = String(text)
    guard let address = text.withUTF8({ Self(utf8: $0) }) else { return nil }
    self = address
  }

  /// The same from the bytes of the text.
  package init?(utf8 text: UnsafeBufferPointer<UInt8>) {
    if text.contains(.colon) {
      guard let number = Self.groups(text[...]) else { return nil }
      self.init(ipv6: UInt64(truncatingIfNeeded: number >> 64), UInt64(truncatingIfNeeded: number))
    } else {
      guard let number = Self.quad(text[...]) else { return nil }
      self.init(ipv4: number)
    }
  }

  private typealias Text = Slice<UnsafeBufferPointer<UInt8>>

  /// Four numbers with dots between them.
  private static func quad(_ text: Text) -> UInt32? {
    var (value, parts): (UInt32, Int) = (0, 0)
    // `nil`: no digit yet.
    var part: UInt32?
    for byte in text {
      switch byte {
      case .zero ... .nine:
        // A leading zero means octal to inet_aton(3) and decimal to others: ambiguous, so refused.
        guard part != 0 else { return nil }
        let number = (part ?? 0) * 10 + UInt32(byte - .zero)
        guard number <= 255 else { return nil }
        part = number
      case .dot:
        guard let number = part else { return nil }
        (value, parts, part) = (value << 8 | number, parts + 1, nil)
      default: return nil
      }
    }
    guard let part, parts == 3 else { return nil }
    return value << 8 | part
  }

  /// Eight groups with colons between them, of which `::` stands for one or more zeros; the last two may be a quad.
  private static func groups(_ text: Text) -> UInt128? {
    var (rest, value, count) = (text, UInt128(0), 0)
    // Where the zeros are: how many groups come before them.
    var gap: Int?
    while !rest.isEmpty {
      if rest.starts(with: [.colon, .colon]) {
        guard gap == nil else { return nil }
        (gap, rest) = (count, rest.dropFirst(2))
        if rest.isEmpty { break }
      } else if count > 0 {
        // The group before ended at a colon.
        rest = rest.dropFirst()
      }
      let group = rest.prefix { $0 != .colon }
      rest = rest[group.endIndex...]
      if rest.isEmpty, let number = quad(group) {
        (value, count) = (value << 32 | UInt128(number), count + 2)
      } else {
        guard let number = hexadecimal(group) else { return nil }
        (value, count) = (value << 16 | UInt128(number), count + 1)
      }
      guard count <= 8 else { return nil }
    }
    guard let gap else { return count == 8 ? value : nil }
    guard count < 8 else { return nil }
    let tail = 16 * (count - gap)
    return (value >> tail) << (16 * (8 - gap)) | value & (1 << tail - 1)
  }

  private static func hexadecimal(_ text: Text) -> UInt16? {
    guard (1...4).contains(text.count) else { return nil }
    var value: UInt16 = 0
    for byte in text {
      switch byte {
      case .zero ... .nine: value = value << 4 | UInt16(byte - .zero)
      case .letterA ... .letterF: value = value << 4 | UInt16(byte - .letterA + 10)
      case .capitalA ... .capitalF: value = value << 4 | UInt16(byte - .capitalA + 10)
      default: return nil
      }
    }
    return value
  }
}

extension StringProtocol {
  /// The parts between the `separator`s, empty ones too, found by bytes: to tell characters apart takes ten times as long.
  func parts(between separator: UInt8, maxSplits: Int = .max) -> [Substring] {
    Substring(self).utf8.split(separator: separator, maxSplits: maxSplits, omittingEmptySubsequences: false)
      .map { Substring($0) }
  }
}

// One by one: a constant then, where a tuple of them would be made at run time.
extension UInt8 {
  fileprivate static let dot = UInt8(ascii: ".")
  fileprivate static let colon = UInt8(ascii: ":")
  fileprivate static let zero = UInt8(ascii: "0")
  fileprivate static let nine = UInt8(ascii: "9")
  fileprivate static let letterA = UInt8(ascii: "a")
  fileprivate static let letterF = UInt8(ascii: "f")
  fileprivate static let capitalA = UInt8(ascii: "A")
  fileprivate static let capitalF = UInt8(ascii: "F")
}
