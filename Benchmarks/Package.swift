// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

// A package of its own: it measures the built program from outside, so the program needs nothing of it.
let package = Package(
  name: "benchmarks",
  products: [.library(name: "mallocs", type: .dynamic, targets: ["mallocs"])],
  targets: [
    // The floors and the clients, in C.
    .executableTarget(
      name: "floor", cSettings: [.define("_GNU_SOURCE"), .unsafeFlags(["-Wall", "-Wextra", "-Werror"])],
      linkerSettings: [.linkedLibrary("sqlite3"), .linkedLibrary("mnl")]),
    // Counts allocations of the program it is preloaded into.
    .target(name: "mallocs", cSettings: [.define("_GNU_SOURCE")]),
    // Sets up the worlds, runs the measurements, compares with thresholds.txt, writes the page.
    .executableTarget(name: "bench", swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)
