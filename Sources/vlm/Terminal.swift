import Foundation

/// Standard output and error.
enum Terminal {
    static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }
    static var inputIsTerminal: Bool { isatty(STDIN_FILENO) == 1 }

    /// Writes text to standard output at once, without a line end.
    static func write(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }

    /// Writes one line to standard error.
    static func error(_ message: String) {
        let line = message.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }.joined(
            separator: " ")
        FileHandle.standardError.write(Data("vlm: \(line)\n".utf8))
    }

    /// Writes lines to standard error as they are.
    static func lines(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }

    /// Writes a note to standard error if a person is looking.
    static func status(_ text: String) {
        guard errorIsTerminal else { return }
        FileHandle.standardError.write(Data(text.utf8))
    }
}

/// A line on standard error that shows how far something is; silent when standard error is not a terminal.
final class ProgressBar: Sendable {
    private let title: String
    private static let width = 30

    init(_ title: String) { self.title = title }

    /// Draws the bar at `fraction` between 0 and 1.
    func update(_ fraction: Double) {
        let filled = Int(min(max(fraction, 0), 1) * Double(ProgressBar.width))
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: ProgressBar.width - filled)
        Terminal.status("\r\(title) \(bar) \(Int(fraction * 100))%")
    }

    /// Takes the line away.
    func clear() { Terminal.status("\r\u{1B}[2K") }
}
