import Dispatch
import Foundation
import Synchronization

/// Gets pictures from wherever they are: checks limits, reads or fetches, decodes, and turns them upright.
package struct ImageLoader: Sendable {
    package let limits: ImageLimits

    /// Reading, fetching and decoding block, so they stay off Swift's cooperative threads.
    private static let queue = DispatchQueue(label: "vlm.images", attributes: .concurrent)

    package init(limits: ImageLimits = ImageLimits()) {
        self.limits = limits
    }

    /// Loads one picture.
    ///
    /// - Parameter index: the picture's position in the prompt, for errors.
    /// - Throws: ``ImageError`` that names the index and the source. Cancelling the task ends a fetch within about a second.
    package func load(_ source: ImageSource, index: Int? = nil) async throws(ImageError) -> RGBImage {
        let flag = CancellationFlag()
        let result: Result<RGBImage, ImageError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                Self.queue.async {
                    continuation.resume(
                        returning: Result { () throws(ImageError) in try loadBlocking(source, index: index) { flag.isSet } })
                }
            }
        } onCancel: {
            flag.set()
        }
        return try result.get()
    }

    /// The same on the calling thread.
    package func loadBlocking(
        _ source: ImageSource, index: Int? = nil, isCancelled: @escaping @Sendable () -> Bool = { false }
    ) throws(ImageError) -> RGBImage {
        try decodeBlocking(try readBlocking(source, index: index, isCancelled: isCancelled), index: index, name: source.name)
    }

    /// Gets the bytes of a file, an address or a data URL; pixels stay as they are. Nothing is decoded.
    ///
    /// - Parameter index: the picture's position in the prompt, for errors.
    /// - Returns: `data` or `image`, which hold all there is of the picture.
    /// - Throws: ``ImageError`` that names the index and the source. Cancelling the task ends a fetch within about a second.
    package func read(_ source: ImageSource, index: Int? = nil) async throws(ImageError) -> ImageSource {
        switch source {
        case .data, .image: return source
        case .path, .url: break
        }
        let flag = CancellationFlag()
        let result: Result<ImageSource, ImageError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // A queue of its own has a thread of its own: a server that does not answer holds up no other picture.
                DispatchQueue(label: "vlm.images.read").async {
                    continuation.resume(
                        returning: Result { () throws(ImageError) in try readBlocking(source, index: index) { flag.isSet } })
                }
            }
        } onCancel: {
            flag.set()
        }
        return try result.get()
    }

    private func readBlocking(
        _ source: ImageSource, index: Int?, isCancelled: @escaping @Sendable () -> Bool
    ) throws(ImageError) -> ImageSource {
        do throws(ImageError) {
            if case .image = source { return source }
            let bytes = try bytes(of: source, isCancelled: isCancelled)
            guard !isCancelled() else { throw ImageError.cancelled }
            return .data(bytes)
        } catch {
            throw error.locating(index: index, source: source.name)
        }
    }

    /// Decodes what ``read(_:index:)`` gave, on the calling thread.
    ///
    /// - Parameter name: what errors call the picture.
    package func decodeBlocking(_ source: ImageSource, index: Int? = nil, name: String) throws(ImageError) -> RGBImage {
        do throws(ImageError) {
            switch source {
            case .image(let image):
                try limits.check(width: image.width, height: image.height)
                return image
            case .data(let bytes): return try ImageDecoder.decode(bytes, limits: limits)
            case .path, .url: return try decodeBlocking(readBlocking(source, index: index) { false }, index: index, name: name)
            }
        } catch {
            throw error.locating(index: index, source: name)
        }
    }

    /// Bytes of memory that decoding takes, by the picture's header.
    package func decodedBytes(_ source: ImageSource) -> Int {
        switch source {
        case .image: 0
        case .data(let bytes): 3 * ImageDecoder.pixelCount(bytes, limits: limits)
        case .path, .url: 3 * limits.maxPixels
        }
    }

    private func bytes(of source: ImageSource, isCancelled: @escaping @Sendable () -> Bool) throws(ImageError) -> [UInt8] {
        switch source {
        case .data(let bytes): return bytes
        case .image(let image): return image.pixels
        case .path(let path): return try read(path)
        case .url(let url):
            switch ImageSource.scheme(of: url) {
            case "data": return try DataURL.decode(url, limits: limits)
            case "file": return try read(ImageSource.path(ofFileURL: url))
            default:
                let remote = try RemoteAddress(url)
                guard limits.allowRemote else {
                    throw ImageError(
                        .forbidden, "fetching from \(remote.host) is not allowed",
                        fix: "send the picture itself or set allowRemote")
                }
                return try RemoteFetch(limits: limits, isCancelled: isCancelled).fetch(url)
            }
        }
    }

    // MARK: - Files

    private func read(_ path: String) throws(ImageError) -> [UInt8] {
        guard limits.allowLocal else {
            throw ImageError(
                .forbidden, "reading files of this machine is not allowed", fix: "send the picture itself or set allowLocal")
        }
        // Without waiting, so that a pipe that nobody writes to cannot hold the thread.
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else {
            let code = errno
            if code == ENOENT || code == ENOTDIR {
                throw ImageError(.notFound, "there is no such file", fix: "check the path")
            }
            throw ImageError(.unreadable, String(cString: strerror(code)), fix: "check the file's permissions")
        }
        defer { close(descriptor) }
        var information = stat()
        guard fstat(descriptor, &information) == 0 else {
            throw ImageError(.unreadable, String(cString: strerror(errno)), fix: "check the file")
        }
        guard information.st_mode & S_IFMT == S_IFREG else {
            throw ImageError(.unreadable, "it is a folder or a device and not a file", fix: "give the path of a picture file")
        }
        let size = Int(information.st_size)
        try limits.check(bytes: size)
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size, let base = buffer.baseAddress {
                let got = Foundation.read(descriptor, base + count, size - count)
                if got > 0 {
                    count += got
                } else if got == 0 {
                    break
                } else if errno != EINTR {
                    failure = errno
                    break
                }
            }
        }
        guard failure == 0 else {
            throw ImageError(.unreadable, String(cString: strerror(failure)), fix: "check the file and its disk")
        }
        return bytes
    }
}

/// Set when the task that waits is cancelled; read by the thread that works.
private final class CancellationFlag: Sendable {
    private let flag = Atomic(false)

    var isSet: Bool { flag.load(ordering: .relaxed) }

    func set() { flag.store(true, ordering: .relaxed) }
}
