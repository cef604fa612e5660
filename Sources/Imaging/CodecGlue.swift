import CImageCodecs
import CImageKernels

/// Calls into the C codecs: results to errors, headers to checked sizes, and pixels into arrays.
enum CodecGlue {
    typealias HeaderReader = (UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<cimage_header>?) -> cimage_result

    /// Reads a header and checks its size.
    static func header(
        _ bytes: UnsafeRawBufferPointer, limits: ImageLimits, read: HeaderReader
    ) throws(ImageError) -> cimage_header {
        var header = cimage_header()
        try check(read(bytes.bindMemory(to: UInt8.self).baseAddress, bytes.count, &header))
        try limits.check(width: Int(header.width), height: Int(header.height))
        return header
    }

    /// Allocates width * height * 3 bytes and lets `decode` fill them.
    static func pixels(
        width: Int, height: Int, decode: (UnsafeMutablePointer<UInt8>) -> cimage_result
    ) throws(ImageError) -> [UInt8] {
        var result = cimage_result()
        let count = width * height * 3
        let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            guard let base = buffer.baseAddress else { return }
            cik_prefer_large_pages(base, count)
            result = decode(base)
            // After a failure part of the buffer holds no value, so none of it is kept.
            initialized = result.status == CIMAGE_OK ? count : 0
        }
        try check(result)
        return pixels
    }

    static func check(_ result: cimage_result) throws(ImageError) {
        guard result.status != CIMAGE_OK else { return }
        let message = withUnsafeBytes(of: result.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        switch result.status {
        case CIMAGE_TRUNCATED: throw .truncated(message)
        case CIMAGE_UNSUPPORTED:
            throw ImageError(.unsupported, message, fix: "save the picture as an ordinary JPEG or PNG")
        case CIMAGE_OUT_OF_MEMORY: throw ImageError(.outOfMemory, message, fix: "scale the picture down")
        default: throw .corrupt(message)
        }
    }
}

extension ImageError {
    static func truncated(_ reason: String) -> ImageError {
        ImageError(.truncated, reason, fix: "download or copy the file again, completely")
    }

    static func corrupt(_ reason: String) -> ImageError {
        ImageError(.corrupt, reason, fix: "the file is damaged: save the picture again")
    }
}
