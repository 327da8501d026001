/// What this build is.
package enum Version {
  package static let current = "0.1.0"
  /// The kernel's id of this boot (random(4)): another one means that every namespace and socket is new.
  static var bootID: String {
    SystemFile.read("/proc/sys/kernel/random/boot_id").map { String($0.prefix { $0 != "\n" }) } ?? ""
  }
}
