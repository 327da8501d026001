import Foundation

struct Failure: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

/// Runs a program to its end and returns its standard output; a status other than 0 is a failure.
@discardableResult
func run(_ command: String..., input: String? = nil) throws -> String { try run(command, input: input) }

@discardableResult
func run(_ command: [String], input: String? = nil) throws -> String {
  let (process, output) = (Process(), Pipe())
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = command
  process.standardOutput = output
  if let input {
    // A file, not a pipe: input larger than a pipe would have to be written while output is read.
    let path = "\(NSTemporaryDirectory())/bench-input-\(getpid())"
    try input.write(toFile: path, atomically: false, encoding: .utf8)
    process.standardInput = FileHandle(forReadingAtPath: path)
    try FileManager.default.removeItem(atPath: path)
  }
  try process.run()
  let data = output.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  guard process.terminationStatus == 0 else {
    throw Failure("\(command.joined(separator: " ").prefix(300)): status \(process.terminationStatus)")
  }
  return String(decoding: data, as: UTF8.self)
}

/// How long `body` takes, in nanoseconds.
func duration(_ body: () throws -> Void) rethrows -> Double {
  let start = DispatchTime.now().uptimeNanoseconds
  try body()
  return Double(DispatchTime.now().uptimeNanoseconds - start)
}

func progress(_ text: String) { FileHandle.standardError.write(Data("bench: \(text)\n".utf8)) }
