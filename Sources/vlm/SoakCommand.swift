import ArgumentParser
import Engine
import Foundation
import JSON
import Models
import VLM

/// `vlm soak`: many requests of every kind, to see that memory stays what it is.
struct SoakCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "soak", abstract: "Send many requests of every kind and watch the process's memory.",
        discussion: """
            Requests have new pictures, pictures that come again, several or none; some are turns of conversations, are cancelled, run out of \
            time, ask for several answers or for what cannot be. In the first tenth of the run the model sleeps and wakes four times. \
            The last lines are after closing.
            """,
        shouldDisplay: false)

    @OptionGroup var model: ModelOptions
    @Option(help: "Requests in all.")
    var requests = 10_000
    @Option(help: "Requests at once.")
    var concurrency = 16
    @Option(help: "Seed of what is asked.")
    var seed: UInt64 = 1
    @Option(help: ArgumentHelp("A picture file to ask about, beside noise. May be given several times.", valueName: "path"))
    var image: [String] = []
    @Option(help: "Lines of the report.")
    var lines = 20
    @Option(help: "How the report is written: text or json.")
    var output = RunCommand.Output.text

    func validate() throws {
        guard requests > 0, concurrency > 0, lines > 0 else {
            throw ValidationError("--requests, --concurrency and --lines must be positive")
        }
    }

    func run() async throws {
        var rows = [SoakRow.Memory.now("before loading")]
        let pipeline = try await model.load()
        rows.append(.now("loaded"))
        if output == .text { SoakRow.heading(rows) }
        let soak = Soak(
            pipeline: pipeline, seed: seed, requestCount: requests, concurrency: concurrency, images: image,
            isVision: try pipeline.setup.outline().vision != nil)
        let reported = try await soak.run(every: max(1, requests / lines)) { row in
            if output == .text { Terminal.write(row.text + "\n") }
        }
        let statistics = try await pipeline.statistics()
        try await pipeline.close()
        rows.append(.now("closed"))
        switch output {
        case .text:
            Terminal.write(rows[2].text + "\n")
            print(
                "prefix cache \(percent(statistics.prefixHitRate)) of tokens, picture cache \(percent(statistics.imageHitRate)) of pictures"
            )
        case .json:
            let object = JSONObject([
                ("memory", .object(JSONObject(rows.map { ($0.name, .integer($0.bytes)) }))),
                ("rows", .array(reported.map(\.json))),
            ])
            print(JSONValue.object(object).serialized())
        }
    }

    private func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
}
