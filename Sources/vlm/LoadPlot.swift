import Foundation

/// Draws what a pipeline did under load as SVG: how first tokens and the times between tokens are distributed, when each request ran, and how many
/// tokens left at each time.
struct LoadPlot {
    let result: LoadResult
    /// What was measured.
    let title: String

    private static let width = 960.0
    private static let height = 820.0
    private static let blue = "#2166ac"
    private static let pale = "#a6cbe3"
    private static let orange = "#b35806"

    /// The whole picture.
    var svg: String {
        var drawing = Drawing()
        drawing.text(24, 26, "\(title)", size: 15, weight: "bold")
        drawing.text(
            24, 48,
            "\(number(result.requestsPerSecond)) requests a second, \(number(result.outputTokensPerSecond)) output tokens a second, "
                + "prefix cache \(number(result.prefixCacheHitRate * 100)) %, image cache \(number(result.imageCacheHitRate * 100)) %",
            color: "#444")
        distribution(&drawing, result.firstTokens, "Time to the first token (ms), share of requests", left: 70, right: 460)
        distribution(&drawing, result.intervals, "Time between tokens (ms), share of all", left: 550, right: 940)
        let time = PlotAxis(limit: result.seconds, start: 70, end: 940, labels: 10)
        timeline(&drawing, time, top: 410, bottom: 590)
        throughput(&drawing, time, top: 650, bottom: 760)
        return """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(Int(Self.width))" height="\(Int(Self.height))" \
            viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" font-family="Helvetica, Arial, sans-serif">
            <rect width="100%" height="100%" fill="white"/>
            \(drawing.elements.joined(separator: "\n"))
            </svg>

            """
    }

    // MARK: Panels

    /// Share of values that are at most so large, with the percentiles marked.
    private func distribution(_ drawing: inout Drawing, _ values: Percentiles, _ name: String, left: Double, right: Double) {
        let (top, bottom) = (110.0, 330.0)
        drawing.text(left, top - 22, name, weight: "bold")
        guard let high = values(0.99), let most = values.sorted.last else {
            return drawing.text(left, top, "none", color: "#444")
        }
        // A few stragglers may not squeeze all others together; the line then leaves the panel below its top.
        let x = PlotAxis(limit: min(most, high * 1.5) * 1000, start: left, end: right, labels: 5)
        let y = PlotAxis(limit: 100, start: bottom, end: top, labels: 5)
        drawing.frame(x, y, yUnit: " %")
        let count = values.sorted.count
        let stride = max(1, count / 400)
        var points = [(x(0), y(0))]
        for (index, value) in values.sorted.enumerated() where index % stride == 0 || index == count - 1 {
            let milliseconds = value * 1000
            guard milliseconds <= x.limit * 1.000_001 else { break }
            // A step: nothing between two values is at most the later one.
            points.append((x(milliseconds), points.last?.1 ?? y(0)))
            points.append((x(milliseconds), y(100 * Double(index + 1) / Double(count))))
        }
        drawing.line(points, color: Self.blue, width: 2)
        for (label, share, height) in [("p50", 0.5, 60.0), ("p95", 0.95, 38.0), ("p99", 0.99, 16.0)] {
            guard let value = values(share) else { continue }
            let at = x(value * 1000)
            drawing.line([(at, y(0)), (at, y(share * 100))], color: Self.orange, width: 1, dashes: true)
            // Labels stay inside the panel, on the side where there is room.
            let isRight = at > (left + right) / 2
            drawing.text(
                at + (isRight ? -5 : 5), bottom - height, "\(label) \(number(value * 1000))", color: Self.orange,
                anchor: isRight ? "end" : "start")
        }
        if most * 1000 > x.limit {
            drawing.text(right, top - 8, "largest \(number(most * 1000))", color: "#444", anchor: "end")
        }
    }

