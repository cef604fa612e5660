import ArgumentParser
import Checkpoints
import JSON
import Text
import VLM

/// `vlm tokenize`: the ids of a text.
struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize", abstract: "Print a text's token ids as a JSON array.")

    @Argument(help: "A checkpoint folder, a Hub id in the local cache, or demo.")
    var model: String
    @Option(help: "A UTF-8 file.")
    var textFile: String
    @Flag(help: "Leave out special tokens the tokenizer would add.")
    var noSpecialTokens = false

    func run() throws {
        let text = try readText(textFile)
        let tokenizer = try TokenizerLoader.load(folder: try PipelineSetup.folder(of: model))
        let ids = try tokenizer.encode(text, addSpecialTokens: !noSpecialTokens)
        print(JSONValue.array(ids.map { .integer(Int($0)) }).serialized())
    }
}
