import CrashPoints
import GRDB
import Migrations

/// Version and identity of the schema: `PRAGMA user_version` is the number of migrations applied.
enum Schema {
  /// "pmag" in ASCII, in the header of every database of ours (`PRAGMA application_id`, see file(1)).
  static let applicationID: Int32 = 0x706d_6167

  /// Applies what is missing, one transaction each.
  static func migrate(_ db: Database) throws {
    for (index, migration) in Migration.all.enumerated().dropFirst(try version(db)) {
      try db.inTransaction(.immediate) {
        try db.execute(sql: migration.sql)
        try db.execute(sql: "PRAGMA user_version = \(index + 1)")
        crashPoint("migrating")
        return .commit
      }
      crashPoint("migrated")
    }
  }

  static func version(_ db: Database) throws -> Int {
    try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
  }

  /// Tables, indexes, triggers and views that are missing or differ from what the migrations make; indexes that somebody
  /// added do not count.
  static func damage(_ db: Database) throws -> [String] {
    let expected = try DatabaseQueue().unsafeReentrantWrite { fresh in
      try migrate(fresh)
      return try objects(fresh)
    }
    let found = try objects(db)
    return expected.filter { found[$0.key] != $0.value }.keys.sorted()
  }

  private static func objects(_ db: Database) throws -> [String: String] {
    let rows = try Row.fetchCursor(db, sql: "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    var objects: [String: String] = [:]
    while let row = try rows.next() {
      objects[try row.decode(String.self, atIndex: 0)] = try row.decode(String.self, atIndex: 1)
    }
    return objects
  }
}
