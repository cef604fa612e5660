import Checkpoints
import Foundation
import Imaging
import JSON
import Models
import Tensors
import TestKit
import Testing

/// Every value of every configuration file, replaced by values that no checkpoint has: a typed error or a plan, never a crash.
@Suite struct HostileConfigurationTests {
    private static let values: [JSONValue] = [
        .integer(0), .integer(-1), .integer(3), .integer(1 << 31), .integer(.max), .number(.nan), .number(1e-300), .string("x"),
        .null, .array([]), .array([.integer(-5), .integer(9), .integer(4)]), .object(JSONObject()),
    ]

    @Test(arguments: [
        "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "internvl", "internvl_chat-internlm2", "llama3", "qwen2-yarn", "llava-clip",
        "llava-siglip", "llava_next", "llava_onevision", "llava_original-vicuna", "smolvlm", "gemma2", "gemma3_text",
        "gemma3",
    ])
    func everyValueMayBeAnything(_ name: String) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hostile-\(UUID().uuidString)")
        try FileManager.default.copyItem(atPath: try Golden(name).checkpoint, toPath: folder.path)
        defer { try? FileManager.default.removeItem(at: folder) }
        let image = try RGBImage(width: 40, height: 30, pixels: [UInt8](repeating: 90, count: 40 * 30 * 3))
        var planned = 0
        for file in ["config.json", "preprocessor_config.json", "processor_config.json", "generation_config.json"] {
            let url = folder.appendingPathComponent(file)
            guard let original = try? JSONValue(contentsOf: url.path) else { continue }
            for path in HostileConfigurationTests.paths(original) {
                for value in HostileConfigurationTests.values {
                    let changed = HostileConfigurationTests.replacing(original, path[...], by: value)
                    try changed.serialized().write(to: url, atomically: false, encoding: .utf8)
                    if try plans(folder.path, image, "\(file) \(path.joined(separator: ".")) \(value)") { planned += 1 }
                }
            }
            try original.serialized().write(to: url, atomically: false, encoding: .utf8)
        }
        // Most keys do not matter to the model, so most changes are harmless.
        #expect(planned > 100)
    }

    private func plans(_ folder: String, _ image: RGBImage, _ change: String) throws -> Bool {
        let planner = PlanningBackend(device: .cpu, activationType: .float32, cacheType: .float32, weightType: .float32)
        do {
            let model = try ModelRegistry.plan(try Checkpoint(folder: folder), backend: planner)
            _ = try model.imageProcessor?.process(image, options: ImageOptions())
            return true
        } catch is CheckpointError {
            return false
        } catch is ModelError {
            return false
        } catch is ImageError {
            return false
        } catch {
            Issue.record("\(change): \(error) is no typed error of a checkpoint")
            return false
        }
    }

    /// Keys that lead to each value that is no object.
    private static func paths(_ value: JSONValue) -> [[String]] {
        guard let object = value.objectValue else { return [[]] }
        return object.flatMap { key, inner in [[key]] + (inner.objectValue == nil ? [] : paths(inner).map { [key] + $0 }) }
    }

    private static func replacing(_ value: JSONValue, _ path: ArraySlice<String>, by new: JSONValue) -> JSONValue {
        guard let key = path.first, var object = value.objectValue else { return new }
        object[key] = replacing(object[key] ?? .null, path.dropFirst(), by: new)
        return .object(object)
    }
}
