import CLinux
import Glibc
import TestSupport

/// A small file system of a test's own, in memory.
final class Disk {
  let directory: TemporaryDirectory
  private var path: String { directory.path }

  init() throws {
    directory = try TemporaryDirectory()
    try mount("size=8m,mode=0700", 0)
  }

  deinit { umount2(directory.path, Self.detach) }

  // <sys/mount.h>, which Swift's Glibc lacks: MNT_DETACH, MS_REMOUNT, MS_RDONLY.
  private static let detach: CInt = 2
  private static let (remount, readOnly): (UInt, UInt) = (32, 1)

  private func mount(_ options: String, _ flags: UInt) throws {
    guard Glibc.mount("tmpfs", path, "tmpfs", flags, options) == 0 else { throw SystemError("mount \(path)") }
  }

  func remount(_ mode: String) throws { try mount("size=8m", Self.remount | (mode == "ro" ? Self.readOnly : 0)) }

  /// To the last byte.
  func fill() throws {
    let file = try Descriptor(open(path + "/ballast", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600), "open ballast")
    let page = [UInt8](repeating: 1, count: 4096)
    while write(file.number, page, page.count) > 0 {}
    guard errno == ENOSPC else { throw SystemError("write ballast") }
  }

  func empty() throws { guard unlink(path + "/ballast") == 0 else { throw SystemError("unlink ballast") } }
}

/// `Tests/FaultShim`, compiled.
struct Shim {
  private let directory: String
  var environment: [String] {
    [
      "LD_PRELOAD=\(directory)/faults.so", "PMAGENT_FAULTS=\(directory)/faults", "PMAGENT_SYNCED=\(directory)/synced",
    ]
  }

  init(_ host: NetworkNamespace, _ directory: String) async throws {
    self.directory = directory
    let source = #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" } + "/FaultShim/faults.c"
    try await host.command("cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", directory + "/faults.so", source)
  }

  func arm(_ fault: String) throws { try write(fault + "\n", to: directory + "/faults") }
  func disarm() throws { guard unlink(directory + "/faults") == 0 else { throw SystemError("unlink faults") } }
  func synced() throws -> [String] { try read(directory + "/synced").split(separator: "\n").map(String.init) }
}
