import ArgumentParser
import Engine
import Foundation
import Imaging
import VLM

/// `vlm chat`: a conversation in the terminal, or line by line from a pipe.
struct ChatCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat", abstract: "Talk with a model in the terminal.",
        discussion: """
            Type a message and press return. Lines that begin with a slash are commands:
              /image PATH    add a picture to the next message
              /rewind [N]    take the last turn back, or the last N
              /reset         forget the conversation
              /save FILE     keep the conversation, its pictures included
              /load FILE     go on with one that was saved
              /exit          leave (or press control-D)
            """)

    @OptionGroup var model: ModelOptions
    @Option(help: "A system message.")
    var system: String?
    @Option(help: ArgumentHelp("Go on with a conversation that /save kept.", valueName: "file"))
    var load: String?
    @OptionGroup var generation: GenerationOptions

    func run() async throws {
        let config = try generation.config()
        try config.validate()
        if load != nil, system != nil {
            throw ValidationError("--system and --load do not go together: the saved conversation has its own system message")
        }
        let saved = try load.map { try ChatSnapshot(contentsOf: $0) }
        let pipeline = try await model.load()
        var session = pipeline.chat(system: system, generation: config)
        if let saved { session = try await pipeline.chat(restoring: saved, generation: config) }
        var conversation = TerminalConversation(pipeline: pipeline, generation: config, session: session)
        Terminal.status("Ask something; \(TerminalConversation.commands).\n")
        while true {
            Terminal.status("> ")
            guard let line = readLine(), await conversation.read(line) else { break }
        }
        Terminal.status("\n")
        try await pipeline.close()
    }
}

/// What a line does, and what it does it to.
private struct TerminalConversation {
    let pipeline: Pipeline
    let generation: GenerationConfig
    var session: ChatSession
    /// Pictures of the next message.
    private var images: [ImageSource] = []

    static let commands =
        "/image PATH adds a picture, /rewind takes a turn back, /save FILE and /load FILE keep and fetch the conversation, "
        + "/reset starts over, /exit leaves"

    init(pipeline: Pipeline, generation: GenerationConfig, session: ChatSession) {
        self.pipeline = pipeline
        self.generation = generation
        self.session = session
    }

    /// - Returns: false when the line asks to leave.
    mutating func read(_ line: String) async -> Bool {
        let text = line.trimmingCharacters(in: .whitespaces)
        guard text.hasPrefix("/") else {
            if !text.isEmpty { await answer(text) }
            return true
        }
        let words = text.split(separator: " ", maxSplits: 1)
        let argument = words.count > 1 ? words[1].trimmingCharacters(in: .whitespaces) : ""
        do {
            switch words[0] {
            case "/exit", "/quit": return false
            case "/reset":
                await session.reset()
                images = []
            case "/rewind":
                guard let count = argument.isEmpty ? 1 : Int(argument) else {
                    throw ValidationError("/rewind takes a number of turns, not \(argument)")
                }
                try await session.rewind(turns: count)
            case "/image":
                // Decoded now, so that a mistyped path is told at once.
                images.append(.image(try await loadImage(try required(argument, "/image PATH"))))
            case "/save": try await session.save(to: try required(argument, "/save FILE"))
            case "/load":
                let snapshot = try ChatSnapshot(contentsOf: try required(argument, "/load FILE"))
                session = try await pipeline.chat(restoring: snapshot, generation: generation)
                images = []
            default: throw ValidationError("unknown command \(words[0]); \(Self.commands)")
            }
        } catch {
            Terminal.error(OptionNames.translate(error))
        }
        return true
    }

    private func required(_ argument: String, _ usage: String) throws -> String {
        guard !argument.isEmpty else { throw ValidationError("something is missing: \(usage)") }
        return argument
    }

    private mutating func answer(_ text: String) async {
        do {
            for try await piece in session.stream(text, images: images) {
                Terminal.write(piece.text)
                if let error = piece.response?.error { throw error }
            }
            Terminal.write("\n")
            images = []
        } catch {
            // The pictures stay for the next try.
            Terminal.error(OptionNames.translate(error))
        }
    }
}
