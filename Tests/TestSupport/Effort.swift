import Glibc

/// How much a test tries: a little by default, so that a run takes seconds; a lot with PMAGENT_SOAK, as `make soak` sets it.
package enum Effort {
  package static let isSoak = getenv("PMAGENT_SOAK") != nil

  package static func count(_ few: Int, soak many: Int) -> Int { isSoak ? many : few }

  /// PMAGENT_SEED, else a fresh one. Print it.
  package static func seed() -> UInt64 {
    getenv("PMAGENT_SEED").flatMap { UInt64(String(cString: $0)) } ?? .random(in: .min ... .max)
  }
}
