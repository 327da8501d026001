import Testing

@testable import Runtimes

@Suite struct TimestampTests {
  @Test(arguments: [
    ("1970-01-01T00:00:00Z", 0),
    ("1970-01-01T00:00:00.000000001Z", 1),
    ("2026-11-24T22:46:37.374687996Z", 1_795_560_397_374_687_996),
    ("2026-11-24T23:46:37.3746+01:00", 1_795_560_397_374_600_000),
    ("2026-11-24T17:16:37-05:30", 1_795_560_397_000_000_000),
    ("2000-02-29T00:00:00Z", 951_782_400_000_000_000),
    ("0001-01-01T00:00:00Z", Int64.min),
    ("2262-04-11T23:47:16.854775807Z", Int64.max),
    ("2262-04-11T23:47:16.854775808Z", Int64.min),
  ])
  func times(_ text: String, _ expected: Int64) {
    #expect(nanoseconds(rfc3339: text) == expected)
  }

  @Test(arguments: [
    "", "2026-11-24", "2026-11-24T22:46:37", "2026-11-24T22:46:37.Z", "2026-13-24T22:46:37Z", "x026-11-24T22:46:37Z",
  ])
  func otherText(_ text: String) {
    #expect(nanoseconds(rfc3339: text) == nil)
  }
}
