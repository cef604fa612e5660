/// A normalizer of `tokenizer.json`: rewrites text before it is cut into words.
indirect enum Normalizer: Sendable {
    case unicode(NormalizationForm)
    case lowercase
    case strip(left: Bool, right: Bool)
    case stripAccents
    case replace(SplitPattern, [UInt8])
    case prepend([UInt8])
    case precompiled(PrecompiledCharsMap)
    case bert(BertNormalizer)
    case nmt
    case byteLevel
    case sequence([Normalizer])
    /// SentencePiece's own normalizer, of a raw `.model` file.
    case sentencePiece(SentencePieceNormalizer)

    func normalize(_ text: [UInt8]) throws(TokenizerError) -> [UInt8] {
        switch self {
        case .unicode(let form): return form.normalize(text)
        case .lowercase: return CaseMapping.shared.lowercase(text)
        case .strip(let left, let right): return Self.strip(text, left: left, right: right)
        case .stripAccents: return text.filteringScalars { !ScalarSet.accents.contains($0) }
        case .replace(let pattern, let content): return try pattern.replace(in: text, with: content)
        case .prepend(let prefix): return text.isEmpty ? text : prefix + text
        case .precompiled(let map): return map.normalize(text)
        case .bert(let normalizer): return normalizer.normalize(text)
        case .nmt: return Self.nmt(text)
        case .byteLevel:
            var output: [UInt8] = []
            text.withUnsafeBufferPointer { ByteLevelAlphabet.spell($0, into: &output) }
            return output
        case .sequence(let steps):
            var text = text
            for step in steps { text = try step.normalize(text) }
            return text
        case .sentencePiece(let normalizer): return normalizer.normalize(text)
        }
    }

    private static func strip(_ text: [UInt8], left: Bool, right: Bool) -> [UInt8] {
        text.withUnsafeBufferPointer { buffer in
            var (start, end) = (0, buffer.count)
            while left, start < end {
                let (scalar, length) = decodeScalar(buffer, start)
                guard ScalarSet.whitespace.contains(scalar) else { break }
                start += length
            }
            while right, start < end {
                let last = scalarStart(before: end, in: buffer)
                guard ScalarSet.whitespace.contains(decodeScalar(buffer, last).scalar) else { break }
                end = last
            }
            return Array(buffer[start..<end])
        }
    }

    /// SentencePiece's nmt rules: some controls vanish, others and odd spaces become spaces (normalizers/unicode.rs).
    private static func nmt(_ text: [UInt8]) -> [UInt8] {
        text.mappingScalars { scalar, output in
            switch scalar {
            case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: break
            case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: output.append(0x20)
            default: output.append(scalar: scalar)
            }
        }
    }
}

/// What BERT does to text before splitting it (normalizers/bert.rs).
struct BertNormalizer: Sendable {
    let cleansText: Bool
    let spacesChinese: Bool
    let stripsAccents: Bool
    let lowercases: Bool

    func normalize(_ text: [UInt8]) -> [UInt8] {
        var text = text
        if cleansText {
            text = text.mappingScalars { scalar, output in
                guard scalar != 0, scalar != 0xFFFD, !ScalarSet.bertControl.contains(scalar) else { return }
                output.append(scalar: ScalarSet.whitespace.contains(scalar) ? 0x20 : scalar)
            }
        }
        if spacesChinese {
            text = text.mappingScalars { scalar, output in
                let isChinese = Self.isChinese(scalar)
                if isChinese { output.append(0x20) }
                output.append(scalar: scalar)
                if isChinese { output.append(0x20) }
            }
        }
        if stripsAccents {
            text = NormalizationForm.nfd.normalize(text).filteringScalars { !ScalarSet.bertNonspacing.contains($0) }
        }
        return lowercases ? CaseMapping.shared.lowercase(text) : text
    }

    private static func isChinese(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F, 0x2B920...0x2CEAF,
            0xF900...0xFAFF, 0x2F800...0x2FA1F:
            true
        default: false
        }
    }
}

/// Lower case by scalar, as Rust's `char::to_lowercase`.
struct CaseMapping: Sendable {
    static let shared = CaseMapping()
    private let lower = NormalizationData.mapping(UnicodeData.lowercase)

    func lowercase(_ text: [UInt8]) -> [UInt8] {
        text.mappingScalars { scalar, output in
            if scalar < 0x80 {
                output.append(0x41...0x5A ~= scalar ? UInt8(scalar | 0x20) : UInt8(scalar))
            } else if let target = lower[scalar] {
                for scalar in target { output.append(scalar: scalar) }
            } else {
                output.append(scalar: scalar)
            }
        }
    }
}

extension [UInt8] {
    /// UTF-8 text rewritten scalar by scalar.
    func mappingScalars(_ body: (UInt32, inout [UInt8]) -> Void) -> [UInt8] {
        withUnsafeBufferPointer { buffer in
            var output: [UInt8] = []
            output.reserveCapacity(buffer.count)
            var at = 0
            while at < buffer.count {
                let (scalar, length) = decodeScalar(buffer, at)
                body(scalar, &output)
                at += length
            }
            return output
        }
    }

    /// UTF-8 text without the scalars that `isIncluded` refuses.
    func filteringScalars(_ isIncluded: (UInt32) -> Bool) -> [UInt8] {
        mappingScalars { scalar, output in if isIncluded(scalar) { output.append(scalar: scalar) } }
    }
}

extension SplitPattern {
    /// `text` with every match replaced.
    func replace(in text: [UInt8], with content: [UInt8]) throws(TokenizerError) -> [UInt8] {
        let result: Result<[UInt8]?, TokenizerError> = text.withUnsafeBufferPointer { buffer in
            var output: [UInt8] = []
            var copied = 0
            var changed = false
            do throws(TokenizerError) {
                try forEachMatch(in: buffer) { start, end in
                    output.append(contentsOf: buffer[copied..<start])
                    output.append(contentsOf: content)
                    copied = end
                    changed = true
                }
            } catch {
                return .failure(error)
            }
            guard changed else { return .success(nil) }
            output.append(contentsOf: buffer[copied...])
            return .success(output)
        }
        return try result.get() ?? text
    }
}
