import Foundation

/// Measured values of one kind, in the order they were taken.
struct Samples {
  private(set) var values: [Double] = []

  init(_ values: [Double] = []) { self.values = values }
  mutating func append(_ value: Double) { values.append(value) }

  var median: Double { percentile(50) }

  func percentile(_ percent: Double) -> Double {
    guard !values.isEmpty else { return .nan }
    return values.sorted()[min(values.count - 1, Int(Double(values.count) * percent / 100))]
  }
}

/// What a command of `floor` printed: a name and a value a line; `reset` forgets what came before.
struct Measurements {
  private(set) var samples: [String: Samples] = [:]

  init(parsing text: String) throws {
    for line in text.split(separator: "\n") {
      if line == "reset" {
        samples = [:]
        continue
      }
      let fields = line.split(separator: " ")
      guard fields.count == 2, let value = Double(fields[1]) else { throw Failure("not a measurement: \(line)") }
      samples[String(fields[0]), default: Samples()].append(value)
    }
  }

  subscript(name: String) -> Samples { samples[name] ?? Samples() }

  /// Median of the ratios of values that were taken one after the other, which noise of the machine hits alike.
  func ratio(_ name: String, to other: String) -> Double {
    Samples(zip(self[name].values, self[other].values).map { $0 / $1 }).median
  }
}
