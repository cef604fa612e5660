import ArgumentParser
import Checkpoints
import Engine
import Foundation
import Imaging
import JSON
import VLM

/// `vlm run`: ask once.
struct RunCommand: AsyncParsableCommand {
    enum Output: String, ExpressibleByArgument { case text, json }

    static let configuration = CommandConfiguration(commandName: "run", abstract: "Ask a model about a text and pictures.")

    @OptionGroup var model: ModelOptions
    @Argument(help: "The question; standard input when it is left out.")
    var prompt: String?
    @Option(help: "A picture: path, URL or data URL. May be given several times.")
    var image: [String] = []
    @Option(help: "A JSON file with OpenAI-style messages: one conversation, or a list of conversations.")
    var messages: String?
    @OptionGroup var generation: GenerationOptions
    @Option(help: "text or json.")
    var output = Output.text
    @Option(help: "Return logits of all positions or of generated ones.")
    var outputLogits: GenerationConfig.OutputScope?
    @Option(help: "Where to write the logits, as safetensors.")
    var logitsFile: String?

    func validate() throws {
        if outputLogits != nil, logitsFile == nil { throw ValidationError("--output-logits needs --logits-file OUT.safetensors") }
        if outputLogits == nil, logitsFile != nil {
            throw ValidationError("--logits-file needs --output-logits all or generation")
        }
        if messages != nil, prompt != nil || !image.isEmpty {
            throw ValidationError("give either a prompt with --image, or --messages, not both")
        }
    }

    func run() async throws {
        let prompts = try readPrompts()
        var config = try generation.config()
        config.outputLogits = outputLogits
        try config.validate()
        let pipeline = try await model.load()
        if prompts.count == 1, output == .text, Terminal.outputIsTerminal {
            try await stream(prompts[0], config, pipeline)
        } else {
            try await runBatch(prompts, config, pipeline)
        }
        try await pipeline.close()
    }

    private func readPrompts() throws -> [Prompt] {
        if let messages {
            return try readMessages(messages) { try Prompt.conversations(openAI: $0, relativeTo: $1) }
        }
        if let prompt { return [Prompt(prompt, images: image.map { ImageSource($0) })] }
        guard !Terminal.inputIsTerminal else {
            throw ValidationError("there is no prompt; give one after the model, or --messages FILE.json")
        }
        guard let text = String(validating: FileHandle.standardInput.readDataToEndOfFile(), as: UTF8.self) else {
            throw ValidationError("standard input is not UTF-8 text")
        }
        guard !text.isEmpty else {
            throw ValidationError("there is no prompt: standard input is empty; give one after the model")
        }
        return [Prompt(text, images: image.map { ImageSource($0) })]
    }

    /// Shows the answer while it is made.
    private func stream(_ prompt: Prompt, _ config: GenerationConfig, _ pipeline: Pipeline) async throws {
        for try await piece in pipeline.stream(prompt, generation: config) {
            Terminal.write(piece.text)
            guard let response = piece.response else { continue }
            Terminal.write("\n")
            if let error = response.error { throw error }
            try writeLogits([response])
        }
    }

    private func runBatch(_ prompts: [Prompt], _ config: GenerationConfig, _ pipeline: Pipeline) async throws {
        if prompts.count == 1 {
            let response = try await pipeline(prompts[0], generation: config)
            try writeLogits([response])
            print(output == .json ? response.json.serialized() : response.text)
            return
        }
        let bar = ProgressBar("Answering")
        let responses = try await pipeline(prompts, generation: config) { bar.update(Double($0) / Double(prompts.count)) }
        bar.clear()
        try writeLogits(responses)
        for response in responses {
            if let error = response.error { Terminal.error("conversation \(response.index): \(OptionNames.translate(error))") }
            print(output == .json ? response.json.serialized() : response.text)
        }
        let errors = responses.compactMap(\.error)
        if !errors.isEmpty { throw ExitCode(errors.allSatisfy(VLMCommand.isBadInput) ? 2 : 1) }
    }

    private func writeLogits(_ responses: [Response]) throws {
        guard let logitsFile else { return }
        var writer = SafetensorsWriter()
        for response in responses {
            guard let logits = response.logits else { continue }
            let name = responses.count == 1 ? "logits" : "logits.\(response.index)"
            writer.add(name, [logits.rows, logits.columns], logits.values)
        }
        try writer.write(to: logitsFile)
    }
}