    /// A bar for each request, the part before its first token paler.
    private func timeline(_ drawing: inout Drawing, _ x: PlotAxis, top: Double, bottom: Double) {
        let rows = Double(max(result.samples.count, 1))
        let y = PlotAxis(limit: rows, start: top, end: bottom, labels: 5)
        drawing.text(x.start, top - 12, "Requests in order of arrival", weight: "bold")
        drawing.box(x.end - 340, top - 22, 12, 12, Self.pale)
        drawing.text(x.end - 322, top - 12, "until the first token")
        drawing.box(x.end - 180, top - 22, 12, 12, Self.blue)
        drawing.text(x.end - 162, top - 12, "from first token to last")
        drawing.frame(x, y)
        let height = (bottom - top) / rows
        for (row, sample) in result.samples.enumerated() {
            guard let first = sample.tokenTimes.first, let last = sample.tokenTimes.last else { continue }
            let at = top + Double(row) * height
            let thick = height > 4 ? height - 1 : height
            drawing.box(x(sample.arrival), at, max(x(first) - x(sample.arrival), 0.5), thick, Self.pale)
            drawing.box(x(first), at, max(x(last) - x(first), 0.5), thick, Self.blue)
        }
    }

    /// Tokens that left, by time.
    private func throughput(_ drawing: inout Drawing, _ x: PlotAxis, top: Double, bottom: Double) {
        let bins = 80
        let width = x.limit / Double(bins)
        var counts = [Double](repeating: 0, count: bins)
        for time in result.samples.lazy.flatMap(\.tokenTimes) { counts[min(bins - 1, max(0, Int(time / width)))] += 1 }
        let rates = counts.map { $0 / width }
        let y = PlotAxis(limit: max((rates.max() ?? 0) * 1.05, 1), start: bottom, end: top, labels: 4)
        drawing.text(x.start, top - 12, "Output tokens a second", weight: "bold")
        drawing.frame(x, y, xName: "seconds from the start")
        var points: [(Double, Double)] = []
        for (bin, rate) in rates.enumerated() {
            points.append((x(Double(bin) * width), y(rate)))
            points.append((x(Double(bin + 1) * width), y(rate)))
        }
        drawing.line(points, color: Self.blue, width: 1.5)
    }

    private func number(_ value: Double) -> String { String(format: value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value) }
}

/// SVG elements in the order they are painted.
private struct Drawing {
    var elements: [String] = []

    mutating func text(
        _ x: Double, _ y: Double, _ text: String, size: Int = 13, color: String = "#111", weight: String = "normal",
        anchor: String = "start"
    ) {
        let escaped = text.map { character in
            switch character {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            default: String(character)
            }
        }.joined()
        elements.append(
            "<text x=\"\(at(x))\" y=\"\(at(y))\" font-size=\"\(size)\" font-weight=\"\(weight)\" fill=\"\(color)\" "
                + "text-anchor=\"\(anchor)\">\(escaped)</text>")
    }

    mutating func line(_ points: [(Double, Double)], color: String, width: Double, dashes: Bool = false) {
        let list = points.map { "\(at($0.0)),\(at($0.1))" }.joined(separator: " ")
        elements.append(
            "<polyline points=\"\(list)\" fill=\"none\" stroke=\"\(color)\" stroke-width=\"\(width)\""
                + (dashes ? " stroke-dasharray=\"4 3\"" : "") + "/>")
    }

    mutating func box(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ color: String) {
        elements.append(
            "<rect x=\"\(at(x))\" y=\"\(at(y))\" width=\"\(at(width))\" height=\"\(at(height))\" fill=\"\(color)\"/>")
    }

    /// Both axes with their labels, and fine lines across.
    mutating func frame(_ x: PlotAxis, _ y: PlotAxis, xName: String = "", yUnit: String = "") {
        let (top, bottom) = (min(y.start, y.end), max(y.start, y.end))
        for tick in y.ticks {
            line([(x.start, y(tick)), (x.end, y(tick))], color: "#e4e4e4", width: 1)
            text(x.start - 8, y(tick) + 4, y.label(tick) + yUnit, size: 12, color: "#444", anchor: "end")
        }
        for tick in x.ticks {
            line([(x(tick), bottom), (x(tick), bottom + 5)], color: "#444", width: 1)
            text(x(tick), bottom + 19, x.label(tick), size: 12, color: "#444", anchor: "middle")
        }
        line([(x.start, top), (x.start, bottom), (x.end, bottom)], color: "#444", width: 1)
        if !xName.isEmpty { text((x.start + x.end) / 2, bottom + 38, xName, size: 12, color: "#444", anchor: "middle") }
    }

    private func at(_ value: Double) -> String { String(format: "%.1f", value) }
}
