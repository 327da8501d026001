import Subprocess
import TestSupport

/// Runs the built program, as a shell does.
func program(_ arguments: String...) async throws -> (code: Int32, output: String, errors: String) {
  try await run([AgentProgram.path] + arguments)
}

/// Runs `script`, in which `"$@"` is the program with its arguments, and `$0` is `name`.
func shell(
  _ script: String, name: String = "sh", _ arguments: [String]
) async throws -> (code: Int32, output: String, errors: String) {
  // The tests' own process ignores the signal, which is inherited.
  try await run(["--default-signal=PIPE", "timeout", "30", "sh", "-c", script, name, AgentProgram.path] + arguments)
}

private func run(_ words: [String]) async throws -> (code: Int32, output: String, errors: String) {
  let result = try await Subprocess.run(
    .name("env"), arguments: Arguments(words), output: .string(limit: 1 << 20), error: .string(limit: 1 << 20))
  guard case .exited(let code) = result.terminationStatus else {
    throw NetworkNamespace.Failure(description: "\(result.terminationStatus): \(result.standardError)")
  }
  return (code, result.standardOutput, result.standardError)
}
