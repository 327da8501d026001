import ArgumentParser
import Glibc
import TestSupport
import Testing

@testable import pmagent

/// `--help` of every command is a file of Tests/Goldens/help. `PMAGENT_UPDATE_GOLDENS=1 swift test --filter HelpTests`
/// writes them anew.
@Suite struct HelpTests {
  private static let directory =
    #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" } + "/Goldens/help"

  /// Names of the goldens with their commands.
  private static var commands: [(name: String, command: any ParsableCommand.Type)] {
    func below(_ command: any ParsableCommand.Type, _ name: String) -> [(String, any ParsableCommand.Type)] {
      [(name, command)]
        + command.configuration.subcommands.filter(\.configuration.shouldDisplay)
        .flatMap { below($0, "\(name)-\($0._commandName)") }
    }
    return below(PMAgent.self, "pmagent")
  }

  @Test(arguments: commands.map(\.name))
  func help(_ name: String) throws {
    let command = try #require(Self.commands.first { $0.name == name }?.command)
    let text = PMAgent.helpMessage(for: command, columns: 80) + "\n"
    let path = "\(Self.directory)/\(name).txt"
    if getenv("PMAGENT_UPDATE_GOLDENS") != nil { try write(text, to: path) }
    #expect(try text == read(path))
  }

  @Test func noGoldenIsLeftOver() throws {
    let stream = try #require(opendir(Self.directory))
    defer { closedir(stream) }
    var files: Set<String> = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if !name.hasPrefix(".") { files.insert(name) }
    }
    #expect(files == Set(Self.commands.map { "\($0.name).txt" }))
  }

  @Test func theStatusesAreDocumented() {
    let help = PMAgent.helpMessage(for: PMAgent.self, columns: 80)
    for status in 0... {
      guard let known = ExitStatus(rawValue: Int32(status)) else { break }
      #expect(help.contains("\n  \(known.rawValue)  "))
    }
  }
}
