import Glibc

/// A directory of its own for one test, removed with the files in it at the end.
package final class TemporaryDirectory: Sendable {
  package let path: String

  package init(in parent: String = "/tmp") throws(SystemError) {
    var template = Array("\(parent)/pmagent-test.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError("mkdtemp") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    if let stream = opendir(path) {
      while let entry = readdir(stream) {
        withUnsafeBytes(of: entry.pointee.d_name) { name in
          _ = unlink(path + "/" + String(decoding: name.prefix { $0 != 0 }, as: UTF8.self))
        }
      }
      closedir(stream)
    }
    rmdir(path)
  }
}
