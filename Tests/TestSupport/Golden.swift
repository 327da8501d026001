import FoundationEssentials
import Glibc

/// A file in `Tests/Goldens` that an output is held to.
package struct Golden {
  private let path: String

  package init(_ name: String, testFile: String = #filePath) {
    let tests = testFile.split(separator: "/").dropLast(2).joined(separator: "/")
    path = "/\(tests)/Goldens/\(name)"
  }

  /// The file's text. With `UPDATE_GOLDENS` in the environment it is `actual` first: look at what git shows then.
  package func text(updatingTo actual: String) throws -> String {
    if getenv("UPDATE_GOLDENS") != nil { try actual.write(toFile: path, atomically: true, encoding: .utf8) }
    return try String(contentsOfFile: path, encoding: .utf8)
  }
}
