import CSQLite
import PortMaps

/// One row of a result, valid until the next is read. Columns are counted from 0.
package struct Row {
  // With their end the columns are gone.
  let rows: Rows
  var handle: OpaquePointer { rows.statement.handle }
}

/// A stored value that the schema lets through and the program does not know: somebody edited the database, or a disk did.
struct UndecodableValue: Error, CustomStringConvertible {
  let column: String
  let value: String
  var description: String { "column \(column) holds \"\(value)\"" }
}

extension Row {
  package func get<T: ColumnValue>(_ index: Int32) throws -> T {
    guard let value = T(column: index, of: handle) else { throw undecodable(index) }
    return value
  }

  /// The value of a column that may be NULL.
  package func optional<T: ColumnValue>(_ index: Int32) throws -> T? { isNull(index) ? nil : try get(index) }

  func isNull(_ index: Int32) -> Bool { sqlite3_column_type(handle, index) == SQLITE_NULL }

  /// What `body` makes of the bytes of a text; `nil` when the column holds none.
  func utf8<T>(_ index: Int32, _ body: (UnsafeBufferPointer<UInt8>) -> T?) -> T? {
    guard sqlite3_column_type(handle, index) == SQLITE_TEXT, let bytes = sqlite3_column_text(handle, index) else {
      return nil
    }
    return body(UnsafeBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(handle, index))))
  }

  /// Every column as SQLite writes it, "NULL" where there is no value.
  package var text: [String] {
    (0..<sqlite3_column_count(handle)).map { Self.text(handle, $0) ?? "NULL" }
  }

  func undecodable(_ index: Int32) -> UndecodableValue {
    UndecodableValue(
      column: sqlite3_column_name(handle, index).map { String(cString: $0) } ?? "\(index)",
      value: Self.text(handle, index) ?? "NULL")
  }

  fileprivate static func text(_ handle: OpaquePointer, _ index: Int32) -> String? {
    guard let bytes = sqlite3_column_text(handle, index) else { return nil }
    let count = Int(sqlite3_column_bytes(handle, index))
    return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  }
}

/// What a column can be read as; `nil` when it holds something else. Nothing is converted.
package protocol ColumnValue {
  init?(column: Int32, of row: OpaquePointer)
}

/// What a parameter can be bound to. Returns SQLite's result code; parameters are counted from 1.
package protocol Bindable {
  func bind(to statement: OpaquePointer, at index: Int32) -> Int32
}

private func bind(_ text: UnsafeBufferPointer<UInt8>, to statement: OpaquePointer, at index: Int32) -> Int32 {
  text.withMemoryRebound(to: CChar.self) { pm_bind_text(statement, index, $0.baseAddress, Int32($0.count)) }
}

extension IPAddress: Bindable {
  package func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    var code = SQLITE_OK
    withUTF8 { code = Storage.bind($0, to: statement, at: index) }
    return code
  }
}

extension String: ColumnValue, Bindable {
  package init?(column: Int32, of row: OpaquePointer) {
    guard sqlite3_column_type(row, column) == SQLITE_TEXT, let text = Row.text(row, column) else { return nil }
    self = text
  }

  package func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    var text = self
    return text.withUTF8 { Storage.bind($0, to: statement, at: index) }
  }
}

extension ColumnValue where Self: FixedWidthInteger {
  package init?(column: Int32, of row: OpaquePointer) {
    guard sqlite3_column_type(row, column) == SQLITE_INTEGER else { return nil }
    self.init(exactly: sqlite3_column_int64(row, column))
  }
}

extension Bindable where Self: FixedWidthInteger {
  package func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    sqlite3_bind_int64(statement, index, Int64(self))
  }
}

extension Int: ColumnValue, Bindable {}
extension Int32: ColumnValue, Bindable {}
extension Int64: ColumnValue, Bindable {}
extension UInt16: ColumnValue, Bindable {}
extension UInt8: ColumnValue, Bindable {}

extension Bool: ColumnValue, Bindable {
  package init?(column: Int32, of row: OpaquePointer) {
    guard let number = Int64(column: column, of: row) else { return nil }
    self = number != 0
  }

  package func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    sqlite3_bind_int64(statement, index, self ? 1 : 0)
  }
}

extension Optional: Bindable where Wrapped: Bindable {
  package func bind(to statement: OpaquePointer, at index: Int32) -> Int32 {
    self?.bind(to: statement, at: index) ?? sqlite3_bind_null(statement, index)
  }
}
