import Glibc
import TestSupport

@testable import pmagent

/// Swift Testing has an `ExitStatus` too.
typealias CommandStatus = ExitStatus

/// What a command line did.
struct Outcome: Equatable {
  var status: ExitStatus
  var output: String
  var errors: String
}

/// Carries out a command line in this process, with files for its streams. The configuration is empty unless given.
func pmagent(_ arguments: [String], input: String = "", configuration: String = "/dev/null") throws -> Outcome {
  let directory = try TemporaryDirectory()
  let (input, output, errors) = try (
    directory.file("input", input), directory.file("output", ""), directory.file("errors", "")
  )
  let status = PMAgent.run(
    arguments.starts(with: ["config"]) ? arguments : arguments + ["--config", configuration],
    on: Console(input: input.number, output: output.number, errors: errors.number))
  return Outcome(
    status: status, output: try read(directory.path + "/output"), errors: try read(directory.path + "/errors"))
}

extension TemporaryDirectory {
  fileprivate func file(_ name: String, _ text: String) throws(SystemError) -> Descriptor {
    try write(text, to: "\(path)/\(name)")
    return try Descriptor(open("\(path)/\(name)", O_RDWR | O_CLOEXEC), "open \(name)")
  }
}
