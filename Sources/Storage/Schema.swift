import CrashPoints
import Migrations

/// Version and identity of the schema: `PRAGMA user_version` is the number of migrations applied.
enum Schema {
  /// "pmag" in ASCII, in the header of every database of ours (`PRAGMA application_id`, see file(1)).
  static let applicationID: Int32 = 0x706d_6167

  /// Applies what is missing, one transaction each.
  static func migrate(_ db: Database) throws {
    for (index, migration) in Migration.all.enumerated().dropFirst(try version(db)) {
      // What fails in between is rolled back when the connection is closed, which is next.
      try db.execute("BEGIN IMMEDIATE; \(migration.sql); PRAGMA user_version = \(index + 1)")
      crashPoint("schema-migrating")
      try db.execute("COMMIT")
      crashPoint("schema-migrated")
    }
  }

  static func version(_ db: Database) throws -> Int {
    try db.value("PRAGMA user_version") ?? 0
  }

  /// Tables, indexes, triggers and views that are missing or differ from what the migrations make; those that somebody added
  /// do not count.
  static func damage(_ db: Database) throws -> [String] {
    let (expected, found) = (try expected.get(), try objects(db))
    return expected.filter { found[$0.key] != $0.value }.keys.sorted()
  }

  private static let expected = Result {
    let fresh = try Database(":memory:")
    try migrate(fresh)
    return try objects(fresh)
  }

  private static func objects(_ db: Database) throws -> [String: String] {
    let rows = try db.rows("SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    var objects: [String: String] = [:]
    while let row = try rows.next() {
      objects[try row.get(0)] = try row.get(1) as String
    }
    return objects
  }
}
