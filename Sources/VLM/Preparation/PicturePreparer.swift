import Dispatch
import Engine
import Foundation
import Imaging
import Models

/// Reads, decodes and processes pictures of all requests side by side, within bounds on cores and memory.
///
/// Reading and fetching wait for others and are bounded by hundreds, not by cores, so a picture that is slow to come delays nobody else's. What takes
/// the CPU runs on as many threads as there are cores, and not on Swift's, which would be too few for everything else.
struct PicturePreparer: Sendable {
    private let processor: any ImageProcessor
    private let options: ImageOptions
    private let loader: ImageLoader
    private let interner = ImageInterner()
    /// Decoding and processing, and the decoded pixels meanwhile.
    private let work: PreparationGate

    /// Reading and fetching, which have a thread each.
    private let reads = PreparationGate(places: Self.readsAtOnce, byteLimit: .max)
    private static let readsAtOnce = 256

    private static let queue = DispatchQueue(label: "vlm.preparation", qos: .userInitiated, attributes: .concurrent)
    /// Most bytes of decoded pictures at once; a larger picture is decoded alone.
    private static let decodedByteLimit = 1 << 30

    init(processor: any ImageProcessor, options: ImageOptions, loader: ImageLoader) {
        self.processor = processor
        self.options = options
        self.loader = loader
        work = PreparationGate(places: ProcessInfo.processInfo.activeProcessorCount, byteLimit: Self.decodedByteLimit)
    }

    /// Of pictures prepared for an earlier turn, those that are still right in a prompt of `count` pictures.
    func kept(_ known: [PreparedPicture], among count: Int) -> [PreparedPicture] {
        processor.dependsOnPictureCount && known.count == 1 && count > 1 ? [] : known
    }

    /// Reads or fetches a picture.
    ///
    /// - Returns: `data` or `image`, and the seconds it took.
    func read(_ source: ImageSource, index: Int) async throws -> (source: ImageSource, seconds: Double) {
        try await reads.enter()
        defer { reads.leave() }
        let start = ContinuousClock.now
        let read = try await loader.read(source, index: index)
        return (read, (ContinuousClock.now - start) / .seconds(1))
    }

    /// Decodes and processes what was read.
    ///
    /// - Parameters:
    ///   - name: what errors call the picture.
    ///   - seconds: what reading took.
    ///   - count: pictures in the prompt.
    func prepare(
        _ source: ImageSource, index: Int, name: String, readIn seconds: Double, priority: Int, among count: Int
    ) async throws -> PreparedPicture {
        let bytes = loader.decodedBytes(source)
        var options = options
        options.pictureCount = count
        try await work.enter(bytes: bytes, priority: priority)
        defer {
            work.leave()
            work.release(bytes: bytes)
        }
        return try await withCheckedThrowingContinuation { continuation in
            Self.queue.async { [options] in
                continuation.resume(
                    with: Result {
                        let start = ContinuousClock.now
                        let picture = try loader.decodeBlocking(source, index: index, name: name)
                        let decoded = ContinuousClock.now
                        let image = interner.intern(try processor.process(picture, options: options))
                        return PreparedPicture(
                            image: image, source: source, width: picture.width, height: picture.height,
                            load: seconds + (decoded - start) / .seconds(1),
                            preprocess: (ContinuousClock.now - decoded) / .seconds(1))
                    })
            }
        }
    }
}
