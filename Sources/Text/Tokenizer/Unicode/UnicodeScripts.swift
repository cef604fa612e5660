/// Properties that a regular expression names, expanded when it does.
enum UnicodeScriptRanges {
    static func set(named name: String) -> ScalarSet? {
        UnicodePropertyData.ranges(named: name).map { ScalarSet(ranges: $0) }
    }
}

/// Scripts as the UnicodeScripts pre-tokenizer tells them apart: Japanese kana count as Han, spaces and some marks belong
/// to any script.
struct UnicodeScripts: Sendable {
    private static let shared = UnicodeScripts()

    /// First scalar of each run and its script; script 0 goes with any.
    private let starts: [UInt32]
    private let scripts: [UInt16]

    private init() {
        var starts: [UInt32] = []
        var scripts: [UInt16] = []
        var reader = AsciiReader(UnicodeData.scripts)
        var at = 0
        while reader.peek != nil {
            let script = reader.hexadecimal()
            _ = reader.next()
            starts.append(UInt32(at))
            scripts.append(UInt16(script))
            at += reader.hexadecimal()
            _ = reader.next()
        }
        self.starts = starts
        self.scripts = scripts
    }

    private func script(of scalar: UInt32) -> UInt16 {
        var low = 0
        var high = starts.count
        while low < high {
            let middle = (low + high) / 2
            if starts[middle] <= scalar { low = middle + 1 } else { high = middle }
        }
        return scripts[low - 1]
    }

    /// Calls `emit` with each run of one script.
    static func split(_ text: UnsafeBufferPointer<UInt8>, _ emit: (Int, Int) -> Void) {
        // Characters of any script in front of the first script belong to no piece: the library drops them.
        var last: UInt16?
        var start: Int?
        var at = 0
        while at < text.count {
            let (scalar, length) = decodeScalar(text, at)
            let script = shared.script(of: scalar)
            if script != 0, last != script {
                if let start { emit(start, at) }
                start = at
            }
            if script != 0 { last = script }
            at += length
        }
        if let start { emit(start, text.count) }
    }
}
