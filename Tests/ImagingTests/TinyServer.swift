import Foundation
import Synchronization

/// An HTTP server on the loopback address that answers each connection with the bytes a closure gives for the path.
final class TinyServer: Sendable {
    struct Answer: Sendable {
        var status = 200
        var headers: [String] = []
        var body: [UInt8] = []
        /// Seconds to wait before the body.
        var delay = 0.0
    }

    let port: Int
    private let descriptor: Int32
    private let requests = Mutex<[String]>([])

    /// The paths asked for, in order.
    var paths: [String] { requests.withLock { $0 } }

    init(answer: @escaping @Sendable (String) -> Answer) throws {
        #if canImport(Glibc) || canImport(Musl)
        let kind = Int32(SOCK_STREAM.rawValue)
        #else
        let kind = SOCK_STREAM
        #endif
        let descriptor = socket(AF_INET, kind, 0)
        guard descriptor >= 0 else { throw POSIXError(.EIO) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) == 0 && listen(descriptor, 16) == 0
                    && getsockname(descriptor, pointer, &length) == 0
            }
        }
        guard bound else {
            close(descriptor)
            throw POSIXError(.EADDRNOTAVAIL)
        }
        self.descriptor = descriptor
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in accept(answer) }
    }

    /// An address on this server.
    func url(_ path: String) -> String { "http://127.0.0.1:\(port)\(path)" }

    func stop() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }

    private func accept(_ answer: @escaping @Sendable (String) -> Answer) {
        while true {
            let connection = Foundation.accept(descriptor, nil, nil)
            guard connection >= 0 else { return }
            Thread.detachNewThread { [self] in
                serve(connection, answer)
                shutdown(connection, Int32(SHUT_RDWR))
                close(connection)
            }
        }
    }

    private func serve(_ connection: Int32, _ answer: (String) -> Answer) {
        var request: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !request.suffix(4).elementsEqual([13, 10, 13, 10]) {
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            request += buffer[..<count]
        }
        let line = String(decoding: request.prefix { $0 != 13 }, as: UTF8.self)
        let path = line.split(separator: " ").dropFirst().first.map(String.init) ?? ""
        requests.withLock { $0.append(path) }
        let reply = answer(path)
        var head = "HTTP/1.1 \(reply.status) x\r\nConnection: close\r\n"
        if !reply.headers.contains(where: { $0.hasPrefix("Content-Length") || $0.hasPrefix("Transfer") }) {
            head += "Content-Length: \(reply.body.count)\r\n"
        }
        for header in reply.headers { head += header + "\r\n" }
        send(connection, Array((head + "\r\n").utf8))
        if reply.delay > 0 { Thread.sleep(forTimeInterval: reply.delay) }
        send(connection, reply.body)
    }

    private func send(_ connection: Int32, _ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { rest in
                Foundation.send(connection, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }
}
