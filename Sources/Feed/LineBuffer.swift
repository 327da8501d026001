import NIOCore

/// Bytes of a connection as they come, cut into lines at LF. Blank lines are dropped.
struct LineBuffer {
  /// Bytes of the longest line, its LF not counted.
  static let maximumLength = 1 << 20

  enum Item: Equatable {
    /// Without its LF.
    case line([UInt8])
    /// The next line is longer than `maximumLength`. It stays: what follows in the stream cannot be understood.
    case tooLong
  }

  private var buffer = ByteBuffer()
  /// Readable bytes known to hold no LF, so that a client that sends a byte at a time costs no rescans.
  private var scanned = 0

  /// Holds more than any line: nothing is gained by reading on.
  var isFull: Bool { buffer.readableBytes > Self.maximumLength }

  mutating func append(_ chunk: ByteBuffer) {
    if buffer.readableBytes == 0 {
      (buffer, scanned) = (chunk, 0)
    } else {
      buffer.discardReadBytes()
      buffer.writeImmutableBuffer(chunk)
    }
  }

  mutating func clear() { (buffer, scanned) = (ByteBuffer(), 0) }

  /// Whether `next` has something to say.
  var hasNext: Bool {
    mutating get { lineLength() != nil || isFull }
  }

  /// `nil` until a whole line is there.
  mutating func next() -> Item? {
    while let length = lineLength() {
      guard length <= Self.maximumLength else { return .tooLong }
      let line = buffer.readBytes(length: length) ?? []
      buffer.moveReaderIndex(forwardBy: 1)
      scanned = 0
      if buffer.readableBytes == 0 { clear() }
      if !line.allSatisfy(\.isBlank) { return .line(line) }
    }
    return isFull ? .tooLong : nil
  }

  private mutating func lineLength() -> Int? {
    let view = buffer.readableBytesView
    guard let end = view.dropFirst(scanned).firstIndex(of: UInt8(ascii: "\n")) else {
      scanned = view.count
      return nil
    }
    scanned = end - view.startIndex
    return scanned
  }
}

extension UInt8 {
  fileprivate var isBlank: Bool { self == 0x20 || self == 0x09 || self == 0x0d }
}
