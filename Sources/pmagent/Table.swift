/// Left-aligned columns, two blanks apart.
///
/// Columns that may be cut give way, the widest first, until a row fits the width; what must stay whole is never cut, so
/// that a row can still be wider.
struct Table {
  struct Column {
    let title: String
    /// Characters that always stay; `nil` = all of them.
    let minimum: Int?

    static func whole(_ title: String) -> Column { Column(title: title, minimum: nil) }
    static func cut(_ title: String) -> Column { Column(title: title, minimum: 8) }
  }

  private let columns: [Column]
  private var rows: [[String]] = []
  private var widths: [Int]

  init(_ columns: Column...) {
    self.columns = columns
    widths = columns.map(\.title.count)
  }

  /// One cell for each column; an empty one is shown as `-`.
  mutating func append(_ cells: String...) {
    let cells = cells.map { $0.isEmpty ? "-" : $0 }
    for (index, cell) in cells.enumerated() { widths[index] = max(widths[index], cell.count) }
    rows.append(cells)
  }

  /// Lines without a final newline.
  func text(width: Int) -> String {
    let widths = fitted(to: width)
    var text = line(columns.map(\.title), widths)
    for row in rows { text += "\n" + line(row, widths) }
    return text
  }

  private func fitted(to width: Int) -> [Int] {
    var widths = widths
    while widths.reduce(2 * (widths.count - 1), +) > width {
      let candidates = widths.indices.filter { index in columns[index].minimum.map { widths[index] > $0 } ?? false }
      guard let widest = candidates.max(by: { widths[$0] < widths[$1] }) else { break }
      widths[widest] -= 1
    }
    return widths
  }

  private func line(_ cells: [String], _ widths: [Int]) -> String {
    var line = ""
    for (index, cell) in cells.enumerated() {
      let text = cell.count > widths[index] ? cell.prefix(widths[index] - 1) + "…" : cell[...]
      line += text
      guard index < cells.count - 1 else { break }
      line += String(repeating: " ", count: widths[index] - text.count + 2)
    }
    return line
  }
}
