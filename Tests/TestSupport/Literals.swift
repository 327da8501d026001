import Feed
import PortMaps

// Addresses, prefixes and requests as string literals; a wrong one stops the test run.

extension IPAddress: ExpressibleByStringLiteral {
  package init(stringLiteral text: String) {
    guard let address = IPAddress(parsing: text) else { preconditionFailure("not an address: \(text)") }
    self = address
  }
}

extension IPPrefix: ExpressibleByStringLiteral {
  package init(stringLiteral text: String) {
    guard let prefix = IPPrefix(parsing: text) else { preconditionFailure("not a prefix: \(text)") }
    self = prefix
  }
}

extension PublishRequest: ExpressibleByStringLiteral {
  package init(stringLiteral text: String) {
    do {
      try self.init(parsing: text)
    } catch {
      preconditionFailure("\(error)")
    }
  }
}

extension JSON: ExpressibleByStringLiteral {
  package init(stringLiteral text: String) { self = .string(text) }
}
