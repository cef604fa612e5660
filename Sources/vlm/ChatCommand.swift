import ArgumentParser
import Engine
import Foundation
import Imaging
import VLM

/// `vlm chat`: a conversation in the terminal.
struct ChatCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat", abstract: "Talk with a model in the terminal.",
        discussion: """
            Type a message and press return. Lines that begin with a slash are commands:
              /image PATH   add a picture to the next message
              /reset        forget the conversation
              /exit         leave (or press control-D)
            """)

    @OptionGroup var model: ModelOptions
    @Option(help: "A system message.")
    var system: String?
    @OptionGroup var generation: GenerationOptions

    func run() async throws {
        let config = generation.config
        try config.validate()
        let pipeline = try await model.load()
        let session = pipeline.chat(system: system, generation: config)
        Terminal.status("Ask something; /image PATH adds a picture, /reset starts over, /exit leaves.\n")
        var images: [ImageSource] = []
        while true {
            Terminal.status("> ")
            guard let line = readLine() else { break }
            let text = line.trimmingCharacters(in: .whitespaces)
            switch text {
            case "": continue
            case "/exit", "/quit":
                try await pipeline.close()
                return
            case "/reset":
                await session.reset()
                images = []
            case _ where text.hasPrefix("/image"):
                let path = text.dropFirst("/image".count).trimmingCharacters(in: .whitespaces)
                do {
                    // Decoded now, so that a mistyped path is told at once.
                    images.append(.image(try await loadImage(path)))
                } catch {
                    Terminal.error("\(error)")
                }
            case _ where text.hasPrefix("/"):
                Terminal.error("unknown command \(text); there are /image PATH, /reset and /exit")
            default:
                await answer(text, images, session)
                images = []
            }
        }
        Terminal.status("\n")
        try await pipeline.close()
    }

    private func answer(_ text: String, _ images: [ImageSource], _ session: ChatSession) async {
        do {
            for try await piece in session.stream(text, images: images) {
                Terminal.write(piece.text)
                if let error = piece.response?.error { throw error }
            }
            Terminal.write("\n")
        } catch {
            Terminal.error("\(error)")
        }
    }
}
