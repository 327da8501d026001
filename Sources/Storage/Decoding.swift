import GRDB
import PortMaps

/// A stored value that the schema lets through and the program does not know: somebody edited the database, or a disk did.
struct UndecodableValue: Error, CustomStringConvertible {
  let column: String
  let value: String
  var description: String { "column \(column) holds \"\(value)\"" }
}

extension Row {
  func get<T: DatabaseValueConvertible & StatementColumnConvertible>(_ index: Int) throws -> T {
    try decode(T.self, atIndex: index)
  }

  /// The value of a column as `parse` understands it; throws where it does not.
  func get<Stored: DatabaseValueConvertible & StatementColumnConvertible, T>(
    _ index: Int, _ parse: (Stored) throws -> T?
  ) throws -> T {
    let stored: Stored = try get(index)
    guard let value = try parse(stored) else { throw undecodable(index, stored) }
    return value
  }

  /// The same for a column that may be NULL.
  func optional<Stored: DatabaseValueConvertible & StatementColumnConvertible, T>(
    _ index: Int, _ parse: (Stored) throws -> T?
  ) throws -> T? {
    guard let stored = try decode(Stored?.self, atIndex: index) else { return nil }
    guard let value = try parse(stored) else { throw undecodable(index, stored) }
    return value
  }

  func address(_ index: Int) throws -> IPAddress { try get(index) { (text: String) in IPAddress(parsing: text) } }

  func optionalAddress(_ index: Int) throws -> IPAddress? {
    try optional(index) { (text: String) in IPAddress(parsing: text) }
  }

  func prefixes(_ index: Int) throws -> [IPPrefix] {
    try get(index) { (text: String) in
      try JSON.list(text).map { item in
        guard let prefix = IPPrefix(parsing: item) else { throw undecodable(index, item) }
        return prefix
      }
    }
  }

  func transport(_ index: Int) throws -> TransportProtocol {
    try get(index) { (number: Int) in UInt8(exactly: number).flatMap(TransportProtocol.init(rawValue:)) }
  }

  /// The range in this column and the next.
  func ports(_ index: Int) throws -> PortRange {
    try get(index) { (first: Int) in
      let last: Int = try get(index + 1)
      return 1 <= first && first <= last && last <= 65535 ? PortRange(UInt16(first), UInt16(last)) : nil
    }
  }

  func optionalPorts(_ index: Int) throws -> PortRange? {
    try decode(Int?.self, atIndex: index) == nil ? nil : ports(index)
  }

  private func undecodable(_ index: Int, _ value: some Any) -> UndecodableValue {
    UndecodableValue(column: Array(columnNames)[index], value: "\(value)")
  }
}
