import Glibc
import Netfilter
import PortMaps

/// A table of a `FakeKernel`: what one transaction does to its elements.
package struct FakeTable {
  package var elements: [Element.Identity: Element] = [:]
  package var skeletonIsCurrent = true
  package var owner: UInt32?
  /// It had an owner, which is gone.
  package var isOrphan = false

  /// All of `change` or nothing; whether there was something to do.
  mutating func apply(_ change: RulesetChange, _ sizes: [SetName: Int]) throws(KernelError) -> Bool {
    var before: [(Element.Identity, Element?)] = []
    do throws(KernelError) {
      for element in change.removals.bySet.joined() {
        let found = try find(element)
        before.append((found.identity, found))
        elements[found.identity] = nil
      }
      for element in change.additions.bySet.joined() where try mustAdd(element, sizes) {
        before.append((element.identity, nil))
        elements[element.identity] = element
      }
      return !before.isEmpty
    } catch {
      for (identity, element) in before.reversed() { elements[identity] = element }
      throw error
    }
  }

  /// What a deletion takes: the value does not matter, and in an interval set a key finds the element that covers it.
  private func find(_ element: Element) throws(KernelError) -> Element {
    guard element.isWellFormed(withValue: false) else { throw .refused("delete", element, EINVAL) }
    if let exact = elements[element.identity] { return exact }
    guard let covering = neighbours(of: element).first(where: { $0.key.covers(startOf: element.key) }) else {
      throw .refused("delete", element, ENOENT)
    }
    return covering
  }

  /// `false`: it is there. The kernel keeps the old one, comment and all.
  private func mustAdd(_ element: Element, _ sizes: [SetName: Int]) throws(KernelError) -> Bool {
    guard element.isWellFormed(withValue: true) else { throw .refused("add", element, EINVAL) }
    if let old = elements[element.identity] {
      guard old.value == element.value else { throw .refused("add", element, EEXIST) }
      return false
    }
    if let size = sizes[element.set], elements.values.count(where: { $0.set == element.set }) >= size {
      throw .refused("add", element, ENFILE)
    }
    if neighbours(of: element).contains(where: {
      $0.key.covers(startOf: element.key) || $0.key.covers(endOf: element.key)
    }) {
      // The set says ENOTEMPTY, nf_tables EEXIST.
      throw .refused("add", element, EEXIST)
    }
    return true
  }

  /// The elements of its set, where that is one of intervals.
  private func neighbours(of element: Element) -> [Element] {
    guard Skeleton.definition(of: element.set).isInterval else { return [] }
    return elements.values.filter { $0.set == element.set }
  }
}

extension KernelError {
  fileprivate static func refused(_ verb: String, _ element: Element, _ number: Int32) -> KernelError {
    .refused(Refusal("\(verb) element inet pmagent \(element.set.rawValue)", [element], number))
  }

  /// Without a table the first message is refused; the error accuses none of its elements.
  static func absent(_ change: RulesetChange) -> KernelError {
    let (verb, elements) = change.removals.isEmpty ? ("add", change.additions) : ("delete", change.removals)
    let set = elements.first?.set
    return .refused(
      Refusal(
        "\(verb) element inet pmagent \(set?.rawValue ?? "")", Array(elements.prefix(240).prefix { $0.set == set }),
        ENOENT))
  }
}

extension Element {
  /// Key and value are what the set's declaration says.
  fileprivate func isWellFormed(withValue: Bool) -> Bool {
    let definition = Skeleton.definition(of: set)
    guard key.types == definition.key else { return false }
    if !withValue { return true }
    return switch (value, definition.value) {
    case (.none, .none), (.verdict, .verdict): true
    case (.destination(let address, _), .data(let types)): types == [.address(address.family), .inetService]
    case (.address(let address), .data(let types)): types == [.address(address.family)]
    default: false
    }
  }
}

extension Element.Key {
  func covers(startOf other: Element.Key) -> Bool { covers(other) { $0.address } }
  func covers(endOf other: Element.Key) -> Bool { covers(other) { $0.last } }

  private func covers(_ other: Element.Key, _ end: (IPPrefix) -> IPAddress) -> Bool {
    switch (self, other) {
    case (.sourceAddressPort(let s, let d, let t, let p), .sourceAddressPort(let s2, let d2, let t2, let p2)):
      t == t2 && p == p2 && s.contains(end(s2)) && d.contains(end(d2))
    case (.interfacePrefix(let i, let prefix), .interfacePrefix(let i2, let prefix2)):
      i == i2 && prefix.contains(end(prefix2))
    default: false
    }
  }

  fileprivate var types: [DataType] {
    switch self {
    case .port: [.inetProto, .inetService]
    case .addressPort(let address, _, _): [.address(address.family), .inetProto, .inetService]
    case .sourceAddressPort(let source, let destination, _, _):
      [.address(source.address.family), .address(destination.address.family), .inetProto, .inetService]
    case .interface: [.ifname]
    case .interfaces: [.ifname, .ifname]
    case .interfacePrefix(_, let prefix): [.ifname, .address(prefix.address.family)]
    case .family: [.nfProto]
    }
  }
}
