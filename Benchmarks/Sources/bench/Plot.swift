import Foundation

/// Horizontal bars, as SVG.
struct Plot {
  struct Bar {
    var label: String
    var value: Double
    /// Drawn lighter: what others are measured by.
    var isFloor: Bool
  }
  var file: String
  var title: String
  var unit: String
  var bars: [Bar]
  /// Where values differ by powers of ten.
  var isLogarithmic = false

  var svg: String {
    let (left, width, row) = (230.0, 760.0, 24.0)
    let height = Double(bars.count) * row + 56
    var lines = [
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 \(whole(width)) \(whole(height))' font-family='sans-serif'>",
      "<rect width='100%' height='100%' fill='white'/>",
      text(12, 26, "\(title), \(unit)\(isLogarithmic ? ", logarithmic" : "")", "font-size='16'"),
    ]
    for (index, bar) in bars.enumerated() {
      let y = 42 + Double(index) * row
      let length = max(1, share(bar.value) * (width - left - 110))
      let color = bar.isFloor ? "#9bb7d4" : "#2f6ea5"
      lines += [
        text(left - 8, y + 15, bar.label, "font-size='13' text-anchor='end'"),
        "<rect x='\(whole(left))' y='\(whole(y + 3))' width='\(whole(length))' height='16' fill='\(color)'/>",
        text(left + length + 6, y + 15, Self.number(bar.value), "font-size='13'"),
      ]
    }
    return (lines + ["</svg>", ""]).joined(separator: "\n")
  }

  private func share(_ value: Double) -> Double {
    let values = bars.map(\.value)
    guard let most = values.max(), let least = values.min(), most > 0 else { return 0 }
    // A decade below the least, so that it has a bar too.
    return isLogarithmic ? log(value / least * 10) / log(most / least * 10) : value / most
  }

  private static func number(_ value: Double) -> String {
    String(format: value < 10 ? "%.2f" : value < 1000 ? "%.1f" : "%.0f", value)
  }

  private func text(_ x: Double, _ y: Double, _ text: String, _ style: String) -> String {
    "<text x='\(whole(x))' y='\(whole(y))' fill='#222' \(style)>\(Self.escaped(text))</text>"
  }

  private static func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
  }
}
