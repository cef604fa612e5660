public import ArgumentParser
public import Engine

extension GenerationConfig.OutputScope: ExpressibleByArgument {}

/// Options of how an answer is generated. A value may start with a minus, so that a negative number is refused as such and a stop text
/// can be a dash.
struct GenerationOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: "Most tokens to generate.")
    var maxNewTokens = 512

    @Option(parsing: .unconditional, help: "Fewest tokens to generate.")
    var minNewTokens = 0

    @Option(parsing: .unconditional, help: "Softmax temperature; 0 takes the likeliest token.")
    var temperature: Float = 0

    @Option(parsing: .unconditional, help: "Keep the likeliest tokens up to this probability together.")
    var topP: Float = 1

    @Option(parsing: .unconditional, help: "Keep this many likeliest tokens; 0 keeps all.")
    var topK = 50

    @Option(parsing: .unconditional, help: "Drop tokens less likely than this share of the likeliest.")
    var minP: Float = 0

    @Option(parsing: .unconditional, help: "Above 1 makes tokens that were seen less likely.")
    var repetitionPenalty: Float = 1

    @Option(parsing: .unconditional, help: "Subtracted from the logits of tokens that the answer has.")
    var presencePenalty: Float = 0

    @Option(parsing: .unconditional, help: "Subtracted from a token's logit for each time that the answer has it.")
    var frequencyPenalty: Float = 0

    @Option(parsing: .unconditional, help: "Seed of sampling.")
    var seed: UInt64?

    @Option(parsing: .unconditionalSingleValue, help: "A text that ends the answer. May be given several times.")
    var stop: [String] = []

    @Option(parsing: .unconditionalSingleValue, help: "A text that the answer must not have. May be given several times.")
    var badWord: [String] = []

    @Flag(help: "Go on past end-of-sequence tokens.")
    var ignoreEos = false

    @Option(parsing: .unconditional, help: "Log-probabilities of this many likeliest tokens at each step.")
    var logprobs: Int?

    @Flag(help: "Hold the answer to a JSON object.")
    var json = false

    @Option(help: ArgumentHelp("Hold the answer to the JSON Schema in a file.", valueName: "file"))
    var jsonSchema: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Hold the answer to a regular expression, which it matches as a whole.", valueName: "expression"))
    var regex: String?

    @Option(
        help: ArgumentHelp("Hold the answer to the grammar (GBNF) in a file, beginning with its rule root.", valueName: "file"))
    var grammar: String?

    func validate() throws {
        let formats = [
            json ? "--json" : nil, jsonSchema.map { _ in "--json-schema" }, regex.map { _ in "--regex" },
            grammar.map { _ in "--grammar" },
        ]
        .compactMap { $0 }
        guard formats.count <= 1 else {
            throw ValidationError("an answer has one form; give one of \(formats.joined(separator: " and "))")
        }
    }

    private func responseFormat() throws -> ResponseFormat? {
        if json { return .jsonObject }
        if let regex { return .regex(regex) }
        if let jsonSchema { return .jsonSchema(try readText(jsonSchema)) }
        return try grammar.map { .grammar(try readText($0)) }
    }

    /// - Throws: an error naming the file of a form that cannot be read.
    func config() throws -> GenerationConfig {
        GenerationConfig(
            maxNewTokens: maxNewTokens, minNewTokens: minNewTokens, temperature: temperature, topP: topP, topK: topK, minP: minP,
            repetitionPenalty: repetitionPenalty, presencePenalty: presencePenalty, frequencyPenalty: frequencyPenalty,
            randomSeed: seed, ignoreEOS: ignoreEos, stopWords: stop, badWords: badWord, responseFormat: try responseFormat(),
            logprobs: logprobs)
    }
}
