import Subprocess
import TestSupport

/// Runs the built program, as a shell does.
func program(_ arguments: String...) async throws -> (code: Int32, output: String, errors: String) {
  let result = try await Subprocess.run(
    .name("env"), arguments: Arguments([AgentProgram.path] + arguments), output: .string(limit: 1 << 20),
    error: .string(limit: 1 << 20))
  guard case .exited(let code) = result.terminationStatus else {
    throw NetworkNamespace.Failure(description: "\(result.terminationStatus): \(result.standardError)")
  }
  return (code, result.standardOutput, result.standardError)
}
