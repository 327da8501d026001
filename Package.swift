// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
  name: "pmagent",
  products: [.executable(name: "pmagent", targets: ["pmagent"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
  ],
  targets: [
    // Pure: no I/O, no imports.
    .target(name: "PortMaps", swiftSettings: settings),

    // For the edges: work beside the caller's.
    .target(name: "SideThread", swiftSettings: settings),

    // The edges. They know PortMaps and nothing of each other.
    .systemLibrary(
      name: "CNetfilter", pkgConfig: "libnftnl libmnl libnetfilter_conntrack",
      providers: [.apt(["libnftnl-dev", "libmnl-dev", "libnetfilter-conntrack-dev"])]),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CLinux"),
    .target(
      name: "Netfilter", dependencies: ["PortMaps", "CNetfilter", "CLinux", "SideThread"], swiftSettings: settings),
    // Where tests kill the process; nothing in a release build.
    .target(
      name: "CrashPoints",
      swiftSettings: settings + [.define("CRASH_POINTS", .when(configuration: .debug))]),
    .target(
      name: "Migrations", path: "Migrations",
      resources: [
        .embedInCode("m0001_initial.sql"), .embedInCode("m0002_awaiting.sql"), .embedInCode("m0003_reach_class.sql"),
        .embedInCode("m0004_no_temporary_tables.sql"), .embedInCode("m0005_reach_classes_in_use.sql"),
      ],
      swiftSettings: settings),
    .target(
      name: "Storage",
      dependencies: ["CrashPoints", "CSQLite", "PortMaps", "Migrations", "SideThread"], swiftSettings: settings),
    .target(
      name: "Feed",
      dependencies: [
        "PortMaps",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ], swiftSettings: settings),

    // Follows container runtimes and is a client of the feed, as any adapter outside would be.
    .target(
      name: "Runtimes",
      dependencies: [
        "PortMaps", "Feed",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ], swiftSettings: settings),

    .target(
      name: "Agent",
      dependencies: [
        "PortMaps", "Netfilter", "Storage", "Feed", "Runtimes", "CLinux", "CrashPoints",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "TOMLKit", package: "TOMLKit"),
      ], swiftSettings: settings),
    .executableTarget(
      name: "pmagent",
      dependencies: [
        "Agent", "Feed", "Netfilter", "PortMaps", "Runtimes", "Storage",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: settings),

    // What the test targets share.
    .target(
      name: "TestSupport",
      dependencies: [
        "PortMaps", "Netfilter", "Feed", "CLinux", .product(name: "Subprocess", package: "swift-subprocess"),
      ], path: "Tests/TestSupport", swiftSettings: settings),
    .testTarget(
      name: "PortMapsTests",
      dependencies: ["PortMaps", "TestSupport", .product(name: "Subprocess", package: "swift-subprocess")],
      swiftSettings: settings),
    .testTarget(
      name: "NetfilterTests", dependencies: ["Netfilter", "CNetfilter", "PortMaps", "TestSupport"],
      swiftSettings: settings),
    .testTarget(
      name: "FeedTests",
      dependencies: [
        "Feed", "PortMaps", "TestSupport",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ], swiftSettings: settings),
    .testTarget(
      name: "RuntimesTests",
      dependencies: [
        "Runtimes", "Feed", "PortMaps", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ], exclude: ["Recordings"], swiftSettings: settings),
    .testTarget(
      name: "StorageTests",
      dependencies: ["Storage", "CLinux", "CSQLite", "PortMaps", "Migrations", "SideThread", "TestSupport"],
      swiftSettings: settings),
    .testTarget(
      name: "CommandTests",
      dependencies: [
        "pmagent", "Agent", "Feed", "Netfilter", "PortMaps", "Runtimes", "Storage", "TestSupport",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "Subprocess", package: "swift-subprocess"),
      ], swiftSettings: settings),
    // What can go wrong, one by one: crashes, power loss, faults of the store and of the kernel.
    .testTarget(
      name: "FaultTests",
      dependencies: [
        "Agent", "CSQLite", "Feed", "Migrations", "Netfilter", "PortMaps", "Storage", "TestSupport", "pmagent",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Subprocess", package: "swift-subprocess"),
      ], exclude: ["SimulationProgram"], swiftSettings: settings),
    // The built program in namespaces: socket, database, kernel and packets.
    .testTarget(
      name: "SystemTests",
      dependencies: [
        "Agent", "Feed", "Netfilter", "PortMaps", "Storage", "TestSupport", "pmagent",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Subprocess", package: "swift-subprocess"),
      ], swiftSettings: settings),
    // The built program beside real runtimes.
    .testTarget(
      name: "RuntimeSystemTests", dependencies: ["Feed", "PortMaps", "TestSupport", "pmagent"], swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)

// `make soak`: the simulation optimised, instead of all the tests, whose optimised build takes a quarter of an hour.
if Context.environment["PMAGENT_SIMULATION"] != nil {
  package.targets.removeAll { $0.type == .test }
  // The one that needs a test library.
  package.targets.first { $0.name == "TestSupport" }?.exclude = ["Golden.swift"]
  package.targets.append(
    .executableTarget(
      name: "simulation",
      dependencies: [
        "Agent", "CSQLite", "Feed", "Netfilter", "PortMaps", "Storage", "TestSupport",
        .product(name: "Logging", package: "swift-log"),
      ], path: "Tests/FaultTests", sources: ["Simulation", "SimulationProgram"], swiftSettings: settings))
}
