import PortMaps
import TestSupport
import Testing

@testable import Storage

struct RecordTests {
  let directory: TemporaryDirectory
  let store: Store

  init() throws {
    directory = try TemporaryDirectory()
    store = try Store.open(at: directory.database, access: .readWrite)
  }

  @Test func whatIsRecordedIsReadBack() throws {
    var generator = RecordGenerator(seed: Effort.seed())
    for network in generator.networks { try store.record(network) }
    #expect(try store.networks() == generator.networks)

    var records: [ContainerRecord] = []
    for n in 0..<300 {
      var record = try generator.record(n)
      record.row = try store.record(record)
      records.append(record)
    }
    // Every third is replaced by another container's content, or gets the parts of another behind some of its own; every fifth
    // is removed.
    for index in stride(from: 0, to: records.count, by: 3) {
      let before = records[index]
      var record = try generator.record(index)
      (record.row, record.container.source) = (before.row, before.container.source)
      if index % 2 == 0 { generator.keep(some: before, in: &record) }
      #expect(try store.record(record, replacing: before) == record.row)
      records[index] = record
    }
    for index in stride(from: records.count - 1, to: 0, by: -5) {
      try store.remove(records[index])
      records.remove(at: index)
    }

    var listed: [ContainerRecord] = []
    try store.forEachContainer { record in
      listed.append(record)
      let alone = try store.container(source: record.container.source, id: record.container.id)
      #expect(alone == record)
    }
    #expect(listed == records)

    let mappings = records.flatMap(\.bindings).reduce(0) { $0 + $1.containerPorts.count }
    #expect(try store.counts() == (networks: 3, containers: records.count, mappings: mappings))
    for network in generator.networks {
      let attached = records.filter { $0.container.endpoints.contains { $0.network == network.id } }
      #expect(try store.containers(on: network.id) == attached)
    }
    for source in ["default", "docker", "nobody"] {
      let ids = records.filter { $0.container.source == source }.map(\.container.id).sorted()
      #expect(try store.containerIDs(source: source) == ids)
    }
  }

  @Test func anUnknownContainerIsNil() throws {
    #expect(try store.container(source: "default", id: "c1") == nil)
    try store.remove(simpleRecord(1, row: 77))
  }

  @Test func rowsAreNeverGivenTwice() throws {
    try store.record(mynet)
    let row = try store.record(simpleRecord(1))
    try store.remove("c1")
    #expect(try store.record(simpleRecord(1)) > row)
  }

  @Test func aRowThatIsGoneIsNotReplaced() throws {
    try store.record(mynet)
    let error = try #require(
      thrown { _ = try store.record(simpleRecord(1), replacing: simpleRecord(1, row: 9)) })
    #expect(error.reason == .constraint)
    #expect(error.message == "no container has row 9")
    #expect(try store.counts().containers == 0)
  }

  @Test func aRefusedRecordLeavesNothing() throws {
    try store.record(mynet)
    var record = try simpleRecord(1)
    record.bindings.append(record.bindings[0])
    let error = try #require(thrown { _ = try store.record(record) })
    #expect(error.reason == .constraint)
    #expect(error.message == "host port already allocated")
    #expect(try store.counts().containers == 0)
  }

  @Test func aNetworkIsReplacedAndRemoved() throws {
    try store.record(mynet)
    _ = try store.record(simpleRecord(1))
    var changed = mynet
    (changed.name, changed.options, changed.isInternal) = ("other", [:], true)
    try store.record(changed)
    #expect(try store.networks() == [changed])
    #expect(thrown { try store.removeNetwork(id: "n1") }?.reason == .constraint)
    try store.remove("c1")
    try store.removeNetwork(id: "n1")
    try store.removeNetwork(id: "n1")
    #expect(try store.networks() == [])
  }

  struct Reference: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let text: String
    let ids: [String]
    init(_ description: String, _ text: String, _ ids: [String]) {
      (testDescription, self.text, self.ids) = (description, text, ids)
    }
  }

  @Test(arguments: [
    Reference("exact id", "abc", ["abc"]),
    Reference("exact id wins over a name", "abcd", ["abcd"]),
    Reference("exact name wins over a longer one", "web", ["f00"]),
    Reference("one name, two containers", "db", ["abcd", "abd"]),
    Reference("prefix of an id", "f0", ["f00"]),
    Reference("prefix of several ids and a name", "ab", ["abc", "abcd", "abd", "e11"]),
    Reference("prefix of a name", "abcdé", ["e11"]),
    Reference("with its source", "default/abd", ["abd"]),
    Reference("of another source", "other/abd", []),
    Reference("no wildcards", "a%", []),
    Reference("nothing like it", "zzz", []),
    Reference("empty", "", []),
  ])
  func containersAreFoundByReference(_ reference: Reference) throws {
    for (id, name) in [
      ("abc", "first"), ("abcd", "db"), ("abd", "db"), ("f00", "web"), ("e11", "abcdéf"), ("e12", "webber"),
    ] {
      _ = try store.record(
        ContainerRecord(container: Container(source: "default", id: id, name: name, endpoints: [])))
    }
    #expect(try store.containers(named: reference.text).map(\.container.id) == reference.ids)
  }

  @Test func candidatesAreLimited() throws {
    for n in 0..<40 {
      _ = try store.record(
        ContainerRecord(container: Container(source: "default", id: "x\(n)", name: "x\(n)", endpoints: [])))
    }
    #expect(try store.containers(named: "x", limit: 16).count == 16)
    #expect(try store.containers(named: "x").count == 40)
  }

  @Test func factsAreKept() throws {
    #expect(try store.setting("cursor") == nil)
    try store.setSetting("cursor", "49153")
    try store.setSetting("cursor", "49154")
    #expect(try store.setting("cursor") == "49154")

    try store.recordSysctl(name: "net.ipv4.ip_forward", previous: "0")
    try store.recordSysctl(name: "net.ipv4.ip_forward", previous: "1")
    #expect(try store.sysctls().map { "\($0.name)=\($0.previous)" } == ["net.ipv4.ip_forward=0"])
    try store.forgetSysctl(name: "net.ipv4.ip_forward")
    #expect(try store.sysctls().isEmpty)
  }

  @Test func theRevisionCounts() throws {
    #expect(try store.revision == 0)
    #expect(try store.advanceRevision() == 1)
    #expect(try store.advanceRevision() == 2)
    #expect(try store.revision == 2)
  }

  @Test func aChangedDatabaseIsReportedNotTrusted() throws {
    try store.record(mynet)
    _ = try store.record(simpleRecord(1))
    try store.sql("UPDATE endpoint SET ipv4 = '1.2.3'")
    let error = try #require(thrown { _ = try store.container(source: "default", id: "c1") })
    #expect(error.reason == .corrupt)
    #expect(error.message == #"column ipv4 holds "1.2.3""#)
  }

  @Test func rowsThatLostTheirContainerHideNoOther() throws {
    try store.record(mynet)
    for n in 1...3 { _ = try store.record(simpleRecord(n)) }
    try store.sql("PRAGMA foreign_keys = OFF; DELETE FROM container WHERE row = 2; PRAGMA foreign_keys = ON")
    var listed: [ContainerRecord] = []
    try store.forEachContainer { listed.append($0) }
    #expect(try listed == [simpleRecord(1, row: 1), simpleRecord(3, row: 3)])
  }
}
