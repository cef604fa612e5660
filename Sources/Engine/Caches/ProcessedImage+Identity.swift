import Foundation
import Imaging
package import Models

extension ProcessedImage {
    /// A hash of the pixels and of the sizes they are seen in.
    package var contentHash: ContentHash {
        let sizes = [tokenCount, dimensions.count] + dimensions + grid
        var hash = sizes.withUnsafeBytes { ContentHash($0) }
        if let layout { hash = hash.followed(by: layout.indices.withUnsafeBytes { ContentHash($0) }) }
        switch content {
        case .pixels(let pixels):
            hash = hash.followed(by: pixels.withUnsafeBytes { ContentHash($0) })
        case .pictures(let pictures):
            for picture in pictures.samples {
                let size = [picture.width, picture.height].withUnsafeBytes { ContentHash($0) }
                hash = hash.followed(by: size).followed(by: picture.pixels.withUnsafeBytes { ContentHash($0) })
            }
        }
        return hash
    }

    /// Whether the vision encoder cannot tell the two apart: every byte and parameter is the same.
    package func isIdentical(to other: ProcessedImage) -> Bool {
        guard tokenCount == other.tokenCount, dimensions == other.dimensions, grid == other.grid, layout == other.layout else {
            return false
        }
        switch (content, other.content) {
        case (.pixels(let a), .pixels(let b)):
            return sameBytes(a, b)
        case (.pictures(let a), .pictures(let b)):
            guard a.cut == b.cut, a.normalization == b.normalization else { return false }
            switch (a.source, b.source) {
            case (.pictures, .pictures): break
            case (.pending(let a), .pending(let b)): if !a.isSameWork(as: b) { return false }
            default: return false
            }
            let (a, b) = (a.samples, b.samples)
            return a.count == b.count
                && zip(a, b).allSatisfy { $0.width == $1.width && $0.height == $1.height && sameBytes($0.pixels, $1.pixels) }
        default:
            return false
        }
    }

    /// Elements that are bit for bit the same, which NaN and zeros of both signs make another question than `==`.
    private func sameBytes<Element: BitwiseCopyable>(_ a: [Element], _ b: [Element]) -> Bool {
        guard a.count == b.count else { return false }
        return a.withUnsafeBytes { a in
            b.withUnsafeBytes { b in
                guard let start = a.baseAddress, let other = b.baseAddress else { return true }
                return start == other || memcmp(start, other, a.count) == 0
            }
        }
    }
}

extension CutPictures {
    /// The 8-bit pictures as they are held, resized or not.
    fileprivate var samples: [RGBImage] {
        switch source {
        case .pictures(let pictures): pictures
        case .pending(let resize): [resize.source]
        }
    }
}
