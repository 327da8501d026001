import PortMaps
import Testing

@Suite struct SkeletonTests {
  @Test func everySetIsDefinedOnce() {
    #expect(
      Skeleton.sets.map(\.name).sorted { $0.rawValue < $1.rawValue }
        == SetName.allCases.sorted { $0.rawValue < $1.rawValue })
  }
}
