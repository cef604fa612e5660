import Engine
import JSON

extension Response {
    /// The object `vlm run --output json` prints.
    var json: JSONValue {
        var object = JSONObject([
            ("text", .string(text)),
            ("token_ids", .array(tokenIDs.map { .integer(Int($0)) })),
            ("input_token_len", .integer(inputTokenCount)),
            ("generate_token_len", .integer(generatedTokenCount)),
            ("finish_reason", .string(finishReason.rawValue)),
        ])
        if let logprobs { object["logprobs"] = .array(logprobs.map(\.json)) }
        if let error { object["error"] = .string("\(error)") }
        object["index"] = .integer(index)
        return .object(object)
    }
}

extension TokenLogprobs {
    /// Token id to log-probability: the likeliest, and the chosen one wherever it ranks.
    var json: JSONValue {
        var object = JSONObject()
        for entry in top { object["\(entry.tokenID)"] = .number(Double(entry.logprob)) }
        object["\(chosen.tokenID)"] = .number(Double(chosen.logprob))
        return .object(object)
    }
}
