import CCurl
import Dispatch
import Synchronization

/// Fetches a file over http or https, trusting neither the address nor the server.
///
/// Every hop's host is resolved once; the addresses are checked; and libcurl is told to connect to those and no others, so
/// that a name cannot resolve to something else a moment later. Redirects are followed by hand, each checked like the first
/// address. Proxies from the environment are not used, because they would resolve the name again.
struct RemoteFetch {
    let limits: ImageLimits
    /// Asked often; `true` ends the fetch.
    let isCancelled: @Sendable () -> Bool

    /// The body at `address`. Blocks until it is there, refused, or out of time.
    func fetch(_ address: String) throws(ImageError) -> [UInt8] {
        let deadline = ContinuousClock.now + .seconds(limits.timeoutSeconds)
        let library = try CurlLibrary.opened.get()
        var next = try RemoteAddress(address)
        for _ in 0...max(0, limits.maxRedirects) {
            let pinned = try checkedAddresses(of: next, deadline: deadline)
            let answer = try request(next, pinned: pinned, library: library, deadline: deadline)
            switch answer.status {
            case 200..<300:
                return answer.body
            case 300..<400:
                guard let target = answer.redirect else { throw badStatus(answer.status, next) }
                do throws(ImageError) {
                    next = try RemoteAddress(target)
                } catch {
                    throw ImageError(
                        .invalidURL, "it redirects to \(ImageSource.shortened(target)): \(error.reason)", fix: error.fix)
                }
            default:
                throw badStatus(answer.status, next)
            }
        }
        throw ImageError(
            .tooManyRedirects, "the server redirects more than \(limits.maxRedirects) times",
            fix: "give the final address or raise maxRedirects")
    }

    private func badStatus(_ status: Int, _ address: RemoteAddress) -> ImageError {
        ImageError(
            .badStatus, "\(address.host) answered with HTTP status \(status)",
            fix: "check that the address leads to a picture that anybody may read")
    }

    private var timedOut: ImageError {
        ImageError(
            .timedOut, "it was not there after \(limits.timeoutSeconds) s",
            fix: "try again, download it first, or raise timeoutSeconds")
    }

    private func remaining(until deadline: ContinuousClock.Instant) throws(ImageError) -> Duration {
        guard !isCancelled() else { throw .cancelled }
        let left = deadline - .now
        guard left > .milliseconds(1) else { throw timedOut }
        return left
    }

    // MARK: - Addresses

    /// All addresses of the host, each allowed.
    private func checkedAddresses(
        of address: RemoteAddress, deadline: ContinuousClock.Instant
    ) throws(ImageError) -> [InternetAddress] {
        let addresses = try resolve(address.host, within: remaining(until: deadline))
        if !limits.allowPrivateAddresses, let refused = addresses.first(where: { !$0.isPublic }) {
            throw forbidden(refused.text, host: address.host)
        }
        return addresses
    }

    private func forbidden(_ address: String, host: String) -> ImageError {
        let subject = address == host ? address : "\(host) is at \(address), which"
        return ImageError(
            .forbidden, "\(subject) is not a public internet address", fix: "use a public address or set allowPrivateAddresses")
    }

    /// The system's resolver knows no time limit, so it runs on a thread of its own that is left behind if it takes too long.
    private func resolve(_ host: String, within limit: Duration) throws(ImageError) -> [InternetAddress] {
        let answer = ResolverAnswer()
        DispatchQueue.global().async {
            answer.give(Result { () throws(ImageError) in try InternetAddress.resolve(host) })
        }
        guard let result = answer.wait(limit) else { throw timedOut }
        return try result.get()
    }

    // MARK: - One request

    private struct Answer {
        let status: Int
        let redirect: String?
        let body: [UInt8]
    }

