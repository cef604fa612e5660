import Foundation
import Guidance
import Testing
import Text

enum RealVocabulary {
    static let folder: String? = ProcessInfo.processInfo.environment["VLM_REAL_TOKENIZERS"].map { $0 + "/qwen-tiktoken" }.flatMap
    {
        FileManager.default.fileExists(atPath: $0) ? $0 : nil
    }
}

/// The vocabulary of a Qwen tokenizer, where VLM_REAL_TOKENIZERS names a folder that has it (Tools/goldens/tokenizers/fetch.sh).
@Suite(.enabled(if: RealVocabulary.folder != nil, "skipped: VLM_REAL_TOKENIZERS names no folder with qwen-tiktoken"))
struct RealVocabularyTests {
    @Test func masksAreQuick() throws {
        let clock = ContinuousClock()
        let tokenizer = try TokenizerLoader.load(folder: try #require(RealVocabulary.folder))
        var start = clock.now
        let bytes = try tokenizer.tokenBytes(count: 151_936)
        let bytesTime = clock.now - start
        start = clock.now
        let vocabulary = GuidanceVocabulary(tokenBytes: bytes, stopTokens: [151_643, 151_645])
        print("Qwen: bytes of tokens \(bytesTime), vocabulary \(clock.now - start)")
        let measured = try MaskTime(MaskTimeTests.specs, vocabulary: vocabulary)
        measured.report("Qwen")
    }
}
