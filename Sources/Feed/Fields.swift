import PortMaps

/// A type with a form of its own in requests.
protocol WireDecodable {
  /// Fails with the code that fits, the value quoted, and `field` set when the fault lies deeper inside.
  init(wire value: JSON) throws(RequestError)
}

extension RequestError {
  static func mismatch(_ value: JSON, expected: String) -> RequestError {
    RequestError(.badRequest, "\(value.quoted) is not \(expected)")
  }
}

/// Runs `body`; an error it throws is reported as one of the field `path`.
func at<T>(_ path: String, _ body: () throws(RequestError) -> T) throws(RequestError) -> T {
  do { return try body() } catch { throw error.within(path) }
}

/// The members of an object whose possible keys are known.
struct Fields {
  private let what: String
  private let members: [(key: String, value: JSON)]

  /// Fails with `bad-request` for other values than objects, `unknown-field` for keys outside of `keys`.
  init(_ value: JSON, of what: String, _ keys: [String]) throws(RequestError) {
    guard case .object(let members) = value else {
      throw .mismatch(value, expected: "an object with the fields of \(what)")
    }
    if let stray = members.first(where: { !keys.contains($0.key) })?.key {
      throw RequestError(
        .unknownField,
        "\(JSON.string(stray).quoted) is not a field of \(what); there are \(keys.joined(separator: ", "))",
        field: stray)
    }
    (self.what, self.members) = (what, members)
  }

  func optional<T: WireDecodable>(_ key: String) throws(RequestError) -> T? {
    guard let value = members.first(where: { $0.key == key })?.value else { return nil }
    return try at(key) { () throws(RequestError) in try T(wire: value) }
  }

  /// What an event is about: the paths of its faults begin inside it, `publish[0]`, as in errors that need the state.
  func subject<T: WireDecodable>(_ key: String) throws(RequestError) -> T {
    do {
      return try required(key)
    } catch {
      var error = error
      if let field = error.field, field.hasPrefix(key + ".") { error.field = String(field.dropFirst(key.count + 1)) }
      throw error
    }
  }

  func required<T: WireDecodable>(_ key: String) throws(RequestError) -> T {
    guard let value: T = try optional(key) else {
      throw RequestError(.badRequest, "\(key) is missing; \(what) needs it", field: key)
    }
    return value
  }
}

// MARK: Values of JSON

extension String: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    guard case .string(let text) = value else { throw .mismatch(value, expected: "a string") }
    guard text.utf8.count <= Limits.stringLength else {
      throw RequestError(.limitExceeded, "\(text.utf8.count) bytes in one string, \(Limits.stringLength) are accepted")
    }
    self = text
  }
}

extension Int: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    guard case .integer(let number) = value else {
      throw .mismatch(value, expected: "an integer in plain decimals that 64 bits hold")
    }
    self = Int(number)
  }
}

extension Bool: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    guard case .bool(let bool) = value else { throw .mismatch(value, expected: "true or false") }
    self = bool
  }
}

extension Array: WireDecodable where Element: WireDecodable {
  init(wire value: JSON) throws(RequestError) {
    guard case .array(let values) = value else { throw .mismatch(value, expected: "a list") }
    guard values.count <= Limits.elements else {
      throw RequestError(.limitExceeded, "\(values.count) elements in one list, \(Limits.elements) are accepted")
    }
    self = []
    reserveCapacity(values.count)
    for (index, value) in values.enumerated() {
      append(try at("[\(index)]") { () throws(RequestError) in try Element(wire: value) })
    }
  }
}

/// What one request may ask for at most. Far above any use; they bound what a mistaken client can cost.
enum Limits {
  /// Bytes of one string.
  static let stringLength = 4096
  /// Elements of one list.
  static let elements = 65_535
  /// Container ports of one request, ranges expanded: every port of four protocol and address combinations.
  static let ports = 4 * 65_535
  /// Ports times the sources that may use them, of one request. The kernel keeps such pairs in interval sets, which are slow
  /// to fill: this many take about a second.
  static let restrictedPorts = 65_536
  /// Networks of one container, subnets and options of one network, and sources of one mapping's `allow_from`.
  static let attachments = 1024
}
