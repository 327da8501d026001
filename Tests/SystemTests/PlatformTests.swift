import TestSupport
import Testing

/// `Docs/platform-requirements`: what this kernel must do, without a line of ours.
@Suite(.timeLimit(.minutes(2))) struct PlatformTests {
  private static let directory = "\(projectDirectory)/Docs/platform-requirements"

  /// The names of the programs.
  static let programs = files(below: "Docs/platform-requirements").compactMap { path -> String? in
    let file = path.split(separator: "/").last ?? ""
    guard file != "lib.sh", let dot = file.lastIndex(of: "."), [".sh", ".c"].contains(file[dot...]) else { return nil }
    return String(file[..<dot])
  }.sorted()

  @Test(arguments: programs) func thisKernelDoes(_ program: String) async throws {
    let outcome = try await NetworkNamespace().outcome(of: ["\(Self.directory)/run-all", program])
    #expect(outcome.exitCode == 0 && outcome.output == "holds   \(program)\n", "\(outcome.output)\(outcome.errors)")
  }

  @Test func thePageNamesEach() throws {
    let page = try Page("Docs/platform-requirements/README.md")
    #expect(page.lines.filter { $0.hasPrefix("| [") }.count == Self.programs.count)
    for program in Self.programs { #expect(page.lines.contains { $0.hasPrefix("| [\(program)](\(program).") }) }
  }
}
