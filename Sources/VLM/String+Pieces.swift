extension String {
    /// The text between occurrences of `mark`, compared byte by byte: a mark followed by a combining character is still one.
    func pieces(separatedBy mark: String) -> [String] {
        let (bytes, pattern) = (Array(utf8), Array(mark.utf8))
        guard let first = pattern.first, bytes.count >= pattern.count else { return [self] }
        var pieces: [String] = []
        var start = 0
        var index = 0
        while index <= bytes.count - pattern.count {
            if bytes[index] == first, bytes[index..<index + pattern.count].elementsEqual(pattern) {
                pieces.append(String(decoding: bytes[start..<index], as: UTF8.self))
                index += pattern.count
                start = index
            } else {
                index += 1
            }
        }
        pieces.append(String(decoding: bytes[start...], as: UTF8.self))
        return pieces
    }
}
