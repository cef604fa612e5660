import Checkpoints
import Testing

@Suite struct ModelResolverTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func resolve(_ model: String, _ environment: [String: String]) throws -> String {
        try ModelResolver.resolve(model, environment: ["HOME": folder.path].merging(environment) { $1 })
    }

    /// Lays out a cached model and returns its snapshot folder.
    private func cache(_ hub: String, commit: String = "0123abc", reference: String? = "main") throws -> String {
        let repository = "\(hub)/models--owner--some.model-1B"
        try folder.write("\(repository)/snapshots/\(commit)/config.json", text: "{}")
        if let reference { try folder.write("\(repository)/refs/\(reference)", text: commit + "\n") }
        return "\(folder.path)/\(repository)/snapshots/\(commit)"
    }

    @Test func aPathIsTakenAsItIs() throws {
        try folder.write("m/config.json", text: "{}")
        #expect(try resolve(folder.path + "/m", [:]) == folder.path + "/m")
        #expect(try resolve("~/m", [:]) == folder.path + "/m")
    }

    @Test func theCacheIsFoundWhereTheHubLibraryLooks() throws {
        let id = "owner/some.model-1B"
        let home = try cache(".cache/huggingface/hub")
        #expect(try resolve(id, [:]) == home)
        let xdg = try cache("xdg/huggingface/hub")
        #expect(try resolve(id, ["XDG_CACHE_HOME": folder.path + "/xdg"]) == xdg)
        let hf = try cache("hf/hub")
        #expect(try resolve(id, ["XDG_CACHE_HOME": folder.path + "/xdg", "HF_HOME": "~/hf"]) == hf)
        let hub = try cache("h")
        #expect(try resolve(id, ["HF_HOME": folder.path + "/hf", "HF_HUB_CACHE": folder.path + "/h"]) == hub)
        #expect(try resolve(id, ["HF_HUB_CACHE": ""]) == home)
    }

    @Test func revisionsAreBranchesTagsOrCommits() throws {
        let environment = ["HF_HUB_CACHE": folder.path + "/hub"]
        let main = try cache("hub")
        let tagged = try cache("hub", commit: "fff", reference: "v1.0")
        let pull = try cache("hub", commit: "eee", reference: "refs/pr/1")
        #expect(try resolve("owner/some.model-1B", environment) == main)
        #expect(try resolve("owner/some.model-1B@v1.0", environment) == tagged)
        #expect(try resolve("owner/some.model-1B@refs/pr/1", environment) == pull)
        #expect(try resolve("owner/some.model-1B@0123abc", environment) == main)
        let error = try #require(#expect(throws: CheckpointError.self) { try resolve("owner/some.model-1B@v9", environment) })
        #expect(error.kind == .notFound && error.detail.contains("no snapshot of revision v9"))
    }

    @Test(arguments: [
        "no-such-folder", "./a/b", "owner/name", "a/b/c", "../no-such-folder", "owner/na me", "owner/..", "o/n@../../x", "", "/",
    ])
    func unknownModelsSayHowToGetThem(_ model: String) throws {
        if model == "/" { return #expect(try resolve(model, [:]) == "/") }
        let error = try #require(#expect(throws: CheckpointError.self) { try resolve(model, [:]) })
        #expect(error.kind == .notFound && error.source == model && !error.hint.isEmpty)
        if model == "owner/name" { #expect(error.hint.contains("hf download owner/name")) }
    }
}
