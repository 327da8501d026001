import CNetfilter
import PortMaps
import TestSupport
import Testing

@testable import Netfilter

/// What no `nft` command can put into our sets, but another netlink program might.
@Suite("elements as bytes")
struct ElementCodecTests {
  private let mapping = Element(.any4, .port(.tcp, 8080), .destination(Plan.container4, 80), comment: "web")

  private func decoded(_ element: Element, _ edit: (inout MessageWriter) -> Void = { _ in }) throws -> Element? {
    let definition = Skeleton.definition(of: element.set)
    var writer = MessageWriter()
    writer.element(element, isInterval: definition.isInterval, withValue: true)
    var attributes = MessageWriter()
    attributes.append(writer.bytes.dropFirst(4))
    edit(&attributes)
    return attributes.bytes.withUnsafeBytes { Element(Attributes($0[...]), of: definition) }
  }

  @Test("are read as they were written", arguments: samples)
  func roundTrip(_ element: Element) throws { #expect(try decoded(element) == element) }

  @Test("an element that expires is not ours")
  func timeout() throws {
    #expect(try decoded(mapping) { $0.attribute(NFTA_SET_ELEM_TIMEOUT) { $0.big(UInt64(1)) } } == nil)
  }

  @Test("an expression is a counter where the set has them, and not ours elsewhere")
  func expression() throws {
    let limit: (inout MessageWriter) -> Void = { $0.nested(NFTA_SET_ELEM_EXPR) { $0.string(NFTA_EXPR_NAME, "limit") } }
    #expect(try decoded(mapping, limit) == mapping)
    #expect(try decoded(Element(.bridges, .interface(Plan.bridge)), limit) == nil)
  }

  @Test(
    "a key of another length or protocol is not ours",
    arguments: [[], [6, 0, 0, 0], [6, 0, 0, 0, 0, 80, 0, 0, 0, 0, 0, 0], [33, 0, 0, 0, 0, 80, 0, 0]] as [[UInt8]])
  func key(_ bytes: [UInt8]) throws {
    #expect(
      try decoded(mapping) { $0.nested(NFTA_SET_ELEM_KEY) { $0.attribute(NFTA_DATA_VALUE) { $0.append(bytes) } } }
        == nil)
  }

  @Test("any cut of the bytes is read without harm")
  func truncated() throws {
    for element in samples {
      let definition = Skeleton.definition(of: element.set)
      var writer = MessageWriter()
      writer.element(element, isInterval: definition.isInterval, withValue: true)
      for length in 4..<writer.bytes.count {
        // What is left may be an element without its comment, never another key.
        let read = writer.bytes.withUnsafeBytes { Element(Attributes($0[4..<length]), of: definition) }
        #expect(read == nil || read?.identity == element.identity)
      }
    }
  }
}
