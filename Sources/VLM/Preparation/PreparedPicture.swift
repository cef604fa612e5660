import Engine
import Imaging

/// A picture as the engine takes it, and what is kept of its source.
struct PreparedPicture: Sendable {
    /// The same object for the same pixels and parameters.
    let image: InternedImage
    /// `data` or `image`: all there is of the picture, so that nothing has to be read or fetched again.
    let source: ImageSource
    /// Size of the decoded picture in pixels.
    let width: Int
    let height: Int
    /// Seconds of reading or fetching and decoding, and of resizing, cutting and normalising.
    let load: Double
    let preprocess: Double

    /// Bytes of the file, body or data URL that was decoded; 0 where pixels were given.
    var fileBytes: Int { if case .data(let bytes) = source { bytes.count } else { 0 } }
}
