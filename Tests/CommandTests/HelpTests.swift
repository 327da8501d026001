import ArgumentParser
import Glibc
import TestSupport
import Testing

@testable import pmagent

/// `--help` of every command, on the terminal's usual width.
@Suite struct HelpTests {
  private static let directory =
    #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" } + "/Goldens/help"

  /// Names of the goldens with their commands.
  private static let commands = commands(below: PMAgent.self, "pmagent")

  private static func commands(
    below command: any ParsableCommand.Type, _ name: String
  ) -> [String: any ParsableCommand.Type] {
    var commands = [name: command]
    for next in command.configuration.subcommands where next.configuration.shouldDisplay {
      commands.merge(Self.commands(below: next, "\(name)-\(next._commandName)")) { $1 }
    }
    return commands
  }

  @Test(arguments: commands.keys.sorted())
  func help(_ name: String) throws {
    let command = try #require(Self.commands[name])
    try expectGolden(PMAgent.helpMessage(for: command, columns: 80) + "\n", "help/\(name).txt")
  }

  @Test func noGoldenIsLeftOver() throws {
    let stream = try #require(opendir(Self.directory))
    defer { closedir(stream) }
    var files: Set<String> = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if !name.hasPrefix(".") { files.insert(name) }
    }
    #expect(files == Set(Self.commands.keys.map { "\($0).txt" }))
  }

  @Test func theStatusesAreDocumented() {
    let help = PMAgent.helpMessage(for: PMAgent.self, columns: 80)
    for status in 0... {
      guard let known = CommandStatus(rawValue: Int32(status)) else { break }
      #expect(help.contains("\n  \(known.rawValue)  "))
    }
  }
}
