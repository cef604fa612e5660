import Foundation

/// A linear axis of a plot: values from 0 to `limit` on pixels from `start` to `end`.
struct PlotAxis {
    let limit: Double
    let start: Double
    let end: Double
    /// Distance of two labelled values: 1, 2 or 5 times a power of ten.
    let step: Double

    /// - Parameter labels: about how many labelled values there should be.
    init(limit: Double, start: Double, end: Double, labels: Int = 6) {
        let limit = limit.isFinite && limit > 0 ? limit : 1
        let rough = limit / Double(max(labels, 1))
        let power = pow(10, floor(log10(rough)))
        step = ([1, 2, 5].first { $0 * power >= rough } ?? 10) * power
        self.limit = limit
        self.start = start
        self.end = end
    }

    /// Where a value lies; values beyond the limit lie at the end.
    func callAsFunction(_ value: Double) -> Double { start + (end - start) * min(max(value / limit, 0), 1) }

    /// Labelled values.
    var ticks: [Double] { (0...Int((limit / step * 1.000_001).rounded(.down))).map { Double($0) * step } }

    /// A tick's label, with as many decimals as the step has.
    func label(_ tick: Double) -> String {
        let decimals = max(0, -Int(floor(log10(step) + 1e-9)))
        return String(format: "%.\(decimals)f", tick)
    }
}
