import CLinux
import Glibc
import PortMaps

/// Why the kernel does not hold what it was asked to. Nothing was changed, except after `unknownOutcome`.
package enum KernelError: Error, Equatable, CustomStringConvertible {
  /// The transaction was rolled back because of one message in it.
  case refused(Refusal)
  /// Nobody can tell whether the change was made: read what is there.
  case unknownOutcome(String)
  /// `EPERM`; says who holds the table, or which capability is missing.
  case notPermitted(String)
  /// A system call failed, or an answer that changes nothing could not be understood.
  case system(operation: String, errno: Int32)

  package var description: String {
    switch self {
    case .refused(let refusal): refusal.description
    case .unknownOutcome(let what): "\(what): whether the change was made is unknown"
    case .notPermitted(let holder): holder
    case .system(let operation, let number): "\(operation): \(errnoDescription(number))"
    }
  }
}

/// The message of a transaction that the kernel answered with an error.
package struct Refusal: Sendable, Equatable, CustomStringConvertible {
  /// In nft(8)'s words, without the element: `add element inet pmagent any4`.
  package var operation: String
  /// The element at fault. All elements of the message when the kernel does not say which (it does since 5.12), none when
  /// the message was not about elements.
  package var elements: [Element]
  package var errno: Int32

  /// `add element inet pmagent any4 { tcp . 8080 } for web-1: EEXIST (File exists)`
  package var description: String {
    let keys = elements.prefix(3).map { NftText.key($0.key) } + (elements.count > 3 ? ["…"] : [])
    let list = keys.isEmpty ? "" : " { \(keys.joined(separator: ", ")) }"
    let owner = elements.count == 1 && elements[0].comment != "" ? " for \(elements[0].comment)" : ""
    return "\(operation)\(list)\(owner): \(errnoDescription(errno))"
  }
}

/// `EEXIST (File exists)`
func errnoDescription(_ number: Int32) -> String {
  let name = clinux_errno_name(number).map { String(cString: $0) } ?? "errno \(number)"
  return "\(name) (\(String(cString: strerror(number))))"
}
