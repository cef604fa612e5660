/// Unicode normalization with the tables of the `tokenizers` library, whose Unicode version is older than Swift's.
enum NormalizationForm: String, Sendable {
    case nfc = "NFC"
    case nfd = "NFD"
    case nfkc = "NFKC"
    case nfkd = "NFKD"

    private var isCompatible: Bool { self == .nfkc || self == .nfkd }
    private var composes: Bool { self == .nfc || self == .nfkc }

    /// `text` in this form. Only stretches around characters that can change are worked on.
    func normalize(_ text: [UInt8]) -> [UInt8] {
        let firstActive = text.firstIndex { $0 >= 0x80 }
        guard firstActive != nil else { return text }
        let data = NormalizationData.shared
        let active = data.activity(compatible: isCompatible, composes: composes)
        return text.withUnsafeBufferPointer { buffer in
            var output: [UInt8] = []
            var copied = 0
            var at = 0
            // Start of the latest inert character: a mark after it may combine with it.
            var inert = 0
            while at < buffer.count {
                let (scalar, length) = decodeScalar(buffer, at)
                guard active.contains(scalar) else {
                    inert = at
                    at += length
                    continue
                }
                while at < buffer.count {
                    let (scalar, length) = decodeScalar(buffer, at)
                    guard active.contains(scalar) else { break }
                    at += length
                }
                if output.isEmpty { output.reserveCapacity(buffer.count + 16) }
                let start = max(copied, inert)
                output.append(contentsOf: buffer[copied..<start])
                normalize(UnsafeBufferPointer(rebasing: buffer[start..<at]), data, into: &output)
                copied = at
                inert = at
            }
            guard copied > 0 else { return text }
            output.append(contentsOf: buffer[copied...])
            return output
        }
    }

    private func normalize(_ text: UnsafeBufferPointer<UInt8>, _ data: NormalizationData, into output: inout [UInt8]) {
        var scalars: [UInt32] = []
        var at = 0
        while at < text.count {
            let (scalar, length) = decodeScalar(text, at)
            data.decompose(scalar, compatible: isCompatible, into: &scalars)
            at += length
        }
        // Canonical order: runs of marks sorted by class, equal classes in their order.
        var classes = scalars.map { data.combiningClass(of: $0) }
        for position in scalars.indices.dropFirst() where classes[position] != 0 {
            var place = position
            while place > 0, classes[place - 1] > classes[place] {
                scalars.swapAt(place - 1, place)
                classes.swapAt(place - 1, place)
                place -= 1
            }
        }
        if composes { data.compose(&scalars, classes) }
        for scalar in scalars { output.append(scalar: scalar) }
    }
}

/// Decompositions, combining classes and compositions, expanded from `UnicodeData` on first use.
struct NormalizationData: Sendable {
    static let shared = NormalizationData()

    private let canonical: [UInt32: [UInt32]]
    private let compatible: [UInt32: [UInt32]]
    private let classes: [UInt32: UInt8]
    private let compositions: [UInt64: UInt32]
    private let composing: ScalarBitmap
    private let decomposing: ScalarBitmap
    private let compatibleComposing: ScalarBitmap
    private let compatibleDecomposing: ScalarBitmap

    private init() {
        canonical = Self.mapping(UnicodeData.canonical)
        compatible = Self.mapping(UnicodeData.compatible)
        classes = Self.mapping(UnicodeData.combining).compactMapValues { $0.first.map { UInt8(truncatingIfNeeded: $0) } }
        var compositions: [UInt64: UInt32] = [:]
        var marks = ScalarBitmap()
        var composed = Set<UInt32>()
        for (scalar, pair) in Self.mapping(UnicodeData.compositions) where pair.count == 2 {
            compositions[UInt64(pair[0]) << 32 | UInt64(pair[1])] = scalar
            composed.insert(scalar)
            marks.insert(pair[1])
        }
        self.compositions = compositions
        for scalar in classes.keys { marks.insert(scalar) }
        var composing = marks
        for scalar in UInt32(0x1161)...0x1175 { composing.insert(scalar) }
        for scalar in UInt32(0x11A8)...0x11C2 { composing.insert(scalar) }
        for scalar in canonical.keys where !composed.contains(scalar) { composing.insert(scalar) }
        var decomposing = marks
        for scalar in canonical.keys { decomposing.insert(scalar) }
        for scalar in UInt32(0xAC00)...0xD7A3 { decomposing.insert(scalar) }
        self.composing = composing
        self.decomposing = decomposing
        for scalar in compatible.keys {
            composing.insert(scalar)
            decomposing.insert(scalar)
        }
        compatibleComposing = composing
        compatibleDecomposing = decomposing
    }

