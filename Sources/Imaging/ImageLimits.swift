/// What a picture may cost, and where it may come from. Every limit is checked before the cost arises.
public struct ImageLimits: Sendable, Equatable {
    /// The largest file, answer or data URL body in bytes.
    public var maxBytes: Int
    /// The largest picture in pixels, read from its header before it is decoded.
    public var maxPixels: Int
    /// How many redirects are followed.
    public var maxRedirects: Int
    /// Seconds for a whole fetch: resolving the name, connecting, redirects and the body.
    public var timeoutSeconds: Double
    /// Whether private, loopback, link-local and other non-public addresses may be fetched from.
    public var allowPrivateAddresses: Bool
    /// Whether http and https addresses may be fetched at all.
    public var allowRemote: Bool
    /// Whether paths and file URLs may be read at all.
    public var allowLocal: Bool

    /// Limits that suit a person at a terminal; a server should also forbid local files.
    public init(
        maxBytes: Int = 64 << 20, maxPixels: Int = 100_000_000, maxRedirects: Int = 3, timeoutSeconds: Double = 10,
        allowPrivateAddresses: Bool = false, allowRemote: Bool = true, allowLocal: Bool = true
    ) {
        self.maxBytes = maxBytes
        self.maxPixels = maxPixels
        self.maxRedirects = maxRedirects
        self.timeoutSeconds = timeoutSeconds
        self.allowPrivateAddresses = allowPrivateAddresses
        self.allowRemote = allowRemote
        self.allowLocal = allowLocal
    }

    /// A filter's weights take memory by the side's length: a strip of a hundred million pixels would need gigabytes.
    private static let longestSide = 1 << 20

    /// - Throws: ``ImageError`` of kind `tooManyPixels`, or `corrupt` for a picture without pixels.
    package func check(width: Int, height: Int) throws(ImageError) {
        guard width > 0, height > 0 else {
            throw ImageError(.corrupt, "its header says \(width)x\(height) pixels", fix: "save the picture again")
        }
        guard max(width, height) <= Self.longestSide else {
            throw ImageError(
                .tooManyPixels, "\(width)x\(height) pixels are more than \(Self.longestSide) on one side",
                fix: "crop the picture or cut it into several")
        }
        let (area, overflow) = width.multipliedReportingOverflow(by: height)
        guard !overflow, area <= maxPixels, area <= Int.max / 16 else {
            throw ImageError(
                .tooManyPixels, "\(width)x\(height) pixels are more than the limit of \(maxPixels)",
                fix: "scale the picture down or raise maxPixels")
        }
    }

    /// - Throws: ``ImageError`` of kind `tooManyBytes`.
    package func check(bytes: Int) throws(ImageError) {
        guard bytes <= maxBytes else {
            throw ImageError(
                .tooManyBytes, "it holds \(bytes) bytes, more than the limit of \(maxBytes)",
                fix: "use a smaller file or raise maxBytes")
        }
    }
}
