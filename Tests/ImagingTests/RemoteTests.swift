import Foundation
import Imaging
import TestKit
import Testing

/// Fetching over HTTP, against a server on the loopback address.
@Suite struct RemoteTests {
    private func load(
        _ url: String, limits: ImageLimits = ImageLimits(allowPrivateAddresses: true)
    ) async throws(ImageError) -> RGBImage {
        try await ImageLoader(limits: limits).load(.url(url), index: 4)
    }

    private func failure(
        _ url: String, limits: ImageLimits = ImageLimits(allowPrivateAddresses: true)
    ) async -> ImageError? {
        do throws(ImageError) {
            _ = try await load(url, limits: limits)
            return nil
        } catch {
            return error
        }
    }

    @Test func fetchesAndFollowsRedirects() async throws {
        let png = try fixture("png-scene.png")
        let server = try TinyServer { path in
            switch path {
            case "/a%20b.png?q=1": .init(body: png)
            case "/one": .init(status: 302, headers: ["Location: /two"])
            case "/two": .init(status: 301, headers: ["Location: a%20b.png?q=1"])
            case "/chunked":
                .init(
                    headers: ["Transfer-Encoding: chunked"],
                    body: Array("\(String(png.count, radix: 16))\r\n".utf8) + png + Array("\r\n0\r\n\r\n".utf8))
            default: .init(status: 404)
            }
        }
        defer { server.stop() }
        let expected = try ImageDecoder.decode(png)
        #expect(try await load(server.url("/a b.png?q=1#part")) == expected)
        #expect(try await load(server.url("/one")) == expected)
        #expect(try await load(server.url("/chunked")) == expected)
        #expect(server.paths == ["/a%20b.png?q=1", "/one", "/two", "/a%20b.png?q=1", "/chunked"])
    }

    @Test func resolvesAndPinsNames() async throws {
        let png = try fixture("png-1x1.png")
        let server = try TinyServer { _ in .init(body: png) }
        defer { server.stop() }
        let url = "http://localhost:\(server.port)/"
        // The name may have an IPv6 address first; libcurl tries all that were pinned.
        #expect(try await load(url).width == 1)
        #expect(await failure(url, limits: ImageLimits())?.kind == .forbidden)
    }

    @Test func refusesPrivateAddressesAtEveryHop() async throws {
        let server = try TinyServer { _ in .init(status: 302, headers: ["Location: http://10.0.0.1/x"]) }
        defer { server.stop() }
        let direct = await failure(server.url("/"), limits: ImageLimits())
        #expect(direct?.kind == .forbidden)
        #expect(direct?.imageIndex == 4)
        #expect(server.paths.isEmpty)
        for host in [
            "127.1", "2130706433", "0x7f000001", "0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "[fe80::1]", "localhost",
        ] {
            #expect(await failure("http://\(host):\(server.port)/", limits: ImageLimits())?.kind == .forbidden, "\(host)")
        }
        #expect(server.paths.isEmpty)
    }

    @Test func refusesRedirectsToOtherSchemes() async throws {
        let server = try TinyServer { path in
            .init(status: 302, headers: ["Location: \(path == "/file" ? "file:///etc/passwd" : "gopher://127.0.0.1/")"])
        }
        defer { server.stop() }
        #expect(await failure(server.url("/file"))?.kind == .invalidURL)
        #expect(await failure(server.url("/gopher"))?.kind == .invalidURL)
    }

    @Test func stopsAtRedirectLoops() async throws {
        let server = try TinyServer { _ in .init(status: 302, headers: ["Location: /again"]) }
        defer { server.stop() }
        #expect(await failure(server.url("/"))?.kind == .tooManyRedirects)
        #expect(server.paths.count == 4)
        let none = ImageLimits(maxRedirects: 0, allowPrivateAddresses: true)
        #expect(await failure(server.url("/"), limits: none)?.kind == .tooManyRedirects)
        #expect(server.paths.count == 5)
    }

    @Test func capsTheBodyWhileItStreams() async throws {
        let body = [UInt8](repeating: 65, count: 300_000)
        let server = try TinyServer { path in
            // Without a length, only counting can tell.
            .init(headers: path == "/endless" ? ["Transfer-Encoding: identity"] : [], body: body)
        }
        defer { server.stop() }
        let limits = ImageLimits(maxBytes: 100_000, allowPrivateAddresses: true)
        #expect(await failure(server.url("/"), limits: limits)?.kind == .tooManyBytes)
        #expect(await failure(server.url("/endless"), limits: limits)?.kind == .tooManyBytes)
    }

    @Test func givesUpOnSlowServers() async throws {
        let png = try fixture("png-1x1.png")
        let server = try TinyServer { _ in .init(body: png, delay: 60) }
        defer { server.stop() }
        let limits = ImageLimits(timeoutSeconds: 0.4, allowPrivateAddresses: true)
        #expect(await failure(server.url("/"), limits: limits)?.kind == .timedOut)
    }

    @Test func cancellationEndsAFetch() async throws {
        let server = try TinyServer { _ in .init(body: [1, 2, 3], delay: 60) }
        defer { server.stop() }
        let task = Task { await failure(server.url("/")) }
        try await Task.sleep(for: .milliseconds(200))
        task.cancel()
        #expect(await task.value?.kind == .cancelled)
    }

    @Test func badAnswersAreErrors() async throws {
        let server = try TinyServer { path in
            path == "/page"
                ? .init(body: Array("<!DOCTYPE html><html></html>".utf8)) : path == "/empty" ? .init() : .init(status: 404)
        }
        defer { server.stop() }
        let missing = await failure(server.url("/missing"))
        #expect(missing?.kind == .badStatus)
        #expect(missing?.reason.contains("404") == true)
        #expect(missing?.description.hasPrefix("image 4 (http://127.0.0.1") == true)
        #expect(await failure(server.url("/page"))?.kind == .unsupported)
        #expect(await failure(server.url("/empty"))?.kind == .empty)
        server.stop()
    }

    @Test func remoteCanBeForbidden() async {
        let limits = ImageLimits(allowPrivateAddresses: true, allowRemote: false)
        #expect(await failure("http://127.0.0.1:9/", limits: limits)?.kind == .forbidden)
    }

    @Test(arguments: [
        "http://", "http://user@example.org/", "http://user:word@example.org/", "http://exa mple.org/", "http://example.org:0/",
        "http://example.org:99999/", "http://example.org:8o/", "http://[::1/", "http://[::1]x/", "http://[v1.x]/",
        "ftp://example.org/",
        "http://b\u{fc}cher.example/", "http://example.org\u{0}.evil.example/", "http://127.0.0.1%2f@x/",
    ]) func refusesDubiousAddresses(url: String) async {
        #expect(await failure(url)?.kind == .invalidURL, "\(url)")
    }

    @Test func knowsPublicAddresses() throws {
        let refused = [
            "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "169.254.169.254", "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1",
            "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::7f00:1",
            "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "64:ff9b::7f00:1",
            "64:ff9b:1::1", "100::1", "3fff::1",
        ]
        let accepted = [
            "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255",
            "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1", "64:ff9b::808:808",
        ]
        for (addresses, isPublic) in [(refused, false), (accepted, true)] {
            for text in addresses {
                let address = try #require(InternetAddress.resolve(text).first)
                #expect(address.isPublic == isPublic, "\(text)")
            }
        }
    }
}
