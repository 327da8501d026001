/// What turns one set of elements into another, in an order the kernel accepts as one transaction: removals first, so
/// that a key may change its value.
package struct RulesetChange: Sendable, Equatable {
  package var removals: [Element]
  package var additions: [Element]

  package init(removals: [Element] = [], additions: [Element] = []) {
    (self.removals, self.additions) = (removals, additions)
  }

  package var isEmpty: Bool { removals.isEmpty && additions.isEmpty }
}

/// The change that makes `have` into `want`. Elements are equal when set, key, value *and* comment are: the kernel keeps
/// an old comment when an element is added again, so another comment means remove and add. Of several elements with one
/// key the first counts.
package func difference(from have: [Element], to want: [Element]) -> RulesetChange {
  // A start has nothing before it and a stop nothing after it.
  if have.isEmpty { return RulesetChange(additions: want.eachOnce) }
  if want.isEmpty { return RulesetChange(removals: have.eachOnce) }
  var wanted = Dictionary(want.map { ($0.identity, $0) }, uniquingKeysWith: { first, _ in first })
  var change = RulesetChange()
  for element in have.eachOnce {
    if wanted[element.identity] == element {
      wanted[element.identity] = nil
    } else {
      change.removals.append(element)
    }
  }
  // In the order of `want`, so that equal inputs give equal transactions.
  for element in want where wanted.removeValue(forKey: element.identity) != nil { change.additions.append(element) }
  return change
}

extension [Element] {
  /// Two mappings to one container port project to one element, so a side may name an element twice.
  var eachOnce: [PortMaps.Element] {
    var seen: Set<PortMaps.Element.Identity> = []
    seen.reserveCapacity(count)
    return filter { seen.insert($0.identity).inserted }
  }
}