    /// Reads what `mapping_string` of unicode.py writes.
    static func mapping(_ text: StaticString) -> [UInt32: [UInt32]] {
        var result: [UInt32: [UInt32]] = [:]
        var reader = AsciiReader(text)
        var at = 0
        while reader.peek != nil {
            at += reader.hexadecimal()
            if reader.next() == UInt8(ascii: "=") {
                var target = [UInt32(reader.hexadecimal())]
                while reader.next() == UInt8(ascii: ".") { target.append(UInt32(reader.hexadecimal())) }
                result[UInt32(at)] = target
                at += 1
            } else {
                let count = reader.hexadecimal()
                _ = reader.next()
                let step = reader.hexadecimal()
                _ = reader.next()
                let target = reader.hexadecimal()
                _ = reader.next()
                for position in 0..<count { result[UInt32(at + position * step)] = [UInt32(target + position * step)] }
                at += (count - 1) * step + 1
            }
        }
        return result
    }

    /// The scalars that a form may change or combine with the one before.
    func activity(compatible: Bool, composes: Bool) -> ScalarBitmap {
        switch (compatible, composes) {
        case (false, true): composing
        case (false, false): decomposing
        case (true, true): compatibleComposing
        case (true, false): compatibleDecomposing
        }
    }

    func combiningClass(of scalar: UInt32) -> UInt8 { scalar < 0x300 ? 0 : classes[scalar] ?? 0 }

    func decompose(_ scalar: UInt32, compatible wantsCompatible: Bool, into output: inout [UInt32]) {
        if 0xAC00...0xD7A3 ~= scalar {
            let index = scalar - 0xAC00
            output.append(0x1100 + index / 588)
            output.append(0x1161 + index % 588 / 28)
            if index % 28 != 0 { output.append(0x11A7 + index % 28) }
        } else if wantsCompatible, let target = compatible[scalar] {
            output += target
        } else if let target = canonical[scalar] {
            output += target
        } else {
            output.append(scalar)
        }
    }

    /// Canonical composition in place (Unicode 3.11, D117).
    func compose(_ scalars: inout [UInt32], _ classes: [UInt8]) {
        var result: [UInt32] = []
        var starter: Int?
        var lastClass: UInt8 = 0
        for (position, scalar) in scalars.enumerated() {
            let kind = classes[position]
            // Blocked when a character between has no lower class.
            if let starter, result.count - 1 == starter || lastClass < kind,
                let composed = composition(result[starter], scalar)
            {
                result[starter] = composed
                continue
            }
            if kind == 0 { starter = result.count }
            lastClass = kind
            result.append(scalar)
        }
        scalars = result
    }

    private func composition(_ a: UInt32, _ b: UInt32) -> UInt32? {
        if 0x1100...0x1112 ~= a, 0x1161...0x1175 ~= b { return 0xAC00 + (a - 0x1100) * 588 + (b - 0x1161) * 28 }
        if 0xAC00...0xD7A3 ~= a, (a - 0xAC00) % 28 == 0, 0x11A8...0x11C2 ~= b { return a + b - 0x11A7 }
        return compositions[UInt64(a) << 32 | UInt64(b)]
    }
}

/// A set of scalars, one bit each.
struct ScalarBitmap: Sendable {
    private var words = [UInt64](repeating: 0, count: 0x110000 / 64)

    mutating func insert(_ scalar: UInt32) { words[Int(scalar >> 6)] |= 1 << UInt64(scalar & 63) }

    @inline(__always)
    func contains(_ scalar: UInt32) -> Bool { words[Int(scalar >> 6)] >> UInt64(scalar & 63) & 1 != 0 }
}
