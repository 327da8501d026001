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
  // Where in `want` each is, and which are not to be added: those that are there, and repetitions.
  var places = [Element.Identity: Int](minimumCapacity: want.count)
  var isSettled = [Bool](repeating: false, count: want.count)
  for (place, element) in want.enumerated() {
    guard let first = places.updateValue(place, forKey: element.identity) else { continue }
    places[element.identity] = first
    isSettled[place] = true
  }
  var isMet = [Bool](repeating: false, count: want.count)
  var unwanted: Set<Element.Identity> = []
  var change = RulesetChange()
  for element in have {
    if let place = places[element.identity] {
      if isMet[place] { continue }
      isMet[place] = true
      isSettled[place] = want[place] == element
      if !isSettled[place] { change.removals.append(element) }
    } else if unwanted.insert(element.identity).inserted {
      change.removals.append(element)
    }
  }
  // In the order of `want`, so that equal inputs give equal transactions.
  for (place, element) in want.enumerated() where !isSettled[place] { change.additions.append(element) }
  return change
}

extension [Element] {
  /// Two mappings to one container port project to one element, so a side may name an element twice.
  var eachOnce: [PortMaps.Element] {
    // A container has few, nearly always: to compare them is cheaper than to hash them.
    if count <= 8 {
      return indices.filter { index in !self[..<index].contains { $0.identity == self[index].identity } }
        .map { self[$0] }
    }
    var seen: Set<PortMaps.Element.Identity> = []
    seen.reserveCapacity(count)
    return filter { seen.insert($0.identity).inserted }
  }
}
