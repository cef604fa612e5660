import Checkpoints
import Foundation
import JSON
import Layers
import Models
import Tensors
import TestKit
import Testing

/// Loading, planning and refusing checkpoints.
@Suite struct RegistryTests {
    private var planner: PlanningBackend {
        PlanningBackend(device: .cpu, activationType: .float32, cacheType: .float32, weightType: .bfloat16)
    }

    @Test func unknownArchitectureIsNamedWithWhatIsSupported() throws {
        let checkpoint = try Golden("qwen2").edited { $0["architectures"] = .array([.string("NovelForCausalLM")]) }
        let error = #expect(throws: ModelError.self) { try ModelRegistry.load(checkpoint, backend: ReferenceBackend()) }
        #expect(error?.kind == .unknownArchitecture)
        #expect(error?.description.contains("NovelForCausalLM") == true)
        #expect(error?.description.contains("Qwen2_5_VLForConditionalGeneration") == true)
    }

    @Test func everyFixtureIsTested() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Fixtures.path("models"))
        #expect(Set(Golden.all) == Set(folders).subtracting(["images", "manifest.json"]))
    }

    @Test func architecturesBelongToOneFamilyEach() {
        let all = ModelRegistry.families.flatMap(\.architectures)
        #expect(Set(all).count == all.count)
    }

    @Test func wrongShapesAreReportedTogetherBeforeAnythingIsLoaded() throws {
        let checkpoint = try Golden("qwen2_5_vl").edited { $0["intermediate_size"] = .integer(160) }
        var calls = 0
        let error = #expect(throws: CheckpointError.self) {
            try ModelRegistry.load(checkpoint, backend: ReferenceBackend()) { _ in calls += 1 }
        }
        #expect(error?.kind == .weightMismatch)
        #expect(error?.description.contains("layers.0.mlp.gate_proj.weight") == true)
        #expect(error?.description.contains("of the wrong shape (9)") == true)
        #expect(calls == 0)
    }

    @Test(arguments: [
        ("qwen2", "num_key_value_heads", JSONValue.integer(3)), ("qwen2", "hidden_act", .string("swoosh")),
        ("llama3", "rope_scaling", .object(JSONObject([("rope_type", .string("spiral"))]))),
        ("internvl", "downsample_ratio", .number(0)), ("internvl", "vision_feature_layer", .integer(-9)),
        ("qwen2_5_vl", "vision_config", .integer(1)), ("internvl_chat-qwen2", "pad2square", .bool(true)),
        ("internvl_chat-qwen2", "min_dynamic_patch", .integer(40)), ("llava-clip", "vision_feature_layer", .integer(9)),
        ("llava-siglip", "vision_feature_select_strategy", .string("default")),
    ]) func badConfigurationNamesFileAndKey(_ name: String, _ key: String, _ value: JSONValue) throws {
        let checkpoint = try Golden(name).edited { $0[key] = value }
        let error = #expect(throws: CheckpointError.self) { try ModelRegistry.plan(checkpoint, backend: planner) }
        #expect(error?.kind == .invalidConfig)
        #expect(error?.source.hasSuffix("config.json") == true)
    }

    @Test(arguments: [[0, 1, 2], [2, 0], [0, 4], [1, 1]]) func featuresForLayersThatAreNotThereAreRefused(_ blocks: [Int]) throws
    {
        let checkpoint = try Golden("qwen3_vl").edited { config in
            var vision = config["vision_config"]?.objectValue ?? JSONObject()
            vision["deepstack_visual_indexes"] = .array(blocks.map { .integer($0) })
            config["vision_config"] = .object(vision)
        }
        let error = #expect(throws: CheckpointError.self) { try ModelRegistry.plan(checkpoint, backend: planner) }
        #expect(error?.kind == .invalidConfig)
    }

    /// Llama 2's files hold the rotary frequencies of each layer.
    @Test func rotaryBuffersOfEarlyFilesAreLeftUnused() throws {
        let golden = try Golden("llama-linear")
        let file = try SafetensorsFile(path: golden.checkpoint + "/model.safetensors")
        var writer = SafetensorsWriter()
        for tensor in file.tensors {
            tensor.withBytes { writer.add(tensor.name, tensor.dimensions, tensor.dtype, bytes: $0) }
        }
        let frequencies: [Float] = [1, 0.5]
        writer.add("model.layers.0.self_attn.rotary_emb.inv_freq", [2], frequencies)
        let bytes = writer.serialized()
        let checkpoint = try golden.edited({ _ in }, replacing: [("model.safetensors", bytes)])
        #expect(try ModelRegistry.plan(checkpoint, backend: planner).parameterCount > 0)
    }

    @Test func progressEndsAtAll() throws {
        var steps: [LoadProgress] = []
        let model = try ModelRegistry.load(try Golden("internvl").open(), backend: ReferenceBackend()) { steps.append($0) }
        let last = try #require(steps.last)
        #expect(last.fraction == 1 && last.total >= model.parameterCount)
        #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.loaded <= $1.loaded })
    }

    @Test(arguments: Golden.all) func countsTheParametersOfTheFiles(_ name: String) throws {
        let golden = try Golden(name)
        let checkpoint = try golden.open()
        let model = try ModelRegistry.plan(checkpoint, backend: planner)
        let used = checkpoint.tensorNames.filter { name in !golden.unused.contains { name.hasPrefix($0) } }
        let inFiles = used.compactMap { checkpoint.tensor($0)?.count }.reduce(0, +)
        #expect(model.parameterCount == inFiles)
    }

    /// A plan's pass must not touch memory: its tensors lie at an address no process maps.
    @Test(arguments: Golden.all) func planNeedsNoMemoryAndPredictsTheWorkspace(_ name: String) throws {
        let golden = try Golden(name)
        let real = ReferenceBackend()
        let model = try ModelRegistry.load(try golden.open(), backend: real)
        let planned = try ModelRegistry.plan(try golden.open(weights: .dummy(seed: 1)), backend: planner)
        let each = golden.cases[0]
        let images = try each.processedImages(model)
        #expect(try highWater(planned, planner, each, golden, images) == (try highWater(model, real, each, golden, images)))
    }

    private func highWater(
        _ model: LoadedModel, _ backend: any Backend, _ each: GoldenCase, _ golden: Golden, _ images: [ProcessedImage]
    ) throws -> Int {
        let runner = try ModelRunner(model, backend: backend)
        let (part, _) = try runner.prompt(
            try each.inputIDs, images: images, features: try runner.encode(images),
            imageTokenID: try golden.imageTokenID(model))
        _ = try runner.run([part])
        return runner.workspaceHighWater
    }

    @Test(arguments: Golden.all) func dummyWeightsRun(_ name: String) throws {
        let golden = try Golden(name)
        let backend = ReferenceBackend()
        let model = try ModelRegistry.load(try golden.open(weights: .dummy(seed: 3)), backend: backend)
        let runner = try ModelRunner(model, backend: backend)
        let logits = try runner.run([
            ModelRunner.Part(
                sequence: runner.addSequence(), tokens: [1, 2, 3],
                positions: [[Int32]](repeating: [0, 1, 2], count: model.language.positionAxes), outputs: [2])
        ])
        #expect(logits[0].allSatisfy { $0.isFinite } && logits[0].contains { $0 != 0 })
    }
}
