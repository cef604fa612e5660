import ArgumentParser
import Checkpoints
import Engine
import Foundation
import VLM

/// `vlm trace`: what the model is given and what it makes of it, for comparison with a reference.
struct TraceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace", abstract: "Write a conversation's ids, pixels, image features and logits as safetensors.")

    @OptionGroup var model: ModelOptions
    @Option(help: "A JSON file with OpenAI-style messages.")
    var messages: String
    @Option(help: "The safetensors file to write.")
    var out: String

    func run() async throws {
        let conversation = try readMessages(messages) { try ChatMessage.parse(openAI: $0, relativeTo: $1) }
        let prompt = Prompt.messages(conversation)
        let pipeline = try await model.load()
        let trace = try await pipeline.trace(prompt)
        try trace.write(to: out)
        try await pipeline.close()
    }
}
