import Agent
import Glibc
import PortMaps
import TestSupport
import Testing

@testable import pmagent

/// What the pages say of other files is so.
@Suite struct DocumentTests {
  @Test(arguments: try Page.all())
  func linksLeadSomewhere(_ page: Page) throws {
    let folder = page.name.split(separator: "/").dropLast()
    for link in page.links where !link.contains("://") {
      let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
      var path = folder
      for part in parts[0].split(separator: "/") { if part == ".." { path.removeLast() } else { path.append(part) } }
      let target = parts[0].isEmpty ? page.name : path.joined(separator: "/")
      #expect(exists(target), "\(page): \(link)")
      if parts.count == 2 { #expect(try Page(target).anchors.contains(String(parts[1])), "\(page): \(link)") }
    }
  }

  @Test func linksAndAnchorsAreFound() {
    let page = Page("x.md", text: "# One `two`: three\n[a](b.md#c) [d](e)\n```\n[f](g)\n```\n## nftables.service\n")
    #expect(page.links == ["b.md#c", "e"])
    #expect(page.anchors == ["one-two-three", "nftablesservice"])
  }

  @Test(arguments: try Page.all()) func pagesAreShort(_ page: Page) {
    #expect(page.name.hasPrefix("Docs/decisions/") ? page.lines.count <= 60 : page.lines.count <= 500)
  }

  @Test func whatPagesSayOfTheMakefileIsThere() throws {
    let targets = Set(try read("\(projectDirectory)/Makefile").matches(of: /\n([a-z]+):/).map { String($0.1) })
    let named = Set(
      try Page.all().flatMap { $0.prose.matches(of: /(?:`|\n    |sudo )make ([a-z]+)/) }.map { String($0.1) })
    #expect(named.isSuperset(of: ["demo", "test", "deps", "install", "uninstall"]))
    #expect(named.isSubset(of: targets))
  }

  @Test func theReadmeKnowsTheExitStatuses() throws {
    let lines = try Page("README.md").lines
    for status in 0... {
      guard ExitStatus(rawValue: Int32(status)) != nil else {
        #expect(!lines.contains { $0.hasPrefix("| \(status) |") })
        break
      }
      #expect(lines.contains { $0.hasPrefix("| \(status) |") })
    }
  }

  // MARK: Operations

  @Test(arguments: ["key = 1", "[source.name]\nkey = 1"])
  func everyConfigurationKeyIsExplained(_ text: String) throws {
    let lines = try Page("Docs/operations.md").lines
    let example = try read("\(projectDirectory)/contrib/pmagent.toml")
    let error = #expect(throws: ConfigurationError.self) { try Configuration.parse(text, file: "test") }
    let keys = error?.description.split(separator: "known keys are ").last?.split(separator: ", ") ?? []
    #expect(!keys.isEmpty)
    for key in keys {
      #expect(lines.contains { $0.hasPrefix("| `\(key)` |") }, "\(key)")
      #expect(example.contains("#\(key) = ") || example.contains("#[\(key)."), "\(key)")
    }
    if keys.contains("socket") {
      let rows = lines.split { $0.hasPrefix("## ") }.first { $0.contains("| key | values | meaning |") } ?? []
      #expect(rows.count { $0.hasPrefix("| `") } == keys.count)
    }
  }

  /// The example file is commented out; with its comments removed it says what the defaults are.
  @Test func theExampleConfigurationIsTheDefault() throws {
    let text = try read("\(projectDirectory)/contrib/pmagent.toml").split(separator: "\n")
      .filter { $0.hasPrefix("#") && !$0.hasPrefix("# ") }.map { $0.dropFirst() }.joined(separator: "\n")
    var configuration = try Configuration.parse(text, file: "contrib/pmagent.toml")
    #expect(configuration.sources.removeValue(forKey: "docker") != nil)
    #expect(configuration.ip == .any(.ipv4))
    configuration.ip = nil
    #expect(configuration == Configuration())
  }

  @Test func everyDegradationIsExplained() throws {
    let lines = try Page("Docs/operations.md").lines
    let agent = try files(below: "Sources/Agent").map { try read("\(projectDirectory)/\($0)") }.joined()
    let codes =
      agent.matches(of: /Degradation\(code: "([a-z-]+)"|init\(code: "([a-z-]+)"/).compactMap { $0.1 ?? $0.2 }
      + agent.matches(of: /enum Reason: String \{([^}]*)\}/).flatMap { $0.1.matches(of: /= "([a-z-]+)"/).map(\.1) }
    #expect(codes.count >= 4)
    for code in codes { #expect(lines.contains { $0.hasPrefix("| `\(code)` |") }, "\(code)") }
  }

  // MARK: Examples

  @Test(arguments: files(below: "contrib/examples").filter { $0.hasSuffix(".nft") })
  func nftAcceptsTheExample(_ file: String) async throws {
    try await NetworkNamespace().command("nft", "-c", "-f", "\(projectDirectory)/\(file)")
    #expect(try Page("Docs/packet-path.md").lines.contains { $0.contains(file) })
  }

  @Test(arguments: files(below: "contrib").compactMap { $0.split(separator: "/").dropFirst().dropLast().first })
  func everyFolderOfContribHasAReadme(_ folder: Substring) {
    #expect(exists("contrib/\(folder)/README.md"))
  }

  private func exists(_ path: String) -> Bool {
    access("\(projectDirectory)/\(path)", F_OK) == 0
  }
}

extension Page {
  fileprivate var links: [String] {
    prose.matches(of: /\]\(([^)\s]+)\)/).map { String($0.1) }
  }

  /// As GitHub makes them: lower case, blanks to hyphens, other punctuation left out.
  fileprivate var anchors: [String] {
    prose.split(separator: "\n").filter { $0.hasPrefix("#") }.map { line in
      line.drop { $0 == "#" }.dropFirst().lowercased().compactMap {
        $0 == " " ? "-" : $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" ? String($0) : nil
      }.joined()
    }
  }
}