    private func request(
        _ address: RemoteAddress, pinned: [InternetAddress], library: CurlLibrary, deadline: ContinuousClock.Instant
    ) throws(ImageError) -> Answer {
        let left = try remaining(until: deadline)
        let transfer = Transfer(limit: limits.maxBytes, isCancelled: isCancelled)
        let list = pinned.map { $0.bytes.count == 16 ? "[\($0.text)]" : $0.text }.joined(separator: ",")
        var response = ccurl_response()
        address.url.withCString { url in
            "\(address.host):\(address.port):\(list)".withCString { resolve in
                var request = ccurl_request()
                request.url = url
                // A literal address is connected to as it stands.
                request.resolve = address.isIPv6 ? nil : resolve
                request.timeout_milliseconds = max(1, Int(left / .milliseconds(1)))
                request.context = Unmanaged.passUnretained(transfer).toOpaque()
                request.write = { bytes, count, context in Transfer.from(context)?.append(bytes, count) ?? 0 }
                request.should_stop = { context in Transfer.from(context)?.isCancelled() ?? true ? 1 : 0 }
                ccurl_perform(library.pointer, &request, &response)
            }
        }
        let redirect = response.redirect.map { String(cString: $0) }
        ccurl_free(response.redirect)
        let peer = withUnsafeBytes(of: response.address) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        // What was checked is what was connected to.
        if !peer.isEmpty, !pinned.contains(where: { $0.text == peer }) { throw forbidden(peer, host: address.host) }
        switch response.status {
        case CCURL_OK:
            return Answer(status: response.http_status, redirect: redirect, body: transfer.body)
        case CCURL_TIMED_OUT:
            throw timedOut
        case CCURL_ABORTED where transfer.isOverfull:
            throw ImageError(
                .tooManyBytes, "the server sends more than the limit of \(limits.maxBytes) bytes",
                fix: "use a smaller file or raise maxBytes")
        case CCURL_ABORTED where isCancelled():
            throw .cancelled
        default:
            let message = withUnsafeBytes(of: response.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            throw ImageError(.network, message, fix: "check the address and the network")
        }
    }
}

extension ImageError {
    static var cancelled: ImageError { ImageError(.cancelled, "loading was cancelled") }
}

/// libcurl, opened on first use and kept for the life of the process.
private struct CurlLibrary: @unchecked Sendable {
    /// Functions only; nothing behind it changes.
    let pointer: OpaquePointer

    static let opened: Result<CurlLibrary, ImageError> = {
        var message = [CChar](repeating: 0, count: Int(CCURL_MESSAGE_SIZE))
        if let pointer = ccurl_open(&message) { return .success(CurlLibrary(pointer: pointer)) }
        return .failure(
            ImageError(
                .missingLibrary, "addresses cannot be fetched: \(string(fromC: message))",
                fix: "install it (apt install libcurl4) or download the picture first"))
    }()
}

/// What one request has brought so far. libcurl calls back on the thread that performs the request, and on no other.
private final class Transfer {
    private(set) var body: [UInt8] = []
    private(set) var isOverfull = false
    private let limit: Int
    let isCancelled: @Sendable () -> Bool

    init(limit: Int, isCancelled: @escaping @Sendable () -> Bool) {
        self.limit = limit
        self.isCancelled = isCancelled
    }

    static func from(_ context: UnsafeMutableRawPointer?) -> Transfer? {
        context.map { Unmanaged<Transfer>.fromOpaque($0).takeUnretainedValue() }
    }

    func append(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int {
        guard body.count + count <= limit else {
            isOverfull = true
            return count + 1
        }
        body.append(contentsOf: UnsafeBufferPointer(start: bytes, count: count))
        return count
    }
}

/// The resolver's answer, handed from its thread to the one that waits.
private final class ResolverAnswer: Sendable {
    private let result = Mutex<Result<[InternetAddress], ImageError>?>(nil)
    private let arrived = DispatchSemaphore(value: 0)

    func give(_ answer: Result<[InternetAddress], ImageError>) {
        result.withLock { $0 = answer }
        arrived.signal()
    }

    /// `nil` if nothing came in time.
    func wait(_ limit: Duration) -> Result<[InternetAddress], ImageError>? {
        let milliseconds = max(1, Int(limit / .milliseconds(1)))
        guard arrived.wait(timeout: .now() + .milliseconds(milliseconds)) == .success else { return nil }
        return result.withLock { $0 }
    }
}
