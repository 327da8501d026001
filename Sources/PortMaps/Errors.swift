/// The wire contract's error codes (`Docs/protocol.md`); the raw value is what is sent.
package enum ErrorCode: String, Sendable, CaseIterable {
  case badJSON = "bad-json"
  case lineTooLong = "line-too-long"
  case badRequest = "bad-request"
  case unknownField = "unknown-field"
  case unknownEvent = "unknown-event"
  case unknownQuery = "unknown-query"
  case badPublish = "bad-publish"
  case badAddress = "bad-address"
  case unknownNetwork = "unknown-network"
  case unknownContainer = "unknown-container"
  case networkInUse = "network-in-use"
  case duplicateName = "duplicate-name"
  case isolatedNeedsInternal = "isolated-needs-internal"
  case unknownGatewayMode = "unknown-gateway-mode"
  case badDefaultBind = "bad-default-bind"
  case badOption = "bad-option"
  case portAlreadyAllocated = "port-already-allocated"
  case hostPortInUse = "host-port-in-use"
  case portsExhausted = "ports-exhausted"
  case addressNotAvailable = "address-not-available"
  case notPermitted = "not-permitted"
  case limitExceeded = "limit-exceeded"
  case kernelRefused = "kernel-refused"
  case storageFailed = "storage-failed"
  case shuttingDown = "shutting-down"
}

/// A request that cannot be carried out; becomes the reply's `error`.
package struct RequestError: Error, Sendable, Equatable, CustomStringConvertible {
  package var code: ErrorCode
  /// Quotes the value, says what is accepted or who holds it, and what to do.
  package var message: String
  /// The JSON path of the offending value, `container.publish[0]`; `nil` when no single field is at fault.
  package var field: String?

  package init(_ code: ErrorCode, _ message: String, field: String? = nil) {
    (self.code, self.message, self.field) = (code, message, field)
  }

  /// The same error seen from one level further out: `field` is prefixed with `path`.
  package func within(_ path: String) -> RequestError {
    var outer = self
    outer.field = field.map { $0.hasPrefix("[") ? path + $0 : path + "." + $0 } ?? path
    return outer
  }

  package var description: String {
    field.map { "\(code.rawValue): \($0): \(message)" } ?? "\(code.rawValue): \(message)"
  }
}

/// Something the operator should know about a request that was carried out all the same.
package struct Warning: Sendable, Hashable {
  package enum Code: String, Sendable, CaseIterable {
    case routedHostPortIgnored = "routed-host-port-ignored"
    case routedHostAddressIgnored = "routed-host-address-ignored"
    case ipv6HostIPv4Container = "ipv6-host-ipv4-container"
    case defaultBindIPv6IPv4Container = "default-bind-ipv6-ipv4-container"
    case unknownOption = "unknown-option"
    case addressNotLocal = "address-not-local"
    case overlapsEphemeralRange = "overlaps-ephemeral-range"
    case forwardingDisabled = "forwarding-disabled"
    case portNotHeld = "port-not-held"
    case ipv6LoopbackUnsupported = "ipv6-loopback-unsupported"
    case subnetOverlaps = "subnet-overlaps"
    case isolatedBridgeHasAddress = "isolated-bridge-has-address"
  }

  package var code: Code
  package var message: String
  package init(_ code: Code, _ message: String) { (self.code, self.message) = (code, message) }
}
