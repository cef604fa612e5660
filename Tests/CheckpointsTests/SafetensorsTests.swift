import Checkpoints
import JSON
import Tensors
import TestKit
import Testing

@Suite struct SafetensorsTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func readsWhatThePythonLibraryWrote() throws {
        let file = try SafetensorsFile(path: Fixtures.path("models/qwen2_5_vl/checkpoint/model.safetensors"))
        let embedding = try #require(file.tensor("model.embed_tokens.weight"))
        #expect(embedding.dtype == .bfloat16)
        #expect(embedding.dimensions == [384, 64])
        #expect(embedding.bytes.count == 384 * 64 * 2)
        #expect(try #require(file.tensor("visual.patch_embed.proj.weight")).dimensions == [32, 3, 2, 14, 14])
        #expect(file.metadata == ["format": "pt"])
        let golden = try Golden("qwen2_5_vl")("one-image")
        #expect(try golden.integers("image_grid_thw") == [1, 4, 10])
    }

    @Test func everyTypeMakesTheRoundTrip() throws {
        var writer = SafetensorsWriter()
        writer.metadata = ["made by": "a test"]
        for (index, dtype) in DType.allCases.enumerated() {
            let bytes = (0..<6 * dtype.size).map { UInt8(truncatingIfNeeded: $0 * 7 + index) }
            bytes.withUnsafeBytes { writer.add("t.\(dtype)", [2, 3], dtype, bytes: $0) }
        }
        writer.add("scalar", [], [Float(3.5)])
        writer.add("empty", [0, 4], [Float]())
        writer.add("ids", [3], [Int64(1), -2, 3])
        let path = folder.path + "/all.safetensors"
        try writer.write(to: path)
        let file = try SafetensorsFile(path: path)
        #expect(file.tensors.count == DType.allCases.count + 3)
        #expect(file.metadata == ["made by": "a test"])
        for (index, dtype) in DType.allCases.enumerated() {
            let tensor = try #require(file.tensor("t.\(dtype)"))
            #expect(tensor.dtype == dtype && tensor.dimensions == [2, 3])
            #expect(tensor.loadAll(as: UInt8.self) == (0..<6 * dtype.size).map { UInt8(truncatingIfNeeded: $0 * 7 + index) })
            #expect(tensor.withBytes { UInt(bitPattern: $0.baseAddress) } % UInt(dtype.size) == 0, "\(dtype) is not aligned")
        }
        #expect(try #require(file.tensor("scalar")).dimensions == [])
        #expect(try #require(file.tensor("empty")).bytes.isEmpty)
        #expect(try #require(file.tensor("ids")).loadAll(as: Int64.self) == [1, -2, 3])
    }

    @Test func writingIntoAFolderThatIsNotThereLeavesNothing() throws {
        var writer = SafetensorsWriter()
        writer.add("x", [1], [Float(1)])
        let error = #expect(throws: CheckpointError.self) { try writer.write(to: folder.path + "/no/such/out.safetensors") }
        #expect(error?.kind == .unreadable)
    }

    /// Header, bytes of data, and words the error must contain.
    static let broken: [(header: String, data: Int, length: UInt64?, says: String)] = [
        ("", 0, nil, "not JSON"),
        ("[]", 0, nil, "not a JSON object"),
        ("{\"a\"", 0, nil, "not JSON"),
        (#"{"a":3}"#, 0, nil, "a: dtype is missing"),
        (#"{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}"#, 4, nil, "dtype F31"),
        (#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4, nil, "shape is missing"),
        (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, nil, "lengths"),
        (#"{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#, 4, nil, "lengths"),
        (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#, 4, nil, "more elements"),
        (#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}"#, 4, nil, "more elements"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}}"#, 4, nil, "data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, nil, "data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#, 4, nil, "data_offsets"),
        (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, nil, "takes 8 bytes"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, nil, "hole"),
        (
            #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#, 6,
            nil,
            "overlaps"
        ),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 3, nil, "the file holds 3"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 5, nil, "the file holds 5"),
        ("{}", 0, 3, "the file has 10"),
        ("{}", 0, .max, "not a safetensors file"),
        ("{}", 0, UInt64(Int64.max) + 5, "not a safetensors file"),
        (#"{"\#u{FF}":{}}"#, 0, nil, "dtype is missing"),
    ]

    @Test(arguments: broken.indices) func aBrokenHeaderIsATypedError(_ index: Int) throws {
        let (header, count, length, says) = SafetensorsTests.broken[index]
        let bytes = safetensors(header, data: Array(repeating: 0, count: count), length: length)
        let path = try folder.write("model.safetensors", bytes)
        let error = #expect(throws: CheckpointError.self) { try SafetensorsFile(path: path) }
        #expect(error?.kind == .malformed)
        #expect(error?.source == path)
        #expect(error?.detail.contains(says) == true, "\(error?.description ?? "no error")")
    }

    @Test func invalidUTF8EmptyAndMissingFiles() throws {
        let path = try folder.write("m.safetensors", [2, 0, 0, 0, 0, 0, 0, 0, 0x7B, 0xFF])
        #expect(throws: CheckpointError.self) { try SafetensorsFile(path: path) }
        let empty = try folder.write("e.safetensors", [])
        #expect(#expect(throws: CheckpointError.self) { try SafetensorsFile(path: empty) }?.kind == .malformed)
        let missing = #expect(throws: CheckpointError.self) { try SafetensorsFile(path: folder.path + "/absent") }
        #expect(missing?.kind == .unreadable)
        let directory = #expect(throws: CheckpointError.self) { try SafetensorsFile(path: folder.path) }
        #expect(directory?.kind == .unreadable)
    }

    @Test func tenThousandMutatedFilesGiveTensorsOrTypedErrors() throws {
        let header =
            #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
            + #""b.c":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"d":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}"#
        let original = safetensors(header, data: Array(repeating: 1, count: 40))
        var mutator = Mutator(
            seed: 7,
            dictionary: ["[", "]", "{", "}", "\"shape\":", "18446744073709551615", "-1", "0", "1e400", "null", "\"F8_E4M3\""])
        var accepted = 0
        for _ in 0..<10_000 {
            let bytes = mutator.mutate(original)
            do throws(CheckpointError) {
                let tensors = try SafetensorsFile(bytes: bytes, path: "fuzz").tensors
                accepted += 1
                // Whatever is accepted lies inside the file.
                #expect(tensors.reduce(0) { $0 + $1.bytes.count } <= bytes.count)
            } catch {
                #expect(error.kind == .malformed && error.source == "fuzz")
            }
        }
        #expect(accepted < 5_000)
    }

    @Test func tenThousandMutatedIndexesGiveShardsOrTypedErrors() throws {
        let original = Array(
            #"{"metadata":{"total_size":8},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#.utf8)
        var mutator = Mutator(seed: 8, dictionary: ["../", "/etc/passwd", "\"\"", "null", "{}", "\\u0000", "weight_map"])
        var accepted = 0
        for _ in 0..<10_000 {
            do throws(CheckpointError) {
                let index = try SafetensorsIndex(parsing: mutator.mutate(original), path: "fuzz")
                accepted += 1
                #expect(index.shards.allSatisfy { !$0.isEmpty && !$0.contains("/") && $0 != ".." })
            } catch {
                #expect(error.kind == .malformed && error.source == "fuzz")
            }
        }
        #expect(accepted > 0 && accepted < 9_000)
    }
}
