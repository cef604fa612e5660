import ArgumentParser
import CUDABackend
import Checkpoints
import Engine
import Foundation
import Imaging
import JSON
import Models
import Tensors
import Text
import VLM

@main
struct VLMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vlm",
        abstract: "Run vision-language models.",
        discussion: """
            MODEL is a checkpoint folder, a Hub id that is in the local cache, or demo, the small model that ships with vlm.

              vlm run demo "What does the sign say?" --image Examples/sign.png
            """,
        version: "0.1.0",
        subcommands: [
            RunCommand.self, ChatCommand.self, TraceCommand.self, TokenizeCommand.self, RenderTemplateCommand.self,
            BenchCommand.self, SoakCommand.self, InspectCommand.self, FamiliesCommand.self, DoctorCommand.self,
        ])

    /// Parses and runs; every error is one line on standard error, with exit code 2 when the input is at fault and 1 otherwise.
    static func main() async {
        do {
            try checkArguments()
            var command = try parseAsRoot()
            if var asyncCommand = command as? any AsyncParsableCommand {
                try await asyncCommand.run()
            } else {
                try command.run()
            }
            // `print` tells nobody that the disk is full or the reader gone.
            guard fflush(nil) == 0 else {
                Terminal.error("standard output cannot be written: \(String(cString: strerror(errno)))")
                Foundation.exit(1)
            }
        } catch {
            fail(error)
        }
    }

    /// `CommandLine.arguments` replaces what is not UTF-8; a prompt would be altered without a word.
    private static func checkArguments() throws {
        for index in 0..<Int(CommandLine.argc) {
            guard let argument = CommandLine.unsafeArgv[index], String(validatingCString: argument) == nil else { continue }
            throw ValidationError("argument \(index) is not UTF-8 text; write it in UTF-8")
        }
    }

    private static func fail(_ error: any Error) -> Never {
        let code = exitCode(for: error)
        if code == .success { exit(withError: error) }  // --help and --version
        if code == .validationFailure {
            Terminal.error(message(for: error))
            Foundation.exit(2)
        }
        if let code = error as? ExitCode { Foundation.exit(code.rawValue) }
        Terminal.error(OptionNames.translate(error))
        Foundation.exit(isBadInput(error) ? 2 : 1)
    }

    /// Whether the user can mend the error by giving something else.
    static func isBadInput(_ error: any Error) -> Bool {
        switch error {
        case let error as EngineError: error.isBadInput
        case let error as TensorError: error.kind == .unsupported
        // What is missing can be installed, or another device be named.
        case let error as CUDAError:
            [.noDriver, .driverTooOld, .missingLibrary, .noDevice, .unsupportedArchitecture].contains(error.kind)
        case is PromptError, is ChatError, is GuidanceError, is ImageError, is CheckpointError, is ModelError, is JSONError,
            is TokenizerError, is JinjaError:
            true
        default: false
        }
    }
}
