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
  let settled = setsInOrder(have, want)
  if !settled.isEmpty {
    return difference(
      from: have.filter { !settled.contains($0.set) }, to: want.filter { !settled.contains($0.set) })
  }
  var places = Places(for: want.count)
  // Those of `want` that are not to be added: repetitions, and what is there.
  var isSettled = want.indices.map { places.put($0, of: want) != $0 }
  var isMet = [Bool](repeating: false, count: want.count)
  var (changed, unwanted): ([Element], [Element]) = ([], [])
  for element in have {
    guard let place = places.find(element, in: want) else {
      unwanted.append(element)
      continue
    }
    if isMet[place] { continue }
    isMet[place] = true
    isSettled[place] = want[place] == element
    if !isSettled[place] { changed.append(element) }
  }
  // In the order of `want`, so that equal inputs give equal transactions.
  return RulesetChange(
    removals: changed + unwanted.eachOnce, additions: zip(want, isSettled).filter { !$1 }.map(\.0))
}

/// The sets that have the same elements on both sides, in the same order and, in `have`, one after the other. So they are when
/// they were asked for by their keys, and a walk costs a fraction of what hashing does.
private func setsInOrder(_ have: [Element], _ want: [Element]) -> Set<SetName> {
  var (next, ends): ([SetName: Int], [SetName: Int]) = ([:], [:])
  for index in have.indices where index == 0 || have[index].set != have[index - 1].set {
    if index > 0 { ends[have[index - 1].set] = index }
    // One that begins twice.
    if next.updateValue(index, forKey: have[index].set) != nil { return [] }
  }
  ends[have[have.count - 1].set] = have.count
  for element in want {
    guard let index = next[element.set] else { continue }
    let isNext = index < have.count && have[index] == element
    next[element.set] = isNext ? index + 1 : nil
    if next.isEmpty { break }
  }
  return Set(next.filter { ends[$0.key] == $0.value }.keys)
}

extension [Element] {
  /// Two mappings to one container port project to one element, so a side may name an element twice.
  var eachOnce: [PortMaps.Element] {
    if isRising { return self }
    let firsts = firsts
    return firsts.count == count ? self : firsts.map { self[$0] }
  }

  /// Where each identity is for the first time.
  private var firsts: [Int] {
    // A container has few, nearly always: to compare them is cheaper than to hash them.
    if count <= 8 {
      return indices.filter { index in !self[..<index].contains { $0.hasIdentity(of: self[index]) } }
    }
    var places = Places(for: count)
    return indices.filter { places.put($0, of: self) == $0 }
  }

  /// Whether those of each set rise, so that none is there twice. Those of a range do, whose keys are dear to hash.
  private var isRising: Bool {
    // There are a few dozen sets, and a range has elements of few of them.
    var last: [(set: SetName, place: Int)] = []
    for place in indices {
      let set = self[place].set
      if let known = last.firstIndex(where: { $0.set == set }) {
        guard self[last[known].place].key.precedes(self[place].key) else { return false }
        last[known].place = place
      } else {
        last.append((set, place))
      }
    }
    return true
  }

  /// Whether two of them have one identity.
  package var isRepeating: Bool {
    if isRising { return false }
    var places = Places(for: count)
    return indices.contains { places.put($0, of: self) != $0 }
  }
}

/// Where in a list the element of an identity is: a hash table of places, into which no element is copied.
private struct Places {
  private var table: [Int32]

  init(for count: Int) {
    // At most half of it is used, so that a free place is near.
    table = Array(repeating: -1, count: 2 << (Int.bitWidth - max(count, 1).leadingZeroBitCount))
  }

  /// Puts `place` in, unless one of its identity is in already. Returns the one that is in now.
  mutating func put(_ place: Int, of elements: [Element]) -> Int {
    let index = index(of: elements[place], in: elements)
    if table[index] < 0 { table[index] = Int32(place) }
    return Int(table[index])
  }

  func find(_ element: Element, in elements: [Element]) -> Int? {
    let place = table[index(of: element, in: elements)]
    return place < 0 ? nil : Int(place)
  }

  /// Where its place is, or is free for it.
  private func index(of element: Element, in elements: [Element]) -> Int {
    var hasher = Hasher()
    element.key.hash(into: &hasher)
    var index = hasher.finalize() & (table.count - 1)
    while table[index] >= 0, !elements[Int(table[index])].hasIdentity(of: element) {
      index = (index + 1) & (table.count - 1)
    }
    return index
  }
}

extension Element.Key {
  /// `false` also where there is no order.
  fileprivate func precedes(_ other: Self) -> Bool {
    switch (self, other) {
    case (.port(let transport, let number), .port(let other, let next)): (transport, number) < (other, next)
    case (.addressPort(let address, let transport, let number), .addressPort(let to, let other, let next)):
      (address, transport, number) < (to, other, next)
    default: false
    }
  }
}

extension Element {
  fileprivate func hasIdentity(of other: Element) -> Bool { set == other.set && key == other.key }
}
