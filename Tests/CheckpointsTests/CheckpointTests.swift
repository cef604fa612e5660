import Checkpoints
import Foundation
import TestKit
import Testing

@Suite struct CheckpointTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func opensASingleFileCheckpoint() throws {
        let checkpoint = try Checkpoint(folder: Golden("qwen2_5_vl").checkpoint)
        #expect(checkpoint.architectures == ["Qwen2_5_VLForConditionalGeneration"])
        #expect(try checkpoint.config.object("vision_config").ints("fullatt_block_indexes") == [1, 3])
        #expect(try checkpoint.imageProcessorConfig?.int("max_pixels") == 12000)
        #expect(checkpoint.tensorNames.contains("visual.merger.ln_q.weight"))
        #expect(checkpoint.tensorNames == checkpoint.tensorNames.sorted())
        let generation = try GenerationDefaults(checkpoint)
        #expect(generation.doSample && generation.repetitionPenalty == 1.05 && generation.topK == 50)
        #expect(generation.eosTokenIDs.count == 2 && generation.padTokenID == generation.eosTokenIDs[1])
    }

    @Test func shardsTogetherAreTheWholeModel() throws {
        let sharded = try Checkpoint(folder: Golden("qwen2_5_vl-untied").checkpoint)
        #expect(sharded.weightFiles.count == 3)
        let whole = try Checkpoint(folder: Golden("qwen2_5_vl").checkpoint)
        #expect(sharded.tensorNames == (whole.tensorNames + ["lm_head.weight"]).sorted())
        #expect(sharded.tensorByteCount == whole.tensorByteCount + 384 * 64 * 2)
    }

    @Test(arguments: Golden.all) func everyFixtureOpens(_ name: String) throws {
        let golden = try Golden(name)
        let checkpoint = try Checkpoint(folder: golden.checkpoint)
        #expect(!checkpoint.tensorNames.isEmpty && checkpoint.architectures.count == 1)
        #expect(!golden.cases.isEmpty)
        for each in golden.cases {
            #expect(try each.floats("logits").dimensions == [each.inputIDs.count, 384])
            #expect(each.greedyTokens.count == 24 && each.margins.count == 24)
            #expect(each.images.allSatisfy { FileManager.default.fileExists(atPath: $0) })
        }
    }

    @Test func theFormTransformers5SavesIsReadToo() throws {
        let checkpoint = try Checkpoint(folder: Golden("qwen2_5_vl-transformers5").checkpoint)
        #expect(checkpoint.preprocessorConfig == nil)
        #expect(try checkpoint.imageProcessorConfig?.object("size").int("longest_edge") == 12000)
        let text = try checkpoint.config.object("text_config")
        #expect(try text.object("rope_parameters").double("rope_theta") == 1e6)
        #expect(checkpoint.tensorNames.contains("model.language_model.norm.weight"))
    }

    @Test func textConfigGivesTheTokenIDsThatTheRootLacks() throws {
        try folder.write("config.json", text: #"{"text_config":{"eos_token_id":5,"bos_token_id":null}}"#)
        let checkpoint = try Checkpoint(folder: folder.path, weights: .dummy(seed: 0))
        let defaults = try GenerationDefaults(checkpoint, text: checkpoint.config.object("text_config"))
        #expect(defaults.eosTokenIDs == [5] && defaults.bosTokenID == nil && !defaults.doSample)
    }

    @Test func theNestedImageProcessorWins() throws {
        try folder.write("config.json", text: "{}")
        try folder.write("preprocessor_config.json", text: #"{"max_pixels":1}"#)
        try folder.write("processor_config.json", text: #"{"image_processor":{"max_pixels":2}}"#)
        let nested = try Checkpoint(folder: folder.path, weights: .dummy(seed: 0))
        #expect(try nested.imageProcessorConfig?.int("max_pixels") == 2)
        try folder.write("processor_config.json", text: #"{"image_seq_length":256}"#)
        let flat = try Checkpoint(folder: folder.path, weights: .dummy(seed: 0))
        #expect(try flat.imageProcessorConfig?.int("max_pixels") == 1)
    }

    // MARK: Folders that are no checkpoints

    private func failure(_ weights: WeightsMode = .file, _ path: String? = nil) throws -> CheckpointError {
        try #require(#expect(throws: CheckpointError.self) { try Checkpoint(folder: path ?? folder.path, weights: weights) })
    }

    @Test func saysWhatIsMissing() throws {
        #expect(try failure(.file, folder.path + "/absent").kind == .notFound)
        let empty = try failure()
        #expect(empty.kind == .notACheckpoint)
        #expect(empty.detail.contains("config.json and model.safetensors"))
        #expect(try failure(.dummy(seed: 1)).detail.contains("config.json"))
        try folder.write("config.json", text: "{}")
        let weightless = try failure()
        #expect(weightless.detail.contains("no model.safetensors") && weightless.hint.contains("--weights dummy"))
        try folder.write("pytorch_model.bin", text: "x")
        #expect(try failure().hint.contains("pytorch_model.bin cannot be loaded"))
        #expect(try failure(.file, folder.path + "/config.json").kind == .notACheckpoint)
        #expect(throws: Never.self) { try Checkpoint(folder: folder.path, weights: .dummy(seed: 1)) }
    }

    @Test func indexAndShardsMustAgree() throws {
        try folder.write("config.json", text: "{}")
        var writer = SafetensorsWriter()
        writer.add("a", [1], [Float(1)])
        writer.add("b", [1], [Float(2)])
        try writer.write(to: folder.path + "/one.safetensors")
        func index(_ map: String) throws { try folder.write("model.safetensors.index.json", text: #"{"weight_map":{\#(map)}}"#) }
        try index(#""a":"one.safetensors","b":"two.safetensors""#)
        let missing = try failure()
        #expect(
            missing.detail.contains("two.safetensors") && missing.kind == .notACheckpoint || missing.detail.contains("holds b"))
        try index(#""a":"one.safetensors""#)
        #expect(try failure().detail.contains("holds b, which the index does not place here"))
        try index(#""a":"one.safetensors","b":"one.safetensors","c":"one.safetensors""#)
        #expect(try failure().detail.contains("c is not in one.safetensors"))
        try index(#""a":"../one.safetensors""#)
        #expect(try failure().detail.contains("not a file name in this folder"))
        try index(#""a":"one.safetensors","b":"one.safetensors""#)
        #expect(try Checkpoint(folder: folder.path).tensorNames == ["a", "b"])
    }
}
