/// One step of the database schema: SQL that takes the schema from version `n - 1` to `n`, `n` being its place in `all`.
package struct Migration: Sendable {
  /// File name in `Migrations/`.
  package let name: String
  package let sql: String

  private init(_ name: String, _ bytes: [UInt8]) {
    self.name = name
    self.sql = String(decoding: bytes, as: UTF8.self)
  }

  /// In order. Never edit one that was released: add the next.
  package static let all = [
    Migration("m0001_initial.sql", PackageResources.m0001_initial_sql),
    Migration("m0002_awaiting.sql", PackageResources.m0002_awaiting_sql),
    Migration("m0003_reach_class.sql", PackageResources.m0003_reach_class_sql),
    Migration("m0004_no_temporary_tables.sql", PackageResources.m0004_no_temporary_tables_sql),
    Migration("m0005_reach_classes_in_use.sql", PackageResources.m0005_reach_classes_in_use_sql),
  ]
}
