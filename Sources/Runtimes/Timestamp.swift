/// Nanoseconds since 1970 of an RFC 3339 time as Go prints it, `2026-11-24T22:46:37.374687996+01:00`; `nil` for other
/// text. Go's zero time, year 1, is far below 0.
func nanoseconds(rfc3339 text: String) -> Int64? {
  let bytes = Array(text.utf8)
  func number(_ range: Range<Int>) -> Int64? {
    guard range.upperBound <= bytes.count, bytes[range].allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return bytes[range].reduce(0) { $0 * 10 + Int64($1 - 0x30) }
  }
  guard bytes.count >= 20, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"), bytes[10] == UInt8(ascii: "T"),
    let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
    let minute = number(14..<16), let second = number(17..<19), (1...12).contains(month)
  else { return nil }
  var end = 19
  var fraction: Int64 = 0
  if bytes[end] == UInt8(ascii: ".") {
    let digits = bytes[(end + 1)...].prefix { (0x30...0x39).contains($0) }
    guard (1...9).contains(digits.count) else { return nil }
    fraction = digits.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
    for _ in digits.count..<9 { fraction *= 10 }
    end = digits.endIndex
  }
  guard let offset = offset(bytes[end...].map(\.self), number: { number(end + $0.lowerBound..<end + $0.upperBound) })
  else { return nil }
  let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute - offset) * 60 + second
  let (product, overflows) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
  let (time, sumOverflows) = product.addingReportingOverflow(fraction)
  return overflows || sumOverflows ? .min : time
}

/// Minutes east of Greenwich of `Z` or `+01:00`.
private func offset(_ bytes: [UInt8], number: (Range<Int>) -> Int64?) -> Int64? {
  if bytes == [UInt8(ascii: "Z")] { return 0 }
  guard bytes.count == 6, bytes[3] == UInt8(ascii: ":"), let hours = number(1..<3), let minutes = number(4..<6) else {
    return nil
  }
  switch bytes[0] {
  case UInt8(ascii: "+"): return hours * 60 + minutes
  case UInt8(ascii: "-"): return -(hours * 60 + minutes)
  default: return nil
  }
}

/// Days since 1970 in the proleptic Gregorian calendar. A year that begins in March has its leap day at the end.
private func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
  let year = month <= 2 ? year - 1 : year
  let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
  return 365 * year + year / 4 - year / 100 + year / 400 + dayOfYear - 719_468
}
