import Feed
import TestSupport

extension JSON {
  var text: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }
  /// The code of an error reply.
  var errorCode: String? { self["error"]?["code"]?.text }
  var warningCodes: [String] {
    guard case .array(let warnings)? = self["warnings"] else { return [] }
    return warnings.compactMap { $0["code"]?.text }
  }
  var mappings: [JSON]? {
    guard case .array(let mappings)? = self["mappings"] else { return nil }
    return mappings
  }
  /// The container of a mapping.
  var container: String? { self["container"]?.text }
}

extension AgentClient {
  /// Sends one line whose reply must be `"ok": true`.
  @discardableResult
  func succeed(_ line: String) throws -> JSON {
    let reply = try ask(line)
    guard reply["ok"] == .bool(true) else {
      throw NetworkNamespace.Failure(description: "\(line) was answered \(reply)")
    }
    return reply
  }
}
