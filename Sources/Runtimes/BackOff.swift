import NIOCore

/// How long to wait before the next attempt: twice as long each time, up to a limit.
struct BackOff {
  private let first: TimeAmount
  private let last: TimeAmount
  private var current: TimeAmount

  init(first: TimeAmount, last: TimeAmount) { (self.first, self.last, current) = (first, last, first) }

  mutating func next() -> TimeAmount {
    defer { current = min(current * 2, last) }
    return current
  }

  mutating func reset() { current = first }
}
