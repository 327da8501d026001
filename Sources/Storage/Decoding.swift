import PortMaps

extension Row {
  /// The value of a column as `parse` understands it; throws where it does not.
  func get<Stored: ColumnValue, T>(_ index: Int32, _ parse: (Stored) throws -> T?) throws -> T {
    let stored: Stored = try get(index)
    guard let value = try parse(stored) else { throw undecodable(index) }
    return value
  }

  func address(_ index: Int32) throws -> IPAddress {
    guard let address = utf8(index, IPAddress.init(utf8:)) else { throw undecodable(index) }
    return address
  }

  func optionalAddress(_ index: Int32) throws -> IPAddress? {
    try isNull(index) ? nil : address(index)
  }

  func prefixes(_ index: Int32) throws -> [IPPrefix] {
    // Nearly all of them are empty.
    if utf8(index, { $0.elementsEqual("[]".utf8) }) == true { return [] }
    return try get(index, JSON.prefixes)
  }

  func transport(_ index: Int32) throws -> TransportProtocol {
    try get(index, TransportProtocol.init(rawValue:))
  }

  /// The range in this column and the next.
  func ports(_ index: Int32) throws -> PortRange {
    try get(index) { (first: Int) in
      let last: Int = try get(index + 1)
      return 1 <= first && first <= last && last <= 65535 ? PortRange(UInt16(first), UInt16(last)) : nil
    }
  }

  func optionalPorts(_ index: Int32) throws -> PortRange? {
    try isNull(index) ? nil : ports(index)
  }
}
